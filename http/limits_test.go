package http_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
)

const tooManyFromAddress = "too_many_connections_from_address"

// from is a proxy's word on whom it speaks for.
func from(address string, more http.Header) http.Header {
	header := more.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("X-Forwarded-For", address)
	return header
}

// One address has so many connections and no more, over all transports together; others have theirs.
func TestConnectionsPerAddress(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	log := new(logged)
	s := start(t, d.url, options{logger: log.logger(), server: tidingshttp.Options{
		MaxConnectionsPerAddress: 4, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}})
	open := func(address string) (closers []func()) {
		t.Helper()
		for _, path := range []string{"/ws", "/ws/events"} {
			ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), s.url("ws", path+"?channel=messages"), from(address, nil))
			if err != nil {
				t.Fatal(err)
			}
			closers = append(closers, func() { _ = ws.Close() })
		}
		for _, path := range []string{"/events?channel=messages", "/graphql?query=subscription%20%7B%20messageAdded%20%7B%20id%20%7D%20%7D"} {
			e, err := s.openEvents("HTTP/1.1", path, from(address, http.Header{"Accept": {"text/event-stream"}}))
			if err != nil || e.status != http.StatusOK {
				t.Fatal(err)
			}
			closers = append(closers, e.close)
		}
		return closers
	}
	const query = "/graphql?query=subscription%20%7B%20messageAdded%20%7B%20id%20%7D%20%7D"
	for range 3 {
		closers := open("198.51.100.7")
		for path, header := range map[string]http.Header{
			"/ws": handshake, "/ws/events": handshake, "/graphql": handshake, "/events?channel=messages": nil,
		} {
			a := s.request("GET", path, from("198.51.100.7", header))
			if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
				t.Errorf("%s: got %d, %v", path, a.status, a.header)
			}
			checkError(t, a, tooManyFromAddress)
		}
		// A browser's EventSource comes back only if it is told to in a stream.
		for _, path := range []string{"/events?channel=messages", query} {
			a := s.request("GET", path, from("198.51.100.7", http.Header{"Accept": {"text/event-stream"}}))
			if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/event-stream" || !strings.HasPrefix(a.body, "retry: ") {
				t.Errorf("%s: got %d, %v: %s", path, a.status, a.header, a.body)
			}
		}
		posted := s.send("POST", "/graphql", strings.NewReader(`{"query":"subscription { messageAdded { id } }"}`),
			from("198.51.100.7", http.Header{"Accept": {"text/event-stream"}, "Content-Type": {"application/json"}}))
		if posted.status != http.StatusTooManyRequests || !strings.Contains(posted.body, `"TOO_MANY_CONNECTIONS_FROM_ADDRESS"`) {
			t.Errorf("got %d: %s", posted.status, posted.body)
		}
		// Handshakes that go wrong neither take a place nor give one back.
		bad := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
		if a := s.request("GET", "/ws", from("198.51.100.8", bad)); a.status != http.StatusBadRequest {
			t.Errorf("got %d", a.status)
		}
		if a := s.request("GET", "/events?channel=nothing", from("198.51.100.8", nil)); a.status != http.StatusNotFound {
			t.Errorf("got %d", a.status)
		}
		closers = append(closers, open("198.51.100.8")...)
		for _, end := range closers {
			end()
		}
		s.awaitConnections(0)
	}
	_, body := s.readyz()
	if got := body.Refused[tooManyFromAddress]; got != 21 {
		t.Errorf("%d refusals are counted, want 21", got)
	}
	if n := strings.Count(log.String(), "msg=refused code="+tooManyFromAddress); n != 1 {
		t.Errorf("%d lines tell of them: %s", n, log)
	}
	if !strings.Contains(log.String(), "address=198.51.100.7") {
		t.Errorf("no address is in %s", log)
	}
}

