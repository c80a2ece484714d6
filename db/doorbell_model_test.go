package db_test

import (
	"fmt"
	"testing"
)

// The doorbell's rules as a model small enough to try every order of steps: writers that write a row, look whether
// anybody is asleep and ring or not, and a reader that falls asleep. Rules that are left out must be seen to be needed.
type rules struct {
	noBarrier    bool // the reader waits at once when it has said asleep
	markIsXmax   bool // it takes a snapshot's xmax for the mark, and not a transaction id of its own
	lookFirst    bool // a writer looks before it has a transaction id
	markFirst    bool // the reader takes the mark before it has said asleep
	oldSnapshots bool // a writer may look with a snapshot from before it wrote, as it would if it looked at a table
}

const modelWriters = 2

// model is a state. It is comparable, so that states that were seen are known.
type model struct {
	writer [modelWriters]modelWriter
	next   int // transaction id
	asleep bool
	bell   bool // a notification that the reader has not taken
	reader modelReader
	falls  int // how often it may still fall asleep
}

type modelWriter struct {
	step     int // 0 nothing, 1 has its id and has written, 2 has looked, 3 committed
	xid      int
	old      bool // has its snapshot, from before it wrote
	oldSees  bool // asleep, in that snapshot
	rings    bool
	read     bool // by the reader
	lookedAt bool // before it had an id
}

type modelReader struct {
	step int // 0 awake, 1 has said asleep, 2 has the mark, 3 waits; 4 has the mark and has said nothing, 5 has said asleep and takes none
	mark int
}

// xmin is the lowest transaction id that runs.
func (m *model) xmin() int {
	low := m.next
	for _, w := range m.writer {
		if (w.step == 1 || w.step == 2) && w.xid > 0 {
			low = min(low, w.xid)
		}
	}
	return low
}

// readAll is a read: what is committed is read.
func (m *model) readAll() {
	for i := range m.writer {
		if m.writer[i].step == 3 {
			m.writer[i].read = true
		}
	}
}

// successors are the states after one more step of anybody.
func (m model) successors(r rules) []model {
	var all []model
	step := func(change func(*model)) {
		n := m
		change(&n)
		all = append(all, n)
	}
	for i, w := range m.writer {
		look := func(w *modelWriter, sees bool) {
			w.rings = sees
		}
		switch {
		case w.step == 0 && r.oldSnapshots && !w.old:
			step(func(n *model) { n.writer[i].old, n.writer[i].oldSees = true, n.asleep })
			fallthrough
		case w.step == 0 && r.lookFirst && !w.lookedAt:
			if r.lookFirst {
				step(func(n *model) { n.writer[i].lookedAt = true; look(&n.writer[i], n.asleep) })
				break
			}
			fallthrough
		case w.step == 0:
			step(func(n *model) { n.writer[i].step, n.writer[i].xid = 1, n.next; n.next++ })
		case w.step == 1:
			step(func(n *model) {
				w := &n.writer[i]
				w.step = 2
				switch {
				case w.lookedAt:
				case w.old:
					look(w, w.oldSees)
				default:
					look(w, n.asleep)
				}
			})
		case w.step == 2:
			step(func(n *model) { n.writer[i].step = 3; n.bell = n.bell || n.writer[i].rings })
		}
	}
	takeMark := func(n *model) {
		n.reader.mark = n.next
		if !r.markIsXmax {
			n.next++
			return
		}
		n.reader.mark = 1
		for _, w := range n.writer {
			if w.step == 3 {
				n.reader.mark = max(n.reader.mark, w.xid+1)
			}
		}
	}
	switch m.reader.step {
	case 0: // awake
		step(func(n *model) { n.readAll() })
		if m.falls > 0 {
			step(func(n *model) {
				n.falls--
				switch {
				case r.markFirst:
					takeMark(n)
					n.reader.step = 4
				case r.noBarrier:
					n.asleep, n.reader.step = true, 5
				default:
					n.asleep, n.reader.step = true, 1
				}
			})
		}
	case 1:
		step(func(n *model) { takeMark(n); n.reader.step = 2 })
	case 4:
		step(func(n *model) { n.asleep, n.reader.step = true, 2 })
	case 5:
		step(func(n *model) { n.readAll(); n.reader.step = 3 })
	case 2: // reads on
		step(func(n *model) {
			passed := n.xmin() >= n.reader.mark
			n.readAll()
			if passed {
				n.reader.step = 3
			}
		})
	case 3: // waits
		if m.bell {
			step(func(n *model) { n.bell = false; n.readAll() })
		}
		step(func(n *model) { n.asleep, n.reader.step = false, 0 }) // it may wake up on its own
	}
	return all
}

// explore tries everything, and returns a state in which the reader waits for ever for what is committed.
func explore(r rules) (states int, stuck *model) {
	first := model{next: 1, falls: 2}
	seen := map[model]bool{first: true}
	queue := []model{first}
	for len(queue) > 0 {
		m := queue[0]
		queue = queue[1:]
		if m.reader.step == 3 && !m.bell {
			for _, w := range m.writer {
				if w.step == 3 && !w.read && stuck == nil {
					stuck = &m
				}
			}
		}
		for _, n := range m.successors(r) {
			if !seen[n] {
				seen[n] = true
				queue = append(queue, n)
			}
		}
	}
	return len(seen), stuck
}

// No order of steps has a reader asleep with something to read; and every rule is needed for that.
func TestDoorbellModel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		rules
		sound bool
	}{
		{"as it is", rules{}, true},
		{"no barrier", rules{noBarrier: true}, false},
		{"a snapshot's xmax for the mark", rules{markIsXmax: true}, false},
		{"the mark before asleep", rules{markFirst: true}, false},
		{"looking before writing", rules{lookFirst: true}, false},
		{"looking with an old snapshot", rules{oldSnapshots: true}, false},
	} {
		states, stuck := explore(tt.rules)
		t.Logf("%s: %d states", tt.name, states)
		if states < 500 {
			t.Errorf("%s: only %d states", tt.name, states)
		}
		if tt.sound != (stuck == nil) {
			t.Errorf("%s: stuck in %s, want sound %t", tt.name, fmt.Sprintf("%+v", stuck), tt.sound)
		}
	}
}
