package realtime

import (
	"context"
	"slices"
	"sync"
)

// maxNotices is how many unread notices a subscriber may have: each answers a command of its own, so one that goes on
// without reading the answers does so on purpose.
const maxNotices = 1000

// Subscriber is one client's place in the stream. It is either live, and the hub puts what is published into its queue,
// or behind, at a position of its own from which Next feeds it until it has reached the hub's.
type Subscriber struct {
	Owner any // the transport's own

	hub  *Hub
	wake func()

	// Of the hub's Publish alone.
	foundIn uint64  // the round in which it was found last
	touched []*node // where

	mu        sync.Mutex
	identity  *Identity
	members   []*member
	signature string    // of the members' views
	views     []view    // of the members
	guarded   bool      // one of them does not show everything
	pending   []request // subscriptions that wait until it is live, in order
	live      bool
	from      Cursor    // while behind: all before it has been queued; zero: begin where the hub is
	trusted   bool      // while behind: from is a position that the log has given us
	returns   bool      // while behind: what it lacks is of a time when it was away, or too slow
	fromLog   bool      // while behind: the log was read for that
	fromRelay bool      // while behind: what another instance has read of the log was
	replay    *replay   // while behind: comes before what follows from
	loading   []*member // while behind: whose rows come before anything else
	apart     bool      // they are loaded one after another
	told      bool      // a cursor was queued since the last Refresh
	refreshed Cursor    // by the last Refresh that said one
	round     uint64    // of Publish, that it has if it is live
	queue     []Item
	bytes     int
	notices   int
	writing   bool // Next is being called until it returns nothing, so wake need not be
	again     bool // something happened meanwhile
	closed    bool
}

// replay is the past of a channel that was added to others, up to the position where those are.
type replay struct {
	members []*member
	from    Cursor
	upto    Cursor
}

// NewSubscriber adds a subscriber of somebody's with no channels. wake is called, with locks held, when there is something to write
// after Next returned nothing: it must not block and not call back.
func (h *Hub) NewSubscriber(id *Identity, wake func()) *Subscriber {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	return &Subscriber{hub: h, wake: wake, live: true, identity: id}
}

// lock takes the hub's lock and the subscriber's, and queues what is being published: so the subscriber has everything up to the hub's
// position, or is behind.
func (s *Subscriber) lock() {
	s.hub.mu.Lock()
	s.mu.Lock()
	s.settle()
}

func (s *Subscriber) unlock() {
	s.mu.Unlock()
	s.hub.mu.Unlock()
}

// Close ends all subscriptions and makes Next return nothing.
func (s *Subscriber) Close() {
	h := s.hub
	s.lock()
	defer s.unlock()
	if s.closed {
		return
	}
	s.setLive(true) // it is not behind any more
	s.closed = true
	h.count--
	for _, m := range s.members {
		h.registry.leave(m)
	}
	delete(h.waiting, s)
	h.toRead = slices.DeleteFunc(h.toRead, func(x *Subscriber) bool { return x == s })
	s.members, s.pending, s.replay, s.loading, s.queue = nil, nil, nil, nil, nil
	h.nextReader() // it may have been this one's turn
}

// Tell queues an error for the client, in its place among the events.
func (s *Subscriber) Tell(err *Error, c Channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(c, err)
}

// Pong queues the answer to a ping, behind all that was published before.
func (s *Subscriber) Pong() {
	s.lock()
	defer s.unlock()
	s.push(Item{Notice: &Notice{Kind: NoticePong}})
}

// Refresh says where the stream is, to a subscriber that has heard no cursor since the last call: the one it has would
// otherwise grow old while nothing happens in its channels.
func (s *Subscriber) Refresh() {
	h := s.hub
	h.passTurn() // whose it was may have something to write first, and nobody who reads it
	s.lock()
	defer s.unlock()
	if s.live && !s.told && len(s.members) > 0 && !s.refreshed.Equal(h.position) {
		s.refreshed = h.position
		s.push(Item{Notice: &Notice{Kind: NoticeCursor, Cursor: h.position}})
	}
	s.told = false
}

// Unread reports whether so many answers to the client's commands are unread that no more should be taken from it.
func (s *Subscriber) Unread() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notices > maxNotices
}

// refuse says an error of a channel; only s.mu is needed.
func (s *Subscriber) refuse(c Channel, err *Error) {
	s.hub.refused.add(err.Code)
	s.tell(c, err)
}

func (s *Subscriber) tell(c Channel, err *Error) {
	s.push(Item{Notice: &Notice{Kind: NoticeError, Channel: c, Err: err}})
}

// Take appends what is queued to items, in order. It does not block and reads nothing: if it says that the subscriber is
// behind, Next is to be called instead. Otherwise wake will be called when there is more, which may be at once.
func (s *Subscriber) Take(items []Item) (_ []Item, behind bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return items, false
	}
	items = s.drain(items)
	behind = !s.live && len(s.queue) == 0
	s.writing, s.again = behind, false
	return items, behind
}

// drain moves the queue to items, up to what is not known yet to be told: then wake is called when it is. mu is held.
func (s *Subscriber) drain(items []Item) []Item {
	n := 0
	for ; n < len(s.queue); n++ {
		run := s.queue[n].Run
		if run == nil {
			s.notices--
		} else {
			if !s.hub.bench.ready(run, s) {
				break
			}
			s.bytes -= run.bytes
			if len(run.Events) == 0 {
				if s.queue[n].Followed() {
					run.Wrote()
				}
				continue // nothing of it is for this one
			}
			s.told = true
		}
		items = append(items, s.queue[n])
	}
	switch {
	case n < len(s.queue):
		s.queue = slices.Delete(s.queue, 0, n)
	case cap(s.queue) <= keepQueue:
		clear(s.queue)
		s.queue = s.queue[:0]
	default:
		s.queue = nil
	}
	return items
}

