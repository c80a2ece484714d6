package main

import (
	"fmt"
	"time"

	"tidings/realtime"
)

// record is what one client was told.
type record struct {
	user     int64 // 0: nobody who has signed in
	channels []string
	segments []segment // one, and one more for each reset
	resets   int
}

// segment is what a client was told from one beginning on: the first, or a reset.
type segment struct {
	// from is what lies before the beginning; zero: nothing.
	from     realtime.Snapshot
	arrivals []arrival
}

// arrival is an event that a client was told.
type arrival struct {
	id eventID
	at time.Duration // on the stage's clock
}

// tally is what there is to say of one client, or of many.
type tally struct {
	expected   int // events it had to be told
	lost       int // of which it was not told so many
	doubled    int // told again
	disordered int // told after something that came later
	untrue     int // told though it was not committed, is no longer there, or is of no channel of the client
	leaked     int // told though the client may not read it, or more of it than it may
	resets     int
	missing    []int         // what was lost
	example    string        // of what was out of order
	silence    time.Duration // the longest time in which it was told nothing, though something was committed for it
}

func (t *tally) add(o tally) {
	t.expected += o.expected
	t.lost += o.lost
	t.doubled += o.doubled
	t.disordered += o.disordered
	t.untrue += o.untrue
	t.leaked += o.leaked
	t.resets += o.resets
	t.missing = append(t.missing, o.missing...)
	if t.example == "" {
		t.example = o.example
	}
	t.silence = max(t.silence, o.silence)
}

// count compares what a client was told with the truth. After a reset a client loads afresh: what it was told before may
// have holes and may be gone, but must not have come twice, or out of order; from then on, it is to be told all that the new
// beginning does not cover.
func (t *truth) count(r *record) tally {
	sum := tally{resets: r.resets}
	wants := t.wants(r.user, r.channels)
	for i := range r.segments {
		s := &r.segments[i]
		last := i == len(r.segments)-1
		told := t.countSegment(s, wants, last, &sum)
		if !last {
			continue
		}
		for _, f := range wants.facts {
			if !covers(s.from, t.facts[f].xid) {
				sum.expected++
				if !told[f] {
					sum.lost++
					sum.missing = append(sum.missing, f)
				}
			}
		}
	}
	sum.silence = t.silence(r)
	return sum
}

func covers(s realtime.Snapshot, xid uint64) bool { return s.Xmax != 0 && s.Sees(xid) }

// rowID names a row.
type rowID struct {
	table table
	row   int64
}

func (t *truth) countSegment(s *segment, wants *wanted, last bool, sum *tally) (told []bool) {
	told = make([]bool, len(t.facts))
	orders := make(map[int]int)
	versions := make(map[rowID]int64)
	var began time.Duration // the latest beginning of what was told so far
	for _, a := range s.arrivals {
		i, is := t.index[a.id]
		switch {
		case t.vanished[a.id] && !last:
			continue // it was true then, and a reset followed; a row that is back may have been deleted once more since
		case is && wants.as[i] != a.id && t.facts[i].table.private():
			sum.leaked++
			continue
		case !is, wants.as[i] != a.id:
			sum.untrue++
			continue
		case told[i], covers(s.from, t.facts[i].xid):
			sum.doubled++
			continue
		}
		told[i] = true
		if !last {
			sum.expected++
		}
		f := &t.facts[i]
		row := rowID{f.table, f.row}
		order, known := orders[f.writer]
		version, changed := versions[row]
		if known && f.order < order || changed && f.version < version || f.ended < began {
			if sum.disordered++; sum.example == "" {
				sum.example = fmt.Sprintf("change %d of writer %d came after its change %d, version %d of row %d after %d, "+
					"what was committed at %s after what began at %s", f.order, f.writer, order, f.version, f.row, version, f.ended, began)
			}
		}
		orders[f.writer] = max(order, f.order)
		versions[row] = max(version, f.version)
		began = max(began, f.began)
	}
	return told
}

// silence is the longest time between two events during which something that came later was committed already.
func (t *truth) silence(r *record) (longest time.Duration) {
	var all []arrival
	for i := range r.segments {
		all = append(all, r.segments[i].arrivals...)
	}
	committed := time.Duration(1<<63 - 1) // the earliest commit of what came at or after this arrival
	for i := len(all) - 1; i >= 0; i-- {
		f, is := t.index[all[i].id]
		if !is {
			continue
		}
		committed = min(committed, t.facts[f].ended)
		before := time.Duration(0)
		if i > 0 {
			before = all[i-1].at
		}
		longest = max(longest, all[i].at-max(before, committed))
	}
	return longest
}

func (t tally) String() string {
	return fmt.Sprintf("%d expected, %d lost, %d doubled, %d out of order, %d untrue, %d leaked, %d resets",
		t.expected, t.lost, t.doubled, t.disordered, t.untrue, t.leaked, t.resets)
}
