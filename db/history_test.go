package db_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
	"tidings/triggers"
)

// The tables' history is written by row triggers of the test's own, in the writers' transactions: what is in it is what
// was committed, and what every subscriber must have heard.
const historySchema = `
create table history (seq bigserial, xid xid8 default pg_current_xact_id(), tab text, op text, row text);
create function remember() returns trigger language plpgsql set timezone = 'UTC' as $$
begin
    insert into history (tab, op, row) values (tg_table_name, tg_op, to_json(case tg_op when 'DELETE' then old else new end)::text);
    return null;
end $$;
create table lines (text text); -- no key
create trigger history after insert or update or delete on messages for each row execute function remember();
create trigger history after insert or update or delete on comments for each row execute function remember();
create trigger history after insert or update or delete on lines for each row execute function remember();
insert into users (username, display_name) select 'user' || n, 'User ' || n from generate_series(1, 10) n;
select tidings.watch('lines', event => 'line', read => 'public');`

// install makes a database live, with the application's tables.
func install(t *testing.T, url string) *db.DB {
	t.Helper()
	database, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	for _, set := range []db.MigrationSet{{Name: "live", Files: triggers.Migrations}, db.ChannelMigrations} {
		if err := database.MigrateUp(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	if err := (&db.Channel{DB: database}).OpenToAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	return database
}

// execute runs a statement on the database's pool.
func execute(t *testing.T, database *db.DB, sql string, args ...any) {
	t.Helper()
	if _, err := database.Pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// listenerTo collects all events that a hub has for it.
type listenerTo struct {
	sub    *realtime.Subscriber
	wake   chan struct{}
	mu     sync.Mutex
	events []*realtime.Event
	resets int
	ready  chan struct{}
}

// listenTo follows channels until the test ends. delay is called before each taking of what there is.
func listenTo(t *testing.T, hub *realtime.Hub, delay func(ctx context.Context), names ...string) *listenerTo {
	l := &listenerTo{wake: make(chan struct{}, 1), ready: make(chan struct{})}
	l.sub = hub.NewSubscriber(nil, func() { l.wake <- struct{}{} })
	var channels []realtime.Channel
	for _, name := range names {
		c, err := realtime.ParseChannel(name)
		if err != nil {
			t.Fatal(err)
		}
		channels = append(channels, c)
	}
	l.sub.Subscribe(t.Context(), channels, realtime.SubscribeOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		left := len(channels)
		for {
			select {
			case <-ctx.Done():
				return
			case <-l.wake:
			}
			for {
				delay(ctx)
				items, err := l.sub.Next(ctx)
				if err != nil || len(items) == 0 {
					break
				}
				l.mu.Lock()
				for _, i := range items {
					switch {
					case i.Run != nil:
						l.events = append(l.events, i.Run.Events...)
					case i.Notice.Kind == realtime.NoticeReset:
						l.resets++
					case i.Notice.Kind == realtime.NoticeSubscribed:
						if left--; left == 0 {
							close(l.ready)
						}
					}
				}
				l.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
		l.sub.Close()
	})
	select {
	case <-l.ready:
	case <-time.After(time.Minute):
		t.Fatal("not subscribed within a minute")
	}
	return l
}

func (l *listenerTo) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// follow makes a reader and a hub.
func follow(t *testing.T, database *db.DB, options realtime.Options) (*realtime.Hub, *db.Reader) {
	t.Helper()
	reader := &db.Reader{DB: database, Logger: slog.New(slog.NewTextHandler(testLog{t}, nil))}
	hub := realtime.NewHub(reader, options)
	reader.Sink = hub
	runReader(t, reader, hub)
	return hub, reader
}

// runReader runs a reader until the test ends.
func runReader(t *testing.T, reader *db.Reader, hub *realtime.Hub) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- reader.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("reader: %v", err)
		}
	})
	await(t, "the reader to be live", func() bool { return !hub.Position().IsZero() && reader.Status().Live })
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// await waits until the condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(2 * time.Minute)
	for !condition() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited two minutes for %s", what)
		}
	}
}

// writer makes random transactions.
type writer struct {
	random *rand.Rand
	url    string
	conn   *pgx.Conn
	large  int // statements of many rows that are left
}

// write makes one transaction, which may be rolled back or fail: the history says what came of it.
func (w *writer) write(ctx context.Context) error {
	if w.conn == nil || w.conn.IsClosed() {
		conn, err := pgx.Connect(ctx, w.url)
		if err != nil {
			return err
		}
		w.conn = conn
	}
	options := pgx.TxOptions{IsoLevel: []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}[w.random.IntN(4)]}
	tx, err := w.conn.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	for range 1 + w.random.IntN(4) {
		if err := w.statement(ctx, tx); err != nil {
			return err
		}
	}
	if w.random.IntN(6) == 0 {
		return tx.Rollback(ctx)
	}
	return tx.Commit(ctx)
}

