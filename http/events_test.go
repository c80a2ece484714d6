package http_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	tidingshttp "tidings/http"
	"tidings/realtime"
)

// stream is a client of /events. It reads as strictly as the server writes: the fields id, data and retry, and comments.
type stream struct {
	t       testing.TB
	status  int
	header  http.Header
	body    io.ReadCloser
	reader  *bufio.Reader
	cancel  context.CancelFunc
	id      string // the last event's
	retry   int    // milliseconds
	beats   int
	cursors int // ids that came without data
}

// protocols are what /events is spoken over.
var protocols = []string{"HTTP/1.1", "HTTP/2.0"}

func overEach(t *testing.T, test func(t *testing.T, protocol string)) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			test(t, protocol)
		})
	}
}

// overEachAndTLS tests over each protocol, without TLS and with it.
func overEachAndTLS(t *testing.T, test func(t *testing.T, protocol string, by *certified)) {
	for _, by := range []*certified{nil, certify(t)} {
		for _, protocol := range protocols {
			name := protocol
			if by != nil {
				name += " by TLS"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, protocol, by)
			})
		}
	}
}

// openEvents asks for a path, over HTTP/1.1 or HTTP/2: without TLS, without asking first.
func (s *service) openEvents(protocol, path string, header http.Header) (*stream, error) {
	transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: s.tls.Clone()}
	transport.Protocols.SetHTTP1(protocol == "HTTP/1.1")
	transport.Protocols.SetHTTP2(protocol == "HTTP/2.0")
	transport.Protocols.SetUnencryptedHTTP2(protocol == "HTTP/2.0" && s.tls == nil)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	end := func() {
		cancel()
		transport.CloseIdleConnections()
	}
	request, err := http.NewRequestWithContext(ctx, "GET", s.url("http", path), nil)
	if err != nil {
		end()
		return nil, err
	}
	request.Header = header.Clone()
	timer := time.AfterFunc(patience, cancel)
	defer timer.Stop()
	response, err := transport.RoundTrip(request)
	if err != nil {
		end()
		return nil, err
	}
	if response.Proto != protocol {
		end()
		return nil, fmt.Errorf("the answer is %s, want %s", response.Proto, protocol)
	}
	e := &stream{t: s.t, status: response.StatusCode, header: response.Header, body: response.Body, reader: bufio.NewReaderSize(response.Body, 64<<10), cancel: end}
	return e, nil
}

// events opens a stream; query is that of /events, and lastID, if it is not "", what a browser sends that comes back.
func (s *service) events(protocol, query, lastID string) *stream {
	s.t.Helper()
	header := http.Header{}
	if lastID != "" {
		header.Set("Last-Event-ID", lastID)
	}
	e, err := s.openEvents(protocol, "/events?"+query, header)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(e.close)
	if e.status != http.StatusOK || e.header.Get("Content-Type") != "text/event-stream" {
		text, _ := io.ReadAll(io.LimitReader(e.body, 1000))
		s.t.Fatalf("got %d, %v: %s", e.status, e.header, text)
	}
	return e
}

func (e *stream) close() {
	e.cancel()
	_ = e.body.Close()
}

// read returns the next message that has data.
func (e *stream) read() (frame, error) {
	timer := time.AfterFunc(patience, e.cancel)
	defer timer.Stop()
	var f frame
	id, hasID, hasData := "", false, false
	for {
		line, err := e.reader.ReadString('\n')
		if err != nil {
			if line != "" {
				err = fmt.Errorf("in the middle of a line: %w", err)
			}
			return f, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "":
			if hasID {
				e.id = id
			}
			if hasData {
				return f, nil
			}
			if hasID {
				e.cursors++
			}
			hasID = false
		case line == ":":
			e.beats++
		case field == "id" && !hasID && !hasData && value != "":
			id, hasID = value, true
		case field == "data" && !hasData:
			hasData = true
			f.text = value
			if err := json.Unmarshal([]byte(value), &f); err != nil {
				return f, fmt.Errorf("%w in the message %q", err, value)
			}
			if hasID != (f.Cursor != "" && f.Type != "loaded") || hasID && id != f.Cursor {
				return f, fmt.Errorf("the id is %q, and the message %s", id, value)
			}
		case field == "retry" && e.retry == 0:
			if e.retry, err = strconv.Atoi(value); err != nil || e.retry < 1 {
				return f, fmt.Errorf("the line %q", line)
			}
		default:
			return f, fmt.Errorf("the line %.200q, in or behind the message %.200q", line, f.text)
		}
	}
}

