package http_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	tidingshttp "tidings/http"
	"tidings/http/graph"
	"tidings/realtime"
)

// While what a subscription needs beside its events cannot be read, its results wait, and nobody else's.
func TestGraphWaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`alter table messages drop constraint messages_author_id_fkey`) // whose check would wait as well
	s := start(t, d.url, options{graph: &graph.Options{Timeout: 200 * time.Millisecond}})
	c, other, plain := s.graphInit(), s.graphInit(), s.dial("messages")
	since := s.liveCursor()
	c.begin("slow", addedSince, map[string]any{"since": since})
	c.begin("fast", `subscription { messageAdded(since: "`+since+`") { title } }`, nil)
	other.begin("slow", addedSince, map[string]any{"since": since})
	s.awaitSubscriptions(4)

	locked, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locked.Rollback(t.Context()) }()
	if _, err := locked.Exec(t.Context(), `lock table users in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		d.message(fmt.Sprint(n))
		plain.expectRow("message_added", fmt.Sprint(n))
		c.expectResult("fast", fmt.Sprintf(`{"messageAdded":{"title":"%d"}}`, n))
	}
	before := s.server.Graph.Stats().Statements
	eventually(t, "it was tried more than once", func() bool { return s.server.Graph.Stats().Statements > before+1 })
	if err := locked.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		want := fmt.Sprintf(`{"messageAdded":{"id":"%d","title":"%d","author":{"username":"ada"}}}`, n+1, n)
		c.expectResult("slow", want)
		other.expectResult("slow", want)
	}
}

// Results that wait hold up nothing else on the connection, also where they are of the past: it is read by the page, and told by who
// answers pings.
func TestGraphPastWaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{graph: &graph.Options{Timeout: 200 * time.Millisecond}})
	plain, since := s.dial("messages"), s.liveCursor()
	d.message("one")
	plain.expectRow("message_added", "one")
	locked, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locked.Rollback(t.Context()) }()
	if _, err := locked.Exec(t.Context(), `lock table users in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	c := s.graphInit()
	for n := range 3 {
		c.begin(fmt.Sprint("slow", n), addedSince, map[string]any{"since": since})
	}
	before := s.server.Graph.Stats().Statements
	eventually(t, "it was tried", func() bool { return s.server.Graph.Stats().Statements > before })
	c.begin("fast", `subscription { messageAdded(since: "`+since+`") { title } }`, nil)
	c.expectResult("fast", `{"messageAdded":{"title":"one"}}`)
	c.send(`{"type":"ping","payload":{"n":1}}`)
	c.expect("pong")
	// More than are read ahead, some of which are given up.
	for n := range 10 {
		c.begin(fmt.Sprint("more", n), addedSince, map[string]any{"since": since})
	}
	for n := range 3 {
		c.send(fmt.Sprintf(`{"type":"complete","id":"slow%d"}`, n))
	}
	s.awaitSubscriptions(12)
	if err := locked.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if a := c.result0(t); string(a.Data) != `{"messageAdded":{"id":"1","title":"one","author":{"username":"ada"}}}` {
			t.Errorf("got %s", a.Data)
		}
	}
}

