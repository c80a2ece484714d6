package http

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"tidings/realtime"
)

// rowEvent is an event whose row is JSON of the size, of words such as people write.
func rowEvent(size int) *realtime.Event {
	words := strings.Fields("the service reads what was written and tells everyone who listens order customer delivery address " +
		"tomorrow please payment confirmed invoice window street number nothing changed since yesterday morning courier parcel arrived")
	head := `{"id":1042,"author_id":17,"title":"Delivery of order 88213","content":"`
	tail := `","created_at":"2026-03-01T10:20:30.120000+00:00","updated_at":"2026-03-01T10:20:30.120000+00:00"}`
	data := []byte(head)
	for x := uint32(7); len(data) < size-len(tail); {
		x = x*1664525 + 1013904223
		data = append(append(data, words[(x>>8)%uint32(len(words))]...), ' ')
	}
	data = append(data[:max(len(head), size-len(tail))], tail...)
	return &realtime.Event{
		ID: realtime.ID{Entry: 20417}, At: time.Date(2026, 3, 1, 10, 20, 30, 123456000, time.UTC),
		Topic: "messages", Type: "message_added", Key: "1042", Keyed: true, Data: data,
		Cursor: realtime.Cursor{Origin: "27c6d97a", Seen: realtime.Snapshot{Xmin: 74712, Xmax: 74712}},
	}
}

// An event is compressed once, and the same bytes go to everybody who takes it so.
func TestEventIsCompressedOnce(t *testing.T) {
	t.Parallel()
	s, address, stop := serveHub(t, Options{CompressMinBytes: 500})
	defer stop()
	clients := make([]*websocket.Conn, 60)
	for i := range clients {
		dialer := websocket.Dialer{EnableCompression: i%3 != 0}
		ws, _, err := dialer.DialContext(t.Context(), "ws://"+address+"/ws?channel=messages", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		if text := nextEvent(t, ws); !strings.Contains(text, `"subscribed"`) {
			t.Fatalf("got %s", text)
		}
		clients[i] = ws
	}
	var compressions atomic.Int32
	formats := make(map[*realtime.Format]int) // connections of each
	s.mu.Lock()
	for c := range s.conns {
		format := c.dialect.events
		if formats[format]++; format == wsDialect.events || formats[format] > 1 {
			continue
		}
		appendEvents := format.Append
		format.Append = func(b []byte, events []*realtime.Event) []byte {
			compressions.Add(int32(len(events)))
			return appendEvents(b, events)
		}
	}
	s.mu.Unlock()
	if len(formats) != 2 || formats[wsDialect.events] != 20 {
		t.Fatalf("the formats of the connections: got %v, want that of 20 plain ones, and one more", formats)
	}
	const events = 5
	for n := range events {
		e := rowEvent(400 + 400*n)
		e.Cursor = realtime.Cursor{Origin: "x", Seen: realtime.Snapshot{Xmin: uint64(n + 2), Xmax: uint64(n + 2)}}
		s.Hub.Publish(realtime.Batch{From: s.Hub.Position(), To: e.Cursor, Events: []*realtime.Event{e}})
		want := string(appendEvent(nil, "type", e))
		for i, ws := range clients {
			if text := nextEvent(t, ws); text != want {
				t.Fatalf("client %d got %s, want %s", i, text, want)
			}
		}
	}
	if got := compressions.Load(); got != events {
		t.Errorf("%d events were compressed %d times", events, got)
	}
}

func nextEvent(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	if err := ws.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, text, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What is compressed is as large as it has to be to be, and smaller than it was.
func TestDeflateFrame(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 1000)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	words := strings.Repeat("words, ", 20_000)
	for _, c := range []struct {
		text     string
		minBytes int
		want     bool
	}{
		{"", 1, false}, {"a", 1, false}, {words[:100], 1, true}, {words[:100], 100, true}, {words[:99], 100, false},
		{words[:125], 1, true}, {words[:126], 1, true}, {words[:65_536], 1, true}, {words, 1, true}, {words, len(words) + 1, false},
		{string(noise), 1, false}, {string(noise[:200]), 1, false},
	} {
		before := appendFrame(nil, opText, func(b []byte) []byte { return append(b, "before"...) })
		frame := appendFrame(nil, opText, func(b []byte) []byte { return append(b, c.text...) })
		b, found := bytes.CutPrefix(deflateFrame(append(bytes.Clone(before), frame...), len(before), c.minBytes), before)
		header, size := frameSize(b)
		got := b[0] == opText|rsv1
		switch {
		case !found || len(b) != header+size:
			t.Fatalf("%d bytes: the frame is %.100x", len(c.text), b)
		case got != c.want:
			t.Errorf("%d bytes, at least %d: compressed: %t, want %t", len(c.text), c.minBytes, got, c.want)
		case !got && !bytes.Equal(b, frame):
			t.Errorf("%d bytes: the frame is %.100x, want it as it was", len(c.text), b)
		case got && len(b) >= len(frame):
			t.Errorf("%d bytes are compressed to %d", len(frame), len(b))
		case got:
			if text, err := inflate(b[header:], len(c.text)); err != nil || string(text) != c.text {
				t.Errorf("%d bytes are inflated to %d, %v", len(c.text), len(text), err)
			}
		}
	}
}

// BenchmarkDeflate is what an event costs that is compressed, and what is saved.
func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{300, 4 << 10, 64 << 10} {
		e := rowEvent(size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			plain := wsDialect.event(nil, e)
			deflating := wsDialect.deflating(1)
			var frame []byte
			for b.Loop() {
				frame = deflating.event(frame[:0], e)
			}
			b.ReportMetric(float64(len(plain)), "plain-B")
			b.ReportMetric(float64(len(frame)), "compressed-B")
		})
	}
}
