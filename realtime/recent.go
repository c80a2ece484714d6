package realtime

import "time"

// recent holds the newest events in memory, so that who was away for a moment, or fell behind, is not a query. It is a
// window of whole batches: everything between its start and the hub's position.
type recent struct {
	start    Cursor
	batches  []*batch
	bytes    int
	maxBytes int
	maxAge   time.Duration // zero: without end
	runs     runs
}

// restart forgets all and begins at the position.
func (r *recent) restart(at Cursor) {
	for _, b := range r.batches {
		r.runs.forget(b)
	}
	r.start, r.batches, r.bytes = at, nil, 0
}

// add adds what was published in a round, and returns it.
func (r *recent) add(published Batch, round uint64) *batch {
	b := &batch{Batch: published, round: round, shared: &r.runs}
	if len(b.Events) > 0 {
		b.at = time.Now()
		r.batches = append(r.batches, b)
		r.bytes += batchBytes(published)
	}
	r.runs.shrink(r.maxBytes - r.bytes) // what is encoded can be made again
	drop := 0
	for drop < len(r.batches) && (r.size() > r.maxBytes || r.maxAge > 0 && time.Since(r.batches[drop].at) > r.maxAge) {
		r.start = r.batches[drop].To
		r.bytes -= batchBytes(r.batches[drop].Batch)
		r.runs.forget(r.batches[drop])
		r.batches[drop] = nil
		drop++
	}
	r.batches = r.batches[drop:]
	if len(r.batches) == 0 {
		r.start = b.To
	}
	return b
}

// size is what the events take, and what of them is encoded.
func (r *recent) size() int { return r.bytes + int(r.runs.encoded.Load()) }

func batchBytes(b Batch) int {
	n := 0
	for _, e := range b.Events {
		n += e.size()
	}
	return n
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
			if run, to, ok = b.rest(from, s); !ok || to.Equal(from) {
				return runs, from, false, len(runs) > 0
			}
			from = to
		case s.settled(b.From):
			run = b.run(s)
			from = b.To
		default: // a channel begins somewhere in the batch
			run = b.runFor(s)
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
	end := b.To.End()
	if from.Midway() && !from.Upto.Equal(end) {
		return b.restOfOther(from, s)
	}
	to := b.To
	if !to.Includes(from) {
		to = Cursor{Origin: from.Origin, Seen: from.Seen, Upto: end, Last: b.Events[len(b.Events)-1].ID}
	}
	var events []*Event
	for _, e := range b.Events {
		if !from.Covers(e) && s.wants(e) {
			events = append(events, e.behind(from, end))
		}
	}
	return s.guard(ending(events, to), b), to, true
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
	return s.guard(ending(append(first, then...), b.To), b), b.To, true
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