// A query that cannot be answered says so in time, and its connection is used by others again.
func TestGraphTimeout(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url+"&pool_max_conns=2", options{graph: &graph.Options{Timeout: 200 * time.Millisecond}})
	locked, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locked.Rollback(t.Context()) }()
	if _, err := locked.Exec(t.Context(), `lock table users in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		s.graphFails("", `{ users { nodes { id } } }`, graph.CodeTimeout, "longer than 200ms")
	}
	if err := locked.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is answered", func() bool { // which may take its time on a busy machine
		a := s.ask(graphRequest{Query: `{ users { nodes { id } } }`}, nil)
		return len(a.Errors) == 0 && sameJSON(t, string(a.Data), `{"users":{"nodes":[{"id":"1"}]}}`)
	})
}

// A client that reads nothing for a while is fed from the log, at the pace at which it reads, and misses nothing; the results
// for it do not pile up meanwhile.
func TestGraphSlowClient(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{hub: realtime.Options{QueueBytes: 64 << 10, RecentBytes: 512 << 10}})
	slow, fast := s.graphInit(), s.graphInit()
	for _, c := range []*graphClient{slow, fast} {
		c.begin("1", `subscription { messageAdded(since: "`+s.liveCursor()+`") { id content } }`, nil)
	}
	s.awaitSubscriptions(2)
	const rows = 1500
	go func() {
		for range rows / 10 {
			if _, err := d.pool.Exec(t.Context(), `insert into messages (author_id, title, content) select 1, 'x', repeat('y', 8000) from generate_series(1, 10)`); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	read := func(c *graphClient) {
		for n := range rows {
			a := c.result("1")
			if want := fmt.Sprintf(`{"messageAdded":{"id":"%d",`, n+1); !strings.HasPrefix(string(a.Data), want) {
				t.Fatalf("got %.100s, want %s", a.Data, want)
			}
		}
	}
	read(fast)
	read(slow)
	if kept := s.hub.Stats().Recent; kept > 1<<20 {
		t.Errorf("%d bytes are kept, want about 512 KiB", kept)
	}
}

// What a subscription asks for beside its events can be many times of what they are. It is bounded, and that it is, is told.
func TestGraphHugeResults(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into messages (author_id, title, content) select 1, 'old', repeat('x', 10000) from generate_series(1, 100)`)
	s := start(t, d.url, options{})
	c := s.graphInit()
	c.begin("1", `subscription { messageAdded(since: "`+s.liveCursor()+`") { id author { messages(order: OLDEST_FIRST, first: 100) { nodes { content } } } } }`, nil)
	const rows = 200
	d.exec(`insert into messages (author_id, title, content) select 1, 'new', '' from generate_series(1, $1::int)`, rows)
	bytes, refused, cursors := 0, 0, map[string]bool{}
	for range rows {
		a := c.result("1")
		cursors[a.Extensions.Cursor] = true
		if bytes += len(a.Data); len(a.Errors) > 0 {
			if refused++; a.Errors[0].code() != graph.CodeTooComplex || string(a.Data) != "null" {
				t.Fatalf("got %.100s %v", a.Data, a.Errors)
			}
		}
	}
	if bytes > 40<<20 || // what is read from the log may come as two runs
		refused == 0 || refused == rows || len(cursors) != rows {
		t.Errorf("got %d bytes, %d of %d results refused, and %d cursors", bytes, refused, rows, len(cursors))
	}
	d.message("one")
	if a := c.result("1"); len(a.Errors) > 0 {
		t.Errorf("it does not go on: %v", a.Errors)
	}
}

// Clients that do not read do not each have all their results in memory: they are the same but for the operation's id. Not parallel:
// what others allocate would be counted.
func TestGraphSlowClientsShareResults(t *testing.T) {
	d := newDatabase(t)
	d.exec(`insert into messages (author_id, title, content) select 1, 'old', repeat('x', 10000) from generate_series(1, 10)`)
	s := start(t, d.url, options{server: tidingshttp.Options{StallTimeout: 20 * patience}}) // they are read one after another
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	const rows, n = 100, 12
	var clients []*graphClient
	for range n {
		c := s.graphInit()
		c.begin("1", `subscription { messageAdded { id author { messages(order: OLDEST_FIRST, first: 10) { nodes { content } } } } }`, nil)
		clients = append(clients, c)
	}
	s.awaitSubscriptions(n)
	before := heap()
	d.exec(`insert into messages (author_id, title, content) select 1, 'new', '' from generate_series(1, $1::int)`, rows)
	for _, c := range clients {
		c.result("1") // the others are being written
	}
	if grown := heap() - before; grown > 3*rows*100_000 {
		t.Errorf("%d KiB are in memory for %d clients, who are told the same %d KiB", grown>>10, n, rows*100_000>>10)
	}
	for _, c := range clients {
		for i := range rows - 1 {
			if a := c.result("1"); !strings.HasPrefix(string(a.Data), fmt.Sprintf(`{"messageAdded":{"id":"%d",`, 12+i)) {
				t.Fatalf("got %.100s", a.Data)
			}
		}
	}
}

// A row that an event does not have is read when it is told, if all of it may be.
func TestGraphRowsThatAreNotInEvents(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`select tidings.watch('messages', event => 'message', key => 'id', columns => array['id', 'title'], read => 'public')`)
	s := start(t, d.url, options{})
	since := s.liveCursor()
	d.message("x")
	both, err := d.pool.Begin(t.Context()) // the row is gone when its event is told
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{`insert into messages (author_id, title, content) values (1, 'y', 'gone')`, `delete from messages where title = 'y'`} {
		if _, err := both.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := both.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.exec(`select tidings.watch('messages', event => 'message', key => 'id', read => 'public')`)
	s.refreshTopics()
	c := s.graphInit()
	c.begin("1", `subscription ($since: String) { messageAdded(since: $since) { id content author { username } } }`, map[string]any{"since": since})
	c.expectResult("1", `{"messageAdded":{"id":"1","content":"text","author":{"username":"ada"}}}`)
	a := c.result("1")
	if len(a.Errors) != 1 || a.Errors[0].code() != graph.CodeOmitted || a.Extensions.Cursor == "" {
		t.Errorf("a row that is gone: got %s %v", a.Data, a.Errors)
	}
	d.message("z")
	c.expectResult("1", `{"messageAdded":{"id":"3","content":"text","author":{"username":"ada"}}}`)
}

// On a stream, the cursor is the message's id, by which browsers go on.
func TestGraphStream(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	document := `subscription { messageAdded(since: "` + s.liveCursor() + `") { title } }`
	open := func(last string) *stream {
		header := http.Header{"Accept": {"text/event-stream"}}
		if last != "" {
			header.Set("Last-Event-ID", last)
		}
		e, err := s.openEvents("HTTP/1.1", "/graphql?query="+url.QueryEscape(document), header)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.close)
		return e
	}
	d.message("one")
	d.message("two")
	e := open("")
	first := e.graphNext()
	if string(first.Data) != `{"messageAdded":{"title":"one"}}` || e.id == "" || e.id != first.Extensions.Cursor {
		t.Errorf("got %s with the id %q", first.Data, e.id)
	}
	if second := open(e.id).graphNext(); string(second.Data) != `{"messageAdded":{"title":"two"}}` {
		t.Errorf("got %s", second.Data)
	}
	// A browser comes back to a message that has been deleted meanwhile.
	document = `subscription { commentDeleted(messageId: 1) { content } }`
	d.comment(1, "x")
	at := s.liveCursor()
	d.exec(`delete from messages where id = 1`)
	if deleted := open(at).graphNext(); string(deleted.Data) != `{"commentDeleted":{"content":"x"}}` {
		t.Errorf("got %s %v", deleted.Data, deleted.Errors)
	}
	for _, tt := range []struct{ document, want string }{
		{`{ message(id: 2) { title } }`, `{"data":{"message":{"title":"two"}}}`},
		{`subscription { commentAdded(messageId: 99) { id } }`, graph.CodeNotFound},
		{`subscription { messageAdded(since: "x") { id } }`, graph.CodeReset},
		{`{ nothing }`, "GRAPHQL_VALIDATION_FAILED"},
	} {
		response := s.request("GET", "/graphql?query="+url.QueryEscape(tt.document), map[string][]string{"Accept": {"text/event-stream"}})
		if response.status != 200 || !strings.Contains(response.body, tt.want) || !strings.HasSuffix(strings.TrimRight(response.body, ": \n"), "event: complete\ndata") {
			t.Errorf("%s: got %d %s", tt.document, response.status, response.body)
		}
	}
}

// graphNext reads the next result of a GraphQL stream.
func (e *stream) graphNext() (a graphAnswer) {
	e.t.Helper()
	timer := time.AfterFunc(patience, e.cancel)
	defer timer.Stop()
	for {
		line, err := e.reader.ReadString('\n')
		if err != nil {
			e.t.Fatal(err)
		}
		switch field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); field {
		case "id":
			e.id = value
		case "event":
			if value != "next" {
				e.t.Fatalf("got %s, want a result", line)
			}
		case "data":
			if err := json.Unmarshal([]byte(value), &a); err != nil {
				e.t.Fatal(err)
			}
			return a
		}
	}
}
