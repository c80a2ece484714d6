package realtime

// recent holds the newest events in memory, so that who was away for a moment, or fell behind, is not a query. It is a
// window of whole batches: everything between its start and the hub's position.
type recent struct {
	start    Cursor
	batches  []*batch
	bytes    int
	maxBytes int
}

// restart forgets all and begins at the position.
func (r *recent) restart(at Cursor) {
	r.start, r.batches, r.bytes = at, nil, 0
}

// add adds what was published, and returns it.
func (r *recent) add(published Batch) *batch {
	b := &batch{Batch: published}
	if len(b.Events) == 0 {
		if len(r.batches) == 0 {
			r.start = b.To
		}
		return b
	}
	r.batches = append(r.batches, b)
	r.bytes += batchBytes(published)
	drop := 0
	for r.bytes > r.maxBytes && drop < len(r.batches) {
		r.start = r.batches[drop].To
		r.bytes -= batchBytes(r.batches[drop].Batch)
		r.batches[drop] = nil
		drop++
	}
	r.batches = r.batches[drop:]
	return b
}

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
	runs map[string]*Run // by the set's signature
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
		if len(events) > 0 {
			run = newRun(events)
		}
		b.keep(signature, run)
	}
	return run
}

func (b *batch) keep(signature string, run *Run) {
	if b.runs == nil {
		b.runs = make(map[string]*Run)
	}
	b.runs[signature] = run
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
		var run *Run
		switch {
		case !b.From.Includes(from):
			if run, from, ok = b.rest(from, s); !ok {
				return runs, from, false, len(runs) > 0
			}
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
	}
	return runs, from, true, true
}

// rest returns what a subscriber lacks of a batch in whose read its cursor lies, and the position behind it. Where the
// cursor lies in the middle of another read it returns false: the log brings it to that one's end first.
func (b *batch) rest(from Cursor, s *Subscriber) (*Run, Cursor, bool) {
	to := b.To
	if !to.Includes(from) {
		if from.Midway() {
			return nil, from, false
		}
		to = Cursor{Origin: from.Origin, Seen: from.Seen, Upto: b.To.end(), Last: b.Events[len(b.Events)-1].ID}
	}
	var events []*Event
	for _, e := range b.Events {
		if from.Covers(e) || !s.wants(e) {
			continue
		}
		if !e.Cursor.Includes(from) {
			// What was one read here is cut in two by the cursor: it was taken from another instance, or by a read of the
			// log. Behind it, this event is at another place than the event itself says.
			if from.Midway() {
				return nil, from, false
			}
			moved := *e
			moved.Cursor = Cursor{Origin: from.Origin, Seen: from.Seen, Upto: b.To.end(), Last: e.ID}
			e = &moved
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		return nil, to, true
	}
	return newRun(events), to, true
}

func (b *batch) runOf(wants func(*Event) bool) *Run {
	other := batch{Batch: b.Batch}
	return other.run("", wants)
}
