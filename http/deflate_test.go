package http_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
)

const offer = "Sec-WebSocket-Extensions: permessage-deflate"

// dialDeflate connects a client that compresses what it says.
func (s *service) dialDeflate(target string) *client {
	s.t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: patience, EnableCompression: true}
	ws, response, err := dialer.DialContext(s.t.Context(), "ws://"+s.addr+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = ws.Close() })
	if got := response.Header.Get("Sec-WebSocket-Extensions"); !strings.HasPrefix(got, "permessage-deflate;") {
		s.t.Fatalf("the extensions agreed on are %q", got)
	}
	return &client{t: s.t, ws: ws}
}

// deflated is a message as a client sends it compressed.
func deflated(text string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write([]byte(text))
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

// deflatedFrame is a frame with RSV1 set.
func deflatedFrame(fin bool, op byte, payload []byte) []byte {
	return maskedFrame(fin, op|0x40, payload)
}

// Whoever has agreed on compression is told the same as whoever has not, on one channel.
func TestCompressedAndPlain(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{CompressMinBytes: 1000}})
	plain, deflate, envelope := s.dial("messages"), s.dialDeflate("/ws"), s.dialDeflate("/ws/events?channel=messages")
	deflate.subscribe("messages", "") // compressed
	deflate.expect("subscribed")
	if f := envelope.next(); !strings.HasPrefix(f.text, `{"event":"subscribed"`) {
		t.Fatalf("got %s", f.text)
	}
	raw := s.dialRaw("/ws?channel=messages", offer)
	if f := raw.frame(); f.Type != "subscribed" || raw.deflated != 0 {
		t.Fatalf("got %s, compressed: %d", f.text, raw.deflated)
	}
	for i, size := range []int{1, 2000, 100, 100_000, 500_000, 2} {
		content := strings.Repeat("many words, ", size/12+1)[:size]
		d.exec(`insert into messages (author_id, title, content) values (1, 'a message', $1)`, content)
		want := plain.expect("message_added")
		if got := want.row(t).Content; got != content {
			t.Fatalf("of %d bytes got %d", size, len(got))
		}
		if got := deflate.next(); got.text != want.text {
			t.Errorf("got %.1000s, want %.1000s", got.text, want.text)
		}
		if got := envelope.next(); got.text != strings.Replace(want.text, `{"type"`, `{"event"`, 1) {
			t.Errorf("got %.1000s, want %.1000s", got.text, want.text)
		}
		before := raw.deflated
		if got := raw.frame(); got.text != want.text {
			t.Errorf("got %.1000s, want %.1000s", got.text, want.text)
		}
		if got, want := raw.deflated > before, len(want.text) >= 1000; got != want {
			t.Errorf("event %d of %d bytes is compressed: %t, want %t", i, size, got, want)
		} else if got && raw.bytes > size/4+500 {
			t.Errorf("%d bytes are compressed to %d", size, raw.bytes)
		}
	}
	deflate.send(strings.Repeat(" ", 2000) + `{"type":"ping"}`)
	deflate.expect("pong")

	// The rows that come first are events as well; what is said about them is not.
	before := raw.deflated
	raw.write(deflatedFrame(true, opText, deflated(`{"type":"switch","channel":"messages","snapshot":true}`)))
	if f := raw.frame(); f.Type != "unsubscribed" {
		t.Fatalf("got %s", f.text)
	}
	for f := raw.frame(); f.Type != "subscribed"; f = raw.frame() {
		if f.Type != "row" && f.Type != "loaded" {
			t.Fatalf("got %.1000s", f.text)
		}
	}
	if got := raw.deflated - before; got != 3 {
		t.Errorf("%d rows came compressed, want 3", got)
	}
}

