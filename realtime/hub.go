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
	// RecheckInterval is how often policies are asked again who may subscribe, besides when something is known to have changed; 1 min.
	RecheckInterval time.Duration
	// Follow is asked of each batch with events, before it is routed, whether somebody wants to follow it to its clients; nil, as
	// what it returns: nobody does. It is called by whoever publishes, and does not block.
	Follow func(b Batch) Trail
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
	if o.RecheckInterval == 0 {
		o.RecheckInterval = time.Minute
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	return o
}

// Log is the event log as the hub needs it for those who are behind.
type Log interface {
	// Read returns the events of the topics after the cursor, as far as upto sees them, if that is not zero. They have about maxBytes, or
	// are one. A cursor that cannot be served is a *ResetError.
	Read(ctx context.Context, from Cursor, upto Snapshot, topics []string, maxBytes int) (LogPage, error)
}

// LogPage is what a read of the log returns.
type LogPage struct {
	Events []*Event // in order
	To     Cursor   // the position behind them
	// End says that there is nothing else: these are all that were committed when the read began, or that are wanted.
	End bool
	// Relayed says that they were read where another instance has put what it read.
	Relayed bool
}

// Source is what a hub asks of the side that feeds it.
type Source interface {
	Log
	Loader
	Judge
	Permits
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
	position Cursor
	lineage  Lineage
	live     bool
	recent   recent
	waiting  map[*Subscriber]struct{} // to be woken by the next change
	loads    map[string]*load
	pages    []*page // that were read a moment ago
	count    int     // subscribers

	permits   map[permitKey]*permit // that were asked for a moment ago
	changes   uint64                // of what policies look at
	asks      []*permit             // that are to be asked for
	asked     chan struct{}
	rechecked chan struct{}
	bench     bench

	registry registry
	now      atomic.Pointer[batch] // is being published: up to the position, and not yet queued for everyone
	counters counters
	refused  tally[Code]
	resets   tally[Reset]

	// Of Publish alone.
	round uint64
	found found
}

// counters count events times subscribers.
type counters struct {
	routed, delivered, fromMemory, fromLog, fromRelay, loaded, reads atomic.Uint64
	overflows, returnsMemory, returnsRelay, returnsLog               atomic.Uint64
	behind                                                           atomic.Int64 // subscribers
}

