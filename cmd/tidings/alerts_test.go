package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
	tidingshttp "tidings/http"
	"tidings/metrics"
	"tidings/realtime"
	"tidings/redis/redistest"
)

// post sends JSON, and returns the answer.
func post(t testing.TB, address string, body any) (int, string) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer strings.Builder
	if _, err := fmt.Fprint(&answer, response.Status); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer.String()
}

func deadline() time.Time { return time.Now().Add(patience) }

// settles scrapes until it is so.
func settles(t testing.TB, operators, what string, holds func(s sample) bool) (s sample) {
	t.Helper()
	eventually(t, what, func() bool {
		s = scrape(t, operators)
		return holds(s)
	})
	return s
}

// What goes wrong between the service and its database is told by the alert that is for it, and nothing is told while all is well.
func TestAlertsOfTheDatabase(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	succeed(t, environ(), "migrate", "up", "--public", "--database-url", cluster.URL())
	sql(t, cluster.URL(), `insert into users (username, display_name) values ('ada', 'Ada')`)
	way := newWayTo(t, cluster.TCPURL())
	p, address, operators := serveForOperators(t, environ(), "--database-url", way.url, "--heartbeat-interval", "200ms", "--database-timeout", "8s")

	ws := dial(t, "ws://"+address+"/ws?channel=messages")
	ws.expect("subscribed", "")
	well := settles(t, operators, "all is known", func(s sample) bool {
		return s.of("tidings_log_bytes") > 0 && s.of("tidings_heartbeat_lag_seconds_count") > 0 && s.of("tidings_ready") == 1
	})
	sql(t, cluster.URL(), `insert into messages (author_id, title, content) values (1, 'one', 'more')`)
	ws.expect("message_added", "one")
	const sum, count = "tidings_heartbeat_lag_seconds_sum", "tidings_heartbeat_lag_seconds_count"
	late := func(from, to sample) float64 { return (to.of(sum) - from.of(sum)) / (to.of(count) - from.of(count)) } // NaN: none came
	still := settles(t, operators, "another heartbeat came in time", func(s sample) bool {
		if late(well, s) > 1 {
			well = s // this machine was late
		}
		return late(well, s) <= 1 && s.of("tidings_events_delivered_total") > 0 && s.of("tidings_ready") == 1
	})
	fires(t, well, still)

	way.beDeaf(true)
	deaf := settles(t, operators, "the doorbell alone is not heard", func(s sample) bool {
		return s.of("tidings_doorbell_heard") == 0 && s.of("tidings_live") == 1 && s.of("tidings_beating") == 1
	})
	fires(t, deaf, deaf, "TidingsDeaf")
	way.beDeaf(false)
	settles(t, operators, "the doorbell is heard again", func(s sample) bool { return s.of("tidings_ready") == 1 })

	way.delay.Store(int64(1100 * time.Millisecond))
	slow := scrape(t, operators)
	slower := settles(t, operators, "heartbeats are late", func(s sample) bool {
		if late(slow, s) <= 1 {
			slow = s // it was on its way before
		}
		return late(slow, s) > 1 && s.of("tidings_live") == 1 && s.of("tidings_beating") == 1 && s.of("tidings_doorbell_heard") == 1
	})
	fires(t, slow, slower, "TidingsLate")
	way.delay.Store(0)
	settles(t, operators, "heartbeats are heard", func(s sample) bool { return s.of("tidings_ready") == 1 })

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	holder, err := pgx.Connect(ctx, cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(ctx, `begin; lock table tidings.home in exclusive mode`); err != nil {
		t.Fatal(err)
	}
	unheard := func(s sample) bool { return s.of("tidings_beating") == 0 && s.of("tidings_live") == 1 }
	silent := settles(t, operators, "no heartbeat is heard", unheard)
	for range 3 { // as a balancer does, which is no failure of its own
		if status, _ := tryGet(t, "http://"+address+"/readyz"); status != http.StatusServiceUnavailable {
			t.Errorf("/readyz: status %d", status)
		}
	}
	fires(t, silent, settles(t, operators, "no heartbeat is heard still", unheard), "TidingsNotBeating")
	if err := holder.Close(ctx); err != nil {
		t.Fatal(err)
	}
	settles(t, operators, "heartbeats are heard", func(s sample) bool { return s.of("tidings_ready") == 1 })

	cluster.Stop()
	settles(t, operators, "the log is not read", func(s sample) bool { return s.of("tidings_live") == 0 })
	before := scrape(t, operators)
	for range 3 {
		if status, _ := post(t, "http://"+address+"/auth/sign-in", map[string]string{"username": "ada", "password": "of no use here"}); status < 500 {
			t.Errorf("without a database: status %d", status)
		}
	}
	for range 100 { // as who looks after it does, which makes the failures no fewer
		get(t, "http://"+address+"/healthz")
	}
	fires(t, before, scrape(t, operators), "TidingsNotLive", "TidingsFails")

	p.signal(9)
	p.wait()
	if status, _ := tryGet(t, "http://"+operators+"/metrics"); status != 0 {
		t.Fatalf("it was killed, and answers with %d", status)
	}
	firesOver(t, map[string]string{series("up", nil): fmt.Sprintf("1x10 0x%d", scrapes)}, "TidingsDown")
	firesOver(t, nil, "TidingsGone")
}

// An instance that has nearly as many files open as it may have is told of, however few its connections are.
func TestAlertOfFiles(t *testing.T) {
	t.Parallel()
	_, _, operators := serveForOperators(t, environ(), "--database-url", dbtest.Database(t))
	well := settles(t, operators, "all is known", func(s sample) bool { return s.of("tidings_ready") == 1 && s.of("tidings_log_bytes") > 0 })
	well[series("process_max_fds", nil)] = well.of("process_open_fds") / 0.95
	fires(t, well, well, "TidingsNearlyFull")
}

// Where fewer files may be open than there may be connections, that is said at once, and so it is when there are too many; who is there
// stays, and who comes is taken when there is room again.
func TestFewFiles(t *testing.T) {
	t.Parallel()
	const files = 100
	p := beginProgram(t, "/bin/sh", environ(), "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, files),
		tidings, "serve", "--listen", "127.0.0.1:0", "--database-url", channelDatabase(t))
	p.await(&p.stderr, fmt.Sprintf(`msg="fewer files may be open than connections are allowed" files=%d max_connections=20000`, files))
	address := p.await(&p.stderr, `msg=live address=(\S+)`)[1]
	first := dial(t, "ws://"+address+"/ws?channel=messages")
	first.expect("subscribed", "")
	var held []net.Conn
	for range files {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	p.await(&p.stderr, `level=ERROR msg="connections cannot be taken; trying again" address=\S+ error=".*too many open files"`)
	for _, conn := range held {
		_ = conn.Close()
	}
	dial(t, "ws://"+address+"/ws?channel=messages").expect("subscribed", "")
}

// What clients do is told by the alert that is for it.
func TestAlertsOfClients(t *testing.T) {
	t.Parallel()
	other := dbtest.Database(t)
	succeed(t, environ(), "migrate", "up", "--public", "--database-url", other)
	elsewhere, at := serve(t, environ(), "--database-url", other)
	foreign := dial(t, "ws://"+at+"/ws?channel=messages").expect("subscribed", "").Cursor
	elsewhere.signal(15)
	elsewhere.wait()

	database := channelDatabase(t)
	_, address, operators := serveForOperators(t, environ(), "--database-url", database, "--max-connections", "20", "--queue-bytes", "4096", "--heartbeat-interval", "0")

	before := settles(t, operators, "all is known", func(s sample) bool { return s.of("tidings_log_bytes") > 0 })
	for range 12 {
		ws := dial(t, "ws://"+address+"/ws?channel=messages&since="+foreign)
		ws.expect("reset", "")
		_ = ws.ws.Close()
	}
	none := func(s sample) bool { return s.of("tidings_connections", "transport", "ws") == 0 }
	fires(t, before, settles(t, operators, "all have gone", none), "TidingsResets")

	// Who does not read has a small window, which is soon full.
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(4096)
		}
		return conn, err
	}}
	var lazy []*client
	for range 10 {
		ws, _, err := dialer.DialContext(t.Context(), "ws://"+address+"/ws?channel=messages", nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &client{t, ws}
		t.Cleanup(func() { _ = ws.Close() })
		c.expect("subscribed", "")
		lazy = append(lazy, c)
	}
	before = scrape(t, operators)
	for range 4 {
		sql(t, database, `insert into messages (author_id, title, content) values (1, 'long', repeat('long', 100000))`)
	}
	behind := settles(t, operators, "all are behind", func(s sample) bool {
		return s.of("tidings_subscribers_behind") == 10 && s.of("tidings_queue_overflows_total") >= 10
	})
	fires(t, before, behind, "TidingsSlowClients")
	for _, c := range lazy {
		_ = c.ws.Close()
	}
	settles(t, operators, "all have gone", none)

	for range 19 {
		dial(t, "ws://"+address+"/ws?channel=messages").expect("subscribed", "")
	}
	full := settles(t, operators, "it is nearly full", func(s sample) bool { return s.of("tidings_connections", "transport", "ws") == 19 })
	fires(t, full, full, "TidingsNearlyFull")
	dial(t, "ws://"+address+"/ws?channel=messages").expect("subscribed", "")
	if _, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+address+"/ws?channel=messages", nil); err == nil {
		t.Error("there is one connection more than there may be")
	}
	for range 10 { // so that those which are turned away are few among the requests
		get(t, "http://"+address+"/asyncapi.yaml")
		get(t, "http://"+address+"/asyncapi.yaml")
	}
	fires(t, full, settles(t, operators, "one was turned away", func(s sample) bool {
		return s.of("tidings_refused_total", "code", "too_many_connections") == 1
	}), "TidingsNearlyFull", "TidingsTurnsAway")

	// Whoever queries waits for a table that somebody has locked.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	holder, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(ctx, `begin; lock table messages in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	most := int(scrape(t, operators).of("tidings_database_pool_connections_max"))
	var asking sync.WaitGroup
	for range most + 2 {
		asking.Go(func() {
			post(t, "http://"+address+"/graphql", map[string]string{"query": `{ messages { edges { node { title } } } }`})
		})
	}
	busy := settles(t, operators, "all connections are in use", func(s sample) bool {
		return int(s.of("tidings_database_pool_connections", "state", "in_use")) == most
	})
	if err := holder.Close(ctx); err != nil {
		t.Fatal(err)
	}
	asking.Wait()
	fires(t, busy, busy, "TidingsNearlyFull", "TidingsPoolExhausted")
}

