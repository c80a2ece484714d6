package http

import (
	"sync"
	"time"
)

// wheel visits connections from time to time: one timer for all of them, where each would otherwise have its own. Connections are
// in slots, one of which is due with each tick; a visit says after how long the next is to be.
//
// It turns only while there are connections.
type wheel struct {
	tick  time.Duration
	idle  func() // is called with each tick
	group sync.WaitGroup

	mu    sync.Mutex
	slots [][]*wsConn
	at    int // the slot that is visited, or was last
	count int
	empty chan struct{} // closed when there are no connections any more: each turn has its own
}

// wheelTicks is how many ticks the shortest time has that a connection waits for: a visit is late by a tick at most.
const wheelTicks = 20

func (w *wheel) init(idle func(), times ...time.Duration) {
	w.idle = idle
	shortest, longest := times[0], times[0]
	for _, d := range times {
		shortest, longest = min(shortest, d), max(longest, d)
	}
	w.tick = max(shortest/wheelTicks, longest/1000, time.Millisecond)
	w.slots = make([][]*wsConn, longest/w.tick+2)
}

// add has the connection visited after the delay, and then again and again.
func (w *wheel) add(c *wsConn, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(c, delay)
	if w.count++; w.count == 1 {
		empty := make(chan struct{})
		w.empty = empty
		w.group.Go(func() { w.turn(empty) })
	}
}

// put puts the connection into the slot that is due after the delay; mu is held.
func (w *wheel) put(c *wsConn, delay time.Duration) {
	ticks := min(max(1, int((delay+w.tick-1)/w.tick)), len(w.slots)-1)
	c.slot = int32((w.at + ticks) % len(w.slots))
	c.place = int32(len(w.slots[c.slot]))
	w.slots[c.slot] = append(w.slots[c.slot], c)
}

// remove is the reverse of add.
func (w *wheel) remove(c *wsConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count--; w.count == 0 {
		close(w.empty)
	}
	if c.slot < 0 {
		c.slot = slotRemoved // it is being visited
		return
	}
	slot := w.slots[c.slot]
	last := len(slot) - 1
	slot[c.place] = slot[last]
	slot[c.place].place = c.place
	slot[last] = nil
	w.slots[c.slot] = slot[:last]
}

// A connection's slot is one of these while it is being visited.
const (
	slotVisited = -1
	slotRemoved = -2
)

// turn visits connections until there are none. Its last visit may still go on when the next turn begins.
func (w *wheel) turn(empty <-chan struct{}) {
	ticker := time.NewTicker(w.tick)
	defer ticker.Stop()
	var due []*wsConn
	for {
		select {
		case <-empty:
			return
		case <-ticker.C:
		}
		w.mu.Lock()
		w.at = (w.at + 1) % len(w.slots)
		due = append(due[:0], w.slots[w.at]...)
		clear(w.slots[w.at])
		w.slots[w.at] = w.slots[w.at][:0]
		for _, c := range due {
			c.slot = slotVisited
		}
		w.mu.Unlock()
		for i, c := range due {
			next := c.visit()
			w.mu.Lock()
			if c.slot != slotRemoved {
				w.put(c, next)
			}
			w.mu.Unlock()
			due[i] = nil
		}
		w.idle()
	}
}