// NewHub makes a hub. It is not live until Start and SetLive have been called.
func NewHub(source Source, options Options) *Hub {
	options = options.withDefaults()
	return &Hub{
		options: options,
		source:  source,
		topics:  make(map[string]Topic),
		recent:  recent{maxBytes: options.RecentBytes, maxAge: options.RecentAge},
		waiting: make(map[*Subscriber]struct{}),
		loads:   make(map[string]*load),
		permits: make(map[permitKey]*permit), asked: make(chan struct{}, 1), rechecked: make(chan struct{}, 1),
		bench: bench{bell: make(chan struct{}, 2)},
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
	for s := range h.registry.subscribers() {
		s.mu.Lock()
		s.settle()
		s.replay = nil
		s.reset(s.members, reason)
		s.mu.Unlock()
	}
	h.wakeWaiting()
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
// The hub's lock is held while the position changes, and not while the batch's subscribers are found and it is queued for
// them: whoever changes one of them meanwhile queues first what of the batch is that one's.
func (h *Hub) Publish(published Batch) {
	var trail Trail
	if h.options.Follow != nil && len(published.Events) > 0 {
		trail = h.options.Follow(published)
	}
	h.mu.Lock()
	h.round++
	b := h.recent.add(published, h.round)
	b.trail = trail
	h.position = b.To
	if len(b.Events) > 0 {
		h.now.Store(b)
	}
	h.wakeWaiting()
	h.mu.Unlock()

	for _, s := range h.registry.find(b, &h.found) {
		s.mu.Lock()
		if s.takes(b) {
			s.offer(b, s.runOf(b))
		}
		s.mu.Unlock()
	}
	h.now.Store(nil)
	h.found.forget()
	if trail != nil {
		trail.Routed(int(b.queued.Load()))
	}
}

// MaxChannels is how many channels a subscriber may have.
func (h *Hub) MaxChannels() int { return h.options.MaxChannels }

// SetTopics replaces what can be subscribed to. Who has a channel that is no longer there, or no longer for him, is told and loses it.
func (h *Hub) SetTopics(topics []Topic) {
	byName := make(map[string]Topic, len(topics))
	for _, t := range topics {
		byName[t.Name] = t
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, t := range byName {
		if t.policed() && h.topics[name].Read != t.Read {
			h.recheckPolicies() // those who have it had it by other rules
		}
	}
	h.topics = byName
	for s := range h.registry.subscribers() {
		s.mu.Lock()
		s.settle()
		s.review()
		s.admit()
		s.mu.Unlock()
	}
}

// Delivered counts events that were written to clients.
func (h *Hub) Delivered(events int) { h.counters.delivered.Add(uint64(events)) }

// Stats are the hub's figures: those of the moment, and what was counted since it began. An event that is told to two
// subscribers counts twice.
type Stats struct {
	Subscribers   int
	Behind        int            // of them, those that are not live: they are fed from memory, or from the log
	Waiting       int            // of those, the ones that wait for their turn to read the log
	Subscriptions map[string]int // by topic, its keys' included
	Recent        int            // bytes of events in memory, and of what of them is encoded

	Routed            uint64 // queued as they were published
	ResumedFromMemory uint64 // queued for who was behind
	ResumedFromLog    uint64 // the same, by reading the log
	ResumedFromRelay  uint64 // the same, by reading what another instance has read of it
	Loaded            uint64 // rows, queued for who asked for them
	Delivered         uint64 // of all these, written to their clients
	Judged            uint64 // of which row security was asked, once for all subscribers with the same rights
	Reads             uint64 // queries that this took, of the log and of tables

	Overflows         uint64 // times that a queue was full, and its subscriber fell behind
	ReturnsFromMemory uint64 // subscribers that had fallen behind, or came back with a cursor, and were given all they lacked
	ReturnsFromLog    uint64 // the same, where the log had to be read for it
	ReturnsFromRelay  uint64 // the same, where it was enough to read what another instance has read of it

	Resets  map[Reset]uint64 // channels of which events were lost to a subscriber, by why
	Refused map[Code]uint64  // subscribers that did not get a channel, or lost it, by why
}

// Stats returns the hub's figures.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Stats{
		Subscribers: h.count, Behind: int(h.counters.behind.Load()), Waiting: len(h.toRead), Subscriptions: h.registry.count(), Recent: h.recent.size(),
		Delivered: h.counters.delivered.Load(), Routed: h.counters.routed.Load(), Loaded: h.counters.loaded.Load(), Reads: h.counters.reads.Load(),
		ResumedFromMemory: h.counters.fromMemory.Load(), ResumedFromLog: h.counters.fromLog.Load(), ResumedFromRelay: h.counters.fromRelay.Load(),
		Overflows: h.counters.overflows.Load(), ReturnsFromMemory: h.counters.returnsMemory.Load(), ReturnsFromLog: h.counters.returnsLog.Load(),
		ReturnsFromRelay: h.counters.returnsRelay.Load(),
		Resets:           h.resets.totals(), Refused: h.refused.totals(),
	}
	h.bench.mu.Lock()
	defer h.bench.mu.Unlock()
	s.Judged = h.bench.judged
	return s
}

// Queued is what waits in the subscribers' queues to be written: events, their bytes, and those of the fullest queue. It looks at all
// subscribers: not for every event.
func (h *Hub) Queued() (events, bytes, largest int) {
	for s := range h.registry.subscribers() {
		s.mu.Lock()
		for _, i := range s.queue {
			if i.Run != nil {
				events += i.Run.count
			}
		}
		bytes += s.bytes
		largest = max(largest, s.bytes)
		s.mu.Unlock()
	}
	return events, bytes, largest
}

// Channels returns the channels that the most subscribe to, at most n of them, and whether there are no others that anybody does. It looks at
// all channels: not for every event.
func (h *Hub) Channels(n int) (largest []ChannelCount, all bool) { return h.registry.largest(n) }

// ChannelSubscribers is how many subscribe to just this channel.
func (h *Hub) ChannelSubscribers(c Channel) int { return h.registry.members(c) }

// Topic returns a topic as it is now; the zero Topic, if there is none of the name.
func (h *Hub) Topic(name string) Topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.topics[name]
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
