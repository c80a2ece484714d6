package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"tidings/cmd/tidings/programtest"
	"tidings/db"
	"tidings/db/dbtest"
	"tidings/triggers"
)

// ticking are writers of table ticks, who wait for a lock for no longer than a second.
type ticking struct {
	stop    chan struct{}
	stopped sync.Once
	group   sync.WaitGroup
	written [2]int
	count   atomic.Int64
	longest [2]time.Duration // that a statement has taken
}

func tickAway(t *testing.T, address string) *ticking {
	t.Helper()
	w := &ticking{stop: make(chan struct{})}
	for writer := range w.written {
		w.group.Go(func() {
			conn, err := pgx.Connect(t.Context(), address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(context.WithoutCancel(t.Context()))
			if _, err := conn.Exec(t.Context(), `set lock_timeout = '1s'`); err != nil {
				t.Error(err)
				return
			}
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-w.stop:
					return
				case <-pace.C:
				}
				begun := time.Now()
				if _, err := conn.Exec(t.Context(), `insert into ticks values ($1, $2)`, writer, w.written[writer]+1); err != nil {
					t.Error("a writer fails:", err)
					return
				}
				w.longest[writer] = max(w.longest[writer], time.Since(begun))
				w.written[writer]++
				w.count.Add(1)
			}
		})
	}
	return w
}

// goOn waits until much more is written.
func (w *ticking) goOn(t *testing.T) {
	t.Helper()
	before := w.count.Load()
	eventually(t, "writers write", func() bool { return w.count.Load() > before+100 })
}

func (w *ticking) end() {
	w.stopped.Do(func() { close(w.stop) })
	w.group.Wait()
}

// full is a database in which much is written, and in the log.
func full(t *testing.T) string {
	t.Helper()
	address := liveDatabase(t)
	sql(t, address, `create table ticks (writer int, n int, primary key (writer, n)); select tidings.watch('ticks', read => 'public')`)
	sql(t, address, `create table bulk (id int primary key, note text); select tidings.watch('bulk', read => 'public')`)
	sql(t, address, `insert into bulk select n, repeat('x', 100) from generate_series(1, 50000) as n`)
	sql(t, address, `insert into ticks select -1, n from generate_series(1, 20000) as n`)
	return address
}

// withoutSecret is an environment of services for which nobody signs in.
func withoutSecret() []string {
	return slices.DeleteFunc(environ(), func(v string) bool { return strings.HasPrefix(v, "TIDINGS_SECRET=") })
}

// All is removed and installed anew while a service runs, clients follow, people write, and one reads for long. Nobody who writes fails, and nobody
// who follows is left in the belief of having been told all.
func TestDownAndUpWhileServing(t *testing.T) {
	t.Parallel()
	address := full(t)
	env := withoutSecret()
	p, at := serve(t, env, "--database-url", address, "--no-sign-in")
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+at+"/ws?channel=ticks", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	var last int64 // the n of writer 0's newest row
	cursor := ""
	until := func(what string, is func(typ, code string) bool) {
		t.Helper()
		for {
			_ = ws.SetReadDeadline(time.Now().Add(patience))
			var f struct {
				Type, Code, Cursor string
				Data               json.RawMessage
			}
			if err := ws.ReadJSON(&f); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			var row tick
			if f.Type == "tick_added" && json.Unmarshal(f.Data, &row) == nil && row.Writer == 0 {
				last, cursor = int64(row.N), f.Cursor
			}
			if is(f.Type, f.Code) {
				return
			}
		}
	}
	until("the stream is live", func(typ, _ string) bool { return typ == "subscribed" })
	writers := tickAway(t, address)
	defer writers.end()
	until("events come", func(string, string) bool { return last > 50 })

	reader, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(context.WithoutCancel(t.Context()))
	if _, err := reader.Exec(t.Context(), `begin; select count(*) from ticks`); err != nil {
		t.Fatal(err)
	}
	down := begin(t, env, "migrate", "down", "--database-url", address)
	for range 3 {
		eventually(t, "the migration waits for the table", func() bool {
			return ask[int](t, address, `select count(*) from pg_locks where relation = 'ticks'::regclass and mode = 'AccessExclusiveLock' and not granted`) > 0
		})
		writers.goOn(t)
	}
	if _, err := reader.Exec(t.Context(), `commit`); err != nil {
		t.Fatal(err)
	}
	until("its client is told that there is no such channel any more", func(typ, code string) bool { return typ == "error" && code == "unknown_channel" })
	if code := down.wait(); code != 0 {
		t.Fatalf("exit code %d: %s", code, &down.stderr)
	}
	p.await(&p.stderr, `the log cannot be read`)
	if readyz(t, at) != http.StatusServiceUnavailable {
		t.Error("it says that it is ready")
	}
	writers.goOn(t)

	succeed(t, env, "migrate", "up", "--only", "live", "--database-url", address)
	succeed(t, env, "watch", "ticks", "--read", "public", "--database-url", address)
	eventually(t, "the service is ready again", func() bool { return readyz(t, at) == http.StatusOK })
	if err := ws.WriteJSON(map[string]string{"type": "subscribe", "channel": "ticks", "since": cursor}); err != nil {
		t.Fatal(err)
	}
	until("whoever comes with a cursor from before is told to load afresh", func(typ, _ string) bool { return typ == "reset" })
	before := last
	until("events come again", func(string, string) bool { return last > before+20 })
	writers.end()
	t.Logf("%d rows were written; no statement took longer than %s", writers.count.Load(), slices.Max(writers.longest[:]).Round(time.Millisecond))
}

