package realtime

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the hub's limits. Zero values take the defaults.
type Options struct {
	// MaxChannels is how many channels a subscriber may have; 100.
	MaxChannels int
	// QueueBytes is how much may wait in a subscriber's queue before it is fed from the log, and how much the rows of a
	// channel may have to be given with the subscription; 1 MiB.
	QueueBytes int
	// RecentBytes is how much of the newest events is kept in memory for all; 64 MiB.
	RecentBytes int
	// RecentAge is how long they are kept there; 5 min.
	RecentAge time.Duration
	// Readers is how many subscribers are fed from the database at once; the others wait their turn. 4.
	Readers int
}

func (o Options) withDefaults() Options {
	if o.MaxChannels == 0 {
		o.MaxChannels = 100
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 1 << 20
	}
	if o.RecentBytes == 0 {
		o.RecentBytes = 64 << 20
	}
	if o.RecentAge == 0 {
		o.RecentAge = 5 * time.Minute
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	return o
}

// Log is the event log as the hub needs it for those who are behind.
type Log interface {
	// Read returns the events of the topics after the cursor, in order, the position behind them, and whether that is
	// the end: all that was committed when the read began or, with a non-zero upto, all that upto sees. It returns
	// about maxBytes, at least one event. A cursor that cannot be served is a *ResetError.
	Read(ctx context.Context, from Cursor, upto Snapshot, topics []string, maxBytes int) (events []*Event, to Cursor, end bool, err error)
}

// Source is what a hub asks of the side that feeds it.
type Source interface {
	Log
	Loader
	// Nudge asks the reader to read now. It does not block.
	Nudge()
	// RefreshTopics brings SetTopics up to date before it returns, or does nothing if that was done a moment ago.
	RefreshTopics(ctx context.Context) error
}

// Hub carries events to the subscribers of their channels.
type Hub struct {
	options Options
	source  Source

	mu       sync.Mutex
	reading  int           // subscribers that are being fed from the log
	toRead   []*Subscriber // those that wait for it, in order
	topics   map[string]Topic
	nodes    map[string]*node // by topic
	position Cursor
	lineage  Lineage
	live     bool
	recent   recent
	waiting  map[*Subscriber]struct{} // to be woken by the next change
	loads    map[string]*load
	pages    []*page // that were read a moment ago
	count    int     // subscribers
	round    uint64  // of Publish

	counters counters

	// Of Publish alone.
	nodeScratch []*node
	subScratch  []*Subscriber
}

// counters count events times subscribers.
type counters struct {
	routed, delivered, fromMemory, fromLog, loaded, reads atomic.Uint64
}

// node is the subscribers of a channel; a topic's node has its keys' nodes.
type node struct {
	members []*member
	keys    map[string]*node

	round  uint64   // of Publish, that events are of
	events []*Event // of this round
	run    *Run     // of events, once somebody takes all of them
}

// NewHub makes a hub. It is not live until Start and SetLive have been called.
func NewHub(source Source, options Options) *Hub {
	options = options.withDefaults()
	return &Hub{
		options: options,
		source:  source,
		topics:  make(map[string]Topic),
		nodes:   make(map[string]*node),
		recent:  recent{maxBytes: options.RecentBytes, maxAge: options.RecentAge},
		waiting: make(map[*Subscriber]struct{}),
		loads:   make(map[string]*load),
	}
}

// Position is where the hub stands: all events up to it have been published. It is zero before Start.
func (h *Hub) Position() Cursor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.position
}

// Live reports whether the hub is being fed.
func (h *Hub) Live() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.live
}

// SetLive says whether the hub is being fed: whether all that was committed is published at once. Who subscribes while
// it is not is answered when it is again.
func (h *Hub) SetLive(live bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live = live
	h.wakeWaiting()
}

// Start sets the position from which batches will follow.
func (h *Hub) Start(at Cursor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.position = at
	h.recent.restart(at)
	h.wakeWaiting()
}

// SetLineage says which cursors of other origins are as good as those of the position's. It is called before Start,
// Continue or Restart with a position of a new origin.
func (h *Hub) SetLineage(l Lineage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lineage = l
}

