package db_test

import (
	"log/slog"
	"strings"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

// However often it is asked what is watched, that this cannot be read is said once, until it can.
func TestTopicsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	log := &said{}
	reader := &db.Reader{DB: database, Logger: slog.New(slog.NewTextHandler(log, nil))}
	hub := realtime.NewHub(reader, realtime.Options{})
	reader.Sink = hub
	runReader(t, reader, hub)
	await(t, "the log is read", func() bool { return reader.Status().Live })
	refresh := func() {
		t.Helper()
		if err := reader.RefreshTopics(t.Context()); err == nil {
			t.Fatal("the topics can be read")
		}
	}
	complaints := func() int { return strings.Count(log.String(), "what is watched cannot be read") }
	for outage := range 2 {
		execute(t, database, `alter table tidings.streams rename to streams_away`)
		await(t, "it is said", func() bool { refresh(); return complaints() > outage })
		for range 3 {
			refresh()
		}
		if got := complaints(); got != outage+1 {
			t.Errorf("it is said %d times, and there were %d outages:\n%s", got, outage+1, log)
		}
		execute(t, database, `alter table tidings.streams_away rename to streams`)
		if err := reader.RefreshTopics(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
