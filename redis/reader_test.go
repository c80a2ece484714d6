package redis_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
	"tidings/redis"
	"tidings/redis/redistest"
	"tidings/triggers"
)

// patience is how long anything may take, on a machine that is busy with other tests.
const patience = 90 * time.Second

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if condition() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no end to waiting for %s", what)
		}
	}
}

// newDatabase makes one with a live table: notes, of writers who number what they write.
func newDatabase(t *testing.T, address string) *db.DB {
	t.Helper()
	database, err := db.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	if err := database.MigrateUp(t.Context(), db.MigrationSet{Name: "live", Files: triggers.Migrations}); err != nil {
		t.Fatal(err)
	}
	_, err = database.Pool.Exec(t.Context(), `
		create table notes (id bigint generated always as identity primary key, writer integer not null, n integer not null, filler text);
		select tidings.watch('notes', key => 'writer', read => 'public')`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	return database
}

// sink keeps what a reader gives it.
type sink struct {
	t    *testing.T
	name string

	mu       sync.Mutex
	start    realtime.Cursor
	position realtime.Cursor
	events   []*realtime.Event
	signals  []realtime.Signal
	restarts []realtime.Reset
	orders   []string // whose connections are to be closed
	topics   []realtime.Topic
	live     bool
}

func (*sink) SetLineage(realtime.Lineage) {}
func (*sink) Recheck()                    {}

func (s *sink) Start(at realtime.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start, s.position = at, at
}

func (s *sink) Continue(at realtime.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position = at
}

func (s *sink) Restart(at realtime.Cursor, reason realtime.Reset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position, s.restarts = at, append(s.restarts, reason)
}

func (s *sink) Publish(b realtime.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.From.String() != s.position.String() {
		s.t.Errorf("%s: a batch begins at %s, and the one before ended at %s", s.name, b.From, s.position)
	}
	if n := len(b.Events); n > 0 && b.Events[n-1].Cursor.String() != b.To.String() && !b.To.Includes(b.Events[n-1].Cursor) {
		s.t.Errorf("%s: a batch ends at %s, and its last event at %s", s.name, b.To, b.Events[n-1].Cursor)
	}
	s.position = b.To
	for _, e := range b.Events {
		if e.Topic == "notes" {
			s.events = append(s.events, e)
		}
	}
}

func (s *sink) SetLive(live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = live
}

func (s *sink) SetTopics(topics []realtime.Topic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics = topics
}

func (s *sink) Signal(signal realtime.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signals = append(s.signals, signal)
}

// instance is a reader with its relay and what it has read.
type instance struct {
	*sink
	reader *db.Reader
	relay  *redis.Relay
	stop   func() // and waits until it has
}

var instances struct {
	sync.Mutex
	n int
}

// start starts an instance, until stop is called or the test ends. options may change it before.
func start(t *testing.T, database *db.DB, url string, options func(*instance)) *instance {
	t.Helper()
	instances.Lock()
	instances.n++
	name := fmt.Sprint("instance ", instances.n)
	instances.Unlock()
	i := &instance{sink: &sink{t: t, name: name}}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("of", name)
	i.reader = &db.Reader{DB: database, Sink: i.sink, Logger: logger, PollInterval: 200 * time.Millisecond, Timeout: 3 * time.Second, BeatInterval: 500 * time.Millisecond}
	i.relay = &redis.Relay{URL: url, Name: i.reader.Name(), Logger: logger, OnNudge: i.reader.Nudge, Lease: time.Second, Timeout: 500 * time.Millisecond}
	i.reader.Relay = i.relay
	i.reader.Disconnect = func(user, session string, revoked bool, _ time.Time) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.orders = append(i.orders, fmt.Sprint(user, " ", session, " ", revoked))
	}
	if options != nil {
		options(i)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group errgroup.Group
	group.Go(func() error { return i.reader.Run(ctx) })
	i.stop = sync.OnceFunc(func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		i.relay.Close()
	})
	t.Cleanup(i.stop)
	return i
}

// steady has nobody be taken for lost whom a busy machine keeps waiting.
func steady(i *instance) {
	i.reader.Timeout, i.relay.Lease, i.relay.Timeout = patience/3, patience/3, patience/3
}

func (i *instance) role() db.Role { return i.reader.Status().Role }

// told returns the ids of the events it was told of.
func (i *instance) told() []realtime.ID {
	i.mu.Lock()
	defer i.mu.Unlock()
	ids := make([]realtime.ID, len(i.events))
	for n, e := range i.events {
		ids[n] = e.ID
	}
	return ids
}

// write writes so many notes, each in a transaction.
func write(t *testing.T, database *db.DB, writer, n int) {
	t.Helper()
	for range n {
		if _, err := database.Pool.Exec(t.Context(), `insert into notes (writer, n) select $1::int, coalesce(max(n), 0) + 1 from notes where writer = $1`, writer); err != nil {
			t.Fatal(err)
		}
	}
}

// leader waits until one of the instances leads, and the others follow it, and all are live.
func leader(t *testing.T, all ...*instance) *instance {
	t.Helper()
	var leads *instance
	await(t, "one to lead, and the others to follow", func() bool {
		leads = nil
		for _, i := range all {
			s := i.reader.Status()
			switch {
			case !s.Live:
				return false
			case s.Role == db.RoleLeading && leads == nil:
				leads = i
			case s.Role != db.RoleFollowing:
				return false
			}
		}
		return leads != nil
	})
	return leads
}