// Compressed commands come whole and in pieces, mixed with those that are not, with what belongs between the pieces.
func TestCompressedCommands(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	const limit = 4096
	s := start(t, d.url, options{server: tidingshttp.Options{CompressMinBytes: 1, MaxFrame: limit}})
	c := s.dialRaw("/ws", offer)
	ping := `{"type":"ping"}`
	answer := func(what, want string) {
		t.Helper()
		if f := c.frame(); f.Type != want && f.Code != want {
			t.Errorf("%s: got %s, want %s", what, f.text, want)
		}
	}
	c.write(deflatedFrame(true, opText, deflated(ping)))
	answer("whole", "pong")
	c.send(true, opText, ping)
	answer("not compressed", "pong")
	small := deflated(ping)
	c.write(deflatedFrame(false, opText, nil))
	for _, b := range small {
		c.write(maskedFrame(false, opContinuation, []byte{b}))
	}
	c.send(true, opPing, "in between")
	c.send(true, opContinuation, "")
	if op, payload, err := c.read(); err != nil || op != opPong || string(payload) != "in between" {
		t.Fatalf("got opcode %d, %q, %v", op, payload, err)
	}
	answer("in pieces", "pong")
	c.write(deflatedFrame(true, opText, deflated(ping+strings.Repeat(" ", limit-len(ping)))))
	answer("as large as may be", "pong")
	c.write(deflatedFrame(true, opText, []byte("\x00")))
	answer("empty", "bad_json")
	c.write(deflatedFrame(true, opText, deflated("\xff")))
	answer("not UTF-8", "bad_frame")
	c.write(deflatedFrame(true, opBinary, deflated(ping)))
	answer("binary", "bad_frame")
	c.write(deflatedFrame(true, opText, make([]byte, limit+1))) // not even looked at
	answer("large as it is sent", "frame_too_large")
	// RFC 7692, 7.2.3: not compressed, fixed codes, a block that says that it is the last.
	for name, message := range map[string]string{
		"stored":     "\x00\x05\x00\xfa\xffHello\x00",
		"fixed":      "\xf2\x48\xcd\xc9\xc9\x07\x00",
		"final":      "\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
		"two blocks": "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
	} {
		c.write(deflatedFrame(true, opText, []byte(message)))
		if f := c.frame(); f.Code != "bad_json" || !strings.Contains(f.Message, "'H'") {
			t.Errorf("%s: got %s", name, f.text)
		}
	}
	c.send(true, opText, ping)
	answer("after all of that", "pong")
}

// What must not be sent ends the connection, with a close code for what it is.
func TestCompressionErrors(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	const limit = 4096
	s := start(t, d.url, options{server: tidingshttp.Options{CompressMinBytes: 1, MaxFrame: limit}})
	ping := `{"type":"ping"}`
	small := deflated(ping)
	bomb := deflated(strings.Repeat(" ", 1<<20))
	if len(bomb) > limit {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	damaged := bytes.Clone(small)
	damaged[0] |= 6 // a kind of block that there is not
	pieces := func(first, second []byte) []byte { return append(first, second...) }
	for name, c := range map[string]struct {
		frames []byte
		code   int
		reason string
	}{
		"bomb":                      {deflatedFrame(true, opText, bomb), websocket.CloseMessageTooBig, "frame_too_large"},
		"bomb in pieces":            {pieces(deflatedFrame(false, opText, bomb[:9]), maskedFrame(true, opContinuation, bomb[9:])), websocket.CloseMessageTooBig, "frame_too_large"},
		"bomb with a damaged end":   {deflatedFrame(true, opText, append(bytes.Clone(bomb), 6)), websocket.CloseMessageTooBig, "frame_too_large"}, // it is not looked at
		"one byte too many":         {deflatedFrame(true, opText, deflated(strings.Repeat(" ", limit+1))), websocket.CloseMessageTooBig, "frame_too_large"},
		"far too large as it is":    {deflatedFrame(true, opText, make([]byte, 16*limit+1)), websocket.CloseMessageTooBig, "frame_too_large"},
		"damaged":                   {deflatedFrame(true, opText, damaged), websocket.CloseInvalidFramePayloadData, "corrupt"},
		"cut off in the header":     {deflatedFrame(true, opText, []byte("\x04\xc0")), websocket.CloseInvalidFramePayloadData, "corrupt"},
		"nothing at all":            {deflatedFrame(true, opText, nil), websocket.CloseInvalidFramePayloadData, "corrupt"},
		"not compressed":            {deflatedFrame(true, opText, []byte(ping)), websocket.CloseInvalidFramePayloadData, "corrupt"},
		"from before the message":   {deflatedFrame(true, opText, []byte("\xf2\x00\x11\x00\x00")), websocket.CloseInvalidFramePayloadData, "corrupt"}, // "takes over" the one before
		"RSV2":                      {maskedFrame(true, opText|0x20, []byte(ping)), websocket.CloseProtocolError, "protocol"},
		"RSV3":                      {maskedFrame(true, opText|0x10, []byte(ping)), websocket.CloseProtocolError, "protocol"},
		"RSV1 and RSV2":             {deflatedFrame(true, opText|0x20, small), websocket.CloseProtocolError, "protocol"},
		"RSV1 of a ping":            {deflatedFrame(true, opPing, nil), websocket.CloseProtocolError, "protocol"},
		"RSV1 of a close":           {deflatedFrame(true, opClose, nil), websocket.CloseProtocolError, "protocol"},
		"RSV1 of a continuation":    {pieces(deflatedFrame(false, opText, small[:3]), deflatedFrame(true, opContinuation, small[3:])), websocket.CloseProtocolError, "protocol"},
		"RSV1 in a plain text":      {pieces(maskedFrame(false, opText, []byte(ping[:3])), deflatedFrame(true, opContinuation, small)), websocket.CloseProtocolError, "protocol"},
		"text in the middle of one": {pieces(deflatedFrame(false, opText, small[:3]), deflatedFrame(true, opText, small)), websocket.CloseProtocolError, "protocol"},
		"unknown opcode":            {deflatedFrame(true, 3, small), websocket.CloseProtocolError, "protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := s.in(t).dialRaw("/ws?channel=messages", offer)
			if f := r.frame(); f.Type != "subscribed" {
				t.Fatalf("got %s", f.text)
			}
			r.write(c.frames)
			r.expectClose(c.code, c.reason)
		})
	}
}