// Continue goes on from the same position under the name of a new origin.
func (h *Hub) Continue(at Cursor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.position = at
	h.recent.restart(at) // its events' cursors have the old name
	h.dropPages(len(h.pages))
	h.wakeWaiting()
}

// Restart goes on from another position, after events that nobody will ever read. All subscribers are told.
func (h *Hub) Restart(at Cursor, reason Reset) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.position = at
	h.recent.restart(at)
	h.dropPages(len(h.pages))
	for s := range h.subscribers() {
		s.mu.Lock()
		s.settle()
		s.replay = nil
		s.reset(s.members, reason)
		s.mu.Unlock()
	}
	h.wakeWaiting()
}

// subscribers returns all that have a channel; h.mu is held.
func (h *Hub) subscribers() map[*Subscriber]struct{} {
	all := make(map[*Subscriber]struct{})
	for _, topic := range h.nodes {
		for _, m := range topic.members {
			all[m.subscriber] = struct{}{}
		}
		for _, key := range topic.keys {
			for _, m := range key.members {
				all[m.subscriber] = struct{}{}
			}
		}
	}
	return all
}

func (h *Hub) wakeWaiting() {
	for s := range h.waiting {
		delete(h.waiting, s)
		s.mu.Lock()
		s.wakeup()
		s.mu.Unlock()
	}
}

// Publish routes a batch, which must follow the last one. Only one goroutine calls it.
//
// Whose it is is found under the hub's lock. It is queued without: whoever changes a subscriber meanwhile queues first what is due
// to it.
func (h *Hub) Publish(b Batch) {
	h.mu.Lock()
	h.position = b.To
	added := h.recent.add(b)
	subs := h.subScratch[:0]
	if len(b.Events) > 0 {
		subs = h.route(added, subs)
	}
	h.wakeWaiting()
	h.mu.Unlock()
	for _, s := range subs {
		s.mu.Lock()
		s.settle()
		s.mu.Unlock()
	}
	clear(subs)
	h.subScratch = subs[:0]
}

// route finds the batch's subscribers, notes what is due to each that is live, and appends them to subs; h.mu is held.
func (h *Hub) route(b *batch, subs []*Subscriber) []*Subscriber {
	h.round++
	nodes := h.nodeScratch[:0]
	take := func(n *node, e *Event) {
		if n == nil {
			return
		}
		if n.round != h.round {
			n.round, n.events, n.run = h.round, nil, nil
			nodes = append(nodes, n)
		}
		n.events = append(n.events, e)
	}
	for _, e := range b.Events {
		topic := h.nodes[e.Topic]
		if topic == nil {
			continue
		}
		take(topic, e)
		switch {
		case e.Everywhere:
			for _, key := range topic.keys {
				take(key, e)
			}
		default:
			if e.Keyed {
				take(topic.keys[e.Key], e)
			}
			if e.Moved && !(e.Keyed && e.Key == e.OldKey) {
				take(topic.keys[e.OldKey], e)
			}
		}
	}
	for _, n := range nodes {
		for _, m := range n.members {
			s := m.subscriber
			if s.round != h.round {
				s.round, s.touched = h.round, s.touched[:0]
				subs = append(subs, s)
			}
			s.touched = append(s.touched, n)
		}
	}
	for _, s := range subs {
		s.mu.Lock()
		if s.live {
			s.due, s.dueRun = b, h.runFor(s, b)
		}
		s.mu.Unlock()
	}
	for _, n := range nodes {
		n.events, n.run = nil, nil
	}
	clear(nodes)
	h.nodeScratch = nodes[:0]
	return subs
}

// runFor returns what a live subscriber takes of the batch, which it shares with all who have the same channels.
func (h *Hub) runFor(s *Subscriber, b *batch) *Run {
	if len(s.members) > 1 {
		return b.run(s.signature, s.wants)
	}
	n := s.touched[0]
	if n.run == nil {
		n.run = ending(n.events, b.To)
		b.keep(s.signature, n.run)
	}
	return n.run
}

