package redis

import (
	"bytes"
	"runtime"
	"testing"
	"weak"

	"tidings/realtime"
)

// A burst that was written is not kept in memory until there is another.
func TestWhatIsWrittenIsNotKept(t *testing.T) {
	t.Parallel()
	leading := &term{relay: &Relay{}, bell: make(chan struct{}, 1)}
	event := &realtime.Event{Topic: "messages", Type: "message_added", Data: bytes.Repeat([]byte("x"), 1<<20)}
	kept := weak.Make(event)
	leading.push(item{record: record{batch: &realtime.Batch{Events: []*realtime.Event{event}}}, size: len(event.Data)})
	if args := leading.take(); len(args) < 9+2 {
		t.Fatalf("%d arguments are written, and no entry", len(args))
	}
	runtime.GC()
	if kept.Value() != nil {
		t.Error("an event that was written is still in memory")
	}
	runtime.KeepAlive(leading)
}
