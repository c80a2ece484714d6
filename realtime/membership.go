package realtime

import (
	"context"
	"slices"
	"strings"
)

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
	if !s.live {
		s.wakeup() // it may have waited for an answer that is not needed any more
	}
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

// policed reports whether a policy says who may have one of the channels.
func (s *Subscriber) policed() bool {
	return slices.ContainsFunc(s.members, func(m *member) bool { return s.hub.topics[m.channel.Topic].policed() })
}

// undecided reports whether it is being asked if a channel may stay: until that is known, the subscriber is told nothing, and then it goes on
// where it was.
func (s *Subscriber) undecided() bool {
	return slices.ContainsFunc(s.members, func(m *member) bool { return m.undecided })
}