// SetTopics replaces what can be subscribed to. Who has a channel that is no longer there, or no longer public, is told
// and loses it.
func (h *Hub) SetTopics(topics []Topic) {
	byName := make(map[string]Topic, len(topics))
	for _, t := range topics {
		byName[t.Name] = t
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.topics = byName
	for s := range h.subscribers() {
		s.mu.Lock()
		s.settle()
		for _, m := range append([]*member(nil), s.members...) {
			if err := h.allowed(m.channel); err != nil {
				s.remove(m)
				s.refuse(m.channel, err)
			}
		}
		s.admit()
		s.mu.Unlock()
	}
}

// allowed reports why the channel cannot be subscribed to, nil if it can; h.mu is held.
func (h *Hub) allowed(c Channel) *Error {
	t, ok := h.topics[c.Topic]
	switch {
	case !ok:
		return Errorf(CodeUnknownChannel, "there is no channel %q: no table is watched as %q", c, c.Topic)
	case !t.Public():
		return Errorf(CodeForbidden, "channel %q is not public: its table's read is %q", c, t.Read)
	case c.Key != "" && !t.Keyed:
		return Errorf(CodeUnknownChannel, "there is no channel %q: rows of %q have no key", c, c.Topic)
	}
	return nil
}

// Authorize returns why a channel cannot be subscribed to, nil if it can. What is not may have been watched a moment
// ago, so the source is asked before no is said.
func (h *Hub) Authorize(ctx context.Context, c Channel) *Error {
	h.mu.Lock()
	err := h.allowed(c)
	h.mu.Unlock()
	if err == nil {
		return nil
	}
	if h.source.RefreshTopics(ctx) != nil {
		return Errorf(CodeUnavailable, "whether there is a channel %q cannot be said now: the database does not answer; try again", c)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.allowed(c)
}

// join adds the member to its channel's node; h.mu is held.
func (h *Hub) join(m *member) {
	topic := h.nodes[m.channel.Topic]
	if topic == nil {
		topic = &node{keys: make(map[string]*node)}
		h.nodes[m.channel.Topic] = topic
	}
	n := topic
	if m.channel.Key != "" {
		if n = topic.keys[m.channel.Key]; n == nil {
			n = &node{}
			topic.keys[m.channel.Key] = n
		}
	}
	m.node, m.index = n, len(n.members)
	n.members = append(n.members, m)
}

// leave is the reverse of join.
func (h *Hub) leave(m *member) {
	n := m.node
	last := len(n.members) - 1
	n.members[m.index] = n.members[last]
	n.members[m.index].index = m.index
	n.members[last] = nil
	n.members = n.members[:last]
	topic := h.nodes[m.channel.Topic]
	if m.channel.Key != "" && last == 0 {
		delete(topic.keys, m.channel.Key)
	}
	if len(topic.members) == 0 && len(topic.keys) == 0 {
		delete(h.nodes, m.channel.Topic)
	}
}

// Stats are the hub's figures: those of the moment, and what was counted since it began. An event that is told to two
// subscribers counts twice.
type Stats struct {
	Subscribers   int
	Subscriptions map[string]int // by topic, its keys' included
	Recent        int            // bytes of events in memory, and of what of them is encoded

	Routed            uint64 // queued as they were published
	ResumedFromMemory uint64 // queued for who was behind
	ResumedFromLog    uint64 // the same, by reading the log
	Loaded            uint64 // rows, queued for who asked for them
	Delivered         uint64 // of all these, written to their clients
	Reads             uint64 // queries that this took, of the log and of tables
}

// Stats returns the hub's figures.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Stats{
		Subscribers: h.count, Subscriptions: make(map[string]int, len(h.nodes)), Recent: h.recent.size(),
		Delivered: h.counters.delivered.Load(), Routed: h.counters.routed.Load(), Loaded: h.counters.loaded.Load(), Reads: h.counters.reads.Load(),
		ResumedFromMemory: h.counters.fromMemory.Load(), ResumedFromLog: h.counters.fromLog.Load(),
	}
	for name, topic := range h.nodes {
		n := len(topic.members)
		for _, key := range topic.keys {
			n += len(key.members)
		}
		s.Subscriptions[name] = n
	}
	return s
}

// PublicTopics returns the names of the topics that anybody may subscribe to, sorted.
func (h *Hub) PublicTopics() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := []string{}
	for name, t := range h.topics {
		if t.Public() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