func (w *writer) statement(ctx context.Context, tx pgx.Tx) error {
	exec := func(sql string, args ...any) error {
		_, err := tx.Exec(ctx, sql, args...)
		return err
	}
	author := 1 + w.random.IntN(10)
	switch n := w.random.IntN(22); {
	case n < 8:
		return exec(`insert into messages (author_id, title, content) values ($1, 'Hello', $2)`, author, fmt.Sprint("number ", w.random.Int()))
	case n < 10:
		return exec(`insert into messages (author_id, title, content) select $1, 'Many', 'row ' || n from generate_series(1, $2) n`, author, 2+w.random.IntN(40))
	case n < 13:
		return exec(`insert into comments (message_id, author_id, content)
			select id, $1, 'ça va? да' from messages order by random() limit $2 for share skip locked`, author, 1+w.random.IntN(5))
	case n < 15:
		return exec(`update messages set content = content || '!' where id in (select id from messages order by random() limit $1 for update skip locked)`, 1+w.random.IntN(4))
	case n < 16: // from one key to another
		return exec(`update comments set message_id = (select min(id) from messages)
			where id in (select id from comments order by random() limit 3 for update skip locked) and exists (select from messages)`)
	case n < 17: // cascades
		return exec(`delete from messages where id in (select id from messages order by random() limit 1 for update skip locked)`)
	case n < 18:
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"lines"}, []string{"text"}, pgx.CopyFromRows([][]any{{"a"}, {"b"}, {"c"}}))
		return err
	case n < 19:
		return pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
			if _, err := savepoint.Exec(ctx, `insert into lines values ('in a savepoint')`); err != nil || w.random.IntN(2) == 0 {
				return err
			}
			return savepoint.Rollback(ctx)
		})
	case n < 20: // commits late
		return exec(`select pg_sleep($1)`, w.random.Float64()*0.05)
	case w.large > 0:
		w.large--
		if w.random.IntN(2) == 0 {
			return exec(`insert into lines select 'row ' || n from generate_series(1, 50000) n`)
		}
		return exec(`insert into messages (author_id, title, content) values ($1, 'Large', repeat('Ünïcödé 字 ', 60000))`, author)
	}
	return exec(`insert into lines values ($1)`, fmt.Sprint(w.random.Int()))
}

// writeAll has many writers make transactions until each has made some number of them that did not fail.
func writeAll(t *testing.T, url string, writers, transactions int, seed uint64) {
	t.Helper()
	var group sync.WaitGroup
	var rolledBack atomic.Int64
	for n := range writers {
		group.Go(func() {
			w := &writer{random: rand.New(rand.NewPCG(seed, uint64(n))), url: url}
			if n < 3 {
				w.large = 2
			}
			defer func() {
				if w.conn != nil {
					_ = w.conn.Close(context.WithoutCancel(t.Context()))
				}
			}()
			for made := 0; made < transactions && t.Context().Err() == nil; {
				if err := w.write(t.Context()); err != nil {
					rolledBack.Add(1)
					select { // the server may be away
					case <-time.After(5 * time.Millisecond):
					case <-t.Context().Done():
					}
					continue
				}
				made++
			}
		})
	}
	group.Wait()
	t.Logf("%d writers made %d transactions each; %d failed or were refused and tried again", writers, transactions, rolledBack.Load())
}

// change is a row's change, by what was written and by what was heard.
type change struct {
	xid  uint64
	kind string
	row  string
}

