package main_test

import (
	"encoding/json"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"tidings/db/dbtest"
)

// benchReport is what bench prints as JSON.
type benchReport struct {
	Connections struct{ Opened int }
	Rows        struct{ Written, Warmup, Due int64 }
	Deliveries  struct{ Count, Expected int64 }
	Schedule    *benchLatency `json:"latency_from_schedule_ms"`
	Commit      *benchLatency `json:"latency_from_commit_ms"`
	Lost        int64
	Late        int64
	Doubled     int64
	OutOfOrder  int64 `json:"out_of_order"`
	Reconnects  int64
	Incidents   map[string]int64
	Service     *struct {
		CPUSeconds           float64  `json:"cpu_seconds"`
		CPUSecondsPerMillion *float64 `json:"cpu_seconds_per_million_deliveries"`
		MemoryBytes          uint64   `json:"memory_bytes"`
	}
	Generator struct {
		CPUSeconds *float64 `json:"cpu_seconds"`
	}
}

type benchLatency struct {
	P50, P99, Max float64
}

func readReport(t *testing.T, text string) (r benchReport) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if r.Lost != 0 || r.Late != 0 || r.Doubled != 0 || r.OutOfOrder != 0 || r.Deliveries.Count != r.Deliveries.Expected || r.Deliveries.Count == 0 {
		t.Errorf("got %s", text)
	}
	return r
}

// liveDatabase is a database with schema tidings.
func liveDatabase(t *testing.T) string {
	t.Helper()
	address := dbtest.Database(t)
	succeed(t, environ("DATABASE_URL="+address), "migrate", "up", "--only", "live")
	return address
}

// loggedRows is how many rows of bench's tables the log tells of, whose tables are gone.
func loggedRows(t *testing.T, address string) int64 {
	t.Helper()
	return ask[int64](t, address, `select count(*) from tidings.log as l, tidings.entry_rows(l.key, l.old_key, l.data, l.rows)
		where l.topic like 'tidings\_bench\_%'`)
}

// expectNoTable says what bench has left behind.
func expectNoTable(t *testing.T, address string) {
	t.Helper()
	const left = `select (select count(*) from pg_tables where tablename like '%bench%') + (select count(*) from tidings.watches)`
	if n := ask[int64](t, address, left); n != 0 {
		t.Errorf("%d tables and watches are left", n)
	}
}

// On each transport each subscriber gets each row of its channel, and the report's numbers are those of the database.
func TestBench(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, args string
		rows       int64 // 0: any number
		perRow     int64 // subscribers of a channel
	}{
		{"ws", "--transport ws --subscribers 20 --rate 50", 200, 20},
		{"events", "--transport events --subscribers 12 --channels 4 --writers 3 --rate 50", 200, 3},
		{"sse", "--transport sse --subscribers 20 --channels 2 --rate 50 --payload 5000", 200, 10},
		{"as fast as it goes", "--subscribers 8 --channels 2 --writers 4 --rate 0", 0, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := liveDatabase(t)
			env := environ("DATABASE_URL=" + address)
			_, at := serve(t, env)
			args := append([]string{"bench", "--json", "--server", "http://" + at, "--duration", "4s", "--warmup", "200ms", "--drain", "30s"},
				strings.Fields(c.args)...)
			text := succeed(t, env, args...)
			r := readReport(t, text)
			if written := loggedRows(t, address); r.Rows.Written+r.Rows.Warmup != written {
				t.Errorf("of %d rows in the log it has written %d and %d before", written, r.Rows.Written, r.Rows.Warmup)
			}
			if r.Deliveries.Count != r.Rows.Written*c.perRow || c.rows != 0 && r.Rows.Due != c.rows || len(r.Incidents) != 0 || r.Reconnects != 0 {
				t.Errorf("got %s", text)
			}
			if (r.Schedule == nil) != (c.rows == 0) || r.Commit == nil || r.Commit.Max < r.Commit.P50 ||
				r.Schedule != nil && (r.Schedule.P50 <= 0 || r.Schedule.P50 < r.Commit.P50) {
				t.Errorf("the latencies are %+v and %+v", r.Schedule, r.Commit)
			}
			if s := r.Service; s != nil && (s.CPUSeconds <= 0 || *s.CPUSecondsPerMillion <= 0 || s.MemoryBytes < 1<<20) || r.Generator.CPUSeconds == nil {
				t.Errorf("got %s", text)
			}
			expectNoTable(t, address)
		})
	}
}