// What is wrong with the log and with watches is told, and that a service is started again and again.
func TestAlertsOfTheLog(t *testing.T) {
	t.Parallel()
	database := channelDatabase(t)
	sql(t, database, `insert into messages (author_id, title, content)
		select 1, 'long', (select string_agg(md5(random()::text || x), '') from generate_series(1, 1000) as x) from generate_series(1, 300) as m`)
	var started []float64
	try := func(change string) sample {
		sql(t, database, change)
		p := begin(t, environ(), "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--database-url", database)
		s := settles(t, operatorsOf(p), "the log was looked at", func(s sample) bool { return s.of("tidings_log_bytes") > 0 && s.of("tidings_live") == 1 })
		started = append(started, s.of("process_start_time_seconds"))
		p.signal(15)
		p.wait()
		return s
	}
	const bytes = `(select sum(bytes) from tidings.log_partitions)`
	large := try(`update tidings.settings set max_bytes = ` + bytes + ` / 2`)
	fires(t, large, large, "TidingsLogTooLarge", "TidingsForgetsEarly") // it is full, and all of it is new
	early := try(`update tidings.settings set max_bytes = ` + bytes + ` / 0.95`)
	fires(t, early, early, "TidingsForgetsEarly")
	broken := try(`update tidings.settings set max_bytes = default; alter table messages disable trigger tidings_insert`)
	fires(t, broken, broken, "TidingsWatchProblem")
	try(`alter table messages enable trigger tidings_insert`)
	values := []string{fmt.Sprintf("%fx%d", started[0], scrapes-10)}
	for _, at := range started[1:] {
		values = append(values, fmt.Sprintf("%fx1", at)) // two of each: the last are behind the two hours
	}
	firesOver(t, map[string]string{series("up", nil): fmt.Sprintf("1x%d", scrapes), series("process_start_time_seconds", nil): strings.Join(values, " ")}, "TidingsRestarts")
}

