package db_test

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

// network is a way to the database whose open connections can be made to go silent: nothing comes through any more, and
// neither end is told. New ones work, as behind a firewall that has forgotten the old.
type network struct {
	listener net.Listener
	target   string
	group    sync.WaitGroup

	mu     sync.Mutex
	frozen chan struct{} // closed: those that watch it carry nothing
	conns  []net.Conn
}

func newNetwork(t *testing.T, address string) (*network, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{target: u.Host, frozen: make(chan struct{})}
	if n.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	n.group.Go(n.accept)
	t.Cleanup(func() {
		_ = n.listener.Close()
		n.mu.Lock()
		for _, c := range n.conns {
			_ = c.Close()
		}
		n.mu.Unlock()
		n.freeze()
		n.group.Wait()
	})
	u.Host = n.listener.Addr().String()
	return n, u.String()
}

func (n *network) accept() {
	for {
		near, err := n.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", n.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		n.mu.Lock()
		frozen := n.frozen
		n.conns = append(n.conns, near, far)
		n.mu.Unlock()
		n.group.Go(func() { carry(near, far, frozen) })
		n.group.Go(func() { carry(far, near, frozen) })
	}
}

// carry copies until an end closes. Once frozen it only takes, as a network does that drops what it is given.
func carry(to, from net.Conn, frozen chan struct{}) {
	buffer := make([]byte, 64<<10)
	for {
		count, err := from.Read(buffer)
		select {
		case <-frozen:
			if err != nil {
				return
			}
			continue
		default:
		}
		if err != nil {
			_ = to.Close()
			return
		}
		if _, err := to.Write(buffer[:count]); err != nil {
			_ = from.Close()
			return
		}
	}
}

// freeze silences the connections that are open.
func (n *network) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.frozen)
	n.frozen = make(chan struct{})
}

// The network goes half-open: connections stay, and nothing comes through. No kernel notices, as each end is answered;
// the reader and the listener must.
func TestHalfOpenNetwork(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	direct := install(t, cluster.URL())
	if _, err := direct.Pool.Exec(t.Context(), historySchema); err != nil {
		t.Fatal(err)
	}
	network, address := newNetwork(t, cluster.TCPURL())
	database, err := db.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	hub, reader := follow(t, database, realtime.Options{})
	all := map[string]*listenerTo{"the client": listenTo(t, hub, noDelay, "messages", "comments", "lines")}
	comments := listenTo(t, hub, noDelay, "comments:1")
	for range 2 {
		await(t, "the reader to be live and listening", func() bool { s := reader.Status(); return s.Live && s.Listening })
		writeAll(t, cluster.URL(), 4, 3, 1)
		network.freeze()
		begun := time.Now()
		writeAll(t, cluster.URL(), 4, 3, 2)
		await(t, "the silence to be noticed", func() bool { return !reader.Status().Live })
		t.Logf("not live %s after the network went silent", time.Since(begun).Round(time.Millisecond))
		await(t, "the reader to be live", func() bool { return reader.Status().Live })
		t.Logf("live %s after the network went silent", time.Since(begun).Round(time.Millisecond))
	}
	await(t, "the reader to be live and listening", func() bool { s := reader.Status(); return s.Live && s.Listening })
	finish(t, direct, all, comments)
}

// A transaction that does not ring the doorbell, as one that will be prepared must not, is found by the next poll.
func TestWithoutDoorbell(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	hub, reader := follow(t, database, realtime.Options{})
	l := listenTo(t, hub, noDelay, "messages")
	await(t, "the doorbell", func() bool { return reader.Status().Listening })
	if _, err := database.Pool.Exec(t.Context(), `set tidings.doorbell = off;
		insert into users (username, display_name) values ('ada', 'Ada');
		insert into messages (author_id, title, content) select id, 'quietly', '' from users`); err != nil {
		t.Fatal(err)
	}
	await(t, "the event", func() bool { return l.count() == 1 })
}

// A listener that hears nothing is pinged also while the reader is nudged all the time, and never comes to poll.
func TestPingedWhileNudged(t *testing.T) {
	t.Parallel()
	url := dbtest.Database(t)
	database := install(t, url)
	reader := &db.Reader{DB: database, PollInterval: time.Hour, BeatInterval: -1}
	hub := realtime.NewHub(reader, realtime.Options{})
	reader.Sink = hub
	runReader(t, reader, hub)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{"tidings_" + reader.Name()}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	var nudging sync.WaitGroup
	defer nudging.Wait()
	defer cancel()
	nudging.Go(func() {
		for ctx.Err() == nil {
			reader.Nudge()
			pauseFor(ctx, 10*time.Millisecond)
		}
	})
	if _, err := conn.WaitForNotification(ctx); err != nil {
		t.Fatalf("no ping: %v", err)
	}
}

// Without LISTEN, polling alone brings everything.
func TestPollingAlone(t *testing.T) {
	t.Parallel()
	url := dbtest.Database(t)
	database := install(t, url)
	if _, err := database.Pool.Exec(t.Context(), historySchema); err != nil {
		t.Fatal(err)
	}
	reader := &db.Reader{DB: database, Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)), NoListen: true, PollInterval: 20 * time.Millisecond}
	hub := realtime.NewHub(reader, realtime.Options{})
	reader.Sink = hub
	runReader(t, reader, hub)
	all := map[string]*listenerTo{"the client": listenTo(t, hub, noDelay, "messages", "comments", "lines")}
	comments := listenTo(t, hub, noDelay, "comments:1")
	writeAll(t, url, 8, 10, 4)
	finish(t, database, all, comments)
	var listening int
	err := database.Pool.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database() and application_name = 'tidings listener'`).Scan(&listening)
	if err != nil || listening != 0 {
		t.Errorf("listeners: got %d, %v, want none", listening, err)
	}
}
