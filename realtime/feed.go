package realtime

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// retryAfter is how long a subscriber that could not be fed from the log waits before it is tried again.
const retryAfter = 500 * time.Millisecond

// runBytes is about how much of a page is encoded at a time.
const runBytes = 64 << 10

// feed takes a subscriber that is behind one step further: to where the hub is, if memory reaches back far enough, or by
// a page of the log. It returns false if there is nothing to do until the subscriber is woken. No locks are held.
func (s *Subscriber) feed(ctx context.Context) (bool, error) {
	h := s.hub
	reads := false
	defer func() {
		if !reads {
			h.passTurn()
		}
	}()
	s.lock()
	if s.closed || s.live {
		s.unlock()
		return true, nil
	}
	switch {
	case s.undecided():
		s.unlock()
		return false, nil // keep or lose wakes it
	case !h.live:
		h.waiting[s] = struct{}{}
		s.unlock()
		return false, nil
	case !s.adopt():
		s.unlock()
		return true, nil
	}
	if len(s.loading) > 0 || s.replay == nil {
		switch {
		case len(s.loading) > 0:
			before := h.reading
			begin := s.load()
			reads = h.reading > before
			s.unlock()
			return begin != nil && begin(ctx), ctx.Err()
		case s.catchUp():
			s.unlock()
			return true, nil
		case s.trusted && !h.position.Includes(s.from):
			// The log has been read further than the hub has come: it will be here in a moment.
			h.waiting[s] = struct{}{}
			s.unlock()
			h.source.Nudge()
			return false, nil
		}
	}
	topics := s.topics()
	served := s.replay == nil && s.fromPage(topics)
	if served || !h.mayRead(s) {
		s.unlock()
		return served, nil
	}
	reads = true
	from, upto, replay := s.from, Snapshot{}, s.replay
	switch at := h.position; {
	case replay != nil:
		from, upto = replay.from, replay.upto.End()
	case s.policed() && !at.Midway() && at.Includes(from) && !from.Equal(at):
		upto = at.Seen // what lies further on may be behind a right that was taken
	}
	s.unlock()

	read, err := h.source.Read(ctx, from, upto, topics, h.options.QueueBytes)
	if err == nil && replay == nil {
		h.keepPage(topics, Batch{From: from, To: read.To, Events: read.Events})
	}
	h.doneReading()

	s.mu.Lock()
	defer s.mu.Unlock()
	// Whoever changed what is being fed meanwhile has the last word.
	if s.closed || s.live || s.undecided() || s.replay != replay || replay == nil && !s.from.Equal(from) {
		return true, nil
	}
	var unserved *ResetError
	switch {
	case errors.As(err, &unserved):
		if replay != nil {
			s.reset(replay.members, unserved.Reason)
			s.replay = nil
		} else {
			s.reset(s.members, unserved.Reason)
		}
		return true, nil
	case err != nil && ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		s.retry()
		return false, nil
	}
	counter := &h.counters.fromLog
	if read.Relayed {
		counter = &h.counters.fromRelay
		s.fromRelay = true
	} else {
		s.fromLog = true
	}
	s.pushPage(Batch{From: from, To: read.To, Events: read.Events}, replay, counter)
	switch {
	case replay == nil:
		s.from, s.trusted = read.To, true
	case read.End:
		s.replay = nil
	default:
		replay.from = read.To
	}
	return true, nil
}

// adopt has the subscriber's positions be of the hub's origin. It returns false where one cannot, and its channels have
// been reset. The hub's lock and the subscriber's are held.
func (s *Subscriber) adopt() bool {
	var reason Reset
	adopt := func(c *Cursor) bool {
		if !c.IsZero() && c.Origin != s.hub.position.Origin {
			*c, reason = s.hub.lineage.Adopt(*c, s.hub.position.Origin)
		}
		return reason == ""
	}
	if !adopt(&s.from) {
		s.replay = nil
		s.reset(s.members, reason)
		return false
	}
	if s.replay != nil && (!adopt(&s.replay.from) || !adopt(&s.replay.upto)) {
		members := s.replay.members
		s.reset(members, reason)
		s.replay = nil
		return false
	}
	for _, m := range s.members {
		if !adopt(&m.join) {
			s.replay = nil
			s.reset(s.members, reason)
			return false
		}
	}
	return true
}

