package dbtest

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Pooler is a PgBouncer in transaction mode before a database, for one test alone. Its methods fail the test if they don't succeed, and are for the
// test's own goroutine.
type Pooler struct {
	t       testing.TB
	program string
	dir     *dataDir
	name    string // of the database
	cmd     *exec.Cmd
	alive   io.Closer // while it is open, the pooler lives
	out     strings.Builder
}

// runPooler is like reap: PgBouncer goes when the test process does.
const runPooler = `
trap '' INT TERM HUP
"$1" -q "$2" &
cat >/dev/null
kill -KILL $!
wait
`

// StartPooler starts one before a database on this machine, and stops it when the test ends. Of settings, PgBouncer's, pool_size and the like
// may be given. Where there is no PgBouncer, the test is skipped.
func StartPooler(t testing.TB, database string, settings map[string]string) *Pooler {
	t.Helper()
	program := ""
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} { // the latter is not everybody's PATH
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		Missing(t, "PgBouncer is not installed")
	}
	to, err := pgconn.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	p := &Pooler{t: t, program: program, name: to.Database}
	if p.dir, err = newDataDir(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.dir.remove)
	t.Cleanup(p.Stop)

	var ini strings.Builder
	fmt.Fprintf(&ini, "[databases]\n%s = host=%s port=%d user=%s", to.Database, to.Host, to.Port, to.User)
	if to.Password != "" {
		fmt.Fprintf(&ini, " password='%s'", to.Password)
	}
	fmt.Fprintf(&ini, "\n[pgbouncer]\nlisten_port = 6432\nunix_socket_dir = %s\nauth_type = any\npool_mode = transaction\nmax_client_conn = 200\n", p.dir.path)
	if os.Geteuid() == 0 { // it refuses to be root
		if err := os.Chmod(p.dir.path, 0o777); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&ini, "user = %s\n", anotherUser(t))
	}
	for name, value := range settings {
		fmt.Fprintf(&ini, "%s = %s\n", name, value)
	}
	if err := os.WriteFile(p.config(), []byte(ini.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	p.Start()
	return p
}

// anotherUser is the one who runs PostgreSQL when we are root.
func anotherUser(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		if _, err := user.Lookup(name); err == nil {
			return name
		}
	}
	t.Fatal("there is no user postgres or nobody to run PgBouncer")
	return ""
}

func (p *Pooler) config() string { return filepath.Join(p.dir.path, "pgbouncer.ini") }

// URL is the database's address through the pooler. It stays the same over stops and starts.
func (p *Pooler) URL() string {
	return fmt.Sprintf("postgres:///%s?host=%s&port=6432&user=pooled&sslmode=disable", url.PathEscape(p.name), url.QueryEscape(p.dir.path))
}

// Start starts a pooler that was stopped, and returns when it answers.
func (p *Pooler) Start() {
	p.t.Helper()
	p.cmd = exec.Command("sh", "-c", runPooler, "pooler", p.program, p.config())
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = patience
	stdin, err := p.cmd.StdinPipe()
	if err == nil {
		p.alive = stdin
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgconn.Connect(ctx, p.URL())
		if err == nil {
			_ = conn.Close(ctx)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.Stop()
			p.t.Fatalf("PgBouncer does not answer: %s\n%s", err, &p.out)
		}
	}
}

// Stop kills the pooler, and with it all connections through it.
func (p *Pooler) Stop() {
	if p.alive == nil {
		return
	}
	_ = p.alive.Close()
	_ = p.cmd.Wait() // it was killed
	p.alive = nil
	_ = os.Remove(filepath.Join(p.dir.path, ".s.PGSQL.6432"))
}

// Missing ends a test for which a program is missing on this machine: it is skipped, but fails where CI says that everything is to be there.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what + ": deploy/install-test-tools.sh installs it")
}
