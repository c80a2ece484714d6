package realtime

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Page is a part of a channel's rows, as asked for.
type Page struct {
	Channel  Channel
	After    []string // the place of the row behind which it begins; nil: at the first
	Backward bool     // from the last row to the first
	MaxRows  int
	MaxBytes int
	Rights   *Rights // whose rows are meant; nil: all that the channel has
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
	// Load returns the pages as they are at one and the same position. Where one has more rows than it should, those behind
	// it may not have been read.
	Load(ctx context.Context, pages ...Page) ([]Loaded, error)
}

// Load reads rows of a channel that somebody may read; otherwise the error is an *Error.
func (h *Hub) Load(ctx context.Context, id *Identity, p Page) (Loaded, error) {
	if err := h.Authorize(ctx, id, p.Channel); err != nil {
		return Loaded{}, err
	}
	h.mu.Lock()
	p.Rights = viewOf(id, p.Channel, h.topics[p.Channel.Topic]).rights
	h.mu.Unlock()
	h.counters.reads.Add(1)
	loaded, err := h.source.Load(ctx, p)
	if err != nil {
		return Loaded{}, err
	}
	return loaded[0], nil
}

// rowBytes is the least that a row counts for.
const rowBytes = 256

// shareLoad is how long the rows of a channel, once read, are given to others as well: what has changed since follows
// as events in any case, so a thousand who come at once are one query.
const shareLoad = time.Second

// load is the rows of some channels at one position, read for all who ask for them at the time.
type load struct {
	done     bool
	waiting  []*Subscriber
	channels []loadedChannel
	at       Cursor
}

type loadedChannel struct {
	run  *Run // nil if there are no rows
	rows int
}

// group are the channels to be loaded next: all of them, so that one position stands for all; or, where they are too much
// for that, or one of them cannot be had, one after another.
func (s *Subscriber) group() []*member {
	if s.apart {
		return s.loading[:1]
	}
	return s.loading
}

func loadName(group []*member) string {
	var name strings.Builder
	for _, m := range group {
		name.WriteString(m.view.name())
		name.WriteByte('\n') // no name has one
	}
	return name.String()
}

// load takes the channels whose rows come first a step further. It returns what is to be called next, without locks, and
// says whether to go on at once; nil, if the subscriber is to wait until it is woken. The hub's lock and the subscriber's
// are held.
func (s *Subscriber) load() (begin func(context.Context) bool) {
	h, group := s.hub, s.group()
	name := loadName(group)
	l := h.loads[name]
	switch {
	case l != nil && !l.done:
		l.waiting = append(l.waiting, s)
		return nil
	case l != nil && l.at.Origin == h.position.Origin && (s.from.IsZero() || l.at.Includes(s.from)):
		s.loaded(group, l)
		return func(context.Context) bool { return true }
	case !h.mayRead(s):
		return nil
	}
	l = &load{}
	h.loads[name] = l
	group = slices.Clone(group)
	return func(ctx context.Context) bool { return h.read(ctx, l, name, s, group) }
}

// loaded queues the rows; what comes behind them begins at their position.
func (s *Subscriber) loaded(group []*member, l *load) {
	for i, m := range group {
		if run := l.channels[i].run; run != nil {
			s.hub.counters.loaded.Add(uint64(l.channels[i].rows))
			s.push(Item{Run: run})
		}
		s.push(Item{Notice: &Notice{Kind: NoticeLoaded, Channel: m.channel, Cursor: l.at, Rows: l.channels[i].rows}})
		m.join = l.at
	}
	s.loading = slices.Clone(s.loading[len(group):])
	s.apart = s.apart && len(s.loading) > 0
	if s.from.IsZero() {
		s.from, s.trusted = l.at, true
	}
	for _, m := range group {
		if s.hasSibling(m, group) {
			m.join = s.from
		}
	}
}

// hasSibling reports whether another channel of the topic, but for those that were loaded with this one, is told what these rows contain
// already: that a row came from there to here, say. Then this one is told so, too, and what became of the row afterwards: otherwise the
// client would be left with what it was in between.
func (s *Subscriber) hasSibling(m *member, group []*member) bool {
	return slices.ContainsFunc(s.members, func(x *member) bool {
		return x.channel.Topic == m.channel.Topic && !slices.Contains(group, x)
	})
}

// read reads the rows for the subscriber and all who wait for the same. It returns false if it is to be tried again later,
// and the subscriber will be woken.
func (h *Hub) read(ctx context.Context, l *load, name string, s *Subscriber, group []*member) bool {
	pages := make([]Page, len(group))
	for i, m := range group {
		pages[i] = Page{Channel: m.channel, Rights: m.view.rights, MaxRows: h.options.QueueBytes / rowBytes, MaxBytes: h.options.QueueBytes}
	}
	loaded, err := h.source.Load(ctx, pages...)
	h.doneReading()
	h.mu.Lock()
	defer h.mu.Unlock()
	l.done = true
	more := slices.ContainsFunc(loaded, func(p Loaded) bool { return p.More })
	good := err == nil && !more
	if good {
		for _, p := range loaded {
			c := loadedChannel{rows: len(p.Rows)}
			if c.rows > 0 {
				c.run = newRun(p.Rows)
			}
			l.channels = append(l.channels, c)
			l.at = p.At
		}
		time.AfterFunc(shareLoad, func() { h.forget(name, l) })
	} else {
		delete(h.loads, name)
	}
	for _, other := range l.waiting {
		other.mu.Lock()
		other.wakeup()
		other.mu.Unlock()
	}
	l.waiting = nil
	if good {
		return true // feed comes again, and finds it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var final *Error
	if err == nil {
		final = Errorf(CodeSnapshotTooLarge,
			"channel %q has more rows than are sent at once: load them page by page, and subscribe with the cursor of the first page", group[0].channel)
	}
	switch {
	case s.closed || !slices.Equal(s.group(), group):
		return true
	case (final != nil || errors.As(err, &final)) && len(group) > 1:
		s.apart = true // then it is known which of them it is
		return true
	case final != nil:
		s.remove(group[0])
		s.refuse(group[0].channel, final)
		s.admit()
		return true
	}
	s.retry()
	return false
}

// forget takes a load out of what is shared.
func (h *Hub) forget(name string, l *load) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loads[name] == l {
		delete(h.loads, name)
	}
}
