package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"tidings/db"
	"tidings/triggers"
)

// workshop is what all faults need and is made once: the program, and a PostgreSQL data directory to copy.
type workshop struct {
	dir     string
	reaper  *reaper
	tidings string // the program
	verbose bool
	stderr  io.Writer

	bin      string              // where PostgreSQL's programs are
	owner    *syscall.Credential // who runs them; nil: ourselves
	data     string              // the data directory to copy
	password string
	secret   string // of the service's tokens
	version  string

	sayMutex sync.Mutex
	tries    int
}

// schema are the tables that are written to. Messages 1 to hotRows are every writer's; the rest is whose who wrote it.
// The ledger says which transactions were committed: it is written in each of them, and nobody watches it.
const schema = `
create table messages (
    id      bigint generated always as identity primary key,
    writer  integer not null,
    op      bigint  not null,
    version bigint  not null,
    body    text    not null
);
create table comments (
    id         bigint generated always as identity primary key,
    message_id bigint  not null,
    writer     integer not null,
    op         bigint  not null,
    version    bigint  not null,
    body       text    not null
);
create index on comments (writer);
create table notes (
    id      bigint generated always as identity primary key,
    owner   bigint  not null,
    writer  integer not null,
    op      bigint  not null,
    version bigint  not null,
    body    text    not null
);
create table drafts (like notes including all);
alter table notes enable row level security;
create policy own on notes for select using (owner = 0 or owner::text = tidings.user_id());
create table ledger (
    writer integer not null,
    tx     bigint  not null,
    xid    xid8    not null default pg_current_xact_id(),
    primary key (writer, tx)
);
insert into messages (writer, op, version, body) select 0, 0, 0, 'hot' from generate_series(1, 4);
select tidings.watch('messages', read => 'public');
select tidings.watch('comments', key => 'message_id', read => 'public');
select tidings.watch('notes');
select tidings.watch('drafts', read => 'owner:owner');`

// hotRows are the messages that every writer updates, 1 to this; commentKeys are the keys of comments, 1 to this.
const (
	hotRows     = 4
	commentKeys = 8
)

func prepare(ctx context.Context, stderr io.Writer, verbose bool) (*workshop, error) {
	w := &workshop{verbose: verbose, stderr: stderr, secret: rand.Text() + rand.Text()}
	err := w.prepare(ctx)
	if err != nil {
		w.clean()
		return nil, err
	}
	return w, nil
}

func (w *workshop) prepare(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		return err
	}
	if w.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	if w.reaper, err = startReaper(w.dir); err != nil {
		return errors.Join(err, os.Remove(w.dir))
	}
	if err := os.Chmod(w.dir, 0o711); err != nil { // PostgreSQL may run as another user
		return err
	}
	w.tidings = filepath.Join(w.dir, "tidings")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-o", w.tidings, "tidings/cmd/tidings")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build tidings: %w\n%s", err, out)
	}
	return w.makeData(ctx)
}

// makeData has the embedded PostgreSQL make a cluster, puts into it what all faults begin with, and stops it.
func (w *workshop) makeData(ctx context.Context) error {
	home := filepath.Join(w.dir, "template")
	embedded, database, err := startEmbedded(ctx, home)
	if err != nil {
		return err
	}
	defer embedded.Stop()
	defer database.Close()
	if err := database.MigrateUp(ctx, db.MigrationSet{Name: "live", Files: triggers.Migrations}); err != nil {
		return err
	}
	if _, err := database.Pool.Exec(ctx, schema); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	err = database.Pool.QueryRow(ctx, `select setting, current_setting('server_version') from pg_config where name = 'BINDIR'`).
		Scan(&w.bin, &w.version)
	if err != nil {
		return fmt.Errorf("find PostgreSQL's programs: %w", err)
	}
	if w.password, err = readPassword(home); err != nil {
		return err
	}
	w.data = filepath.Join(home, "postgres")
	w.owner, err = ownerOf(w.data)
	return err
}

// startEmbedded makes a cluster, of another system identifier than all others.
func startEmbedded(ctx context.Context, home string) (*db.Embedded, *db.DB, error) {
	if err := os.Mkdir(home, 0o711); err != nil {
		return nil, nil, err
	}
	embedded := &db.Embedded{DataDir: home, Settings: map[string]string{"fsync": "off"}}
	if err := embedded.Start(ctx); err != nil {
		return nil, nil, err
	}
	database, err := db.Open(ctx, embedded.URL())
	if err != nil {
		embedded.Stop()
		return nil, nil, err
	}
	return embedded, database, nil
}

func (w *workshop) clean() {
	if w.reaper != nil {
		w.reaper.sweep()
	}
}

// say tells whoever wants to know how it goes.
func (w *workshop) say(format string, args ...any) {
	if !w.verbose {
		return
	}
	w.sayMutex.Lock()
	defer w.sayMutex.Unlock()
	fmt.Fprintf(w.stderr, "         %s %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// newDir makes a directory for one try.
func (w *workshop) newDir() (string, error) {
	w.sayMutex.Lock()
	w.tries++
	dir := filepath.Join(w.dir, fmt.Sprint(w.tries))
	w.sayMutex.Unlock()
	return dir, os.Mkdir(dir, 0o711)
}