// keepQueue is the length up to which an empty queue is kept for the next items.
const keepQueue = 4

// Next returns what is to be written, in order. It returns nothing when there is nothing now, and wake will be called;
// until then it is to be called again and again. It may read the log, under ctx; the error is ctx's.
func (s *Subscriber) Next(ctx context.Context) ([]Item, error) {
	for {
		s.mu.Lock()
		switch {
		case s.closed:
			s.mu.Unlock()
			return nil, nil
		case len(s.queue) > 0:
			items := s.drain(nil)
			waits := len(s.queue) > 0 // until it is known what is to be told
			if len(items) == 0 && !waits {
				s.mu.Unlock()
				continue
			}
			s.writing = len(items) > 0
			s.again = s.again && s.writing
			s.mu.Unlock()
			return items, nil
		case s.live:
			s.writing, s.again = false, false
			s.mu.Unlock()
			return nil, nil
		}
		s.writing, s.again = true, false
		s.mu.Unlock()

		fed, err := s.feed(ctx)
		if err != nil {
			return nil, err
		}
		if fed {
			continue
		}
		s.mu.Lock()
		if !s.again {
			s.writing = false
			s.mu.Unlock()
			return nil, nil
		}
		s.mu.Unlock()
	}
}

// The rest is called with the hub's lock and the subscriber's held, unless it says otherwise.

// settle queues what is being published, if it is the subscriber's and Publish has not done so.
func (s *Subscriber) settle() {
	if b := s.hub.now.Load(); b != nil && s.takes(b) {
		s.offer(b, b.run(s))
	}
}

// takes reports whether the batch is to be queued, and notes that it was; only s.mu is needed.
func (s *Subscriber) takes(b *batch) bool {
	if s.round >= b.round {
		return false
	}
	s.round = b.round
	return s.live
}

// runOf returns what a live subscriber that Publish has found takes of the batch, which it shares with all who have the same
// channels; only s.mu is needed.
func (s *Subscriber) runOf(b *batch) *Run {
	if len(s.members) > 1 || s.guarded {
		return b.run(s)
	}
	n := s.touched[0]
	if n.run == nil {
		n.run = b.keep(s.signature, b.ending(n.events))
	}
	return n.run
}

// offer queues a run that was just published, if there is room; only s.mu is needed.
func (s *Subscriber) offer(b *batch, run *Run) {
	if run == nil {
		return
	}
	if s.bytes > 0 && s.bytes+run.bytes > s.hub.options.QueueBytes {
		s.hub.counters.overflows.Add(1)
		s.fallBehind(b.From, true)
		s.returns = true
		return
	}
	if b.trail != nil {
		b.queued.Add(1)
	}
	s.hub.counters.routed.Add(uint64(run.count))
	s.push(Item{Run: run, live: true})
}

// push queues an item; only s.mu is needed.
func (s *Subscriber) push(i Item) {
	if s.closed {
		return
	}
	i.Of = s
	s.queue = append(s.queue, i)
	if i.Run != nil {
		s.bytes += i.Run.bytes
		s.told = s.told || i.Run.guard == nil
	} else {
		s.notices++
		s.told = s.told || !i.Notice.Cursor.IsZero()
	}
	s.wakeup()
}

// wakeup has Next called; only s.mu is needed.
func (s *Subscriber) wakeup() {
	if s.writing {
		s.again = true
		return
	}
	if !s.closed {
		s.writing = true
		s.wake()
	}
}

// fallBehind needs s.mu alone.
func (s *Subscriber) fallBehind(from Cursor, trusted bool) {
	s.setLive(false)
	s.from, s.trusted, s.returns, s.fromLog, s.fromRelay = from, trusted, false, false, false
	s.wakeup()
}

// setLive says whether the subscriber is live, and counts who is not; only s.mu is needed.
func (s *Subscriber) setLive(live bool) {
	switch {
	case s.closed || s.live == live:
	case live:
		s.hub.counters.behind.Add(-1)
	default:
		s.hub.counters.behind.Add(1)
	}
	s.live = live
}

// announce says subscribed of what is now live.
func (s *Subscriber) announce() {
	for _, m := range s.members {
		if !m.announced {
			m.announced = true
			s.push(Item{Notice: &Notice{Kind: NoticeSubscribed, Channel: m.channel, Cursor: s.hub.position}})
		}
	}
}

// reset tells of channels that events of theirs may be missing, and begins anew with them; only s.mu is needed.
func (s *Subscriber) reset(members []*member, reason Reset) {
	s.returns = false // it begins anew
	for _, m := range members {
		s.hub.resets.add(reason)
		m.announced = false
		m.join = Cursor{}
		s.push(Item{Notice: &Notice{Kind: NoticeReset, Channel: m.channel, Reason: reason}})
		if m.snapshot && !slices.Contains(s.loading, m) {
			s.loading = append(s.loading, m)
		}
	}
	if s.replay == nil && len(s.members) > 0 {
		s.fallBehind(Cursor{}, true)
	}
}
