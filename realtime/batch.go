package realtime

import "time"

// Batch is what one read brought, or a part of it, in order. The parts follow each other: one's To is the next one's From.
type Batch struct {
	From, To Cursor
	Events   []*Event
	Began    time.Time // the read that has brought it; zero: not known
}

// After returns what of the batch comes behind a position that lies in it. It returns false where the position does not, or the batch does
// not tell.
//
// A position in it that is none of its own events' is one of another instance's. Behind such a one the events are at other places than they say
// themselves.
func (b Batch) After(from Cursor) (Batch, bool) {
	end := b.To.End()
	switch {
	case from.Equal(b.From):
		return b, true
	case !from.Includes(b.From) || !b.To.Includes(from) || from.Midway() && !from.Upto.Equal(end):
		return Batch{}, false
	}
	rest := Batch{From: from, To: b.To}
	for _, e := range b.Events {
		if !from.Covers(e) {
			rest.Events = append(rest.Events, e.behind(from, end))
		}
	}
	return rest, true
}

// behind is the event, which a position does not cover, as it is told behind that, in a read that ends there: it is at another place then than it says
// itself, where the position is another instance's, or of a read of the log.
func (e *Event) behind(from Cursor, end Snapshot) *Event {
	if e.Cursor.Includes(from) {
		return e
	}
	return e.at(Cursor{Origin: from.Origin, Seen: from.Seen, Upto: end, Last: e.ID})
}
