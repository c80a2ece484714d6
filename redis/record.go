package redis

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"tidings/realtime"
)

// format is the version of what stands in the stream. Instances of another version have a stream, and one that leads, of their own.
const format = 1

// record is an entry of the stream: a batch, a signal or, if it is neither, that nobody leads any more.
type record struct {
	batch  *realtime.Batch
	signal *realtime.Signal
}

// The kinds of records.
const (
	kindBatch  = 'b'
	kindSignal = 's'
	kindVacant = 'v'
)

// What is true of an event.
const (
	flagKeyed = 1 << iota
	flagMoved
	flagOmitted
	flagEverywhere
	flagOpen
	flagData
	flagGuard
	flagLast // its cursor is the batch's end
)

// appendRecord appends a record as it stands in the stream: its kind, and then texts with their lengths before them, and numbers, as
// encoding/binary writes them. An empty topic or type is that of the event before.
func appendRecord(b []byte, r record) []byte {
	switch {
	case r.batch != nil:
		return appendBatch(append(b, kindBatch), r.batch)
	case r.signal != nil:
		s := r.signal
		b = append(b, kindSignal)
		b = appendText(b, s.Channel.String())
		b = appendText(b, s.Type)
		b = appendText(b, s.Data)
		return appendText(b, s.From)
	}
	return append(b, kindVacant)
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// appendNullable appends bytes that may be nil.
func appendNullable(b, bytes []byte) []byte {
	if bytes == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(bytes))+1), bytes...)
}

func appendBatch(b []byte, batch *realtime.Batch) []byte {
	b = appendText(b, batch.From.String())
	b = appendText(b, batch.To.String())
	b = binary.AppendUvarint(b, uint64(len(batch.Events)))
	topic, typ := "", ""
	var read realtime.Cursor // in whose middle the events before lie
	for _, e := range batch.Events {
		flags := byte(0)
		for _, f := range []struct {
			is  bool
			bit byte
		}{
			{e.Keyed, flagKeyed}, {e.Moved, flagMoved}, {e.Omitted, flagOmitted}, {e.Everywhere, flagEverywhere}, {e.Open, flagOpen},
			{e.Data != nil, flagData}, {e.Guard != nil, flagGuard}, {!e.Cursor.Midway(), flagLast},
		} {
			if f.is {
				flags |= f.bit
			}
		}
		b = append(b, flags)
		b = binary.AppendVarint(b, e.ID.Entry)
		b = binary.AppendUvarint(b, uint64(e.ID.Row))
		b = binary.AppendUvarint(b, e.Xid)
		b = binary.AppendVarint(b, e.At.UnixMicro())
		if e.Cursor.Midway() {
			if sameRead(e.Cursor, read) {
				b = append(b, 0)
			} else {
				b = appendText(b, e.Cursor.String())
			}
			read = e.Cursor
		}
		b, topic = appendChanged(b, e.Topic, topic)
		b, typ = appendChanged(b, e.Type, typ)
		if e.Keyed {
			b = appendText(b, e.Key)
		}
		if e.Moved {
			b = appendText(b, e.OldKey)
		}
		if e.Data != nil {
			b = appendText(b, e.Data)
		}
		if g := e.Guard; g != nil {
			b = appendNullable(appendNullable(appendNullable(b, g.Now), g.Was), g.Left)
		}
	}
	return b
}

func appendChanged(b []byte, text, before string) ([]byte, string) {
	if text == before {
		return append(b, 0), text
	}
	return appendText(b, text), text
}

// sameRead reports whether two cursors lie in the middle of the same read.
func sameRead(c, d realtime.Cursor) bool {
	return c.Origin == d.Origin && c.Seen.Equal(d.Seen) && c.Upto.Equal(d.Upto)
}

var errCut = errors.New("it ends in the middle")

// decoder reads a record; the first error stays.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err, d.rest = err, nil
	}
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail(errCut)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail(errCut)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail(errCut)
		return 0
	}
	v := d.rest[0]
	d.rest = d.rest[1:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail(errCut)
		return nil
	}
	taken := d.rest[:n:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) text() []byte { return d.take(d.uvarint()) }

func (d *decoder) nullable() []byte {
	n := d.uvarint()
	if n == 0 {
		return nil
	}
	return d.take(n - 1)
}

func (d *decoder) cursor() realtime.Cursor {
	text := d.text()
	if d.err != nil {
		return realtime.Cursor{}
	}
	c, err := realtime.ParseCursor(string(text))
	if err != nil {
		d.fail(err)
	}
	return c
}

// decodeRecord is the reverse of appendRecord. The record shares the payload's bytes.
func decodeRecord(payload []byte) (record, error) {
	d := decoder{rest: payload}
	var r record
	switch kind := d.byte(); kind {
	case kindBatch:
		r.batch = d.batch()
	case kindSignal:
		r.signal = d.signal()
	case kindVacant:
	default:
		d.fail(fmt.Errorf("its kind is %q", kind))
	}
	if d.err == nil && len(d.rest) > 0 {
		d.fail(fmt.Errorf("%d bytes follow its end", len(d.rest)))
	}
	if d.err != nil {
		return record{}, fmt.Errorf("a record of the stream cannot be read: %w", d.err)
	}
	return r, nil
}

func (d *decoder) signal() *realtime.Signal {
	text := d.text()
	s := &realtime.Signal{Type: string(d.text()), Data: d.text(), From: string(d.text())}
	if d.err != nil {
		return nil
	}
	channel, err := realtime.ParseChannel(string(text))
	if err != nil {
		d.fail(err)
	}
	s.Channel = channel
	return s
}

func (d *decoder) batch() *realtime.Batch {
	batch := &realtime.Batch{From: d.cursor(), To: d.cursor()}
	const least = 8 // bytes of an event
	n := d.uvarint()
	if n > uint64(len(d.rest)/least) {
		d.fail(errCut)
		return nil
	}
	events := make([]realtime.Event, n)
	if n > 0 {
		batch.Events = make([]*realtime.Event, n)
	}
	topic, typ := "", ""
	var read realtime.Cursor
	for i := range events {
		e := &events[i]
		flags := d.byte()
		e.Keyed, e.Moved, e.Omitted = flags&flagKeyed != 0, flags&flagMoved != 0, flags&flagOmitted != 0
		e.Everywhere, e.Open = flags&flagEverywhere != 0, flags&flagOpen != 0
		e.ID.Entry = d.varint()
		e.ID.Row = int(d.uvarint())
		e.Xid = d.uvarint()
		e.At = time.UnixMicro(d.varint()).UTC()
		switch {
		case flags&flagLast != 0:
			e.Cursor = batch.To
		case len(d.rest) > 0 && d.rest[0] == 0:
			d.rest = d.rest[1:]
			e.Cursor = read
			e.Cursor.Last = e.ID
		default:
			e.Cursor = d.cursor()
			read = e.Cursor
		}
		if text := d.text(); len(text) > 0 {
			topic = string(text)
		}
		if text := d.text(); len(text) > 0 {
			typ = string(text)
		}
		e.Topic, e.Type = topic, typ
		if e.Keyed {
			e.Key = string(d.text())
		}
		if e.Moved {
			e.OldKey = string(d.text())
		}
		if flags&flagData != 0 {
			e.Data = d.text()
		}
		if flags&flagGuard != 0 {
			e.Guard = &realtime.Guard{Now: d.nullable(), Was: d.nullable(), Left: d.nullable()}
		}
		if d.err != nil {
			return nil
		}
		batch.Events[i] = e
	}
	return batch
}
