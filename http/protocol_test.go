package http_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
)

func TestFragmentedCommands(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	c := s.dialRaw("/ws")
	command := `{"type":"subscribe","channel":"messages"}`
	c.send(false, opText, command[:10])
	c.send(true, opPing, "in between")
	c.send(false, opContinuation, "")
	for _, b := range command[10:] {
		c.send(false, opContinuation, string(b))
	}
	c.send(true, opContinuation, "")
	if op, payload, err := c.read(); err != nil || op != opPong || string(payload) != "in between" {
		t.Fatalf("got a frame with opcode %d: %q, %v", op, payload, err)
	}
	if f := c.frame(); f.Type != "subscribed" || f.Channel != "messages" {
		t.Fatalf("got %s", f.text)
	}
	// What is bad is so in pieces, too.
	c.send(false, opBinary, "{")
	c.send(true, opContinuation, "}")
	if f := c.frame(); f.Code != "bad_frame" {
		t.Errorf("got %s", f.text)
	}
	c.send(false, opText, "\xd0")
	c.send(true, opContinuation, "\xd0")
	if f := c.frame(); f.Code != "bad_frame" {
		t.Errorf("got %s", f.text)
	}
	d.message("still here")
	if f := c.frame(); f.row(t).Title != "still here" {
		t.Errorf("got %s", f.text)
	}
}

func TestPingsFromTheClient(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	c := s.dialRaw("/ws")
	for _, payload := range []string{"", "hello", strings.Repeat("x", 125), "\x00\xff"} {
		c.send(true, opPing, payload)
		if op, got, err := c.read(); err != nil || op != opPong || string(got) != payload {
			t.Errorf("the ping %q is answered with opcode %d: %q, %v", payload, op, got, err)
		}
	}
}

// Breaches of the protocol end the connection, with the close code for them.
func TestProtocolErrors(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	ping := `{"type":"ping"}`
	unmasked := append([]byte{0x80 | opText, byte(len(ping))}, ping...)
	for name, frames := range map[string][]byte{
		"unmasked":                     unmasked,
		"reserved bit":                 {0xC0 | opText, 0x80, 1, 2, 3, 4},
		"unknown opcode":               maskedFrame(true, 3, nil),
		"unknown control opcode":       maskedFrame(true, 11, nil),
		"continuation of nothing":      maskedFrame(true, opContinuation, []byte("x")),
		"text in the middle of a text": append(maskedFrame(false, opText, []byte("{")), maskedFrame(true, opText, []byte("}"))...),
		"fragmented ping":              maskedFrame(false, opPing, nil),
		"ping too long":                maskedFrame(true, opPing, make([]byte, 126)),
		"close code that is none":      maskedFrame(true, opClose, []byte{0x03, 0xED}), // 1005
		"close reason that is no text": maskedFrame(true, opClose, []byte("\x03\xe8\xff")),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.in(t).dialRaw("/ws?channel=messages")
			if f := c.frame(); f.Type != "subscribed" {
				t.Fatalf("got %s", f.text)
			}
			c.write(frames)
			c.expectClose(websocket.CloseProtocolError, "")
		})
	}
	s.awaitConnections(0)
}

// A client's close is answered with a close, and with what was queued before.
func TestCloseFromTheClient(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	for name, payload := range map[string]string{"bare": "", "normal": "\x03\xe8bye", "going away": "\x03\xe9", "own": "\x0f\xa0"} {
		t.Run(name, func(t *testing.T) {
			c := s.in(t).dialRaw("/ws?channel=messages")
			if f := c.frame(); f.Type != "subscribed" {
				t.Fatalf("got %s", f.text)
			}
			c.send(true, opClose, payload)
			c.expectClose(websocket.CloseNormalClosure, "")
		})
	}
	s.awaitConnections(0)
}

func TestPongsKeepAlive(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{PingInterval: 100 * time.Millisecond, PongTimeout: 6 * time.Second}})
	c := s.dialRaw("/ws?channel=messages")
	if f := c.frame(); f.Type != "subscribed" {
		t.Fatalf("got %s", f.text)
	}
	// It says nothing but pongs for longer than a silent one could.
	begun := time.Now()
	for time.Since(begun) < 8*time.Second {
		op, payload, err := c.read()
		if op == opText && strings.Contains(string(payload), `{"type":"cursor"`) {
			continue
		}
		if err != nil || op != opPing {
			t.Fatalf("after %s: opcode %d, %q, %v", time.Since(begun), op, payload, err)
		}
		c.send(true, opPong, string(payload))
	}
	d.message("here")
	if f := c.frame(); f.row(t).Title != "here" {
		t.Errorf("got %s", f.text)
	}
}

