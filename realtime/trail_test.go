package realtime_test

import (
	"testing"

	"tidings/realtime"
)

// steps is what a Trail was told.
type steps struct {
	routed, written, events int
}

func (s *steps) Routed(subscribers int) { s.routed = subscribers }
func (s *steps) Written(events int) {
	s.written++
	s.events += events
}

// write has the client take what there is, as a transport that writes it all.
func (c *client) write() {
	for c.woken.Load() {
		items, err := c.sub.Next(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		c.woken.Store(len(items) > 0)
		for _, i := range items {
			c.hear(i)
			if i.Run != nil && i.Followed() {
				i.Run.Wrote()
			}
		}
	}
}

// A batch that is followed is told for whom it is, and when each of them was written to: those who are told of it later are none of them.
func TestTrail(t *testing.T) {
	w := quiet()
	trails := []*steps{}
	asked := 0
	f := w.instance(realtime.Options{QueueBytes: 1000, Follow: func(b realtime.Batch) realtime.Trail {
		if asked += len(b.Events); asked%2 == 0 {
			return nil
		}
		trails = append(trails, new(steps))
		return trails[len(trails)-1]
	}})
	all := w.client(t, f, channels("messages")...)
	two := w.client(t, f, channels("messages:1", "messages:2")...)
	other := w.client(t, f, channels("comments")...)
	slow := w.client(t, f, channels("messages")...)
	for _, c := range []*client{all, two, other, slow} {
		c.write()
	}
	for range 20 {
		w.committed("messages", "1")
		f.publishAll()
		all.write()
		two.write()
		other.write()
	}
	if len(trails) != 10 {
		t.Fatalf("%d batches were followed, want 10", len(trails))
	}
	expect(t, "the first one, for the slow one as well", *trails[0], steps{routed: 3, written: 2, events: 2})
	expect(t, "the last one, for which the slow one has no room", *trails[9], steps{routed: 2, written: 2, events: 2})
	late := w.client(t, f)
	late.channels = channels("messages")
	late.sub.Subscribe(t.Context(), late.channels, realtime.SubscribeOptions{Since: slow.cursor})
	late.write()
	slow.write()
	expect(t, "heard by the slow one", len(slow.got), 20)
	expect(t, "heard by the late one", len(late.got), 20)
	expect(t, "the first one, when the slow one has read its queue", *trails[0], steps{routed: 3, written: 3, events: 3})
	expect(t, "the last one, which the slow one has from memory", *trails[9], steps{routed: 2, written: 2, events: 2})

	stats := f.hub.Stats()
	expect(t, "queues that were full", stats.Overflows, 1)
	expect(t, "who returned, from memory", stats.ReturnsFromMemory, 2)
	expect(t, "who returned, from the log", stats.ReturnsFromLog, 0)
}

// Who returns is counted by where it was found what was lacking, and who cannot by why.
func TestReturnsAndResets(t *testing.T) {
	w := quiet()
	w.page = 1000
	f := w.instance(realtime.Options{RecentBytes: 500})
	c := w.client(t, f, channels("messages")...)
	c.write()
	since := c.cursor
	for range 20 {
		w.committed("messages", "1")
		f.publishAll()
	}
	c.write()
	events, bytes, largest := f.hub.Queued()
	if events != 0 || bytes != 0 || largest != 0 {
		t.Errorf("%d events of %d bytes are queued, the most of them %d, of a client that has read all", events, bytes, largest)
	}
	idle := w.client(t, f, channels("messages")...)
	idle.write()
	w.committed("messages", "1")
	f.publishAll()
	events, bytes, largest = f.hub.Queued()
	if events != 2 || bytes < 200 || largest != bytes/2 {
		t.Errorf("%d events of %d bytes are queued, the most of them %d, of two clients that have read nothing", events, bytes, largest)
	}
	for _, from := range []string{since, since, "nonsense"} {
		late := w.client(t, f)
		late.sub.Subscribe(t.Context(), channels("messages"), realtime.SubscribeOptions{Since: from})
		late.write()
	}
	stats := f.hub.Stats()
	expect(t, "who returned, from memory and pages", stats.ReturnsFromMemory, 1)
	expect(t, "who returned, from the log", stats.ReturnsFromLog, 1)
	expect(t, "malformed", stats.Resets[realtime.ResetMalformed], 1)
	expect(t, "overflows", stats.Overflows, 0)
}
