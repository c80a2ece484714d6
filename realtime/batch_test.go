package realtime_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"tidings/realtime"
)

// history is what a database's log could be: transactions that run at the same time, and write in turn.
type history struct {
	random  *rand.Rand
	next    uint64
	running []uint64 // sorted
	written []*realtime.Event
}

// goOn has transactions begin, write and end.
func (h *history) goOn(steps int) {
	for range steps {
		switch n := len(h.running); {
		case n == 0 || n < 5 && h.random.IntN(3) == 0:
			h.running = append(h.running, h.next)
			h.next++
		case h.random.IntN(3) == 0:
			n := h.random.IntN(n)
			h.running = slices.Delete(h.running, n, n+1)
		default:
			h.written = append(h.written, &realtime.Event{ID: realtime.ID{Entry: int64(len(h.written) + 1)}, Xid: h.running[h.random.IntN(n)]})
		}
	}
}

func (h *history) snapshot() realtime.Snapshot {
	s := realtime.Snapshot{Xmin: h.next, Xmax: h.next, Xip: slices.Clone(h.running)}
	if len(s.Xip) > 0 {
		s.Xmin = s.Xip[0]
	}
	return s
}

// read returns what a read brings, in parts.
func (h *history) read(from realtime.Cursor) []realtime.Batch {
	to := h.snapshot()
	if from.Midway() {
		to = from.Upto
	}
	end := realtime.Cursor{Origin: from.Origin, Seen: to}
	var events []*realtime.Event
	for _, e := range h.written {
		if end.Covers(e) && !from.Covers(e) {
			e := *e
			e.Cursor = realtime.Cursor{Origin: from.Origin, Seen: from.Seen, Upto: to, Last: e.ID}
			events = append(events, &e)
		}
	}
	if n := len(events); n > 0 {
		events[n-1].Cursor = end
	}
	var parts []realtime.Batch
	for len(events) > 0 && h.random.IntN(3) > 0 {
		n := 1 + h.random.IntN(len(events))
		parts = append(parts, realtime.Batch{From: from, To: events[n-1].Cursor, Events: events[:n]})
		from, events = events[n-1].Cursor, events[n:]
	}
	return append(parts, realtime.Batch{From: from, To: end, Events: events})
}

// What comes behind a position that another has read to is told, each event with the cursor of exactly what has been told by then; and it is
// known of each position that is not in the middle of a read.
func TestBatchAfter(t *testing.T) {
	t.Parallel()
	told := 0
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		h := &history{random: random, next: 10}
		h.goOn(random.IntN(20))
		start := realtime.Cursor{Origin: "o", Seen: h.snapshot()}
		one, other := start, start
		var batches []realtime.Batch
		positions := []realtime.Cursor{start}
		for range 6 {
			h.goOn(random.IntN(15))
			if random.IntN(2) == 0 {
				parts := h.read(one)
				if random.IntN(3) == 0 {
					parts = parts[:1+random.IntN(len(parts))]
				}
				batches = append(batches, parts...)
				one = parts[len(parts)-1].To
			} else {
				parts := h.read(other)
				for _, p := range parts[:1+random.IntN(len(parts))] {
					other = p.To
					positions = append(positions, p.To)
					for _, e := range p.Events {
						positions = append(positions, e.Cursor)
					}
				}
			}
			if n := len(batches); n > 0 {
				for _, e := range batches[n-1].Events {
					positions = append(positions, e.Cursor)
				}
			}
		}
		for _, b := range batches {
			for _, from := range positions {
				rest, ok := b.After(from)
				if !ok {
					if !from.Midway() && from.Includes(b.From) && b.To.Includes(from) {
						t.Fatalf("seed %d: behind %s nothing is known of what goes from %s to %s", seed, from, b.From, b.To)
					}
					continue
				}
				told++
				covers := func(c realtime.Cursor, told []*realtime.Event) {
					t.Helper()
					for _, e := range h.written {
						want := from.Covers(e) || slices.ContainsFunc(told, func(other *realtime.Event) bool { return other.ID == e.ID })
						if got := c.Covers(e); got != want {
							t.Fatalf("seed %d: behind %s, of what goes from %s to %s: %s covers event %s: %t", seed, from, b.From, b.To, c, e.ID, got)
						}
					}
				}
				if rest.From.String() != from.String() || rest.To.String() != b.To.String() {
					t.Fatalf("seed %d: what comes behind %s until %s goes from %s to %s", seed, from, b.To, rest.From, rest.To)
				}
				for n, e := range rest.Events {
					if from.Covers(e) || n > 0 && e.ID.Entry <= rest.Events[n-1].ID.Entry {
						t.Fatalf("seed %d: behind %s comes event %s", seed, from, e.ID)
					}
					covers(e.Cursor, rest.Events[:n+1])
				}
				covers(rest.To, rest.Events)
			}
		}
	}
	if told < 1000 {
		t.Errorf("it was tried %d times", told)
	}
	t.Logf("tried %d times", told)
}