// For a person there is a text, and a line now and then on how it goes.
func TestBenchText(t *testing.T) {
	t.Parallel()
	address := liveDatabase(t)
	env := environ("DATABASE_URL=" + address)
	_, at := serve(t, env)
	_, stdout, stderr := run(t, environ("DATABASE_URL="+address, "TIDINGS_SERVER=http://"+at), "bench", "--subscribers", "3", "--duration", "4s", "--progress", "300ms")
	for _, pattern := range []string{
		`load +3 subscribers over /ws, 1 channel; 1 writer, 100 rows a second, 100 bytes of text each; 4 s after 1 s of warm-up`,
		`connections +3 opened in \d+\.\d+ s`,
		`deliveries +[1-9][\d,]* of [1-9][\d,]*, [\d.,]+ a second`, // of as many rows as the machine could write
		`faults +0 lost, 0 doubled, 0 out of order; 0 reconnects`,
		`latency +p50 +p90 +p99 +p99.9 +max`,
		`\d+ ms   from its commit to its receipt`,
		`service +(\d+\.\d+ s of CPU, \d+\.\d s per million deliveries; \d+ MB of memory|its CPU and its memory are not known)`,
		`generator +\d+\.\d+ s of CPU`,
	} {
		if !regexp.MustCompile(`(?m)^ *`+pattern).MatchString(stdout) && !regexp.MustCompile(pattern).MatchString(stdout) {
			t.Errorf("%s is not in %s", pattern, stdout)
		}
	}
	if !regexp.MustCompile(`(?m)^(warming up|measuring), \d+s: [\d,]+ rows, [\d,]+ deliveries \([\d,]+/s\), 0 reconnects$`).MatchString(stderr) {
		t.Errorf("on the way it says %q", stderr)
	}
}

// cutter is a proxy before the service whose connections can be cut.
type cutter struct {
	address string
	mu      sync.Mutex
	open    map[net.Conn]bool
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{address: listener.Addr().String(), open: make(map[net.Conn]bool)}
	var pipes sync.WaitGroup
	pipes.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", to)
			if err != nil {
				_ = from.Close()
				continue
			}
			c.mu.Lock()
			c.open[from], c.open[there] = true, true
			c.mu.Unlock()
			for _, pair := range [][2]net.Conn{{from, there}, {there, from}} {
				pipes.Go(func() {
					_, _ = io.Copy(pair[0], pair[1]) // it ends when either does
					c.close(pair[0], pair[1])
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		c.cut()
		pipes.Wait()
	})
	return c
}

func (c *cutter) close(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
		delete(c.open, conn)
	}
}

// cut cuts all connections.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.Close()
	}
	clear(c.open)
}

// Subscribers whose connections are cut come back, and nothing is lost or doubled.
func TestBenchThroughCuts(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"ws", "sse"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			address := liveDatabase(t)
			env := environ("DATABASE_URL=" + address)
			_, at := serve(t, env)
			proxy := newCutter(t, at)
			p := begin(t, env, "bench", "--json", "--server", "http://"+proxy.address, "--transport", transport, "--subscribers", "10",
				"--duration", "12s", "--warmup", "0s", "--rate", "50", "--drain", "30s", "--progress", "200ms")
			p.await(&p.stderr, `measuring, .* [1-9][\d,]* deliveries`)
			proxy.cut()
			p.await(&p.stderr, `10 reconnects`)
			proxy.cut()
			if code := p.wait(); code != 0 {
				t.Fatalf("it ends with %d", code)
			}
			if r := readReport(t, p.stdout.String()); r.Reconnects < 10 || r.Connections.Opened != 10 || len(r.Incidents) == 0 {
				t.Errorf("got %s", &p.stdout)
			}
			expectNoTable(t, address)
		})
	}
}

