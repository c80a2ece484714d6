package db

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
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
	first      row
	chunk      []row // nil, or all its rows
	open       bool  // whoever may subscribe may have it
}

// row is a row of an entry. Null is nil.
type row struct {
	key, oldKey, data []byte
	guard             *realtime.Guard
}

// postgresEpoch is where PostgreSQL's timestamps begin, in microseconds.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// decode takes the columns of readQuery. What stays of them is copied.
func (e *entry) decode(columns [][]byte) error {
	if len(columns) != 10 {
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
	e.first, e.chunk, e.open = row{}, nil, false
	if columns[8] != nil {
		if err := e.decodeChunk(columns[7], bytes.Clone(columns[8])); err != nil {
			return err
		}
		return e.decodeGuards(columns[9])
	}
	buffer := make([]byte, 0, len(columns[5])+len(columns[6])+len(columns[7]))
	keep := func(column []byte) []byte {
		if column == nil {
			return nil
		}
		start := len(buffer)
		buffer = append(buffer, column...)
		return buffer[start:len(buffer):len(buffer)]
	}
	e.first = row{key: keep(columns[5]), oldKey: keep(columns[6]), data: keep(columns[7])}
	return e.decodeGuards(columns[9])
}

// decodeGuards takes what tells who may have the rows: three texts for each of them, or none.
func (e *entry) decodeGuards(array []byte) error {
	if array == nil {
		return nil
	}
	texts, err := decodeTexts(bytes.Clone(array))
	if err != nil {
		return err
	}
	if e.open = len(texts) == 0; e.open {
		return nil
	}
	if len(texts) != 3*e.len() {
		return fmt.Errorf("an entry of %d rows has %d texts that tell who may have them", e.len(), len(texts))
	}
	for i := range e.len() {
		guard := &realtime.Guard{Now: texts[3*i], Was: texts[3*i+1], Left: texts[3*i+2]}
		if e.chunk != nil {
			e.chunk[i].guard = guard
		} else {
			e.first.guard = guard
		}
	}
	return nil
}

// decodeChunk takes the number of the rows and their array: their data, then their keys, then, if any moved, their keys before.
func (e *entry) decodeChunk(number, array []byte) error {
	texts, err := decodeTexts(array)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(number))
	if err != nil || n < 1 || n > len(texts) || len(texts) != 2*n && len(texts) != 3*n {
		return fmt.Errorf("an entry of %q rows has %d texts", number, len(texts))
	}
	e.chunk = make([]row, n)
	for i := range e.chunk {
		r := row{data: texts[i], key: texts[n+i]}
		if r.data == nil {
			r.data = null
		}
		if len(texts) == 3*n {
			r.oldKey = texts[2*n+i]
		}
		e.chunk[i] = r
	}
	return nil
}

// null is the data of a row that is too large to be told.
var null = []byte("null")

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
func (e *entry) len() int { return max(len(e.chunk), 1) }

func (e *entry) event(i int) *realtime.Event {
	ev := &realtime.Event{
		ID: realtime.ID{Entry: e.id, Row: i}, Xid: e.xid, At: e.at, Topic: e.topic, Type: e.typ,
	}
	r := e.first
	if e.chunk != nil {
		r = e.chunk[i]
	}
	ev.Guard, ev.Open = r.guard, e.open
	switch {
	case r.data == nil:
		ev.Everywhere = true
		return ev
	case bytes.Equal(r.data, null):
		ev.Omitted = true
	default:
		ev.Data = readable(r.data)
	}
	if r.key != nil {
		ev.Keyed, ev.Key = true, string(r.key)
	}
	if r.oldKey != nil {
		ev.Moved, ev.OldKey = true, string(r.oldKey)
	}
	return ev
}

// readable is a row's JSON as clients can read it: a SQL_ASCII database keeps anything.
func readable(data []byte) []byte {
	if utf8.Valid(data) {
		return data
	}
	return bytes.ToValidUTF8(data, []byte("\uFFFD"))
}
