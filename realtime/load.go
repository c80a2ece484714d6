package realtime

import (
	"context"
	"errors"
	"time"
)

// Page is a part of a channel's rows, as asked for.
type Page struct {
	Channel  Channel
	After    []string // the place of the row behind which it begins; nil: at the first
	Backward bool     // from the last row to the first
	MaxRows  int
	MaxBytes int
}

// Loaded is a page as it was at a position of the log: who follows from there misses nothing and hears nothing twice.
type Loaded struct {
	Rows []*Event // of the type TypeRow, in the order of the primary key
	At   Cursor
	More bool     // there are rows behind the last one
	Next []string // the last one's place; nil where the table has no primary key
}

// ErrPlace says that a page's After is no place in its channel.
var ErrPlace = errors.New("the page does not begin at a place of the channel's")

// Loader reads the rows that channels would have told of. An *Error is final: trying again will not help.
type Loader interface {
	Load(ctx context.Context, p Page) (Loaded, error)
}

// Load reads rows of a channel that anybody may read; otherwise the error is an *Error.
func (h *Hub) Load(ctx context.Context, p Page) (Loaded, error) {
	if err := h.Authorize(ctx, p.Channel); err != nil {
		return Loaded{}, err
	}
	h.counters.reads.Add(1)
	return h.source.Load(ctx, p)
}

// rowBytes is the least that a row counts for.
const rowBytes = 256

// shareLoad is how long the rows of a channel, once read, are given to others as well: what has changed since follows
// as events in any case, so a thousand who come at once are one query.
const shareLoad = time.Second

// load is the rows of a channel, read for all who ask for them at the time.
type load struct {
	done    bool
	waiting []*Subscriber
	run     *Run // nil if there are no rows
	rows    int
	at      Cursor
}

// load takes the first of the channels whose rows come first a step further. It returns what is to be called next,
// without locks, and says whether to go on at once; nil, if the subscriber is to wait until it is woken. The hub's lock
// and the subscriber's are held.
func (s *Subscriber) load() (begin func(context.Context) bool) {
	h, m := s.hub, s.loading[0]
	l := h.loads[m.channel]
	switch {
	case l != nil && !l.done:
		l.waiting = append(l.waiting, s)
		return nil
	case l != nil && l.at.Origin == h.position.Origin && (s.from.IsZero() || l.at.Includes(s.from)):
		s.loaded(m, l)
		return func(context.Context) bool { return true }
	case !h.mayRead(s):
		return nil
	}
	l = &load{}
	h.loads[m.channel] = l
	return func(ctx context.Context) bool { return h.read(ctx, l, s, m) }
}

// loaded queues the rows; what comes behind them begins at their position.
func (s *Subscriber) loaded(m *member, l *load) {
	s.loading = s.loading[1:]
	if l.run != nil {
		s.hub.counters.loaded.Add(uint64(l.rows))
		s.push(Item{Run: l.run})
	}
	s.push(Item{Notice: &Notice{Kind: NoticeLoaded, Channel: m.channel, Cursor: l.at, Rows: l.rows}})
	m.join = l.at
	if s.from.IsZero() {
		s.from, s.trusted = l.at, true
	}
}

// read reads a channel's rows for the subscriber and all who wait for the same. It returns false if it is to be tried
// again later, and the subscriber will be woken.
func (h *Hub) read(ctx context.Context, l *load, s *Subscriber, m *member) bool {
	page := Page{Channel: m.channel, MaxRows: h.options.QueueBytes / rowBytes, MaxBytes: h.options.QueueBytes}
	loaded, err := h.source.Load(ctx, page)
	h.doneReading()
	h.mu.Lock()
	defer h.mu.Unlock()
	l.done = true
	if err == nil && !loaded.More {
		if l.rows = len(loaded.Rows); l.rows > 0 {
			l.run = newRun(loaded.Rows)
		}
		l.at = loaded.At
		time.AfterFunc(shareLoad, func() { h.forget(m.channel, l) })
	} else {
		delete(h.loads, m.channel)
	}
	for _, other := range l.waiting {
		other.mu.Lock()
		other.wakeup()
		other.mu.Unlock()
	}
	l.waiting = nil
	if !loaded.More && err == nil {
		return true // feed comes again, and finds it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var final *Error
	if err == nil {
		final = Errorf(CodeSnapshotTooLarge,
			"channel %q has more rows than are sent at once: load them page by page, and subscribe with the cursor of the first page", m.channel)
	}
	switch {
	case s.closed || len(s.loading) == 0 || s.loading[0] != m:
		return true
	case final != nil || errors.As(err, &final):
		s.remove(m)
		s.refuse(m.channel, final)
		s.admit()
		return true
	}
	s.retry()
	return false
}

// forget takes a load out of what is shared.
func (h *Hub) forget(c Channel, l *load) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loads[c] == l {
		delete(h.loads, c)
	}
}
