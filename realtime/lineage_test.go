package realtime_test

import (
	"slices"
	"testing"

	"tidings/realtime"
)

// promote has the world be what a standby makes of it that had come as far as the position: what was committed later is
// lost, what ran is rolled back, and the transaction ids are handed out again.
func (w *world) promote(upto realtime.Snapshot) {
	w.log = slices.DeleteFunc(w.log, func(l *logged) bool {
		return !w.ended[l.event.Xid] || !upto.Sees(l.event.Xid)
	})
	clear(w.open)
	for xid := range w.ended {
		if xid >= upto.Xmax {
			delete(w.ended, xid)
			delete(w.commit, xid)
		}
	}
	for _, xid := range upto.Xip {
		w.ended[xid] = false
	}
	w.next = upto.Xmax
}

// After a failover, clients whose cursors lie in what came over go on as if nothing had happened, and those who have
// heard what was lost are told so, however much has been written since.
func TestFailover(t *testing.T) {
	resumed, reset := 0, 0
	for seed := range uint64(simulations(t)) {
		w := newWorld(seed)
		old := w.instance(realtime.Options{})
		var clients []*client
		for i := range 10 {
			clients = append(clients, w.client(t, old, channelSets[i%len(channelSets)]...))
		}
		for range 300 {
			switch n := w.random.IntN(10); {
			case n < 6:
				w.step()
			case n < 8:
				old.publish()
			default:
				clients[w.random.IntN(len(clients))].take()
			}
		}
		came := w.snapshot() // of the last heartbeat that the standby has
		heard := make([]int, len(clients))
		for range w.random.IntN(200) {
			switch n := w.random.IntN(10); {
			case n < 6:
				w.step()
			case n < 8:
				old.publish()
			default:
				clients[w.random.IntN(len(clients))].take()
			}
		}
		for i, c := range clients {
			heard[i] = len(c.got)
			c.sub.Close()
		}
		w.promote(came)
		const promoted = "promoted"
		f := &feed{world: w, position: realtime.Cursor{Origin: promoted, Seen: came}}
		f.hub = realtime.NewHub(f, realtime.Options{RecentBytes: 1000 + w.random.IntN(20000)})
		f.hub.SetTopics(w.topics)
		f.hub.SetLineage(realtime.Lineage{origin: came})
		f.hub.Start(f.position)
		f.hub.SetLive(true)
		for range w.random.IntN(300) { // so that what was lost is overtaken, or not
			w.step()
		}
		f.publish()
		for _, c := range clients {
			if len(c.start) < len(c.channels) {
				continue // it never had a cursor that stands for all
			}
			at, err := realtime.ParseCursor(c.cursor)
			if err != nil {
				t.Fatal(err)
			}
			end := at.Seen
			if at.Midway() {
				end = at.Upto
			}
			want := 0
			if !came.Includes(end) {
				want = len(c.channels)
				reset++
			} else {
				resumed++
			}
			c.resets = 0
			c.connect(f, c.cursor)
			w.settle([]*feed{f}, []*client{c})
			if c.resets != want {
				t.Errorf("seed %d: %d resets of %d channels, want %d: the cursor is %s, and what came over %s", seed, c.resets, len(c.channels), want, at, came)
			}
			if want == 0 {
				c.check()
			}
			if _, reason := (realtime.Lineage{}).Adopt(at, promoted); reason != realtime.ResetForeign {
				t.Errorf("a cursor of an unknown origin: %q", reason)
			}
			c.sub.Close()
		}
	}
	if resumed == 0 || reset == 0 {
		t.Errorf("%d clients resumed and %d were reset, want some of each", resumed, reset)
	}
	t.Logf("%d clients resumed, %d were reset", resumed, reset)
}

// A hub that lives on under a new origin goes on without anybody noticing.
func TestContinue(t *testing.T) {
	w := quiet()
	f := w.instance(realtime.Options{})
	c := w.client(t, f, channels("messages")...)
	w.committed("messages", "1")
	f.publishAll()
	c.drain()
	before := c.cursor
	f.hub.SetLive(false)
	f.position.Origin = "promoted"
	f.hub.SetLineage(realtime.Lineage{origin: f.position.Seen})
	f.hub.Continue(f.position)
	f.hub.SetLive(true)
	other := w.client(t, f)
	other.channels = c.channels
	other.connect(f, before)
	w.committed("messages", "2")
	f.publishAll()
	c.drain()
	other.drain()
	expectIDs(t, c, 1, 2)
	expectIDs(t, other, 2)
	expect(t, "resets", c.resets+other.resets, 0)
}
