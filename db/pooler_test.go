package db_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
	"tidings/triggers"
)

// someChanges are a few of each kind, in one transaction.
const someChanges = `
insert into messages (author_id, title, content) values (1, 'a', ''), (2, 'b', '');
insert into comments (message_id, author_id, content) select min(id), 1, 'x' from messages;
update comments set message_id = (select max(id) from messages) where id = (select min(id) from comments);
insert into lines select 'x' from generate_series(1, 20);
delete from messages where id = (select max(id) from messages)`

// Whatever goes through a transaction pooler, and though that dies in the middle: nothing is lost or doubled.
func TestExactlyOnceThroughPooler(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		direct bool
	}{{"with a way past it", true}, {"alone", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := dbtest.Database(t)
			pooler := dbtest.StartPooler(t, address, map[string]string{"default_pool_size": "3"})
			direct := ""
			if c.direct {
				direct = address
			}
			database, err := db.OpenDirect(t.Context(), pooler.URL(), direct)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(database.Close)
			if err := database.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, set := range []db.MigrationSet{{Name: "live", Files: triggers.Migrations}, db.ChannelMigrations} {
				if err := database.MigrateUp(t.Context(), set); err != nil {
					t.Fatal(err)
				}
			}
			if err := (&db.Channel{DB: database}).OpenToAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := database.Pool.Exec(t.Context(), historySchema); err != nil {
				t.Fatal(err)
			}
			reader := &db.Reader{
				DB: database, Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)),
				NoListen: !c.direct, PollInterval: 100 * time.Millisecond, Timeout: 30 * time.Second,
			}
			hub := realtime.NewHub(reader, realtime.Options{})
			reader.Sink = hub
			runReader(t, reader, hub)
			presence := &db.Presence{DB: database}
			runUntilEnd(t, presence.Run)
			presence.Arrive("1")

			all, comments := listeners(t, hub)
			writer, err := pgx.Connect(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			defer writer.Close(t.Context())
			write := func() {
				for range 100 {
					if _, err := writer.Exec(t.Context(), someChanges); err != nil {
						t.Fatal(err)
					}
				}
			}
			write()
			await(t, "some is heard", func() bool { return all["the fast one"].count() > 0 })
			pooler.Stop()
			write()
			pooler.Start()
			write()
			past, err := db.Open(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			defer past.Close()
			finish(t, past, all, comments)
			await(t, "the service is well", func() bool {
				s := reader.Status()
				return s.Live && s.Listening && s.Beating && presence.Status().Live
			})
		})
	}
}

// What a pooler's other clients have is not touched, and nothing of theirs is needed.
func TestPoolerSharesSessions(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	install(t, address)
	pooler := dbtest.StartPooler(t, address, map[string]string{"default_pool_size": "1"})
	database, err := db.Open(t.Context(), pooler.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	reader := &db.Reader{DB: database, NoListen: true}
	hub := realtime.NewHub(reader, realtime.Options{})
	reader.Sink = hub
	runReader(t, reader, hub)
	await(t, "the log is read", func() bool { return reader.Status().Live && reader.Status().Beating })

	conn, err := pgx.Connect(t.Context(), pooler.URL()+"&default_query_exec_mode=exec")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var changed []string
	// application_name is the pooler's to keep apart.
	err = conn.QueryRow(t.Context(), `select coalesce(array_agg(name), '{}') from pg_settings where source = 'session' and name <> 'application_name'`).Scan(&changed)
	if err != nil || len(changed) > 0 {
		t.Errorf("another client of the pooler finds %q changed: %v", changed, err)
	}
	var prepared int
	if err := conn.QueryRow(t.Context(), `select count(*) from pg_prepared_statements`).Scan(&prepared); err != nil || prepared > 0 {
		t.Errorf("another client of the pooler finds %d prepared statements: %v", prepared, err)
	}
	var locks int
	if err := conn.QueryRow(t.Context(), `select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`).Scan(&locks); err != nil || locks > 0 {
		t.Errorf("another client of the pooler finds %d locks: %v", locks, err)
	}
}

// Who listens through a transaction pooler is told so, once, and polls.
func TestListenThroughPooler(t *testing.T) {
	t.Parallel()
	pooler := dbtest.StartPooler(t, dbtest.Database(t), nil)
	database := install(t, pooler.URL())
	log := &said{}
	reader := &db.Reader{DB: database, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	hub := realtime.NewHub(reader, realtime.Options{})
	reader.Sink = hub
	runReader(t, reader, hub)
	await(t, "it is said", func() bool { return strings.Contains(log.String(), "--direct-database-url") })
	await(t, "the log is read", func() bool { return reader.Status().Live && reader.Status().Beating })
	if reader.Status().Listening {
		t.Error("it says that it listens")
	}
	if said := log.String(); strings.Count(said, "--direct-database-url") != 1 {
		t.Errorf("it says %s", said)
	}
}

// What only the role's own settings can mend is said.
func TestPoolerDefaults(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	admin, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	role := "role_" + strings.ToLower(rand.Text())
	if _, err := admin.Exec(t.Context(), `create role `+role+` login; alter role `+role+` set default_transaction_isolation = 'repeatable read'`); err != nil {
		t.Fatal(err)
	}
	pooler := dbtest.StartPooler(t, strings.Replace(address, "user=tidings", "user="+role, 1), nil)
	ofStatements := dbtest.StartPooler(t, address, map[string]string{"pool_mode": "statement"})
	for url, want := range map[string]string{
		ofStatements.URL():                       "pool_mode = transaction",
		pooler.URL():                             "alter role \"" + role + "\" set default_transaction_isolation",
		pooler.URL() + "&search_path=app":        "no parameter search_path",
		pooler.URL() + "&statement_timeout=1000": "ignore_startup_parameters = statement_timeout",
	} {
		database, err := db.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer database.Close()
		if err := database.Check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", url, err, want)
		}
	}
	through, err := db.Open(t.Context(), ofStatements.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer through.Close()
	if _, err := newDoctor(t, through).Examine(t.Context()); err == nil || !strings.Contains(err.Error(), "pool_mode = transaction") {
		t.Errorf("the doctor says %v", err)
	}
	database, err := db.OpenDirect(t.Context(), address, dbtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	if err := database.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "different databases") {
		t.Errorf("another database past the pooler: got %v", err)
	}
}

// runUntilEnd runs something until the test ends.
func runUntilEnd(t *testing.T, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// said is what is logged.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