// A flood of connections from one address is refused and counted, and nobody else notices.
func TestFloodFromOneAddress(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{MaxConnectionsPerAddress: 20}})
	other := s.dial("messages")
	flooder := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	if c, err := flooder.DialContext(t.Context(), "tcp", s.addr); err != nil {
		t.Skip("this machine has no further address: ", err)
	} else {
		_ = c.Close()
	}
	dialer := websocket.Dialer{NetDialContext: flooder.DialContext, HandshakeTimeout: patience}
	const each, workers = 50, 8
	var mu sync.Mutex
	var held []*websocket.Conn
	refused := 0
	var flood sync.WaitGroup
	for range workers {
		flood.Go(func() {
			for range each {
				ws, response, err := dialer.DialContext(t.Context(), s.url("ws", "/ws?channel=messages"), nil)
				mu.Lock()
				switch {
				case err == nil:
					held = append(held, ws)
				case response != nil && response.StatusCode == http.StatusTooManyRequests:
					refused++
				default:
					t.Errorf("got %v", err)
				}
				mu.Unlock()
			}
		})
	}
	var slowest time.Duration
	for i := range 50 {
		begun := time.Now()
		title := fmt.Sprint("message ", i)
		d.message(title)
		other.expectRow("message_added", title)
		slowest = max(slowest, time.Since(begun))
	}
	flood.Wait()
	t.Logf("of %d, %d were refused; the other was told after %s at the latest", workers*each, refused, slowest)
	if len(held) != 20 || refused != workers*each-20 {
		t.Errorf("%d were let in, and %d refused", len(held), refused)
	}
	if _, body := s.readyz(); body.Refused[tooManyFromAddress] != refused || body.Connections != 21 {
		t.Errorf("got %+v", body)
	}
	if slowest > patience/2 {
		t.Errorf("the other was told after %s", slowest)
	}
	for _, ws := range held {
		_ = ws.Close()
	}
	s.awaitConnections(1)
	ws, _, err := dialer.DialContext(t.Context(), s.url("ws", "/ws"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = ws.Close()
}

// Commands beyond the pace are not done and answered with when to try again; the connection goes on.
func TestPaceOfCommands(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{MaxCommandsPerSecond: 1, CommandBurst: 3}})
	for name, connect := range map[string]func() *client{
		"type":  func() *client { return s.dialQuery("") },
		"event": func() *client { return s.dialEnvelope("") },
	} {
		c := connect()
		for range 3 {
			c.send(`{"type":"ping"}`)
		}
		c.send(`{"type":"subscribe","channel":"messages"}`)
		pongs, refused := 0, 0
		for pongs+refused < 4 {
			f, err := readFrame(c.ws)
			if err != nil {
				t.Fatal(err)
			}
			var said map[string]any
			if err := json.Unmarshal([]byte(f.text), &said); err != nil {
				t.Fatal(err)
			}
			switch said[name] {
			case "pong":
				pongs++
			case "error":
				refused++
				wait, _ := said["retry_after_ms"].(float64)
				if said["code"] != "rate_limited" || said["channel"] != "messages" || said["message"] == "" || wait < 1 || wait > 1000 {
					t.Errorf("got %s", f.text)
				}
				timer := time.NewTimer(time.Duration(wait) * time.Millisecond)
				defer timer.Stop()
				<-timer.C // as a client does
				c.send(`{"type":"subscribe","channel":"messages"}`)
			default:
				t.Fatalf("got %s", f.text)
			}
		}
		if refused != 1 {
			t.Errorf("%d commands were refused", refused)
		}
		f, err := readFrame(c.ws)
		if err != nil || !strings.Contains(f.text, `"`+name+`":"subscribed"`) {
			t.Errorf("got %s, %v", f.text, err)
		}
	}
	if _, body := s.readyz(); body.Refused["rate_limited"] != 2 {
		t.Errorf("got %v", body.Refused)
	}
}

// Nobody is sent away for being too fast, however often, and pings of the protocol are no commands.
func TestPaceIsNoGoodbye(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{MaxCommandsPerSecond: 1, CommandBurst: 1}})
	c := s.dial("messages")
	for range 300 {
		c.send(`{"type":"ping"}`)
		c.send(`nonsense`)
	}
	pong := make(chan struct{})
	var once sync.Once
	c.ws.SetPongHandler(func(string) error { once.Do(func() { close(pong) }); return nil })
	c.write(websocket.PingMessage, nil)
	for heard := false; !heard; {
		d.message("still here")
		for f := c.next(); f.Type != "message_added"; f = c.next() {
			if f.Type != "error" && f.Type != "pong" {
				t.Fatalf("got %s", f.text)
			}
		}
		select {
		case <-pong:
			heard = true
		default:
		}
	}
}

// Operations on a WebSocket have the same pace.
func TestPaceOfOperations(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{MaxCommandsPerSecond: 1, CommandBurst: 2}})
	c := s.graphInit()
	for _, id := range []string{"1", "2", "3"} {
		c.begin(id, `{ __typename }`, nil)
	}
	answered := 0
	for done := 0; done < 3; {
		f, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		switch f.Type {
		case "next":
			answered++
		case "complete":
			done++
		case "error":
			done++
			var errs []struct {
				Message    string
				Extensions struct {
					Code         string
					RetryAfterMs int
				}
			}
			if err := json.Unmarshal(f.Payload, &errs); err != nil {
				t.Fatal(err)
			}
			if e := errs[0]; f.ID != "3" || e.Message == "" || e.Extensions.Code != "RATE_LIMITED" || e.Extensions.RetryAfterMs < 1 || e.Extensions.RetryAfterMs > 1000 {
				t.Errorf("got %s", f.text)
			}
		}
	}
	if answered != 2 {
		t.Errorf("%d operations were answered", answered)
	}
	// Its id is free again.
	eventually(t, "there is room for another", func() bool {
		c.begin("3", `{ __typename }`, nil)
		f, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == "next" {
			c.expect("complete")
			return true
		}
		return false
	})
}
