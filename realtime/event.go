package realtime

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
)

// OwnTopic is the topic of heartbeats, and of what servers are told: nobody can subscribe to it.
const OwnTopic = "tidings"

// Event is one row's change, or a topic's truncation. It is shared by all who hear of it and never changed.
type Event struct {
	ID    ID
	Xid   uint64 // the writing transaction
	At    time.Time
	Topic string
	Type  string

	// Key is the row's key, Keyed whether it has one.
	Key   string
	Keyed bool
	// OldKey is the key before, for an update that moved the row from one key to another, and Moved whether it did.
	// (A row that had no key before has Moved and an empty OldKey.)
	OldKey string
	Moved  bool

	// Data is the row as JSON; nil where there is none.
	Data []byte
	// Omitted says that there is a row, too large to be sent.
	Omitted bool
	// Everywhere says that the event concerns every key of the topic: it was truncated.
	Everywhere bool

	// Guard tells who may have the event, in a topic of which not everybody may read all rows. Where that has none, nobody may,
	// unless it is Open.
	Guard *Guard
	Open  bool // to all who may subscribe
	// Cursor is the position just behind the event.
	Cursor Cursor
}

// Guard is what tells who may read a row. Null is nil.
type Guard struct {
	Now []byte // of the row: whose it is or, where the table's row security is to be asked, the row with all its columns, as JSON
	Was []byte // the same of the row before
	// Left is the row before, as it is told to whom it is no longer there. Nil: as Was, where that is a row.
	Left []byte
}

// Channel is the event's own: the key's where it has one, the topic's otherwise.
func (e *Event) Channel() Channel {
	if e.Keyed {
		return Channel{Topic: e.Topic, Key: e.Key}
	}
	return Channel{Topic: e.Topic}
}

// in reports whether the event belongs to the channel.
func (e *Event) in(c Channel) bool {
	return e.Topic == c.Topic && (c.Key == "" || e.Everywhere ||
		e.Keyed && e.Key == c.Key || e.Moved && e.OldKey == c.Key)
}

// TypeRow is the type of what is no change but a row as it is, of a channel that is loaded. It has neither id, cursor nor
// time.
const TypeRow = "row"

func (e *Event) size() int {
	n := len(e.Data) + len(e.Topic) + len(e.Type) + len(e.Key) + 256
	if g := e.Guard; g != nil {
		n += len(g.Now) + len(g.Was) + len(g.Left)
	}
	return n
}

// Run is a sequence of events that many subscribers take together. Its encodings are made once and shared.
type Run struct {
	Events []*Event

	guard   *guard // nil: whoever takes it is told all of it
	count   int    // of events, before the guard
	bytes   int
	trail   Trail                    // of the batch; nil: nobody follows it
	encoded atomic.Pointer[encoding] // the first of a list, which is changed with mu held

	mu    sync.Mutex
	size  int           // of what is encoded
	meter *atomic.Int64 // counts that, while the run is kept for others; nil: it is not
}

func newRun(events []*Event) *Run {
	r := &Run{Events: events, count: len(events)}
	for _, e := range events {
		r.bytes += e.size()
	}
	return r
}

// Format is a way to write events down. It is known by its address: whoever shares encodings shares it.
type Format struct {
	// Append appends the events of a run, one after another. It may take its time: others who want the run in the same format wait,
	// and nobody else.
	Append func(b []byte, events []*Event) []byte

	retired atomic.Bool
}

// Retire says that nobody will ask for the format any more: a run that gets another encoding forgets the one in this format.
func (f *Format) Retire() { f.retired.Store(true) }

// Each is a Format's Append that appends event by event.
func Each(appendEvent func(b []byte, e *Event) []byte) func(b []byte, events []*Event) []byte {
	return func(b []byte, events []*Event) []byte {
		for _, e := range events {
			b = appendEvent(b, e)
		}
		return b
	}
}

// encoding is a run in a format.
type encoding struct {
	format *Format
	once   sync.Once
	made   atomic.Bool
	bytes  []byte // once it is made
	next   atomic.Pointer[encoding]
	size   int  // that is counted; the run's mu is needed
	gone   bool // from the list; as size
}

// encodingSize is what an encoding takes beside its bytes.
const encodingSize = 128

// Encode returns the run's events in the format. The bytes are shared and must not be changed.
func (r *Run) Encode(f *Format) []byte {
	e := r.encoding(f)
	if e == nil {
		e = r.newEncoding(f)
	}
	if !e.made.Load() {
		e.once.Do(func() { r.encode(e) })
	}
	return e.bytes
}

// Encoded reports whether the run is encoded in the format.
func (r *Run) Encoded(f *Format) bool {
	e := r.encoding(f)
	return e != nil && e.made.Load()
}

// encode makes the encoding.
func (r *Run) encode(e *encoding) {
	b := e.format.Append(make([]byte, 0, r.bytes), r.Events)
	if cap(b) > 2*len(b) {
		b = bytes.Clone(b) // it is kept, and is much shorter than the events
	}
	e.bytes = b
	e.made.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !e.gone {
		e.size = encodingSize + cap(b)
		r.grow(e.size)
	}
}

// grow counts more of what is encoded, or less; mu is held.
func (r *Run) grow(bytes int) {
	r.size += bytes
	if r.meter != nil {
		r.meter.Add(int64(bytes))
	}
}

// encoding returns that of the format; nil: nobody wanted it so far.
func (r *Run) encoding(f *Format) *encoding {
	for e := r.encoded.Load(); e != nil; e = e.next.Load() {
		if e.format == f {
			return e
		}
	}
	return nil
}

// newEncoding adds one of the format, and forgets those whose format is retired.
func (r *Run) newEncoding(f *Format) *encoding {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.encoding(f); e != nil {
		return e // somebody was faster
	}
	for at := &r.encoded; at.Load() != nil; {
		e := at.Load()
		if !e.format.retired.Load() {
			at = &e.next
			continue
		}
		at.Store(e.next.Load())
		e.gone = true
		r.grow(-e.size)
	}
	e := &encoding{format: f}
	e.next.Store(r.encoded.Load())
	r.encoded.Store(e)
	return e
}

// keep has what the run takes counted.
func (r *Run) keep(meter *atomic.Int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.meter = meter
	meter.Add(int64(r.size))
}

// forget is the reverse of keep.
func (r *Run) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.meter != nil {
		r.meter.Add(-int64(r.size))
		r.meter = nil
	}
}
