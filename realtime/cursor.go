package realtime

import (
	"fmt"
	"strconv"
	"strings"
)

// ID names an event within a database: the log's entry and the row's number in it, from 0.
type ID struct {
	Entry int64
	Row   int
}

// String returns "entry", or "entry-row" for the second row on.
func (id ID) String() string { return string(id.append(nil)) }

func (id ID) append(b []byte) []byte {
	b = strconv.AppendInt(b, id.Entry, 10)
	if id.Row > 0 {
		b = append(b, '-')
		b = strconv.AppendInt(b, int64(id.Row), 10)
	}
	return b
}

func (id ID) compare(other ID) int {
	switch {
	case id.Entry < other.Entry:
		return -1
	case id.Entry > other.Entry:
		return 1
	}
	return id.Row - other.Row
}

// Cursor is a position in the log. Everything that Seen sees lies before it. In the middle of a read, which takes what
// Upto sees and Seen does not in the order of ids, so does what the read brought up to Last. A number would not do: ids
// are handed out before commit, and a transaction that commits late would be skipped. (The idea is PgQ's.)
//
// The zero Cursor is no position.
type Cursor struct {
	// Origin names the database: transaction ids mean nothing in another.
	Origin string
	Seen   Snapshot
	// Upto and Last are set in the middle of a read; otherwise Upto is the zero Snapshot.
	Upto Snapshot
	Last ID
}

// IsZero reports whether c is no position.
func (c Cursor) IsZero() bool { return c.Seen.Xmax == 0 }

// Equal reports whether c and d are the same position, said in the same way.
func (c Cursor) Equal(d Cursor) bool {
	return c.Origin == d.Origin && c.Last == d.Last && c.Seen.Equal(d.Seen) && c.Upto.Equal(d.Upto)
}

// Midway reports whether c lies in the middle of a read.
func (c Cursor) Midway() bool { return c.Upto.Xmax != 0 }

// Covers reports whether the event lies at or before c.
func (c Cursor) Covers(e *Event) bool {
	return c.Seen.Sees(e.Xid) || c.Midway() && c.Upto.Sees(e.Xid) && e.ID.compare(c.Last) <= 0
}

// Includes reports whether every event that d covers, c covers too. It may say no where only the log could tell.
func (c Cursor) Includes(d Cursor) bool {
	switch {
	case c.Origin != d.Origin:
		return false
	case !d.Midway():
		return c.Seen.Includes(d.Seen)
	case c.Seen.Includes(d.Upto):
		return true
	}
	return c.Midway() && c.Seen.Includes(d.Seen) && c.Upto.Includes(d.Upto) && d.Last.compare(c.Last) <= 0
}

// past is c, where it is known that nothing lies between c and d.
func (c Cursor) past(d Cursor) Cursor {
	if c.Midway() && !d.Midway() && d.Seen.Includes(c.Seen) && c.Upto.Includes(d.Seen) {
		c.Seen = d.Seen
	}
	return c
}

// End is the snapshot at which the read ends in whose middle c lies, or c itself.
func (c Cursor) End() Snapshot {
	if c.Midway() {
		return c.Upto
	}
	return c.Seen
}

// String returns the text that clients keep:
//
//	origin '-' position                                  or, midway,
//	origin '-' position '-' position '-' entry ['.' row]
//	position = xmin [':' xmax-xmin [':' xip-xmin {',' xip-xmin}]]
//
// The differences keep it short where many transactions run; all its characters stand in a URL as they are.
func (c Cursor) String() string {
	b := append(make([]byte, 0, 64), c.Origin...)
	b = append(b, '-')
	b = appendPosition(b, c.Seen)
	if c.Midway() {
		b = append(b, '-')
		b = appendPosition(b, c.Upto)
		b = append(b, '-')
		b = strconv.AppendInt(b, c.Last.Entry, 10)
		if c.Last.Row > 0 {
			b = append(b, '.')
			b = strconv.AppendInt(b, int64(c.Last.Row), 10)
		}
	}
	return string(b)
}

func appendPosition(b []byte, s Snapshot) []byte {
	b = strconv.AppendUint(b, s.Xmin, 10)
	if s.Xmax == s.Xmin {
		return b
	}
	b = append(b, ':')
	b = strconv.AppendUint(b, s.Xmax-s.Xmin, 10)
	for i, xid := range s.Xip {
		if i == 0 {
			b = append(b, ':')
		} else {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, xid-s.Xmin, 10)
	}
	return b
}

// maxCursor is the length over which a text is not read as a cursor. PostgreSQL runs at most some thousands of
// transactions at once.
const maxCursor = 64 << 10

// ParseCursor is the reverse of Cursor.String.
func ParseCursor(text string) (Cursor, error) {
	c, err := parseCursor(text)
	if err != nil {
		return Cursor{}, fmt.Errorf("not a cursor: %w", err)
	}
	return c, nil
}

func parseCursor(text string) (Cursor, error) {
	var c Cursor
	if len(text) > maxCursor {
		return c, fmt.Errorf("%d bytes are too many", len(text))
	}
	part := strings.Split(text, "-")
	if len(part) != 2 && len(part) != 4 {
		return c, fmt.Errorf("it has %d parts", len(part))
	}
	c.Origin = part[0]
	if c.Origin == "" {
		return c, fmt.Errorf("the part before the first \"-\" is empty")
	}
	var err error
	if c.Seen, err = parsePosition(part[1]); err != nil || len(part) == 2 {
		return c, err
	}
	if c.Upto, err = parsePosition(part[2]); err != nil {
		return c, err
	}
	entry, row, hasRow := strings.Cut(part[3], ".")
	if c.Last.Entry, err = strconv.ParseInt(entry, 10, 64); err != nil {
		return c, fmt.Errorf("%q is not an entry", entry)
	}
	if hasRow {
		n, err := strconv.ParseUint(row, 10, 31)
		if err != nil {
			return c, fmt.Errorf("%q is not a row", row)
		}
		c.Last.Row = int(n)
	}
	if !c.Upto.Includes(c.Seen) {
		return c, fmt.Errorf("its second position lies before its first")
	}
	return c, nil
}

func parsePosition(text string) (Snapshot, error) {
	var s Snapshot
	xmin, rest, hasWidth := strings.Cut(text, ":")
	width, offsets, hasOffsets := strings.Cut(rest, ":")
	var err error
	if s.Xmin, err = strconv.ParseUint(xmin, 10, 62); err != nil {
		return s, fmt.Errorf("%q is not a transaction id", xmin)
	}
	s.Xmax = s.Xmin
	if hasWidth {
		w, err := strconv.ParseUint(width, 10, 62)
		if err != nil {
			return s, fmt.Errorf("%q is not a number of transactions", width)
		}
		s.Xmax += w
	}
	if hasOffsets {
		for field := range strings.SplitSeq(offsets, ",") {
			offset, err := strconv.ParseUint(field, 10, 62)
			if err != nil {
				return s, fmt.Errorf("%q is not a transaction", field)
			}
			s.Xip = append(s.Xip, s.Xmin+offset)
		}
	}
	if !s.valid() {
		return s, fmt.Errorf("%q is not a position", text)
	}
	return s, nil
}