// A client that is told things, reads them, and never says a word is gone after the interval.
func TestSilentClient(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{PingInterval: 200 * time.Millisecond, PongTimeout: 300 * time.Millisecond}})
	c := s.dialRaw("/ws?channel=messages")
	begun := time.Now()
	c.expectClose(4000, "silent")
	if took := time.Since(begun); took < 400*time.Millisecond {
		t.Errorf("a silent client was sent away after %s, want 500ms", took)
	}
	s.awaitConnections(0)
}

// A client whose machine has vanished: nothing comes from it, and nothing is read. Its connection ends, whether there
// is something to write to it or not.
func TestHalfOpenConnection(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for name, o := range map[string]tidingshttp.Options{
		"nothing to write":   {PingInterval: 2 * time.Second, PongTimeout: 3 * time.Second},
		"something to write": {StallTimeout: 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, d.url, options{server: o})
			c := s.dialRaw("/ws?channel=messages")
			if f := c.frame(); f.Type != "subscribed" {
				t.Fatalf("got %s", f.text)
			}
			if strings.HasPrefix(name, "something") {
				// More than the sockets' buffers hold.
				d.exec(`insert into messages (author_id, title, content) select 1, 'large', repeat('x', 4000000) from generate_series(1, 5)`)
			}
			s.awaitConnections(0)
			eventually(t, "its subscription is gone", func() bool { return s.hub.Stats().Subscribers == 0 })
		})
	}
}

func TestNotAWebSocket(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	without := func(name string, values ...string) http.Header {
		h := handshake.Clone()
		h[name] = values
		return h
	}
	for _, c := range []struct {
		name, method string
		header       http.Header
		status       int
		code         string
	}{
		{"a browser's address bar", "GET", nil, http.StatusUpgradeRequired, "not_a_websocket"},
		{"another protocol", "GET", without("Upgrade", "h2c"), http.StatusUpgradeRequired, "not_a_websocket"},
		{"an old version", "GET", without("Sec-Websocket-Version", "8"), http.StatusBadRequest, ""},
		{"no key", "GET", without("Sec-Websocket-Key"), http.StatusBadRequest, ""},
		{"a short key", "GET", without("Sec-Websocket-Key", "x"), http.StatusBadRequest, ""},
		{"POST", "POST", nil, http.StatusNotFound, "not_found"},
		{"POST that would upgrade", "POST", handshake, http.StatusNotFound, "not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.in(t).request(c.method, "/ws?channel=messages", c.header)
			if a.status != c.status {
				t.Errorf("got the status %d, want %d: %s", a.status, c.status, a.body)
			}
			if c.code == "" {
				return
			}
			checkError(t, a, c.code)
			if c.status == http.StatusUpgradeRequired && a.header.Get("Upgrade") != "websocket" {
				t.Errorf("the answer does not say to which protocol: %v", a.header)
			}
		})
	}
	s.awaitConnections(0)
}

