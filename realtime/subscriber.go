package realtime

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// Item is what a subscriber's transport is to write next: events, or a notice.
type Item struct {
	Run    *Run
	Notice *Notice
	Of     *Subscriber // whose it is
	Told   int         // how much of it has been written: the transport's own
	live   bool        // it was queued as it was published
}

// Notice is something said to one subscriber.
type Notice struct {
	Kind    NoticeKind
	Channel Channel
	Cursor  Cursor // of NoticeSubscribed and NoticeCursor: what comes from here on will be told; of NoticeLoaded: the rows' state
	Rows    int    // of NoticeLoaded
	Reason  Reset  // of NoticeReset
	Err     *Error // of NoticeError

	Type string // of NoticeSignal
	Data []byte // of NoticeSignal: JSON
}

// NoticeKind is what a notice says.
type NoticeKind int

// The kinds.
const (
	NoticeSubscribed NoticeKind = iota
	NoticeUnsubscribed
	NoticeReset
	NoticeError
	NoticePong   // the answer to a ping: all before it was written
	NoticeLoaded // the rows of a channel have been told
	NoticeCursor // nothing has happened for a while, up to here
	NoticeSignal // something that is kept nowhere
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

// member is a subscriber's share in a channel.
type member struct {
	subscriber *Subscriber
	channel    Channel
	view       view
	join       Cursor // what it covers does not belong to the subscription
	announced  bool   // subscribed was said
	undecided  bool   // its topic's policy is another now, or may say something else, and is being asked
	snapshot   bool   // the rows come first, at the beginning and after a reset
	node       *node
	index      int // in node.members
}

// request is a subscription asked for.
type request struct {
	channels []Channel
	since    Cursor // zero: from now on
	snapshot bool
}

// SubscribeOptions say where a subscription begins. By default it does now.
type SubscribeOptions struct {
	// Since is the text of the cursor behind which it begins. One that cannot be served is answered with reset.
	Since string
	// Snapshot has the channel's rows told first, and then what follows. With Since they are told if that cannot be
	// served.
	Snapshot bool
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

// Subscribe adds channels. Subscribed is said of each when it is live. Of a channel that cannot be had an error is said,
// and the others are added.
func (s *Subscriber) Subscribe(ctx context.Context, channels []Channel, options SubscribeOptions) {
	h := s.hub
	tooMany := Errorf(CodeTooManyChannels, "a connection has at most %d channels", h.options.MaxChannels)
	// About more than it could have nobody is asked.
	asked := min(len(channels), h.options.MaxChannels)
	refused, allowed := s.ask(ctx, channels[:asked])
	defer s.unlock()
	for _, r := range refused {
		s.refuse(r.channel, r.err)
	}
	r := request{snapshot: options.Snapshot}
	for _, c := range allowed {
		switch {
		case s.has(c) || slices.Contains(r.channels, c):
			s.refuse(c, Errorf(CodeAlreadySubscribed, "channel %q is subscribed already", c))
		case s.count()+len(r.channels) >= h.options.MaxChannels:
			s.refuse(c, tooMany)
		default:
			r.channels = append(r.channels, c)
		}
	}
	for _, c := range channels[asked:] {
		s.refuse(c, tooMany)
	}
	if len(r.channels) == 0 || s.closed {
		return
	}
	if options.Since != "" {
		var err error
		if r.since, err = ParseCursor(options.Since); err != nil {
			for _, c := range r.channels {
				h.resets.add(ResetMalformed)
				s.push(Item{Notice: &Notice{Kind: NoticeReset, Channel: c, Reason: ResetMalformed}})
			}
			r.since = Cursor{}
		}
	}
	s.pending = append(s.pending, r)
	s.admit()
}

type refusal struct {
	channel Channel
	err     *Error
}

// ask asks which of the channels may be had. When it returns, the locks are held and the answers are still right.
func (s *Subscriber) ask(ctx context.Context, channels []Channel) (refused []refusal, allowed []Channel) {
	for {
		id, changes := s.Identity(), s.hub.changed()
		refused, allowed = nil, nil
		for _, c := range channels {
			if err := s.hub.Authorize(ctx, id, c); err != nil {
				refused = append(refused, refusal{c, err})
			} else {
				allowed = append(allowed, c)
			}
		}
		s.lock()
		if s.identity == id && s.hub.changes == changes {
			return refused, allowed
		}
		s.unlock()
	}
}

// Unsubscribe leaves a channel.
func (s *Subscriber) Unsubscribe(c Channel) {
	s.lock()
	defer s.unlock()
	if !s.drop(c) {
		s.refuse(c, Errorf(CodeNotSubscribed, "channel %q is not subscribed", c))
	}
	s.admit()
}

// Switch leaves all channels but this one, and subscribes to it. If it cannot be had, the others stay.
func (s *Subscriber) Switch(ctx context.Context, c Channel, options SubscribeOptions) {
	if err := s.hub.Authorize(ctx, s.Identity(), c); err != nil {
		s.Tell(err, c)
		return
	}
	s.lock()
	all := s.channels()
	stays := options == SubscribeOptions{} && slices.Contains(all, c)
	for _, other := range all {
		if other != c || !stays {
			s.drop(other)
		}
	}
	s.admit()
	if stays {
		for _, m := range s.members {
			m.announced = false
		}
		if s.live {
			s.announce()
		}
	}
	s.unlock()
	if !stays {
		s.Subscribe(ctx, []Channel{c}, options)
	}
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

// admit takes up what was asked for, one after another: while the subscriber is behind, the others wait, so that one
// cursor is enough for all its channels.
func (s *Subscriber) admit() {
	if len(s.members) == 0 && !s.live {
		s.setLive(true)
		s.from, s.replay, s.loading = Cursor{}, nil, nil
	}
	h := s.hub
	for len(s.pending) > 0 && s.live {
		r := s.pending[0]
		s.pending = s.pending[1:]
		others := len(s.members)
		var added []*member
		for _, c := range r.channels {
			if err, _ := h.refusal(s.identity, c); err != nil { // it was not when it was asked for
				s.refuse(c, err)
				continue
			}
			topic := h.topics[c.Topic]
			m := &member{subscriber: s, channel: c, view: viewOf(s.identity, c, topic), join: r.since, snapshot: r.snapshot || topic.Listed}
			h.registry.join(m)
			added = append(added, m)
		}
		if len(added) == 0 {
			continue
		}
		s.members = append(s.members, added...)
		s.sign()
		for _, m := range added {
			if r.since.IsZero() && m.snapshot {
				s.loading = append(s.loading, m)
			}
		}
		switch {
		case len(s.loading) > 0 && others == 0:
			s.fallBehind(Cursor{}, true)
		case len(s.loading) > 0:
			s.fallBehind(h.position, true)
		case r.since.IsZero() && h.live:
			for _, m := range added {
				m.join = h.position
			}
			s.announce()
		case r.since.IsZero() && others == 0:
			s.fallBehind(Cursor{}, true)
		case r.since.IsZero():
			for _, m := range added {
				m.join = h.position
			}
			s.fallBehind(h.position, true)
		case others == 0:
			s.fallBehind(r.since, false)
			s.returns = true
		default:
			s.fallBehind(h.position, true)
			s.returns = true
			s.replay = &replay{members: added, from: r.since, upto: h.position}
		}
	}
}

// count is the number of channels, those included that wait.
func (s *Subscriber) count() int {
	n := len(s.members)
	for _, p := range s.pending {
		n += len(p.channels)
	}
	return n
}

func (s *Subscriber) has(c Channel) bool {
	for _, m := range s.members {
		if m.channel == c {
			return true
		}
	}
	for _, p := range s.pending {
		if slices.Contains(p.channels, c) {
			return true
		}
	}
	return false
}

// drop leaves the channel, if there is one, and says so.
func (s *Subscriber) drop(c Channel) bool {
	if !s.leave(c) {
		return false
	}
	s.push(Item{Notice: &Notice{Kind: NoticeUnsubscribed, Channel: c}})
	return true
}

// leave leaves the channel, or takes back that it was asked for.
func (s *Subscriber) leave(c Channel) bool {
	for _, m := range s.members {
		if m.channel == c {
			s.remove(m)
			return true
		}
	}
	for i, p := range s.pending {
		if j := slices.Index(p.channels, c); j >= 0 {
			s.pending[i].channels = slices.Delete(slices.Clone(p.channels), j, j+1)
			if len(s.pending[i].channels) == 0 {
				s.pending = slices.Delete(s.pending, i, i+1)
			}
			return true
		}
	}
	return false
}

// channels are all that the subscriber has, those included that wait; only s.mu is needed.
func (s *Subscriber) channels() []Channel {
	all := make([]Channel, 0, len(s.members))
	for _, m := range s.members {
		all = append(all, m.channel)
	}
	for _, p := range s.pending {
		all = append(all, p.channels...)
	}
	return all
}

func (s *Subscriber) remove(m *member) {
	s.hub.registry.leave(m)
	s.members = slices.DeleteFunc(s.members, func(x *member) bool { return x == m })
	s.sign()
	s.loading = slices.DeleteFunc(s.loading, func(x *member) bool { return x == m })
	if s.replay != nil {
		s.replay.members = slices.DeleteFunc(s.replay.members, func(x *member) bool { return x == m })
		if len(s.replay.members) == 0 {
			s.replay = nil
		}
	}
}

// wants reports whether a channel of the subscriber has the event.
func (s *Subscriber) wants(e *Event) bool {
	for _, m := range s.members {
		if e.in(m.channel) && !m.join.Covers(e) {
			return true
		}
	}
	return false
}

// settled reports whether no channel begins behind the position.
func (s *Subscriber) settled(at Cursor) bool {
	for _, m := range s.members {
		if !m.join.IsZero() && !at.Includes(m.join) {
			return false
		}
	}
	return true
}

// sign names the set of views: who has the same set takes the same runs.
func (s *Subscriber) sign() {
	names := make([]string, 0, len(s.members))
	views := make([]view, 0, len(s.members)) // runs keep the one before
	for _, m := range s.members {
		m.view.key.changes = s.hub.changes
		names = append(names, m.view.name())
		views = append(views, m.view)
	}
	slices.Sort(names)
	s.signature = strings.Join(names, "\n") // no name has one
	s.views, s.guarded = views, guarded(views)
}

// review takes away the channels that the subscriber may not have any more, and has it see of the others what it may.
func (s *Subscriber) review() {
	for _, m := range slices.Clone(s.members) {
		err, policy := s.hub.refusal(s.identity, m.channel)
		if err != nil {
			s.remove(m)
			s.refuse(m.channel, err)
			continue
		}
		// Whom another policy lets is not known yet.
		m.undecided = policy && (m.undecided || m.view.read != s.hub.topics[m.channel.Topic].Read)
		m.view = viewOf(s.identity, m.channel, s.hub.topics[m.channel.Topic])
	}
	s.sign()
	s.waitIfUndecided()
}

// doubt has the subscriber wait for what policies say now of its channels.
func (s *Subscriber) doubt() {
	s.settle()
	for _, m := range s.members {
		m.undecided = m.undecided || s.hub.topics[m.channel.Topic].policed()
	}
	s.waitIfUndecided()
}

func (s *Subscriber) waitIfUndecided() {
	if s.live && s.undecided() {
		s.fallBehind(s.hub.position, true)
	}
}

// undecided reports whether it is being asked if a channel may stay: until that is known, the subscriber is told nothing, and then it goes on
// where it was.
func (s *Subscriber) undecided() bool {
	return slices.ContainsFunc(s.members, func(m *member) bool { return m.undecided })
}

// Identity is whose the subscriber is.
func (s *Subscriber) Identity() *Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// SetIdentity says whose the subscriber is from now on. Channels that are not for him are lost, and he is told.
func (s *Subscriber) SetIdentity(ctx context.Context, id *Identity) {
	answers := s.askFor(ctx, id)
	defer s.unlock()
	if s.closed {
		return
	}
	s.identity = id
	for c, err := range answers {
		if err != nil && s.leave(c) {
			s.refuse(c, err)
		}
	}
	s.review()
	s.admit()
	if s.undecided() {
		s.hub.askAgain() // for somebody else now
	}
}

// askFor asks which of the subscriber's channels somebody may have. When it returns, the locks are held, and the answers are of all the
// channels and still right.
func (s *Subscriber) askFor(ctx context.Context, id *Identity) map[Channel]*Error {
	answers := make(map[Channel]*Error)
	for {
		changes := s.hub.changed()
		s.mu.Lock()
		all, same := s.channels(), s.identity.rights().key() == id.rights().key()
		s.mu.Unlock()
		clear(answers)
		for _, c := range all {
			answers[c] = nil
			if !same { // a new token of the same user is no question
				answers[c] = s.hub.Authorize(ctx, id, c)
			}
		}
		s.lock()
		unasked := slices.ContainsFunc(s.channels(), func(c Channel) bool { _, asked := answers[c]; return !asked })
		if !unasked && s.hub.changes == changes {
			return answers
		}
		s.unlock()
	}
}

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
