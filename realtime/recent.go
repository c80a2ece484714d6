package realtime

import "slices"

// recent holds the newest events in memory, so that who was away for a moment, or fell behind, is not a query. It is a
// window of whole batches: everything between its start and the hub's position.
type recent struct {
	start    Cursor
	batches  []Batch
	bytes    int
	maxBytes int
}

// restart forgets all and begins at the position.
func (r *recent) restart(at Cursor) {
	r.start, r.batches, r.bytes = at, nil, 0
}

func (r *recent) add(b Batch) {
	if len(b.Events) == 0 && len(r.batches) == 0 {
		r.start = b.To
		return
	}
	if len(b.Events) > 0 {
		r.batches = append(r.batches, b)
		r.bytes += batchBytes(b)
	}
	drop := 0
	for r.bytes > r.maxBytes && drop < len(r.batches) {
		r.start = r.batches[drop].To
		r.bytes -= batchBytes(r.batches[drop])
		r.batches[drop] = Batch{}
		drop++
	}
	r.batches = r.batches[drop:]
}

func batchBytes(b Batch) int {
	n := 0
	for _, e := range b.Events {
		n += e.size()
	}
	return n
}

// after returns the events behind the cursor that want is true for. It returns false where the window does not reach
// back so far, or where they come to more than maxBytes.
func (r *recent) after(from Cursor, maxBytes int, want func(*Event) bool) ([]*Event, bool) {
	if !from.Includes(r.start) {
		return nil, false
	}
	var events []*Event
	bytes := 0
	for i := len(r.batches) - 1; i >= 0; i-- {
		b := r.batches[i]
		if from.Includes(b.To) {
			break
		}
		for j := len(b.Events) - 1; j >= 0; j-- {
			e := b.Events[j]
			if from.Covers(e) || !want(e) {
				continue
			}
			if bytes += e.size(); bytes > maxBytes {
				return nil, false
			}
			if !e.Cursor.Includes(from) {
				// The cursor lies in the middle of what was one read here: it was taken from another instance, or by a
				// read of the log. Behind it, this event is at another place than the event itself says.
				if from.Midway() {
					return nil, false // the log brings it to the end of its own read first
				}
				moved := *e
				moved.Cursor = Cursor{Origin: from.Origin, Seen: from.Seen, Upto: b.To.end(), Last: e.ID}
				e = &moved
			}
			events = append(events, e)
		}
	}
	slices.Reverse(events)
	return events, true
}