// Compression is agreed on where it is offered, among whatever else, and nowhere by default.
func TestNegotiation(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	off := start(t, d.url, options{})
	on := start(t, d.url, options{server: tidingshttp.Options{CompressMinBytes: 1}})
	for _, c := range []struct {
		header string
		want   bool
	}{
		{"Host-Is: there", false},
		{offer, true},
		{offer + "; client_max_window_bits", true},
		{offer + `; server_max_window_bits=12; client_max_window_bits="12"`, true},
		{"Sec-WebSocket-Extensions: x-webkit-deflate-frame, permessage-deflate;client_max_window_bits", true},
		{"Sec-WebSocket-Extensions: one;a=1\r\nsec-websocket-extensions:permessage-deflate", true},
		{"Sec-WebSocket-Extensions: a strange one, permessage-deflate", true},
		{"Sec-WebSocket-Extensions: x-webkit-deflate-frame", false},
		{"Sec-WebSocket-Extensions: other; permessage-deflate", false},
		{"Sec-WebSocket-Extensions: permessage-deflated", false},
		{"Sec-WebSocket-Extensions:", false},
		{"Sec-WebSocket-Protocol: permessage-deflate", false},
	} {
		for _, target := range []string{"/ws", "/ws/events"} {
			if got := on.dialRaw(target, c.header).deflate; got != c.want {
				t.Errorf("%s, offered by %q, is agreed on: %t, want %t", target, c.header, got, c.want)
			}
			if off.dialRaw(target, c.header).deflate {
				t.Errorf("%s, offered by %q, is agreed on by default", target, c.header)
			}
		}
	}
}

// Whoever has not agreed on compression is told everything as it is, and must not compress.
func TestNotNegotiated(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	content := strings.Repeat("many words, ", 1000)
	for name, c := range map[string]struct {
		o      tidingshttp.Options
		header []string
	}{
		"off":         {tidingshttp.Options{}, []string{offer}},
		"not offered": {tidingshttp.Options{CompressMinBytes: 1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, d.url, options{server: c.o})
			r := s.dialRaw("/ws?channel=messages", c.header...)
			if f := r.frame(); f.Type != "subscribed" {
				t.Fatalf("got %s", f.text)
			}
			d.exec(`insert into messages (author_id, title, content) values (1, $1, $2)`, name, content)
			for f := r.frame(); f.row(t).Title != name; f = r.frame() { // the other's
				if r.deflated > 0 || r.bytes < len(content) {
					t.Errorf("got a frame of %d bytes", r.bytes)
				}
			}
			if r.deflated > 0 || r.bytes < len(content) {
				t.Errorf("got a frame of %d bytes", r.bytes)
			}
			r.write(deflatedFrame(true, opText, deflated(`{"type":"ping"}`)))
			r.expectClose(websocket.CloseProtocolError, "protocol")
		})
	}
}

// A client that resumes is given compressed pages, and has everything once and in order.
func TestCompressedResume(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{CompressMinBytes: 1}})
	since := query[string](d, `select tidings.cursor()`)
	d.exec(`insert into messages (author_id, title, content) select 1, n, repeat('x', 2000) from generate_series(0, 499) n`)
	c := s.dialRaw("/ws?channel=messages&since="+since, offer)
	for n := 0; n < 500; {
		f := c.frame()
		if f.Type == "subscribed" {
			continue
		}
		if got, want := f.row(t).Title, fmt.Sprint(n); got != want {
			t.Fatalf("got row %s, want %s", got, want)
		}
		n++
	}
	if c.deflated != 500 {
		t.Errorf("%d events came compressed, want 500", c.deflated)
	}
}

// What concerns a token is told on compressed connections, too.
func TestCompressedAndSignedIn(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{secret: secret, server: tidingshttp.Options{CompressMinBytes: 1}})
	for _, path := range []string{"/ws", "/ws/events"} {
		c := s.dialDeflate(path)
		c.send(`{"type":"authenticate","token":"` + tokenOf(t, "1", 12*time.Second, nil) + `"}`)
		for _, word := range []string{"authenticated", "token_expiring"} {
			if f := c.next(); !strings.Contains(f.text, `":"`+word+`"`) {
				t.Errorf("got %s, want %s", f.text, word)
			}
		}
	}
}
