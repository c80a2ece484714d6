package http_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
	"tidings/realtime"
)

const goodbyeShutdown = "shutdown: the server is stopping"

func TestShutdown(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{ShutdownTimeout: time.Hour}}) // nobody needs it: all go when told
	clients := []*client{s.dialQuery(""), s.dial("messages"), s.dial("messages", "comments"), s.dial("comments:1")}
	d.message("last")
	clients[1].expectRow("message_added", "last")
	clients[2].expectRow("message_added", "last")

	s.tell()
	for _, c := range clients {
		c.expectGoodbye(websocket.CloseGoingAway, goodbyeShutdown)
		_ = c.ws.Close()
	}
	s.awaitServed()
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("the port is still open")
	}
}

// awaitServed waits until Serve has returned, and wants it to have succeeded.
func (s *service) awaitServed() {
	s.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.served:
		if s.err != nil {
			s.t.Errorf("Serve returned %v", s.err)
		}
	case <-timer.C:
		s.t.Fatal("Serve does not return")
	}
}

// The goodbye comes behind whole frames: who is in the middle of a large event gets it to its end.
func TestShutdownBehindWholeFrames(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{ShutdownTimeout: patience}})
	c := s.dialRaw("/ws?channel=messages")
	if f := c.frame(); f.Type != "subscribed" {
		t.Fatalf("got %s", f.text)
	}
	const size = 12 << 20 // more than the sockets' buffers hold
	d.exec(`insert into messages (author_id, title, content) values (1, 'large', repeat('x', $1))`, size)
	if _, err := c.reader.Peek(1000); err != nil { // it is being written
		t.Fatal(err)
	}
	s.tell()
	eventually(t, "the port is closed", func() bool {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	if f := c.frame(); f.Type != "message_added" || len(f.row(t).Content) != size {
		t.Errorf("got %.200s with %d bytes", f.text, len(f.text))
	}
	c.expectClose(websocket.CloseGoingAway, goodbyeShutdown)
	s.awaitServed()
}

// A client that does not read is told in vain, and holds up neither the others nor, beyond the timeout, the end.
func TestShutdownWithStuckClients(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	const timeout = 10 * time.Second
	s := start(t, d.url, options{server: tidingshttp.Options{ShutdownTimeout: timeout, StallTimeout: patience}})
	stuck := s.dialRaw("/ws?channel=messages")
	if f := stuck.frame(); f.Type != "subscribed" {
		t.Fatalf("got %s", f.text)
	}
	deaf := s.dialRaw("/ws?channel=comments") // reads, but does not answer the goodbye
	if f := deaf.frame(); f.Type != "subscribed" {
		t.Fatalf("got %s", f.text)
	}
	well := s.dial("comments")
	d.exec(`insert into messages (author_id, title, content) values (1, 'large', repeat('x', $1))`, 12<<20)
	if _, err := stuck.reader.Peek(1000); err != nil {
		t.Fatal(err)
	}

	begun := time.Now()
	s.tell()
	well.expectGoodbye(websocket.CloseGoingAway, goodbyeShutdown)
	if took := time.Since(begun); took > timeout/2 {
		t.Errorf("a client was told after %s, because another does not read", took)
	}
	deaf.expectClose(websocket.CloseGoingAway, goodbyeShutdown)
	s.awaitServed()
	if took := time.Since(begun); took < timeout {
		t.Errorf("Serve returned after %s, want %s", took, timeout)
	}
}

// A connection that has not asked for anything yet, as browsers open them ahead of need, costs the others nothing of
// the time that they have.
func TestShutdownWithUnusedConnection(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	const timeout = 10 * time.Second
	s := start(t, d.url, options{server: tidingshttp.Options{ShutdownTimeout: timeout}})
	c := s.dial("messages")
	for _, begin := range []string{"", "GET / HTTP/1.1\r\nHost: "} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, begin); err != nil {
			t.Fatal(err)
		}
	}
	s.get("/healthz") // the ones before have been accepted
	begun := time.Now()
	s.tell()
	c.expectGoodbye(websocket.CloseGoingAway, goodbyeShutdown)
	if took := time.Since(begun); took > timeout/2 {
		t.Errorf("a client was told after %s, because of connections that are not in use", took)
	}
	s.awaitServed()
}

// While it stops, what is queued is written first, also to who is being fed from the log.
func TestShutdownWhileCatchingUp(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{hub: realtime.Options{QueueBytes: 4096, RecentBytes: 1}, server: tidingshttp.Options{ShutdownTimeout: 5 * time.Second}})
	beginning := query[string](d, `select tidings.cursor()`)
	d.exec(`insert into messages (author_id, title, content) select 1, i::text, repeat('x', 1000) from generate_series(1, 1000) as i`)
	eventually(t, "the events are published", func() bool {
		_, body := s.readyz()
		return body.Events.Read == 2000 // and the activity
	})
	c := s.dialQuery("channel=messages&since=" + beginning)
	first := c.expectRow("message_added", "1")
	s.tell()
	frames := append([]frame{first}, c.readUntilGoodbye(websocket.CloseGoingAway, goodbyeShutdown)...)
	s.awaitServed()
	// It comes back elsewhere with its last cursor.
	last := frames[len(frames)-1]
	other := start(t, d.url, options{})
	rest := other.dialQuery("channel=messages&since=" + last.Cursor)
	for len(frames) < 1000 {
		frames = append(frames, rest.expect("message_added"))
	}
	rest.expect("subscribed")
	for i, f := range frames {
		if got := f.row(t).ID; got != int64(i+1) {
			t.Fatalf("message %d came as the %dth", got, i+1)
		}
	}
}

// A listener that fails ends the service, with an error.
func TestListenerFails(t *testing.T) {
	t.Parallel()
	hub := realtime.NewHub(nil, realtime.Options{})
	server := &tidingshttp.Server{Hub: hub, Health: func() tidingshttp.Health { return tidingshttp.Health{} }}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(t.Context(), listener); err == nil || !strings.Contains(err.Error(), listener.Addr().String()) {
		t.Errorf("got %v, want an error that names the address", err)
	}
}