func (e *stream) next() frame {
	e.t.Helper()
	f, err := e.read()
	if err != nil {
		e.t.Fatal(err)
	}
	return f
}

func (e *stream) expect(typ string) frame {
	e.t.Helper()
	f := e.next()
	if f.Type != typ {
		e.t.Fatalf("got %.1000s, want %s", f.text, typ)
	}
	return f
}

func (e *stream) expectRow(typ, text string) frame {
	e.t.Helper()
	f := e.expect(typ)
	if r := f.row(e.t); r.Title != text && r.Content != text {
		e.t.Fatalf("got %.1000s, want the row %q", f.text, text)
	}
	return f
}

// beat waits for the next heartbeat, and fails if anything else comes.
func (e *stream) beat() {
	e.t.Helper()
	for beats := e.beats; e.beats == beats; {
		timer := time.AfterFunc(patience, e.cancel)
		line, err := e.reader.ReadString('\n')
		timer.Stop()
		switch {
		case err != nil:
			e.t.Fatalf("waiting for a heartbeat: %v", err)
		case line == ":\n":
			e.beats++
		case strings.HasPrefix(line, "id: "):
			e.id = strings.TrimSpace(strings.TrimPrefix(line, "id: "))
			e.cursors++
		case line != "\n":
			e.t.Fatalf("got %q, want a heartbeat", line)
		}
	}
}

// expectEnd wants the stream to end, and in order: behind a message, with HTTP's own end.
func (e *stream) expectEnd() {
	e.t.Helper()
	if f, err := e.read(); !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		e.t.Errorf("got %.500s and %v, want the end of the stream", f.text, err)
	}
}

// in is the database for a subtest.
func (d *database) in(t testing.TB) *database {
	c := *d
	c.t = t
	return &c
}