// retry has Next called again in a moment.
func (s *Subscriber) retry() {
	time.AfterFunc(retryAfter, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wakeup()
	})
}

// catchUp feeds the subscriber from memory, if that reaches back far enough, and makes it live at the end; the hub's lock
// and the subscriber's are held.
func (s *Subscriber) catchUp() bool {
	h := s.hub
	if s.from.IsZero() {
		s.from = h.position
		for _, m := range s.members {
			if m.join.IsZero() {
				m.join = h.position
			}
		}
	}
	if !h.position.Includes(s.from) {
		return false
	}
	if !s.settled(h.position) {
		return false // a channel begins further on than the hub is, where another instance was already
	}
	runs, to, all, ok := h.recent.page(s.from, h.options.QueueBytes, s)
	if !ok {
		return false
	}
	for _, run := range runs {
		h.counters.fromMemory.Add(uint64(run.count))
		s.push(Item{Run: run})
	}
	if !all {
		s.from, s.trusted = to, true
		return true // the rest when this is written
	}
	s.setLive(true)
	s.from = Cursor{}
	s.returned()
	s.announce()
	s.admit()
	return true
}

// returned counts a subscriber that has been given what it lacked, by where that was found.
func (s *Subscriber) returned() {
	switch {
	case !s.returns:
	case s.fromLog:
		s.hub.counters.returnsLog.Add(1)
	case s.fromRelay:
		s.hub.counters.returnsRelay.Add(1)
	default:
		s.hub.counters.returnsMemory.Add(1)
	}
	s.returns, s.fromLog, s.fromRelay = false, false, false
}

// mayRead counts in one more reader of the database, or notes that the subscriber waits to be one; h.mu is held.
func (h *Hub) mayRead(s *Subscriber) bool {
	if h.reading >= h.options.Readers {
		if !slices.Contains(h.toRead, s) {
			h.toRead = append(h.toRead, s)
		}
		return false
	}
	h.reading++
	h.counters.reads.Add(1)
	return true
}

// doneReading counts out a reader of the database.
func (h *Hub) doneReading() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reading--
	h.nextReader()
}

// passTurn gives a turn to read to the next, if one is free: whose it was may have found that it needed none.
func (h *Hub) passTurn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nextReader()
}

// nextReader lets the next subscriber read the log, if one may: the one that lacks the most, since what is read for it is
// the most likely to be what others lack as well. h.mu is held.
func (h *Hub) nextReader() {
	for busy := true; busy && h.reading < h.options.Readers && len(h.toRead) > 0; {
		oldest := 0
		var xmax uint64
		for i, s := range h.toRead {
			s.mu.Lock()
			if i == 0 || s.from.Seen.Xmax < xmax {
				oldest, xmax = i, s.from.Seen.Xmax
			}
			s.mu.Unlock()
		}
		next := h.toRead[oldest]
		h.toRead = slices.Delete(h.toRead, oldest, oldest+1)
		next.mu.Lock()
		busy = next.writing // it comes when it has written, which may take a while: the turn is another's
		next.wakeup()
		next.mu.Unlock()
	}
}

// pushPage queues what of the page belongs to the subscriber, and counts it; only s.mu is needed.
func (s *Subscriber) pushPage(read Batch, replay *replay, counter *atomic.Uint64) {
	b := &batch{Batch: read, shared: new(runs)}
	var run []*Event
	bytes := 0
	flush := func() {
		if len(run) > 0 {
			counter.Add(uint64(len(run)))
			if run := s.guard(newRun(run), b); run != nil {
				s.push(Item{Run: run})
			}
			run, bytes = nil, 0
		}
	}
	for _, e := range b.Events {
		if replay == nil && !s.wants(e) || replay != nil && !s.replays(e, replay) {
			continue
		}
		run = append(run, e)
		if bytes += e.size(); bytes > runBytes {
			flush()
		}
	}
	flush()
}

// replays reports whether an event of the past belongs to the channels that were added, and to none of the others: what
// those had has been told.
func (s *Subscriber) replays(e *Event, r *replay) bool {
	if !r.upto.Covers(e) {
		return false // it comes with the others, which are not there yet
	}
	added := false
	for _, m := range s.members {
		if !e.in(m.channel) || m.join.Covers(e) {
			continue
		}
		if !slices.Contains(r.members, m) {
			return false
		}
		added = true
	}
	return added
}
