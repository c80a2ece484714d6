package http_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	tidingshttp "tidings/http"
)

const goodbyeStalled = "stalled: you read nothing for too long; come back with your last cursor"

// stallRows is how many rows of sixty thousand bytes are far more than the sockets' buffers hold.
const stallRows = 300

func (d *database) writeMany(from, n int) {
	d.t.Helper()
	d.exec(`insert into messages (author_id, title, content) select 1, i::text, repeat('x', 60000) from generate_series($1::int, $2) as i`, from, from+n-1)
}

// A client that reads nothing at all for too long is told so, behind a whole frame, when it reads on; nobody else waits
// for it; and with its last cursor it has everything exactly once.
func TestStalledWebSocket(t *testing.T) {
	t.Parallel()
	const timeout = 6 * time.Second // nobody else should be that slow
	for name, of := range map[string]struct {
		path string
		tls  *certified
	}{
		"/ws": {"/ws?channel=messages", nil}, "/ws/events": {"/ws/events?channel=messages", nil},
		"/ws by TLS": {"/ws?channel=messages", certify(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			s := start(t, d.url, options{server: tidingshttp.Options{StallTimeout: timeout}, tls: of.tls})
			stalled := s.dialRaw(of.path)
			if op, text, err := stalled.read(); op != opText || err != nil || !strings.Contains(string(text), "subscribed") {
				t.Fatalf("got opcode %d, %s, %v", op, text, err)
			}
			other := s.dial("messages")
			begun := time.Now()
			d.writeMany(1, stallRows)
			for i := range stallRows {
				other.expectRow("message_added", fmt.Sprint(i+1))
			}
			t.Logf("the other client had all after %s", time.Since(begun))
			s.awaitConnections(1)
			if took := time.Since(begun); took < timeout {
				t.Errorf("it was given up after %s", took)
			}

			cursor, n := "", 0
			for {
				op, payload, err := stalled.read()
				if err != nil {
					t.Fatalf("after %d events: %v", n, err)
				}
				if op == opPing {
					continue
				}
				if op == opClose {
					if string(payload) != "\x0f\xa1"+goodbyeStalled { // 4001
						t.Errorf("got the close frame %q", payload)
					}
					break
				}
				n++
				_, rest, _ := strings.Cut(string(payload), `"cursor":"`)
				cursor, _, _ = strings.Cut(rest, `"`)
				if !strings.Contains(string(payload), fmt.Sprintf(`"title":"%d"`, n)) {
					t.Fatalf("got %.300s as the %dth event", payload, n)
				}
			}
			if rest, err := io.ReadAll(stalled.reader); len(rest) > 0 || err != nil {
				t.Errorf("behind the close frame there came %d bytes, %v", len(rest), err)
			}
			if n == 0 || n == stallRows {
				t.Fatalf("it had %d events", n)
			}
			again := s.dialQuery(url.Values{"channel": {"messages"}, "since": {cursor}}.Encode())
			for ; n < stallRows; n++ {
				again.expectRow("message_added", fmt.Sprint(n+1))
			}
			again.expect("subscribed")
		})
	}
}

// A stream has no word for it: it is cut, in the middle of a message that does not count.
func TestStalledEvents(t *testing.T) {
	t.Parallel()
	const timeout = 6 * time.Second // nobody else should be that slow
	overEachAndTLS(t, func(t *testing.T, protocol string, by *certified) {
		d := newDatabase(t)
		s := start(t, d.url, options{server: tidingshttp.Options{StallTimeout: timeout}, tls: by})
		stalled := s.events(protocol, "channel=messages", "")
		stalled.expect("subscribed")
		other := s.events(protocol, "channel=messages", "")
		other.expect("subscribed")
		d.writeMany(1, stallRows)
		for i := range stallRows {
			other.expectRow("message_added", fmt.Sprint(i+1))
		}
		s.awaitConnections(1)
		n := 0
		for {
			f, err := stalled.read()
			if err != nil {
				if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "middle") {
					t.Errorf("the stream ended in order: %v", err)
				}
				break
			}
			n++
			if got := f.row(t).Title; got != fmt.Sprint(n) {
				t.Fatalf("got message %s as the %dth", got, n)
			}
		}
		if n == stallRows {
			t.Fatal("it had all events")
		}
		again := s.events(protocol, "channel=messages", stalled.id)
		for ; n < stallRows; n++ {
			again.expectRow("message_added", fmt.Sprint(n+1))
		}
		again.expect("subscribed")
		again.close()
		other.close()
		s.awaitConnections(0)
	})
}

// One that reads a little now and then is slow, and not stalled.
func TestSlowIsNotStalled(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{StallTimeout: 5 * time.Second}})
	ws := s.dialRaw("/ws?channel=messages")
	if f := ws.frame(); f.Type != "subscribed" {
		t.Fatalf("got %s", f.text)
	}
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /events?channel=messages HTTP/1.1\r\nHost: "+s.addr+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{ws.conn, conn} {
		if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
			t.Fatal(err)
		}
	}
	events := bufio.NewReaderSize(conn, 64<<10)
	response, err := http.ReadResponse(events, nil) // to close its body would be to read it to its end
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, response.Body, 20); err != nil {
		t.Fatal(err)
	}
	s.awaitConnections(2)
	eventually(t, "both are subscribed", func() bool { return s.hub.Stats().Subscriptions["messages"] == 2 })
	d.exec(`insert into messages (author_id, title, content) values (1, 'large', repeat('x', $1))`, 12<<20)

	// 200 KB a second for twice as long as one may read nothing.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		<-tick.C
		for name, r := range map[string]io.Reader{"the WebSocket": ws.reader, "the stream": response.Body} {
			for _, c := range []net.Conn{ws.conn, conn} {
				if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.CopyN(io.Discard, r, 20_000); err != nil {
				t.Fatalf("%s ended: %v", name, err)
			}
		}
	}
	if n := s.hub.Stats().Subscribers; n != 2 {
		t.Errorf("there are %d subscribers", n)
	}
}

// At shutdown, streams that nobody reads end when the time is over, and hold up no others.
func TestShutdownWithStuckStreams(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			s := start(t, d.url, options{server: tidingshttp.Options{ShutdownTimeout: timeout, StallTimeout: patience}})
			stuck := s.events(protocol, "channel=messages", "")
			stuck.expect("subscribed")
			well := s.events(protocol, "channel=comments", "")
			well.expect("subscribed")
			d.exec(`insert into messages (author_id, title, content) values (1, 'large', repeat('x', $1))`, 12<<20)
			if _, err := stuck.reader.Peek(30_000); err != nil { // it is being written
				t.Fatal(err)
			}
			begun := time.Now()
			s.tell()
			well.expect("goodbye")
			well.expectEnd()
			if took := time.Since(begun); took > timeout/2 {
				t.Errorf("a client was told after %s, because another does not read", took)
			}
			s.awaitServed()
			if took := time.Since(begun); took < timeout {
				t.Errorf("Serve returned after %s, want %s", took, timeout)
			}
		})
	}
}
