package realtime

import (
	"slices"
	"sync/atomic"
	"time"
)

// recent holds the newest events in memory, so that who was away for a moment, or fell behind, is not a query. It is a
// window of whole batches: everything between its start and the hub's position.
type recent struct {
	start    Cursor
	batches  []*batch
	bytes    int
	maxBytes int
	maxAge   time.Duration // zero: without end

	runs    []*batch     // that have runs, in the order in which they got them
	encoded atomic.Int64 // bytes of these, as they are sent
}

// restart forgets all and begins at the position.
func (r *recent) restart(at Cursor) {
	for _, b := range r.runs {
		b.strip()
	}
	r.start, r.batches, r.bytes, r.runs = at, nil, 0, nil
}

// add adds what was published, and returns it.
func (r *recent) add(published Batch) *batch {
	b := &batch{Batch: published, recent: r}
	if len(b.Events) > 0 {
		b.at = time.Now()
		r.batches = append(r.batches, b)
		r.bytes += batchBytes(published)
	}
	// What is encoded can be made again.
	for len(r.runs) > 0 && r.size() > r.maxBytes {
		r.runs[0].strip()
		r.runs[0] = nil
		r.runs = r.runs[1:]
	}
	drop := 0
	for drop < len(r.batches) && (r.size() > r.maxBytes || r.maxAge > 0 && time.Since(r.batches[drop].at) > r.maxAge) {
		r.start = r.batches[drop].To
		r.bytes -= batchBytes(r.batches[drop].Batch)
		r.batches[drop].strip()
		r.batches[drop].recent = nil
		r.batches[drop] = nil
		drop++
	}
	r.batches = r.batches[drop:]
	for len(r.runs) > 0 && r.runs[0].recent == nil { // dropped
		r.runs[0] = nil
		r.runs = r.runs[1:]
	}
	if len(r.runs) > 2*len(r.batches)+16 { // so are others behind the first
		r.runs = slices.DeleteFunc(r.runs, func(b *batch) bool { return b.recent == nil })
	}
	if len(r.batches) == 0 {
		r.start = b.To
	}
	return b
}

// size is what the events take, and what of them is encoded.
func (r *recent) size() int { return r.bytes + int(r.encoded.Load()) }

func batchBytes(b Batch) int {
	n := 0
	for _, e := range b.Events {
		n += e.size()
	}
	return n
}

// batch is a Batch and the runs that were made of it, one for each set of channels: who is fed from memory shares them
// with all who were live when it was published.
type batch struct {
	Batch
	at     time.Time       // when it was published
	runs   map[string]*Run // by the set's signature
	recent *recent         // whose it is; nil: nobody's
}

// run returns what a set of channels has of the batch; nil if nothing.
func (b *batch) run(signature string, wants func(*Event) bool) *Run {
	run, made := b.runs[signature]
	if !made {
		var events []*Event
		for _, e := range b.Events {
			if wants(e) {
				events = append(events, e)
			}
		}
		run = ending(events, b.To)
		b.keep(signature, run)
	}
	return run
}

func (b *batch) keep(signature string, run *Run) {
	if b.runs == nil {
		b.runs = make(map[string]*Run)
		if b.recent != nil {
			b.recent.runs = append(b.recent.runs, b)
		}
	}
	b.runs[signature] = run
	if run != nil && b.recent != nil {
		run.keep(&b.recent.encoded)
	}
}

// strip forgets the runs; who has one in its queue keeps it.
func (b *batch) strip() {
	for _, run := range b.runs {
		if run != nil {
			run.forget()
		}
	}
	b.runs = nil
}

// page returns runs of what comes behind the cursor, of about maxBytes, the position behind them, and whether that was
// all. It returns false where the window does not reach back to the cursor.
func (r *recent) page(from Cursor, maxBytes int, s *Subscriber) (runs []*Run, to Cursor, all, ok bool) {
	if !from.Includes(r.start) {
		return nil, from, false, false
	}
	first := len(r.batches)
	for first > 0 && !from.Includes(r.batches[first-1].To) {
		first--
	}
	bytes := 0
	for _, b := range r.batches[first:] {
		if bytes >= maxBytes {
			return runs, from, false, true
		}
		if from = from.past(b.From); from.Includes(b.To) { // reads that brought nothing are not in the list
			continue
		}
		var run *Run
		switch {
		case !b.From.Includes(from):
			var to Cursor
			if run, to, ok = b.rest(from, s); !ok || sameCursor(to, from) {
				return runs, from, false, len(runs) > 0
			}
			from = to
		case s.settled(b.From):
			run = b.run(s.signature, s.wants)
			from = b.To
		default: // a channel begins somewhere in the batch
			run = b.runOf(s.wants)
			from = b.To
		}
		if run != nil {
			runs = append(runs, run)
			bytes += run.bytes
		}
		if !from.Includes(b.To) {
			return runs, from, false, true // it lacks some of the batch still
		}
	}
	return runs, from, true, true
}

// rest returns what a subscriber at the position lacks of the batch, and the position behind that. It returns false if
// that cannot be told from the batch.
//
// What was one read here may be cut in two by a cursor that was taken from another instance, or by a read of the log.
// Behind such a cursor the events are at other places than they say themselves.
func (b *batch) rest(from Cursor, s *Subscriber) (*Run, Cursor, bool) {
	end := b.To.end()
	if from.Midway() && !from.Upto.Equal(end) {
		return b.restOfOther(from, s)
	}
	to := b.To
	if !to.Includes(from) {
		to = Cursor{Origin: from.Origin, Seen: from.Seen, Upto: end, Last: b.Events[len(b.Events)-1].ID}
	}
	var events []*Event
	for _, e := range b.Events {
		if from.Covers(e) || !s.wants(e) {
			continue
		}
		if !e.Cursor.Includes(from) {
			e = e.at(Cursor{Origin: from.Origin, Seen: from.Seen, Upto: end, Last: e.ID})
		}
		events = append(events, e)
	}
	return ending(events, to), to, true
}

// restOfOther does so for a cursor in the middle of another read, if that one's end is in the batch: what is left of it
// comes first.
func (b *batch) restOfOther(from Cursor, s *Subscriber) (*Run, Cursor, bool) {
	if b.To.Midway() || !b.To.Seen.Includes(from.Upto) || !from.Includes(b.From) {
		return nil, from, false
	}
	var first, then []*Event
	for _, e := range b.Events {
		switch {
		case from.Covers(e) || !s.wants(e):
		case from.Upto.Sees(e.Xid):
			first = append(first, e.at(Cursor{Origin: from.Origin, Seen: from.Seen, Upto: from.Upto, Last: e.ID}))
		default:
			then = append(then, e.at(Cursor{Origin: from.Origin, Seen: from.Upto, Upto: b.To.Seen, Last: e.ID}))
		}
	}
	return ending(append(first, then...), b.To), b.To, true
}

// ending is the run of events behind which there is nothing else for who takes it up to the position: so the last one's is
// that, which is shorter to say than one in the middle of a read, and easier to go on from.
func ending(events []*Event, to Cursor) *Run {
	if len(events) == 0 {
		return nil
	}
	if last := len(events) - 1; !to.Midway() && events[last].Cursor.Midway() {
		events[last] = events[last].at(to)
	}
	return newRun(events)
}

// at is the event at another position.
func (e *Event) at(c Cursor) *Event {
	moved := *e
	moved.Cursor = c
	return &moved
}

func (b *batch) runOf(wants func(*Event) bool) *Run {
	other := batch{Batch: b.Batch}
	return other.run("", wants)
}
