package realtime_test

import (
	"fmt"
	"testing"

	"tidings/realtime"
)

// Many who were away together, each of them since a moment of its own, and come back to an instance that has nothing in
// memory, are few reads of the log.
func TestManyComeBack(t *testing.T) {
	for _, tt := range []struct {
		name     string
		page     int // events a read brings
		maxReads int
	}{
		{"in one page", 1 << 30, 40},
		{"in many pages", 200, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(simulations(t) / 20) {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					t.Parallel()
					w := newWorld(seed)
					w.page = tt.page
					w.keys = nil
					for n := range 100 {
						w.keys = append(w.keys, fmt.Sprint(n))
					}
					away := w.instance(realtime.Options{})
					var clients []*client
					for n := range 400 {
						clients = append(clients, w.client(t, away, channels("messages:"+w.keys[n%len(w.keys)])...))
					}
					for step := range 6000 {
						w.step()
						if step%7 == 0 {
							away.publish()
						}
						for range 3 {
							clients[w.random.IntN(len(clients))].take()
						}
					}
					for _, c := range clients {
						c.cut()
						if len(c.start) == 0 {
							c.cursor = ""
						}
					}
					back := w.instance(realtime.Options{})
					for _, c := range clients {
						c.connect(back, c.cursor)
					}
					w.settle([]*feed{back}, clients)
					for _, c := range clients {
						c.check()
						if c.resets > 0 {
							t.Errorf("a client was reset %d times, want 0", c.resets)
						}
					}
					if reads := back.hub.Stats().Reads; reads > uint64(tt.maxReads) {
						t.Errorf("%d clients took %d reads of the log, want %d at most", len(clients), reads, tt.maxReads)
					} else {
						t.Logf("%d clients took %d reads of the log", len(clients), reads)
					}
				})
			}
		})
	}
}