// What the audit finds missing is told.
func TestAlertOfMissingEvents(t *testing.T) {
	t.Parallel()
	url := channelDatabase(t)
	database, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	reader := &db.Reader{DB: database, BeatInterval: -1, AuditInterval: 300 * time.Millisecond} // none that a busy machine could hear late
	m := metrics.New("v1.2.3")
	hub := realtime.NewHub(reader, realtime.Options{Follow: m.Follow})
	reader.Sink = hub
	server := &tidingshttp.Server{Hub: hub, Health: func() tidingshttp.Health {
		s := reader.Status()
		return tidingshttp.Health{Live: s.Live, Listening: s.Listening, Beating: s.Beating}
	}}
	log := &db.LogWatch{DB: database}
	m.Collect(metrics.Service{Hub: hub, Server: server, Reader: reader, DB: database, Log: log, Revocations: &db.Revocations{DB: database}})
	operators := httptest.NewServer(m.Handler())
	defer operators.Close()
	at := strings.TrimPrefix(operators.URL, "http://")

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { _ = reader.Run(ctx) })
	running.Go(func() { _ = hub.Run(ctx) })
	running.Go(func() { _ = log.Run(ctx) })
	before := settles(t, at, "the log is read", func(s sample) bool { return s.of("tidings_live") == 1 })
	eventually(t, "events are missing", func() bool {
		read := reader.Status().Events
		sql(t, url, `insert into messages (author_id, title, content) values (1, 'one', 'more')`)
		eventually(t, "it is read", func() bool { return reader.Status().Events > read })
		sql(t, url, `delete from tidings.log where topic = 'messages'`)
		return reader.Status().Audited.Missing > 0
	})
	fires(t, before, settles(t, at, "all is known", func(s sample) bool { return s.of("tidings_ready") == 1 && s.of("tidings_log_bytes") > 0 }), "TidingsEventsMissing")
}

// An instance that cannot use Redis goes on, and somebody is told.
func TestAlertsOfRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	_, _, operators := serveForOperators(t, environ(), "--database-url", dbtest.Database(t), "--redis-url", redis.URL())
	well := settles(t, operators, "it leads", func(s sample) bool {
		return s.of("tidings_redis_role", "role", "leading") == 1 && s.of("tidings_ready") == 1 && s.of("tidings_log_bytes") > 0
	})
	fires(t, well, well)
	redis.Kill()
	alone := settles(t, operators, "it is alone", func(s sample) bool {
		return s.of("tidings_redis_role", "role", "alone") == 1 && s.of("tidings_ready") == 1
	})
	fires(t, alone, alone, "TidingsWithoutRedis")
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	settles(t, operators, "it leads again", func(s sample) bool {
		return s.of("tidings_redis_role", "role", "leading") == 1 && s.of("tidings_ready") == 1
	})
}
