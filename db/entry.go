package db

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"tidings/realtime"
)

// entry is a row of tidings.log. Its rows go on as the bytes that they came as, so it is decoded here, from PostgreSQL's
// binary formats, with one copy for the whole of it; pgx would scan every row and key by itself.
type entry struct {
	id         int64
	xid        uint64
	at         time.Time
	topic, typ string
	keys       [][]byte // null is nil
	oldKeys    [][]byte
	rows       [][]byte
}

// postgresEpoch is where PostgreSQL's timestamps begin, in microseconds.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// decode takes the columns of readQuery. What stays of them is copied.
func (e *entry) decode(columns [][]byte) error {
	if len(columns) != 8 {
		return fmt.Errorf("an entry has %d columns", len(columns))
	}
	number := func(column []byte) uint64 {
		if len(column) != 8 { // null
			return 0
		}
		return binary.BigEndian.Uint64(column)
	}
	e.id, e.xid, e.at = int64(number(columns[0])), number(columns[1]), time.Time{}
	if columns[2] != nil {
		e.at = time.UnixMicro(postgresEpoch + int64(number(columns[2]))).UTC()
	}
	// Most entries are like the one before.
	if string(columns[3]) != e.topic {
		e.topic = string(columns[3])
	}
	if string(columns[4]) != e.typ {
		e.typ = string(columns[4])
	}
	var err error
	for i, list := range []*[][]byte{&e.keys, &e.oldKeys, &e.rows} {
		if *list, err = decodeTexts(bytes.Clone(columns[5+i])); err != nil {
			return err
		}
	}
	return nil
}

var errBadArray = errors.New("an entry has a text[] that cannot be read")

// decodeTexts returns the elements of a text[] in binary, as parts of it; nil for null and for an empty one. The format is
// array_send's: the number of dimensions, flags, the elements' type; for each dimension its length and lower bound;
// and then each element's length, or -1 for null, and text.
func decodeTexts(b []byte) ([][]byte, error) {
	if b == nil {
		return nil, nil
	}
	const header, dimension = 12, 8
	if len(b) < header {
		return nil, errBadArray
	}
	switch dimensions := binary.BigEndian.Uint32(b); {
	case dimensions == 0:
		return nil, nil
	case dimensions != 1 || len(b) < header+dimension:
		return nil, errBadArray
	}
	n := int(binary.BigEndian.Uint32(b[header:]))
	b = b[header+dimension:]
	if n > len(b)/4 { // each has a length
		return nil, errBadArray
	}
	texts := make([][]byte, n)
	for i := range texts {
		if len(b) < 4 {
			return nil, errBadArray
		}
		size := int(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		switch {
		case size == -1:
			continue
		case size < 0 || size > len(b):
			return nil, errBadArray
		}
		texts[i], b = b[:size:size], b[size:]
	}
	if len(b) > 0 {
		return nil, errBadArray
	}
	return texts, nil
}

// len is the number of the entry's events; one for a truncation, which has no rows.
func (e *entry) len() int { return max(len(e.rows), 1) }

func (e *entry) event(i int) *realtime.Event {
	ev := &realtime.Event{
		ID: realtime.ID{Entry: e.id, Row: i}, Xid: e.xid, At: e.at, Topic: e.topic, Type: e.typ,
	}
	if i >= len(e.rows) {
		ev.Everywhere = true
		return ev
	}
	ev.Data, ev.Omitted = e.rows[i], e.rows[i] == nil
	if !utf8.Valid(ev.Data) {
		ev.Data = bytes.ToValidUTF8(ev.Data, []byte("\uFFFD")) // a SQL_ASCII database keeps anything
	}
	if i < len(e.keys) && e.keys[i] != nil {
		ev.Keyed, ev.Key = true, string(e.keys[i])
	}
	// Only the rows that moved have an old key; of the array, the rest is null or not there.
	if i < len(e.oldKeys) && e.oldKeys[i] != nil {
		ev.Moved, ev.OldKey = true, string(e.oldKeys[i])
	}
	return ev
}