// The stream has what /ws has, to the letter.
func TestEvents(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{PingInterval: time.Second}})
	overEach(t, func(t *testing.T, protocol string) {
		s, d := s.in(t), d.in(t)
		e := s.events(protocol, "channel=messages&channel=comments", "")
		if control := e.header.Get("Cache-Control"); control != "no-cache, no-transform" || e.header.Get("X-Accel-Buffering") != "no" {
			t.Errorf("the headers are %v", e.header)
		}
		for _, channel := range []string{"messages", "comments"} {
			if f := e.expect("subscribed"); f.Channel != channel {
				t.Errorf("got %s, want %s", f.text, channel)
			}
		}
		if e.retry < 750 || e.retry > 2250 {
			t.Errorf("retry is %d ms", e.retry)
		}
		// The other protocol's test writes here, too.
		ws := s.dial("messages", "comments")
		id := d.message(protocol + " один\n\"two\"")
		d.comment(id, protocol)
		d.exec(`update messages set content = $1 where id = $2`, strings.Repeat("long ", 2_000), id)
		d.exec(`delete from messages where id = $1`, id)
		mine := func(next func() frame) (texts []string) {
			for len(texts) < 5 {
				f := next()
				var r struct {
					ID      int64 `json:"id"`
					Message int64 `json:"message_id"`
				}
				if err := unmarshal(f, &r); err != nil {
					t.Fatal(err)
				}
				if r.Message == id || strings.HasPrefix(f.Type, "message_") && r.ID == id {
					texts = append(texts, f.text)
				}
			}
			return texts
		}
		if got, want := mine(e.next), mine(ws.next); !slices.Equal(got, want) {
			t.Errorf("got\n%.3000s\nwant\n%.3000s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// The first comes at once, others at the interval, and a cursor with them: what a client has would grow old in a quiet
// channel. No time is too long to be quiet.
func TestEventsHeartbeat(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	// What is allowed for a write is less than the time between two.
	s := start(t, d.url, options{server: tidingshttp.Options{PingInterval: time.Second, StallTimeout: 800 * time.Millisecond}})
	overEach(t, func(t *testing.T, protocol string) {
		s, d := s.in(t), d.in(t)
		e := s.events(protocol, "channel=comments:99", "")
		e.expect("subscribed")
		first := e.id
		d.message("elsewhere")
		for e.cursors == 0 || e.beats < 5 {
			e.beat()
		}
		if e.id == first {
			t.Errorf("the id is still %s", first)
		}
		again := s.events(protocol, "channel=messages", e.id)
		if f := again.next(); f.Type == "message_added" && f.row(t).Title == "elsewhere" {
			t.Logf("the cursor was from before the message") // of the other protocol's test
		}
	})
}

// A browser sends the last id it saw, whatever the URL says.
func TestEventsResume(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	instances := []*service{start(t, d.url, options{}), start(t, d.url, options{hub: realtime.Options{RecentBytes: 1, QueueBytes: 600}})}
	first := instances[0].events("HTTP/1.1", "channel=messages&channel=comments", "")
	begin := first.expect("subscribed").Cursor
	first.expect("subscribed")
	d.message("first")
	d.exec(`with m as (insert into messages (author_id, title, content) select 1, 'one of three', '' from generate_series(1, 3) returning id)
		insert into comments (message_id, author_id, content) select 1, 1, 'one of two' from generate_series(1, 2)`)
	d.exec(`update messages set title = title || '!'`)
	d.message("last")
	var all []frame
	for len(all) < 1+3+2+4+1 {
		all = append(all, first.next())
	}
	overEach(t, func(t *testing.T, protocol string) {
		for n, s := range instances {
			s := s.in(t)
			check := func(e *stream, want []frame) {
				t.Helper()
				for _, f := range want {
					if got := e.next(); got.ID != f.ID || got.Type != f.Type || string(got.Data) != string(f.Data) {
						t.Fatalf("instance %d: got %s, want %s", n, got.text, f.text)
					}
				}
				e.expect("subscribed")
				e.expect("subscribed")
				e.close()
			}
			for i, f := range all {
				check(s.events(protocol, "channel=comments&channel=messages", f.Cursor), all[i+1:])
			}
			check(s.events(protocol, "channel=messages&channel=comments&since="+url.QueryEscape(begin), ""), all)
			check(s.events(protocol, "channel=messages&channel=comments&since="+url.QueryEscape(begin), all[2].Cursor), all[3:])
			check(s.events(protocol, "channel=messages&channel=comments&since=nonsense", all[2].Cursor), all[3:])
		}
	})
}

func TestEventsReset(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.message("a row")
	s := start(t, d.url, options{})
	overEach(t, func(t *testing.T, protocol string) {
		s := s.in(t)
		for cursor, reason := range map[string]string{"nonsense": "malformed", "01234567-100": "foreign"} {
			for _, e := range []*stream{s.events(protocol, "channel=messages", cursor), s.events(protocol, "channel=messages&since="+cursor, "")} {
				if f := e.expect("reset"); f.Reason != reason || f.Channel != "messages" {
					t.Errorf("got %s", f.text)
				}
				if f := e.expect("subscribed"); f.Cursor != e.id {
					t.Errorf("got %s with the id %s", f.text, e.id)
				}
			}
			// Who wants the rows gets them in this case.
			e := s.events(protocol, "channel=messages&snapshot=true", cursor)
			e.expect("reset")
			e.expectRow("row", "a row")
			e.expect("loaded")
			e.expect("subscribed")
			e = s.events(protocol, "channel=messages&snapshot=true", e.id)
			e.expect("subscribed")
		}
	})
}

// Where there is nothing to stream, the answer is HTTP's, and a browser does not try again.
func TestEventsStatuses(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table secrets (id int primary key); select tidings.watch('secrets')`)
	d.exec(`create table lines (v text); select tidings.watch('lines', read => 'public')`)
	s := start(t, d.url, options{})
	for query, want := range map[string]struct {
		status int
		code   string
	}{
		"":                                    {http.StatusBadRequest, "bad_request"},
		"channel=":                            {http.StatusBadRequest, "bad_channel"},
		"channel=:5":                          {http.StatusBadRequest, "bad_channel"},
		"channel=messages:":                   {http.StatusBadRequest, "bad_channel"},
		"channel=" + strings.Repeat("x", 600): {http.StatusBadRequest, "bad_channel"},
		"channels=messages":                   {http.StatusBadRequest, "bad_request"},
		"%zz":                                 {http.StatusBadRequest, "bad_request"},
		"channel=nothing":                     {http.StatusNotFound, "unknown_channel"},
		"channel=lines:5":                     {http.StatusNotFound, "unknown_channel"},
		"channel=nothing&colour=red":          {http.StatusNotFound, "unknown_channel"},
		"channel=secrets":                     {http.StatusForbidden, "forbidden"},
		"channel=secrets:5":                   {http.StatusForbidden, "forbidden"},
		"channel=secrets&channel=secrets:":    {http.StatusForbidden, "forbidden"},
	} {
		a := s.request("GET", "/events?"+query, http.Header{"Accept": {"text/event-stream"}})
		if a.status != want.status || !strings.Contains(a.body, `"code":"`+want.code+`"`) || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%.100s: got %d, %s, %s; want %d, %s", query, a.status, a.header.Get("Content-Type"), a.body, want.status, want.code)
		}
	}
	if a := s.request("POST", "/events?channel=messages", nil); a.status == http.StatusOK {
		t.Errorf("POST is answered with %d, %s", a.status, a.body)
	}
	if a := s.request("HEAD", "/events?channel=messages", nil); a.status != http.StatusOK || a.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD is answered with %d, %v", a.status, a.header)
	}
	s.awaitConnections(0)
}

// What cannot be had is said in the stream of what can.
func TestEventsOneBadChannel(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{hub: realtime.Options{MaxChannels: 3}})
	overEach(t, func(t *testing.T, protocol string) {
		s := s.in(t)
		e := s.events(protocol, "channel=nothing&channel=messages&channel=:&colour=red&channel=comments&channel=comments:1&channel=messages", "")
		codes := make(map[string]int)
		for range 6 {
			f := e.next()
			codes[f.Type+" "+f.Code]++
		}
		want := map[string]int{"error unknown_channel": 1, "error bad_channel": 1, "error bad_request": 1, "error too_many_channels": 1, "subscribed ": 2}
		if got, wanted := mustJSON(t, codes), mustJSON(t, want); got != wanted {
			t.Errorf("got %s, want %s", got, wanted)
		}
	})
}

// A json column keeps its line ends, which in a message would end its data.
func TestEventsRawNewlines(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table documents (id int primary key, body json)`)
	d.exec(`select tidings.watch('documents', read => 'public')`)
	s := start(t, d.url, options{})
	overEach(t, func(t *testing.T, protocol string) {
		s, d := s.in(t), d.in(t)
		e := s.events(protocol, "channel=documents", "")
		e.expect("subscribed")
		id := slices.Index(protocols, protocol)
		d.exec(`insert into documents values ($1, $2::text::json)`, id, "{\n\"a\":\r\n1,\r\"b\":\t\"x\\ny\",\n\n\"id: 5\":\n\"data: \"}\n")
		const want = `{ "a":  1, "b":	"x\ny",  "id: 5": "data: "} `
		check := func(e *stream, types ...string) {
			t.Helper()
			for {
				f := e.next()
				var r struct {
					ID   int             `json:"id"`
					Body json.RawMessage `json:"body"`
				}
				if !slices.Contains(types, f.Type) {
					continue
				}
				if err := unmarshal(f, &r); err != nil {
					t.Fatal(err)
				}
				if r.ID == id {
					if string(r.Body) != strings.TrimSpace(want) {
						t.Errorf("got the body %q, want %q", r.Body, want)
					}
					return
				}
			}
		}
		check(e, "document_added")
		check(s.events(protocol, "channel=documents&snapshot=1", ""), "row", "document_added") // the rows may be those that the other protocol's test was given
	})
}

// Streams count as connections.
func TestEventsMaxConnections(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{MaxConnections: 3}})
	s.dial("messages")
	one, two := s.events("HTTP/1.1", "channel=messages", ""), s.events("HTTP/2.0", "channel=messages", "")
	one.expect("subscribed")
	two.expect("subscribed")
	s.awaitConnections(3)
	a := s.get("/events?channel=messages")
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "too_many_connections") {
		t.Errorf("got %d, %v, %s", a.status, a.header, a.body)
	}
	if _, err := s.connect(t.Context(), "channel=messages"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a WebSocket gets %v", err)
	}
	// A browser's EventSource would not come back from a 503.
	a = s.request("GET", "/events?channel=messages", http.Header{"Accept": {"text/event-stream"}})
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/event-stream" || !strings.HasPrefix(a.body, "retry: ") ||
		!strings.Contains(a.body, "\n\ndata: {\"type\":\"error\",\"code\":\"too_many_connections\"") {
		t.Errorf("got %d, %v, %s", a.status, a.header, a.body)
	}
	s.awaitConnections(3)
	two.close()
	s.awaitConnections(2)
	s.events("HTTP/2.0", "channel=messages", "").expect("subscribed")
}