// latest is the version of schema tidings that this program knows.
var latest = sync.OnceValue(func() int {
	names, err := fs.Glob(triggers.Migrations, "migrations/*.up.sql")
	if err != nil || len(names) == 0 {
		panic(fmt.Sprint("migrations/*.up.sql: ", names, err))
	}
	n, err := strconv.Atoi(strings.Split(filepath.Base(slices.Max(names)), "_")[0])
	if err != nil {
		panic(err)
	}
	return n
})

// nextMigrations are those of a version that is yet to come: one that adds something, and one with which the servers of before must not serve.
func nextMigrations() map[string]string {
	name := func(n int, name string) string { return fmt.Sprintf("%04d_%s.up.sql", latest()+n, name) }
	return map[string]string{
		name(1, "add"): `alter table tidings.log add column added text; select tidings.refresh()`,
		name(2, "say"): fmt.Sprintf(`create or replace function tidings.compatible_from() returns integer language sql immutable set search_path = pg_catalog, pg_temp as 'select %d'`, latest()+2),
		name(3, "change"): fmt.Sprintf(`select tidings.await_instances(%d);
			create table tidings.seen_by as select i.name from tidings.instances i
				union all select a.application_name from pg_stat_activity a where a.datname = current_database() and a.application_name in ('tidings reader', 'tidings listener')`, latest()+2),
	}
}