func TestOneReadsForAll(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	database := newDatabase(t, dbtest.Database(t))
	all := []*instance{start(t, database, server.URL(), steady), start(t, database, server.URL(), steady), start(t, database, server.URL(), steady)}
	first := leader(t, all...)
	write(t, database, 1, 10)
	for _, i := range all {
		await(t, "the events", func() bool { return len(i.told()) == 10 })
	}
	await(t, "only one to have a connection that reads, and one that listens", func() bool {
		var connections int
		err := database.Pool.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database() and application_name in ('tidings reader', 'tidings listener')`).Scan(&connections)
		if err != nil {
			t.Fatal(err)
		}
		return connections == 2
	})
	// A signal is relayed, and what can be subscribed to, and what servers are told to do.
	if err := database.Signal(t.Context(), realtime.Signal{Channel: realtime.Channel{Topic: "notes"}, Type: "typing", Data: []byte(`{}`), From: "anna"}); err != nil {
		t.Fatal(err)
	}
	if _, err := database.Pool.Exec(t.Context(), `create table more (id integer primary key); select tidings.watch('more'); select tidings.revoke('5', 'abc')`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		await(t, "the signal, the topic and the order", func() bool {
			i.mu.Lock()
			defer i.mu.Unlock()
			return len(i.signals) == 1 && i.signals[0].From == "anna" && slices.Equal(i.orders, []string{"5 abc true"}) && slices.ContainsFunc(i.topics, func(t realtime.Topic) bool { return t.Name == "more" })
		})
	}
	// Whoever leads may go.
	first.stop()
	rest := slices.DeleteFunc(slices.Clone(all), func(i *instance) bool { return i == first })
	leader(t, rest...)
	write(t, database, 1, 10)
	for _, i := range rest {
		await(t, "the events", func() bool { return len(i.told()) == 20 })
		if want := first.told(); !slices.Equal(i.told()[:10], want) {
			t.Errorf("%s was told of %v, and the first that led of %v", i.name, i.told()[:10], want)
		}
	}
}

func TestWithoutRedisEachReadsForItself(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	database := newDatabase(t, dbtest.Database(t))
	all := []*instance{start(t, database, server.URL(), nil), start(t, database, server.URL(), nil)}
	leader(t, all...)
	for round := range 3 {
		lose, find := server.Kill, func() {
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
		}
		if round == 1 {
			lose, find = server.Pause, server.Resume // its connections stay open, and nothing comes
		}
		lose()
		write(t, database, 1, 5)
		for _, i := range all {
			await(t, "the events without Redis", func() bool { return i.role() == db.RoleAlone && len(i.told()) == 10*round+5 })
		}
		find()
		leader(t, all...)
		write(t, database, 1, 5)
		for _, i := range all {
			await(t, "the events with Redis", func() bool { return len(i.told()) == 10*round+10 })
		}
	}
	if !slices.Equal(all[0].told(), all[1].told()) {
		t.Errorf("the one was told of %v, and the other of %v", all[0].told(), all[1].told())
	}
}

// An instance that is started while there is no Redis finds it later.
func TestStartedBeforeRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	database := newDatabase(t, dbtest.Database(t))
	i := start(t, database, server.URL(), nil)
	await(t, "it to be live", func() bool { return i.reader.Status().Live && i.role() == db.RoleAlone })
	write(t, database, 1, 3)
	await(t, "the events", func() bool { return len(i.told()) == 3 })
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	leader(t, i)
	write(t, database, 1, 3)
	await(t, "the events", func() bool { return len(i.told()) == 6 })
}

// With a way past a pooler, another takes the lead though the pooler is gone.
func TestLeadMovesWithoutThePooler(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	address := dbtest.Database(t)
	direct := newDatabase(t, address)
	pooler := dbtest.StartPooler(t, address, nil)
	pooled, err := db.OpenDirect(t.Context(), pooler.URL(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pooled.Close)
	first := start(t, direct, server.URL(), nil)
	leader(t, first)
	second := start(t, pooled, server.URL(), nil)
	leader(t, first, second)
	pooler.Stop()
	write(t, direct, 1, 3)
	first.stop()
	write(t, direct, 1, 3)
	await(t, "the events", func() bool { return len(second.told()) == 6 && second.role() == db.RoleLeading })
}

// Databases that share a Redis do not hear of each other.
func TestDatabasesShareARedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	one, other := newDatabase(t, dbtest.Database(t)), newDatabase(t, dbtest.Database(t))
	ones := []*instance{start(t, one, server.URL(), nil), start(t, one, server.URL(), nil)}
	others := []*instance{start(t, other, server.URL(), nil), start(t, other, server.URL(), nil)}
	leader(t, ones...)
	leader(t, others...)
	write(t, one, 1, 3)
	write(t, other, 2, 5)
	for n, i := range append(ones, others...) {
		want := 3
		if n >= 2 {
			want = 5
		}
		await(t, "the events", func() bool { return len(i.told()) >= want })
		if got := len(i.told()); got != want {
			t.Errorf("%s was told of %d events, and %d were written in its database", i.name, got, want)
		}
	}
}

// Somebody who waits for a position need not wait until the one that leads reads again by itself.
func TestNudge(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	database := newDatabase(t, dbtest.Database(t))
	slow := func(i *instance) {
		i.reader.PollInterval, i.reader.NoListen, i.reader.BeatInterval = time.Hour, true, -1
	}
	all := []*instance{start(t, database, server.URL(), slow), start(t, database, server.URL(), slow)}
	leads := leader(t, all...)
	follows := all[0]
	if leads == follows {
		follows = all[1]
	}
	write(t, database, 1, 1)
	await(t, "what follows to be nudged", func() bool {
		follows.reader.Nudge()
		return len(follows.told()) == 1
	})
}