func history(t *testing.T, database *db.DB, where string) []change {
	t.Helper()
	rows, err := database.Pool.Query(t.Context(), `select xid::text::bigint,
		case tab when 'messages' then 'message' when 'comments' then 'comment' else 'line' end
		|| case op when 'INSERT' then '_added' when 'UPDATE' then '_updated' else '_deleted' end, row
		from history where `+where+` order by xid, seq`)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c change, err error) {
		err = row.Scan(&c.xid, &c.kind, &c.row)
		return c, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// compare checks that what was heard is the history: each change once, those of a transaction to one table in their order.
// Across a cascade's tables, row triggers and statements have orders of their own.
func compare(t *testing.T, who string, events []*realtime.Event, want []change) {
	t.Helper()
	split := func(changes []change) map[string][]change {
		m := make(map[string][]change)
		for _, c := range changes {
			table, _, _ := strings.Cut(c.kind, "_")
			key := fmt.Sprint(c.xid, " ", table)
			m[key] = append(m[key], c)
		}
		return m
	}
	var heard []change
	seen := make(map[realtime.ID]bool)
	for _, e := range events {
		if seen[e.ID] {
			t.Errorf("%s heard event %s twice", who, e.ID)
		}
		seen[e.ID] = true
		heard = append(heard, change{e.Xid, e.Type, string(e.Data)})
	}
	got, expected := split(heard), split(want)
	wrong := 0
	for key, changes := range expected {
		if !slices.Equal(got[key], changes) {
			if wrong++; wrong <= 5 {
				t.Errorf("%s, transaction and table %s: heard %d changes, want %d, or in another order", who, key, len(got[key]), len(changes))
			}
		}
		delete(got, key)
	}
	for key, changes := range got {
		if wrong++; wrong <= 5 {
			t.Errorf("%s, transaction and table %s: heard %d changes, want none", who, key, len(changes))
		}
	}
	if wrong > 0 {
		t.Errorf("%s: %d transactions of %d were heard wrongly", who, wrong, len(expected))
	}
}

func noDelay(context.Context) {}

// sluggish pauses now and then, for longer than a small queue lasts.
func sluggish(ctx context.Context) {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
	}
}

// finish waits until all have heard all, and compares.
func finish(t *testing.T, database *db.DB, all map[string]*listenerTo, comments *listenerTo) {
	t.Helper()
	want := history(t, database, "true")
	for who, l := range all {
		await(t, fmt.Sprintf("%s to hear %d events", who, len(want)), func() bool { return l.count() >= len(want) })
		l.mu.Lock()
		compare(t, who, l.events, want)
		if l.resets > 0 {
			t.Errorf("%s was reset %d times, want 0", who, l.resets)
		}
		l.mu.Unlock()
	}
	// What has a key is heard under it, moves under both.
	comments.mu.Lock()
	defer comments.mu.Unlock()
	for _, e := range comments.events {
		if e.Topic != "comments" || !e.Keyed || e.Key != "1" && e.OldKey != "1" {
			t.Errorf("channel comments:1 heard %s of %s", e.Type, e.Channel())
		}
	}
	t.Logf("%d changes in the history, each heard once by each of %d subscribers", len(want), len(all))
}

func listeners(t *testing.T, hub *realtime.Hub) (map[string]*listenerTo, *listenerTo) {
	all := map[string]*listenerTo{
		"the fast one":     listenTo(t, hub, noDelay, "messages", "comments", "lines"),
		"the slow one":     listenTo(t, hub, sluggish, "messages", "comments", "lines"),
		"the thorough one": listenTo(t, hub, noDelay, "comments:1", "messages", "comments", "lines", "messages:1"),
	}
	return all, listenTo(t, hub, noDelay, "comments:1")
}

func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.Database(t)
	database := install(t, url)
	if _, err := database.Pool.Exec(t.Context(), historySchema); err != nil {
		t.Fatal(err)
	}
	hub, _ := follow(t, database, realtime.Options{QueueBytes: 256 << 10, RecentBytes: 2 << 20})
	all, comments := listeners(t, hub)
	writeAll(t, url, 32, transactions(t, 30), rand.Uint64())
	finish(t, database, all, comments)
}

func transactions(t *testing.T, n int) int {
	if testing.Short() {
		return n / 5
	}
	return n
}

// The listener's backend is terminated a hundred times, the reader's now and then, and PostgreSQL is restarted and killed
// in the middle.
func TestExactlyOnceThroughOutages(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, map[string]string{"max_connections": "200"})
	url := cluster.URL()
	database := install(t, url)
	if _, err := database.Pool.Exec(t.Context(), historySchema); err != nil {
		t.Fatal(err)
	}
	hub, reader := follow(t, database, realtime.Options{QueueBytes: 256 << 10, RecentBytes: 2 << 20})
	all, comments := listeners(t, hub)

	ctx, stop := context.WithCancel(t.Context())
	written := make(chan struct{})
	go func() {
		defer close(written)
		writeAll(t, url, 16, transactions(t, 60), rand.Uint64())
	}()
	terminated := 0
	for n := 0; terminated < 100; n++ {
		name := "tidings listener"
		if n%10 == 9 {
			name = "tidings reader"
		}
		var ended int
		// A new listener has to be there before the next is ended.
		err := database.Pool.QueryRow(ctx, `select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = $1`, name).Scan(&ended)
		if err == nil && name == "tidings listener" {
			terminated += ended
		}
		switch terminated {
		case 30:
			cluster.Restart(ctx)
			terminated++
		case 60:
			cluster.Kill()
			cluster.Start()
			terminated++
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	<-written
	stop()
	finish(t, database, all, comments)
	await(t, "the reader to be live and listening", func() bool { s := reader.Status(); return s.Live && s.Listening })
}
