package http_test

import (
	"encoding/binary"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
)

// Who is told to stop goes on for a while, and only says so to those who ask whether it is ready.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{DrainDelay: 12 * time.Second}})
	eventually(t, "the service is ready", s.ready)
	before := s.dial("messages")
	s.tell()
	eventually(t, "it says that it stops", func() bool {
		status, body := s.readyz()
		return status == http.StatusServiceUnavailable && body.Stopping && body.Live
	})
	response, err := http.Get("http://" + s.addr + "/channels/messages")
	if err != nil {
		t.Fatal(err)
	}
	if _ = response.Body.Close(); response.StatusCode != http.StatusOK || !response.Close {
		t.Errorf("rows are answered with %s, and the connection goes on: %v", response.Status, !response.Close)
	}
	later, stream := s.dial("messages"), s.events("HTTP/1.1", "channel=messages", "")
	stream.expect("subscribed")
	d.message("to all")
	for _, c := range []*client{before, later} {
		c.expectRow("message_added", "to all")
	}
	stream.expectRow("message_added", "to all")
	for _, c := range []*client{before, later} {
		c.expectGoodbye(websocket.CloseGoingAway, goodbyeShutdown)
	}
	stream.expect("goodbye")
	stream.expectEnd()
	s.awaitServed()
}

// Many clients are asked to move one after another, and nobody else is taken meanwhile. What is asked for without staying is answered.
func TestDrainPace(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{DrainTime: time.Minute}})
	const clients = 250 // two seconds and a half
	var mu sync.Mutex
	var told []time.Time
	first := make(chan struct{})
	var group sync.WaitGroup
	for range clients {
		c := s.dialRaw("/ws?channel=messages")
		group.Go(func() {
			var payload []byte
			for op := byte(0); op != opClose; {
				var err error
				if op, payload, err = c.read(); err != nil {
					t.Errorf("the connection ended with %v", err)
					return
				}
			}
			_ = c.conn.Close()
			if code := binary.BigEndian.Uint16(payload); code != websocket.CloseGoingAway {
				t.Errorf("got the goodbye %d", code)
			}
			mu.Lock()
			defer mu.Unlock()
			if told = append(told, time.Now()); len(told) == 1 {
				close(first)
			}
		})
	}
	s.awaitSubscriptions(clients)
	s.tell()
	<-first
	a := s.request("GET", "/ws?channel=messages", handshake)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("a WebSocket is answered with %d, %v", a.status, a.header)
	}
	checkError(t, a, "not_ready")
	checkError(t, s.get("/events?channel=messages"), "not_ready")
	if a := s.request("GET", "/events?channel=messages", http.Header{"Accept": {"text/event-stream"}}); !strings.Contains(a.body, "retry: ") || !strings.Contains(a.body, "not_ready") {
		t.Errorf("an EventSource is answered with %d %q", a.status, a.body)
	}
	if a := s.get("/channels/messages"); a.status != http.StatusOK {
		t.Errorf("rows are answered with %d %s", a.status, a.body)
	}
	if a := s.get("/graphql?query={users{nodes{username}}}"); a.status != http.StatusOK {
		t.Errorf("a query is answered with %d %s", a.status, a.body)
	}
	group.Wait()
	s.awaitServed()
	if len(told) < clients {
		t.Fatalf("%d of %d clients were told", len(told), clients)
	}
	if took := told[clients-1].Sub(told[0]); took < 500*time.Millisecond {
		t.Errorf("all clients were told within %s, want two seconds and a half", took)
	}
}
