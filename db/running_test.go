package db_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
	"tidings/triggers"
)

// A service that is refused while it runs waits: only a program that is too old is to stop.
func TestRefusedWhileRunning(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	admin, err := db.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	live := db.MigrationSet{Name: "live", Files: triggers.Migrations}
	if err := admin.MigrateUp(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	role := "role_" + strings.ToLower(rand.Text())
	admins := func(statement string) {
		t.Helper()
		if _, err := admin.Pool.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	admins(`create role ` + role + ` login superuser`)
	served, err := db.Open(t.Context(), strings.Replace(address, "user=tidings", "user="+role, 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(served.Close)
	reported := make(chan struct{})
	reporter := &db.Reporter{
		DB: served, Reader: &db.Reader{DB: served}, Interval: 1, Schema: live,
		Status: func() realtime.Instance {
			select {
			case reported <- struct{}{}:
			case <-t.Context().Done():
			}
			return realtime.Instance{}
		},
		TooOld: func(err error) { t.Errorf("it is to stop: %v", err) },
	}
	runUntilEnd(t, reporter.Run)
	<-reported
	admins(`alter role ` + role + ` nologin`)
	served.Pool.Reset()
	for range 4 {
		<-reported
	}
}
