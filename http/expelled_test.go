package http_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"tidings/http/graph"
)

// expelled reads the goodbye, and does not answer it, as somebody who wants to stay.
func (c *client) expelled(code int) {
	c.t.Helper()
	c.ws.SetCloseHandler(func(int, string) error { return nil })
	var closed *websocket.CloseError
	if f, err := readFrame(c.ws); !errors.As(err, &closed) || closed.Code != code {
		c.t.Errorf("got %s %v, want the goodbye %d", f.text, err, code)
	}
}

// awaitEnd waits until the server is done with the connection.
func (c *client) awaitEnd() {
	c.t.Helper()
	if err := c.ws.NetConn().SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, c.ws.NetConn()); n > 0 || errors.Is(err, net.ErrClosed) {
		c.t.Errorf("behind the goodbye come %d bytes, %v", n, err)
	}
}

// What is said by who was sent away is not done, though he has a moment to hear why.
func TestExpelledIsNotHeard(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	c := s.graphSocket(transportWS)
	c.send(fmt.Sprintf(`{"type":"connection_init","payload":{"token":%q}}`, token(t, "1", time.Hour)))
	c.expect("connection_ack")
	plain := s.dialAs(token(t, "1", time.Hour), "messages")
	plain.expect("subscribed")
	listening := s.dial("comments:5")

	d.exec(`select tidings.revoke('1')`)
	c.expelled(4403)
	plain.expelled(4004)
	for i := range 5 {
		c.begin(fmt.Sprint(i), `mutation { createMessage(input: {title: "after the goodbye", content: ""}) { message { id } } }`, nil)
	}
	plain.send(`{"type":"authenticate","token":"` + tokenOf(t, "1", time.Hour, map[string]any{"iat": time.Now().Add(time.Second).Unix()}) + `"}`)
	plain.send(`{"type":"typing","channel":"comments:5"}`)
	c.awaitEnd()
	plain.awaitEnd()
	if n := query[int](d, `select count(*)::int from messages`); n != 0 {
		t.Errorf("%d messages were written after the goodbye", n)
	}
	d.exec(`select tidings.broadcast('comments:5', 'end', '{}')`)
	if f := listening.next(); f.Type != "end" {
		t.Errorf("got %s", f.text)
	}
}

// What is being done for who is sent away is broken off.
func TestExpelledIsBrokenOff(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	c := s.graphSocket(transportWS)
	c.send(fmt.Sprintf(`{"type":"connection_init","payload":{"token":%q}}`, token(t, "1", time.Hour)))
	c.expect("connection_ack")
	locked, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locked.Exec(t.Context(), `lock table messages in share mode`); err != nil {
		t.Fatal(err)
	}
	c.begin("1", `mutation { createMessage(input: {title: "late", content: ""}) { message { id } } }`, nil)
	eventually(t, "it waits", func() bool {
		return query[bool](d, `select exists (select from pg_locks where not granted and relation = 'messages'::regclass)`)
	})
	d.exec(`select tidings.revoke('1')`)
	c.expelled(4403)
	if err := locked.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.awaitEnd()
	if n := query[int](d, `select count(*)::int from messages`); n != 0 {
		t.Errorf("%d messages were written after the goodbye", n)
	}
}