// checkError looks at an error answered over HTTP.
func checkError(t *testing.T, a answer, code string) {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("the answer is not JSON: %v: %q %s", err, a.header.Get("Content-Type"), a.body)
	}
	if body.Error.Code != code || body.Error.Message == "" {
		t.Errorf("got %s, want the code %s and a message", a.body, code)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	const none = ""
	for name, policy := range map[string]struct {
		allowed []string
		cases   []struct {
			host, origin string
			want         bool
		}
	}{
		"by default": {nil, []struct {
			host, origin string
			want         bool
		}{
			{"127.0.0.1:PORT", none, true},
			{"127.0.0.1:PORT", "http://127.0.0.1:PORT", true},
			{"tidings.example", "https://tidings.example", true},
			{"tidings.example", "https://TIDINGS.example", true},
			{"tidings.example:8080", "http://tidings.example:8080", true},
			{"tidings.example:8080", "http://tidings.example:9090", false},
			{"tidings.example", "https://other.example", false},
			{"tidings.example", "https://tidings.example.other.example", false},
			{"tidings.example", "https://other.example/tidings.example", false},
			{"tidings.example", "https://tidings.example@other.example", false},
			{"tidings.example", "null", false},
			{"tidings.example", "tidings.example", false},
			{"tidings.example", "://", false},
			{"tidings.example", "http://localhost:3000", false},
			{"localhost:PORT", "http://localhost:3000", true},
			{"localhost:PORT", "http://127.0.0.1:3000", true},
			{"localhost:PORT", "http://[::1]:3000", true},
			{"127.0.0.1:PORT", "http://localhost", true},
			{"127.0.0.1:PORT", "https://LOCALHOST:5173", true},
			{"[::1]:PORT", "http://localhost:5173", true},
			{"127.0.0.1:PORT", "http://192.168.0.7:3000", false},
			{"127.0.0.1:PORT", "null", false},
			{"localhost:PORT", "https://other.example", false},
			{"localhost:PORT", "https://localhost.other.example", false},
			{"localhost:PORT", "https://127.0.0.1.other.example", false},
			{"localhost:PORT", "https://other.example:80@localhost.other.example", false},
			// A foreign name that points here, and a page of this machine.
			{"points-here.example:PORT", "http://localhost:3000", false},
			{"localhost:PORT", "http://points-here.example:PORT", false},
		}},
		"with a list": {[]string{"https://App.example.com/", "http://localhost:5173", "null"}, []struct {
			host, origin string
			want         bool
		}{
			{"tidings.example", none, true},
			{"tidings.example", "https://app.example.com", true},
			{"tidings.example", "https://APP.example.com", true},
			{"tidings.example", "http://localhost:5173", true},
			{"tidings.example", "null", true},
			{"tidings.example", "https://tidings.example", true},
			{"tidings.example", "http://app.example.com", false},
			{"tidings.example", "https://app.example.com:444", false},
			{"tidings.example", "https://other.example", false},
			{"tidings.example", "http://localhost:5174", false},
		}},
		"any": {[]string{"*"}, []struct {
			host, origin string
			want         bool
		}{
			{"tidings.example", none, true},
			{"tidings.example", "https://other.example", true},
			{"tidings.example", "null", true},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, d.url, options{server: tidingshttp.Options{AllowedOrigins: policy.allowed}})
			_, port, err := net.SplitHostPort(s.addr)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range policy.cases {
				header := http.Header{"Host": {strings.ReplaceAll(c.host, "PORT", port)}}
				if c.origin != none {
					header.Set("Origin", strings.ReplaceAll(c.origin, "PORT", port))
				}
				dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, s.addr)
				}}
				ws, response, err := dialer.DialContext(t.Context(), "ws://"+s.addr+"/ws", header)
				switch {
				case err == nil:
					_ = ws.Close()
					if !c.want {
						t.Errorf("a page of %q may connect to %s", c.origin, c.host)
					}
				case response == nil:
					t.Fatal(err)
				case c.want:
					t.Errorf("a page of %q may not connect to %s: %s", c.origin, c.host, response.Status)
				default:
					body, err := io.ReadAll(response.Body)
					if err != nil {
						t.Fatal(err)
					}
					if response.StatusCode != http.StatusForbidden {
						t.Errorf("a page of %q is refused with %s", c.origin, response.Status)
					}
					checkError(t, answer{response.StatusCode, response.Header, string(body)}, "origin_not_allowed")
				}
			}
		})
	}
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{MaxConnections: 3}})
	clients := []*client{s.dial("messages"), s.dial("messages"), s.dial("messages")}
	for range 3 {
		a := s.request("GET", "/ws", handshake)
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("got %d, %v", a.status, a.header)
		}
		checkError(t, a, "too_many_connections")
	}
	// A handshake that goes wrong takes no place, nor does it give one back.
	if a := s.request("GET", "/ws", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}); a.status != http.StatusServiceUnavailable {
		t.Errorf("got %d", a.status)
	}
	if _, body := s.readyz(); body.Connections != 3 {
		t.Errorf("%d connections are counted, want 3", body.Connections)
	}
	for range 3 {
		for _, c := range clients {
			if err := c.ws.NetConn().Close(); err != nil {
				t.Fatal(err)
			}
		}
		s.awaitConnections(0)
		for range 3 {
			if a := s.request("GET", "/ws", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}); a.status != http.StatusBadRequest {
				t.Errorf("got %d", a.status)
			}
		}
		clients = []*client{s.dial("messages"), s.dial("messages"), s.dial("messages")}
	}
	title := fmt.Sprint("to all of ", len(clients))
	d.message(title)
	for _, c := range clients {
		c.expectRow("message_added", title)
	}
}

// Before the log is being read there is nothing to follow: come back in a second.
func TestNotReadyYet(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`alter function tidings.settle() rename to unsettled`) // with which reading begins
	s := launch(t, d.url, options{})
	a := s.request("GET", "/ws", handshake)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("got %d, %v", a.status, a.header)
	}
	checkError(t, a, "not_ready")
	if status, body := s.readyz(); status != http.StatusServiceUnavailable || body.Ready || body.LastRead != nil {
		t.Errorf("/readyz is %d, %+v", status, body)
	}
	if a := s.get("/healthz"); a.status != http.StatusOK {
		t.Errorf("/healthz is %d", a.status)
	}
	d.exec(`alter function tidings.unsettled() rename to settle`)
	eventually(t, "the service is live", s.hub.Live)
	c := s.dial("messages")
	d.message("now")
	c.expectRow("message_added", "now")
}

// handshake is what asks for a WebSocket.
var handshake = http.Header{
	"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
	"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
}