// A service that is there before its database is says so, and a browser comes back.
func TestEventsBeforeTheFirstRead(t *testing.T) {
	t.Parallel()
	hub := realtime.NewHub(nil, realtime.Options{})
	server := &tidingshttp.Server{Hub: hub, Health: func() tidingshttp.Health { return tidingshttp.Health{} }}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	s := &service{t: t, addr: listener.Addr().String()}
	if a := s.get("/events?channel=messages"); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "not_ready") {
		t.Errorf("got %d, %v, %s", a.status, a.header, a.body)
	}
	a := s.request("GET", "/events?channel=messages", http.Header{"Accept": {"text/event-stream"}})
	if a.status != http.StatusOK || !strings.Contains(a.body, "retry: ") || !strings.Contains(a.body, "not_ready") {
		t.Errorf("got %d, %v, %s", a.status, a.header, a.body)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// At shutdown a stream gets what is queued, a goodbye, and an end in order.
func TestEventsShutdown(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, protocol string) {
		d := newDatabase(t)
		s := start(t, d.url, options{server: tidingshttp.Options{ShutdownTimeout: time.Hour}}) // nobody needs it: all go when told
		var streams []*stream
		for range 3 {
			e := s.events(protocol, "channel=messages", "")
			e.expect("subscribed")
			streams = append(streams, e)
		}
		d.message("last")
		streams[0].expectRow("message_added", "last")
		s.tell()
		for i, e := range streams {
			if i > 0 {
				e.expectRow("message_added", "last")
			}
			last := e.id
			f := e.expect("goodbye")
			if want := `{"type":"goodbye","code":"shutdown","message":"the server is stopping; come back with your last cursor"}`; f.text != want {
				t.Errorf("got %s, want %s", f.text, want)
			}
			e.expectEnd()
			if e.id != last {
				t.Errorf("the goodbye moved the id from %s to %s", last, e.id)
			}
			e.close()
		}
		s.awaitServed()
	})
}

