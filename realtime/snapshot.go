package realtime

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is PostgreSQL's pg_snapshot: which transactions were committed at a moment. Transactions below Xmin are
// visible, those from Xmax on are not, and between them all are that are not in Xip, which is sorted.
type Snapshot struct {
	Xmin, Xmax uint64
	Xip        []uint64
}

// ParseSnapshot parses the text form of a pg_snapshot, xmin:xmax:xip,xip,….
func ParseSnapshot(text string) (Snapshot, error) {
	var s Snapshot
	part := strings.Split(text, ":")
	if len(part) != 3 {
		return s, fmt.Errorf("%q is not a snapshot", text)
	}
	var err error
	if s.Xmin, err = strconv.ParseUint(part[0], 10, 63); err != nil {
		return Snapshot{}, fmt.Errorf("%q is not a snapshot", text)
	}
	if s.Xmax, err = strconv.ParseUint(part[1], 10, 63); err != nil {
		return Snapshot{}, fmt.Errorf("%q is not a snapshot", text)
	}
	if part[2] != "" {
		for field := range strings.SplitSeq(part[2], ",") {
			xid, err := strconv.ParseUint(field, 10, 63)
			if err != nil {
				return Snapshot{}, fmt.Errorf("%q is not a snapshot", text)
			}
			s.Xip = append(s.Xip, xid)
		}
	}
	if !s.valid() {
		return Snapshot{}, fmt.Errorf("%q is not a snapshot", text)
	}
	return s, nil
}

func (s Snapshot) valid() bool {
	if s.Xmin == 0 || s.Xmax < s.Xmin {
		return false
	}
	last := s.Xmin - 1
	for _, xid := range s.Xip {
		if xid <= last || xid >= s.Xmax {
			return false
		}
		last = xid
	}
	return true
}

// String returns the text form that PostgreSQL reads and writes.
func (s Snapshot) String() string {
	b := strconv.AppendUint(nil, s.Xmin, 10)
	b = append(b, ':')
	b = strconv.AppendUint(b, s.Xmax, 10)
	b = append(b, ':')
	for i, xid := range s.Xip {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, xid, 10)
	}
	return string(b)
}

// Sees reports whether the transaction is visible: committed, or at least ended, when the snapshot was taken.
func (s Snapshot) Sees(xid uint64) bool {
	if xid < s.Xmin {
		return true
	}
	if xid >= s.Xmax {
		return false
	}
	_, running := slices.BinarySearch(s.Xip, xid)
	return !running
}

// Includes reports whether everything that t sees, s sees as well.
func (s Snapshot) Includes(t Snapshot) bool {
	if s.Xmax < t.Xmax {
		// Then all that s knows nothing of must be running in t.
		first, _ := slices.BinarySearch(t.Xip, s.Xmax)
		if uint64(len(t.Xip)-first) != t.Xmax-s.Xmax {
			return false
		}
	}
	for _, xid := range s.Xip {
		if t.Sees(xid) {
			return false
		}
	}
	return true
}

// Below returns the snapshot that sees of s only what lies below the transaction.
func (s Snapshot) Below(xmax uint64) Snapshot {
	if s.Xmax <= xmax {
		return s
	}
	n, _ := slices.BinarySearch(s.Xip, xmax)
	below := Snapshot{Xmin: xmax, Xmax: xmax, Xip: s.Xip[:n:n]}
	if n > 0 {
		below.Xmin = s.Xip[0]
	}
	return below
}

// Equal reports whether both see the same.
func (s Snapshot) Equal(t Snapshot) bool {
	return s.Xmin == t.Xmin && s.Xmax == t.Xmax && slices.Equal(s.Xip, t.Xip)
}
