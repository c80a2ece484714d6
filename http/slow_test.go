package http_test

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	tidingshttp "tidings/http"
	"tidings/realtime"
)

// A client that does not read for a while is neither thrown out nor in anybody's way, and what waits for it is not in
// memory. It gets everything, once and in order. (Not in parallel: it looks at the memory in use.)
func TestSlowClient(t *testing.T) {
	d := newDatabase(t)
	s := start(t, d.url, options{
		hub:    realtime.Options{QueueBytes: 256 << 10, RecentBytes: 256 << 10},
		server: tidingshttp.Options{StallTimeout: patience},
	})
	slow := s.dialRaw("/ws?channel=messages")
	if f := slow.frame(); f.Type != "subscribed" {
		t.Fatalf("got %s", f.text)
	}
	quick := s.dial("messages")

	before := heapInUse()
	const rows, size = 2000, 10_000 // 20 MB
	writing := time.Now()
	written := make(chan error, 1)
	go func() {
		content := strings.Repeat("x", size)
		for i := range rows {
			_, err := d.pool.Exec(t.Context(), `insert into messages (author_id, title, content) values (1, $1, $2)`, fmt.Sprint(i), content)
			if err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	var longest time.Duration
	for i := range rows {
		_, text, err := quick.ws.ReadMessage() // JSON takes its time, and the time is measured
		if err != nil {
			t.Fatal(err)
		}
		at := checkRow(t, text, i, size)
		longest = max(longest, time.Since(at))
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MB were written in %s", rows*size>>20, time.Since(writing))
	t.Logf("the other client was told after %s at the latest", longest)
	if limit := patience / 2; longest > limit { // without the slow one's being given up it would be for good
		t.Errorf("the other client was told only after %s, want %s at most", longest, limit)
	}
	grown := int64(heapInUse()) - int64(before)
	t.Logf("with a client that lacks %d MB, %d KB more are in use", rows*size>>20, grown>>10)
	if limit := int64(8 << 20); grown > limit {
		t.Errorf("%d bytes more are in use, want %d at most", grown, limit)
	}
	// What was encoded of the last read, 256 KiB and a row at most, is only counted with the next.
	if stats, limit := s.hub.Stats(), 512<<10+size; stats.Recent > limit {
		t.Errorf("%d bytes of recent events are kept, want %d at most", stats.Recent, limit)
	}

	begun := time.Now()
	for i := range rows {
		op, text, err := slow.read()
		if err != nil || op != opText {
			t.Fatalf("opcode %d, %v", op, err)
		}
		checkRow(t, text, i, size)
	}
	t.Logf("the slow client was fed %d MB in %s", rows*size>>20, time.Since(begun))

	// It is live again.
	d.message("live")
	quick.expectRow("message_added", "live")
	if f := slow.frame(); f.row(t).Title != "live" {
		t.Errorf("got %s", f.text)
	}
}

// checkRow checks the frame of a message with a number for its title, and returns when it was written.
func checkRow(t *testing.T, text []byte, number, size int) time.Time {
	t.Helper()
	_, rest, _ := strings.Cut(string(text[:min(len(text), 500)]), `,"at":"`)
	written, rest, _ := strings.Cut(rest, `"`)
	at, err := time.Parse(time.RFC3339Nano, written)
	if err != nil || !strings.Contains(rest, fmt.Sprintf(`"title":"%d","content":"xxx`, number)) || len(text) < size {
		t.Fatalf("got %.500s with %d bytes, want message %d: %v", text, len(text), number, err)
	}
	return at
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // what has finalizers goes the second time
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A client that reads a large event slowly, but steadily, and answers pings as soon as it sees them, gets it whole,
// however many intervals that takes: if it were cut off, it would come back and be cut off there again.
func TestLargeEventToSlowReader(t *testing.T) {
	t.Parallel()
	t.Run("in the clear", func(t *testing.T) { testSlowReader(t, nil) })
	t.Run("by TLS", func(t *testing.T) { testSlowReader(t, certify(t)) })
}

func testSlowReader(t *testing.T, by *certified) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{tls: by, server: tidingshttp.Options{
		PingInterval: time.Second, PongTimeout: 5 * time.Second, StallTimeout: 5 * time.Second,
	}})
	c := s.dialRaw("/ws?channel=messages")
	if f := c.frame(); f.Type != "subscribed" {
		t.Fatalf("got %s", f.text)
	}
	const size = 15 << 20 // it takes longer than a pong may, but what the sockets' buffers hold does not
	if err := c.tcp.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(12 * time.Millisecond)
	defer tick.Stop()
	begun := time.Now()
	c.reader.Reset(&slowReader{conn: c.conn, tick: tick.C})
	inserted := make(chan error, 1) // it may take longer than a pong, for which the client has to read
	go func() {
		_, err := d.pool.Exec(t.Context(), `insert into messages (author_id, title, content) values (1, 'large', repeat('x', $1))`, size)
		inserted <- err
	}()
	for _, want := range []string{"large", "small"} {
		for text := ""; text == ""; {
			op, payload, err := c.read()
			switch {
			case err != nil:
				t.Fatalf("after %s: %v", time.Since(begun), err)
			case op == opPing:
				c.send(true, opPong, string(payload))
			case op == opText && strings.Contains(string(payload), `{"type":"cursor"`):
			case op == opText:
				text = string(payload)
			default:
				t.Fatalf("after %s: opcode %d, %q", time.Since(begun), op, payload)
			}
			if text != "" && (!strings.Contains(text, `"title":"`+want+`"`) || want == "large" && len(text) < size) {
				t.Fatalf("got %.200s with %d bytes, want the %s event", text, len(text), want)
			}
		}
		t.Logf("the %s event came after %s", want, time.Since(begun))
		if want == "large" {
			if err := <-inserted; err != nil {
				t.Fatal(err)
			}
			d.message("small")
		}
	}
}

// slowReader reads 1.7 MB a second at most.
type slowReader struct {
	conn net.Conn
	tick <-chan time.Time
}

func (r *slowReader) Read(p []byte) (int, error) {
	<-r.tick
	return r.conn.Read(p[:min(len(p), 20<<10)])
}

// noPace is more commands than any test sends.
const noPace = 1e9

// Answers are bounded as well: of a client that goes on asking and never reads what it is told, no more is taken,
// whatever it asks. When it reads, it has all of them.
func TestUnreadAnswers(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for name, of := range map[string]struct {
		command, answer string
		perSecond       int
	}{
		"commands":   {`{"type":"unsubscribe","channel":"messages"}`, "not_subscribed", noPace},
		"duplicates": {`{"type":"subscribe","channel":"comments"}`, "already_subscribed", noPace},
		"too many":   {`{"type":"unsubscribe","channel":"messages"}`, `"type":"error"`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, d.url, options{server: tidingshttp.Options{
				StallTimeout: patience, MaxCommandsPerSecond: of.perSecond, CommandBurst: of.perSecond,
			}})
			c := s.dialRaw("/ws?channel=comments")
			if f := c.frame(); f.Type != "subscribed" {
				t.Fatalf("got %s", f.text)
			}
			// Far more than the sockets' buffers hold, of commands as of answers.
			const commands = 400_000
			if err := c.tcp.SetWriteBuffer(64 << 10); err != nil {
				t.Fatal(err)
			}
			one := maskedFrame(true, opText, []byte(of.command))
			all := bytes.Repeat(one, commands)
			size := 0
			for size < len(all) {
				if err := c.conn.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
					t.Fatal(err)
				}
				n, err := c.conn.Write(all[size:min(size+4096, len(all))])
				size += n
				if err != nil {
					break // they are not read any more
				}
			}
			if size == len(all) {
				t.Errorf("all of %d commands were taken, whose answers nobody read", commands)
			}
			sent := size / len(one)
			for n := range sent {
				if op, payload, err := c.read(); err != nil || op != opText || !strings.Contains(string(payload), of.answer) {
					t.Fatalf("after %d answers to %d commands: opcode %d, %q, %v", n, sent, op, payload, err)
				}
			}
			t.Logf("%d commands were taken, and answered", sent)
		})
	}
}

// A client that asks for much at once, and reads all the answers, is none of those.
func TestManyCommandsAtOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{MaxCommandsPerSecond: noPace, CommandBurst: noPace}})
	c := s.dialRaw("/ws?channel=comments")
	if f := c.frame(); f.Type != "subscribed" {
		t.Fatalf("got %s", f.text)
	}
	const commands = 20_000
	written := make(chan error, 1)
	go func() {
		_, err := c.conn.Write(bytes.Repeat(maskedFrame(true, opText, []byte(`{"type":"unsubscribe","channel":"messages"}`)), commands))
		written <- err
	}()
	for n := range commands {
		op, payload, err := c.read()
		if err != nil || op != opText || !strings.Contains(string(payload), "not_subscribed") {
			t.Fatalf("after %d answers: opcode %d, %q, %v", n, op, payload, err)
		}
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}
