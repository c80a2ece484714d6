package db_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidings/db"
	"tidings/db/dbtest"
)

// pooled is the database at the address through a PgBouncer in that mode, which lives as long as the test.
func pooled(t *testing.T, address, mode string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Skip("PgBouncer is not installed")
		}
	}
	to, err := pgconn.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	dir := dbtest.DataDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	ini := fmt.Sprintf("[databases]\n%s = host=%s port=%d user=%s\n[pgbouncer]\nlisten_port = 6432\nunix_socket_dir = %s\nauth_type = any\npool_mode = %s\n",
		to.Database, to.Host, to.Port, to.User, dir, mode)
	if os.Geteuid() == 0 { // it refuses to be root
		for _, name := range []string{"postgres", "nobody"} {
			if _, err := user.Lookup(name); err == nil {
				ini += "user = " + name + "\n"
				break
			}
		}
	}
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(ini), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, file)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = cmd.Wait() })
	through := fmt.Sprintf("postgres:///%s?host=%s&port=6432&user=anybody&sslmode=disable", url.PathEscape(to.Database), url.QueryEscape(dir))
	for deadline := time.Now().Add(40 * time.Second); ; {
		conn, err := pgx.Connect(t.Context(), through)
		if err == nil {
			_ = conn.Close(t.Context())
			return through
		}
		if time.Now().After(deadline) {
			t.Fatalf("PgBouncer does not answer: %v\n%s", err, &out)
		}
	}
}

// A pooler in the way is found, of whatever kind, and that there is a way past it.
func TestDoctorOfPoolers(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	install(t, address)
	expect := func(d *db.Doctor, want map[string]string) {
		t.Helper()
		findings := (&patient{t: t, doctor: d}).examine()
		for check, said := range want {
			f := only(findings, check)
			if len(f) != 1 || !strings.Contains(string(f[0].Level)+": "+f[0].Found, said) {
				t.Errorf("got %+v, want %q", f, said)
			}
		}
	}
	open := func(address string) *db.DB {
		d, err := db.Open(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		return d
	}
	through := pooled(t, address, "transaction")
	d := newDoctor(t, open(through))
	expect(d, map[string]string{"pooler": "warning: A pooler of transactions", "notifications": "problem: Notifications are not heard"})
	// From 1.21 on it can keep them.
	if out, err := exec.Command("pgbouncer", "--version").Output(); err == nil && strings.HasPrefix(string(out), "PgBouncer 1.1") {
		expect(d, map[string]string{"prepared-statements": "problem: A prepared statement was not there"})
	}
	d.Listen = open(address)
	expect(d, map[string]string{"pooler": "ok: A pooler of transactions", "notifications": "ok: A notification was heard"})
	d.Listen = open(dbtest.Database(t))
	d.Patience = time.Millisecond
	expect(d, map[string]string{"notifications": "problem: What is notified by the one URL is not heard by the other"})
	expect(newDoctor(t, open(through+"&default_query_exec_mode=exec")), map[string]string{"prepared-statements": "ok: Prepared statements are not used"})
	expect(newDoctor(t, open(pooled(t, address, "session"))), map[string]string{"pooler": "note: A pooler of sessions", "notifications": "ok: A notification was heard"})
}