// So it is with a service that stops, and one that is killed; what became of the connections is named.
func TestBenchThroughRestarts(t *testing.T) {
	t.Parallel()
	address := liveDatabase(t)
	env := environ("DATABASE_URL=" + address)
	service, at := serve(t, env)
	p := begin(t, env, "bench", "--json", "--server", "http://"+at, "--subscribers", "10", "--channels", "2", "--writers", "2",
		"--duration", "15s", "--warmup", "0s", "--rate", "100", "--drain", "30s", "--progress", "200ms")
	p.await(&p.stderr, `measuring, .* [1-9][\d,]* deliveries`)
	service.signal(syscall.SIGTERM)
	service.wait()
	service = begin(t, env, "serve", "--listen", at)
	p.await(&p.stderr, `10 reconnects`)
	service.signal(syscall.SIGKILL)
	service.wait()
	begin(t, env, "serve", "--listen", at)
	if code := p.wait(); code != 0 {
		t.Fatalf("it ends with %d", code)
	}
	r := readReport(t, p.stdout.String())
	if r.Reconnects < 10 || r.Incidents["goodbye: 1001 shutdown"] != 10 || r.Service != nil {
		t.Errorf("got %s", &p.stdout)
	}
	expectNoTable(t, address)
}

// An interruption ends it early, and leaves nothing behind.
func TestBenchInterrupted(t *testing.T) {
	t.Parallel()
	address := liveDatabase(t)
	env := environ("DATABASE_URL=" + address)
	_, at := serve(t, env)
	for _, c := range []struct {
		args, when string
		signal     syscall.Signal
	}{
		{"--connect-rate 1", `connecting: [1-9]`, syscall.SIGINT},
		{"--warmup 10m", `warming up, .* [1-9][\d,]* deliveries`, syscall.SIGTERM},
		{"--duration 10m", `measuring, .* [1-9][\d,]* deliveries`, syscall.SIGINT},
	} {
		p := begin(t, env, append([]string{"bench", "--server", "http://" + at, "--progress", "100ms"}, strings.Fields(c.args)...)...)
		p.await(&p.stderr, c.when)
		if n := ask[int](t, address, `select count(*)::int from tidings.watched`); n != 1 {
			t.Errorf("%s: %d tables are watched, want one", c.args, n)
		}
		p.signal(c.signal)
		if code := p.wait(); code != 0 || p.stdout.String() != "" {
			t.Errorf("%s: it ends with %d and says %q", c.args, code, &p.stdout)
		}
		expectNoTable(t, address)
	}
}

// What keeps it from measuring is said in a sentence, and leaves nothing behind.
func TestBenchThatCannot(t *testing.T) {
	t.Parallel()
	address := liveDatabase(t)
	env := environ("DATABASE_URL=" + address)
	_, at := serve(t, env, "--max-connections", "3")
	fail(t, env, []string{"bench", "--server", "http://127.0.0.1:1"}, "http://127.0.0.1:1", "refused")
	fail(t, env, []string{"bench", "--server", "http://" + at, "--subscribers", "5"}, "503", "--max-connections")
	fail(t, env, []string{"bench", "--server", "http://" + at, "--writers", "2000", "--subscribers", "1"}, "a writer cannot be connected", "no connection left")
	expectNoTable(t, address)
	for _, transport := range []string{"ws", "sse"} {
		fail(t, environ("DATABASE_URL="+liveDatabase(t)), []string{"bench", "--server", "http://" + at, "--subscribers", "2", "--transport", transport},
			"--database-url", "no channel")
	}
	fail(t, environ("DATABASE_URL="+dbtest.Database(t)), []string{"bench", "--server", "http://" + at}, "tidings migrate up --only live")
	fail(t, environ("TIDINGS_DATA_DIR="+t.TempDir()), []string{"bench", "--server", "http://" + at}, "--database-url")
}
