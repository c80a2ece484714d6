package realtime_test

import (
	"testing"

	"tidings/realtime"
)

// Who waits for a turn at the database gets one, also where the one before needed none in the end, or had gone.
func TestTurnsAreNotLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		gone bool // the first of those who wait, when it is its turn
	}{{"the rows were read meanwhile", false}, {"one is gone", true}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(1)
			f := w.instance(realtime.Options{Readers: 1, RecentBytes: 1})
			past := f.position.String()
			for range 3 {
				w.committed("messages", "1")
				f.publishAll()
			}
			reader := w.client(t, f)
			reader.sub.Subscribe(t.Context(), channels("messages"), realtime.SubscribeOptions{Since: past})
			var waiting []*client
			for range 5 {
				c := w.client(t, f)
				c.sub.Subscribe(t.Context(), channels("comments"), realtime.SubscribeOptions{Snapshot: true})
				waiting = append(waiting, c)
			}
			w.fails = func() error { // while the reader reads, all others want to
				w.fails = nil
				for _, c := range waiting {
					c.drain()
				}
				return nil
			}
			reader.take()
			if tt.gone {
				waiting[0].sub.Close()
				waiting = waiting[1:]
			}
			reader.sub.Close()
			for range 10 {
				for _, c := range waiting {
					c.drain()
				}
			}
			for i, c := range waiting {
				expect(t, "rows", len(c.rows), 1)
				if !c.ready[channels("comments")[0]] {
					t.Errorf("client %d waits for ever", i)
				}
			}
		})
	}
}