// A client that goes away leaves nothing behind, also if nothing is ever written to it.
func TestEventsClientGoes(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, protocol string) {
		d := newDatabase(t)
		s := start(t, d.url, options{server: tidingshttp.Options{PingInterval: time.Hour}})
		for range 10 {
			e := s.events(protocol, "channel=messages&channel=comments:1", "")
			e.expect("subscribed")
			e.expect("subscribed")
			if stats := s.hub.Stats(); stats.Subscribers != 1 {
				t.Errorf("there are %d subscribers", stats.Subscribers)
			}
			e.close()
			eventually(t, "the subscriber is gone", func() bool { return s.hub.Stats().Subscribers == 0 && len(s.hub.Stats().Subscriptions) == 0 })
			s.awaitConnections(0)
		}
		s.end() // and dbtest.Main looks for goroutines
	})
}

// A channel that is no longer public is taken from a stream, which goes on.
func TestEventsUnwatch(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	e := s.events("HTTP/2.0", "channel=messages&channel=comments", "")
	e.expect("subscribed")
	e.expect("subscribed")
	d.exec(`select tidings.watch('messages', read => 'signed_in')`)
	if f := e.expect("error"); f.Code != "forbidden" || f.Channel != "messages" {
		t.Errorf("got %s", f.text)
	}
	id := d.message("unheard")
	d.comment(id, "heard")
	e.expectRow("comment_added", "heard")
}