// next is a set of migrations that has the first so many of them, too.
func next(t *testing.T, upto int) db.MigrationSet {
	t.Helper()
	files := make(fstest.MapFS)
	names, err := fs.Glob(triggers.Migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(triggers.Migrations, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	later := nextMigrations()
	for _, name := range slices.Sorted(maps.Keys(later))[:upto] {
		files["migrations/"+name] = &fstest.MapFile{Data: []byte(later[name])}
	}
	return db.MigrationSet{Name: "live", Files: files}
}

// buildNext builds a program of the next version.
func buildNext(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	replace := make(map[string]string)
	folder, err := filepath.Abs("../../triggers/migrations")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range nextMigrations() {
		for place, text := range map[string]string{name: text, strings.Replace(name, ".up.", ".down.", 1): "select 1"} {
			file := filepath.Join(dir, place)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			replace[filepath.Join(folder, place)] = file
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)
	}
	if err == nil {
		err = programtest.Build(filepath.Join(dir, "next"), "v2.0.0", "-overlay", filepath.Join(dir, "overlay.json"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "next")
}

// A newer version adds something while an older one serves, which goes on; then one that is not compatible comes, for which the older one
// makes way. People write all the time, and one reads for long; whoever follows is told each row once and in order.
func TestUpgradeWhileServing(t *testing.T) {
	t.Parallel()
	program := buildNext(t)
	address := full(t)
	env := withoutSecret()
	flags := []string{"--database-url", address, "--no-sign-in"}
	older, at := serve(t, env, flags...)
	b := balance(t, at)
	b.awaitReady(1)

	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	var all []*witnessed
	cursor := ask[string](t, address, `select tidings.cursor()`)
	enter := func(name string, follow func(w *witnessed)) {
		w := &witnessed{name: name, late: func() bool { return true }} // between the two, nobody is there
		all = append(all, w)
		group.Go(func() { follow(w) })
	}
	for name, way := range ways {
		enter(name, func(w *witnessed) { w.follow(ctx, b.at(), cursor, way) })
	}
	enter("clients/go", func(w *witnessed) { w.followInGo(ctx, b.at(), cursor) })
	reader, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(context.WithoutCancel(t.Context()))
	if _, err := reader.Exec(t.Context(), `begin isolation level repeatable read; select count(*) from ticks`); err != nil {
		t.Fatal(err)
	}
	writers := tickAway(t, address)
	defer writers.end()

	database, err := db.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	if err := database.MigrateUp(t.Context(), next(t, 1)); err != nil {
		t.Fatal(err)
	}
	older.await(&older.stderr, fmt.Sprintf(`level=INFO msg="the database has a newer version of schema tidings, with which this program goes on" version=%d known=%d`, latest()+1, latest()))
	writers.goOn(t)
	if readyz(t, at) != http.StatusOK {
		t.Error("the older one is not ready any more")
	}
	// Also when it is started anew.
	again, _ := serve(t, env, flags...)
	again.signal(syscall.SIGTERM)
	again.wait()

	newer := beginProgram(t, program, env, append([]string{"serve", "--listen", "127.0.0.1:0"}, flags...)...)
	if code := older.wait(); code != 1 {
		t.Errorf("the older one ends with %d, want 1", code)
	}
	older.await(&older.stderr, `level=ERROR msg="the database is of a version that this program cannot serve: it stops"`)
	b.add(newer.await(&newer.stderr, `msg=live address=(\S+)`)[1])
	if seen := ask[int](t, address, `select count(*) from tidings.seen_by`); seen != 0 {
		t.Errorf("the incompatible migration was run while %d still read", seen)
	}
	writers.goOn(t)
	writers.end()
	total := int(writers.count.Load())
	for _, w := range all {
		eventually(t, fmt.Sprintf("%s was told all %d rows", w.name, total), func() bool { return w.counted() >= total })
	}
	cancel()
	group.Wait()
	for _, w := range all {
		w.expectInOrder(t, writers.written)
	}
	fail(t, env, append([]string{"serve", "--listen", "127.0.0.1:0"}, flags...), "it is too old")
	t.Logf("%d rows were written; no statement took longer than %s", total, slices.Max(writers.longest[:]).Round(time.Millisecond))
}

// Several that start at once in an empty database, of which one installs it.
func TestStartAtOnce(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	var all []*program
	for range 3 {
		all = append(all, begin(t, environ(), "serve", "--listen", "127.0.0.1:0", "--database-url", address))
	}
	for _, p := range all {
		p.await(&p.stderr, `msg=live`)
		if lines := p.stderr.String(); strings.Contains(lines, "level=ERROR") || strings.Contains(lines, "level=WARN") {
			t.Errorf("it complains: %s", lines)
		}
	}
}

// Whoever is killed in the middle of installing leaves nothing half done.
func TestMigrateKilled(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	env := environ("DATABASE_URL=" + address)
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	killed := 0
	for version := range 8 {
		p := begin(t, env, "migrate", "up", "--only", "live")
		eventually(t, "it has come so far", func() bool {
			var n int
			err := conn.QueryRow(t.Context(), `select coalesce(max(version), 0) from tidings.migrations_live`).Scan(&n)
			return err == nil && n >= version
		})
		p.signal(syscall.SIGKILL)
		if p.wait() == -1 {
			killed++
		}
	}
	if killed == 0 {
		t.Error("it was never killed in the middle")
	}
	if got := states(t, succeed(t, env, "migrate", "up", "--only", "live")); got != "up to date, not installed" {
		t.Errorf("got %s", got)
	}
	sql(t, address, `create table orders (id int primary key); select tidings.watch('orders'); insert into orders values (1)`)
}
