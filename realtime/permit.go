package realtime

import (
	"context"
	"time"
)

// Ask is a question to a policy: may somebody subscribe to a channel?
type Ask struct {
	Rights  *Rights
	Channel Channel
}

// Permits asks policies.
type Permits interface {
	// Permit returns an answer for each question. What cannot be said, now or later, is no; an error is for now.
	Permit(ctx context.Context, asks []Ask) ([]bool, error)
}

// refusal returns why somebody cannot subscribe to the channel, nil if he can or a policy is to be asked; h.mu is held.
func (h *Hub) refusal(id *Identity, c Channel) (err *Error, policy bool) {
	t, ok := h.topics[c.Topic]
	switch {
	case !ok:
		return Errorf(CodeUnknownChannel, "there is no channel %q: no table is watched as %q", c, c.Topic), false
	case c.Key != "" && !t.Keyed:
		return Errorf(CodeUnknownChannel, "there is no channel %q: rows of %q have no key", c, c.Topic), false
	case t.Public():
		return nil, false
	case t.policed():
		return nil, true
	case id == nil:
		return Errorf(CodeForbidden, "channel %q is not public: sign in first (its table's read is %q)", c, t.Read), false
	case t.owned() && t.OwnKeys && c.Key != "" && c.Key != id.User:
		return Errorf(CodeForbidden, "channel %q is somebody else's", c), false
	case t.owned(), t.Read == "signed_in":
		return nil, false
	}
	return Errorf(CodeForbidden, "channel %q is for nobody: its table's read is %q", c, t.Read), false
}

// Authorize returns why somebody cannot subscribe to a channel, nil if he can. What is not there may have been watched a moment
// ago, so the source is asked before no is said.
func (h *Hub) Authorize(ctx context.Context, id *Identity, c Channel) *Error {
	err, policy := h.lockedRefusal(id, c)
	if err != nil {
		if h.source.RefreshTopics(ctx) != nil {
			return unsaid(c)
		}
		err, policy = h.lockedRefusal(id, c)
	}
	if err != nil || !policy {
		return err
	}
	p := h.permit(id, c)
	select {
	case <-p.done:
	case <-ctx.Done():
		return unsaid(c)
	}
	return p.refusal(id, c)
}

// changed is how often what policies look at has changed.
func (h *Hub) changed() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes
}

func (h *Hub) lockedRefusal(id *Identity, c Channel) (*Error, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refusal(id, c)
}

func unsaid(c Channel) *Error {
	return Errorf(CodeUnavailable, "whether you may have channel %q cannot be said now: the database does not answer; try again", c)
}

// permit is a policy's answer, for all who ask for the same at about the same time.
type permit struct {
	ask     Ask
	done    chan struct{}
	allowed bool
	err     error
}

type permitKey struct {
	channel Channel
	rights  string
}

func (p *permit) refusal(id *Identity, c Channel) *Error {
	switch {
	case p.err != nil:
		return unsaid(c)
	case p.allowed:
		return nil
	case id == nil:
		return Errorf(CodeForbidden, "channel %q is not public: sign in first", c)
	}
	return Errorf(CodeForbidden, "channel %q is not for you", c)
}

// permit asks the topic's policy, unless that was done a moment ago.
func (h *Hub) permit(id *Identity, c Channel) *permit {
	rights := id.rights()
	key := permitKey{c, rights.key()}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.permits[key]
	if p == nil {
		p = &permit{ask: Ask{rights, c}, done: make(chan struct{})}
		h.permits[key] = p
		h.asks = append(h.asks, p)
		h.ring()
	}
	return p
}

// ring has policies asked.
func (h *Hub) ring() {
	select {
	case h.asked <- struct{}{}:
	default:
	}
}

// maxAsks is how much is asked at a time, at most.
const maxAsks = 500

// portion is how much to ask at a time. An answer does not count if something changed while it was asked for: where that keeps happening, less is
// asked at a time, so that some are given in between.
type portion int

func (p *portion) asked(n int, inVain bool) {
	if inVain {
		*p = portion(max(n/2, 1))
	} else {
		*p = min(2**p, maxAsks)
	}
}

// askPolicies asks what there is to ask, until ctx ends.
func (h *Hub) askPolicies(ctx context.Context) {
	size := portion(maxAsks)
	for {
		h.mu.Lock()
		changes := h.changes
		asks := h.asks[:min(len(h.asks), int(size))]
		h.asks = h.asks[len(asks):]
		h.mu.Unlock()
		if len(asks) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-h.asked:
			}
			continue
		}
		questions := make([]Ask, len(asks))
		for i, p := range asks {
			questions[i] = p.ask
		}
		answers, err := h.source.Permit(ctx, questions)
		size.asked(len(asks), h.changed() != changes)
		for i, p := range asks {
			if p.err = err; err == nil {
				p.allowed = answers[i]
			}
			close(p.done)
		}
		forget := func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, p := range asks {
				if key := (permitKey{p.ask.Channel, p.ask.Rights.key()}); h.permits[key] == p {
					delete(h.permits, key)
				}
			}
		}
		if err != nil {
			forget()
		} else {
			time.AfterFunc(shareLoad, forget)
		}
	}
}

// Recheck has policies asked again who may subscribe to what. Answers from before do not count any more, also for who is about to
// subscribe. It does not wait for the new ones; who has a channel by such an answer is told nothing more until there is one.
func (h *Hub) Recheck() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recheckPolicies()
	for s := range h.registry.subscribers() {
		s.mu.Lock()
		s.doubt()
		s.mu.Unlock()
	}
}

// recheckPolicies has policies asked again; h.mu is held.
func (h *Hub) recheckPolicies() {
	h.changes++
	clear(h.permits)
	for s := range h.registry.subscribers() {
		s.mu.Lock()
		if s.guarded {
			s.settle()
			s.sign() // what was answered before is not for it any more
		}
		s.mu.Unlock()
	}
	h.askAgain()
}

// askAgain has everything asked that somebody has by a policy.
func (h *Hub) askAgain() {
	select {
	case h.rechecked <- struct{}{}:
	default:
	}
}

// recheck asks from time to time, and whenever it is to, until ctx ends: what policies look at may have changed.
func (h *Hub) recheck(ctx context.Context) {
	size := portion(maxAsks)
	tick := time.NewTicker(h.options.RecheckInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.rechecked:
		}
		held := h.held()
		for patience := h.options.RecheckInterval; len(held) > 0; {
			begun := time.Now()
			if held = h.recheckSome(ctx, held, &size); len(held) == 0 {
				break
			}
			if !pause(ctx, retryAfter) {
				return
			}
			if h.Live() { // otherwise nobody is told anything, and no question could be answered
				patience -= time.Since(begun)
			}
			if patience <= 0 {
				for _, x := range held {
					x.lose(Errorf(CodeUnavailable, "whether channel %q is still for you cannot be said: its policy does not answer; subscribe anew, with your last cursor",
						x.ask.Channel))
				}
				break
			}
		}
	}
}

// holding is a channel that some have by a policy, all with the same rights.
type holding struct {
	ask  Ask
	subs []*Subscriber
}

// held are those that there are.
func (h *Hub) held() (all []*holding) {
	byKey := make(map[permitKey]*holding)
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.registry.subscribers() {
		s.mu.Lock()
		for _, c := range s.channels() {
			if !h.topics[c.Topic].policed() {
				continue
			}
			rights := s.identity.rights()
			key := permitKey{c, rights.key()}
			if byKey[key] == nil {
				byKey[key] = &holding{ask: Ask{rights, c}}
				all = append(all, byKey[key])
			}
			byKey[key].subs = append(byKey[key].subs, s)
		}
		s.mu.Unlock()
	}
	return all
}

// recheckSome asks about holdings, takes away what is not allowed any more, and returns those about which there was no answer. One that cannot
// be answered is asked about by itself: it spares no other.
func (h *Hub) recheckSome(ctx context.Context, some []*holding, size *portion) (unanswered []*holding) {
	for len(some) > 0 {
		part := some[:min(len(some), int(*size))]
		asks := make([]Ask, len(part))
		for i, x := range part {
			asks[i] = x.ask
		}
		changes := h.changed()
		answers, err := h.source.Permit(ctx, asks)
		inVain := h.changed() != changes
		size.asked(len(part), inVain)
		if inVain && err == nil && len(part) > 1 {
			continue // with fewer
		}
		some = some[len(part):]
		switch {
		case err != nil && len(part) == 1:
			unanswered = append(unanswered, part[0])
		case err != nil && ctx.Err() == nil:
			middle := len(part) / 2
			unanswered = append(unanswered, h.recheckSome(ctx, part[:middle], size)...)
			unanswered = append(unanswered, h.recheckSome(ctx, part[middle:], size)...)
		default:
			for i, x := range part {
				switch {
				case err != nil: // ctx has ended
				case answers[i]:
					x.keep(changes)
				default:
					x.lose(Errorf(CodeForbidden, "channel %q is not for you any more", x.ask.Channel))
				}
			}
		}
	}
	return unanswered
}

// keep has those go on who waited for the answer, unless it may be by a policy from before.
func (x *holding) keep(changes uint64) {
	for _, s := range x.subs {
		s.keep(x.ask, changes)
	}
}

func (x *holding) lose(why *Error) {
	for _, s := range x.subs {
		s.lose(x.ask, why)
	}
}

// keep has the subscriber go on with a channel that a policy allows.
func (s *Subscriber) keep(ask Ask, changes uint64) {
	s.lock()
	defer s.unlock()
	if s.hub.changes != changes || s.identity.rights().key() != ask.Rights.key() || !s.undecided() {
		return
	}
	for _, m := range s.members {
		if m.channel == ask.Channel {
			m.undecided = false
		}
	}
	if !s.undecided() {
		s.wakeup()
	}
}

// lose takes a channel from a subscriber to whom a policy does not allow it.
func (s *Subscriber) lose(ask Ask, why *Error) {
	s.lock()
	defer s.unlock()
	if s.identity.rights().key() != ask.Rights.key() {
		return // he is somebody else by now
	}
	if s.leave(ask.Channel) {
		s.refuse(ask.Channel, why)
	}
	s.admit()
	if !s.live {
		s.wakeup() // it may have waited for this alone
	}
}

// Run asks the database who may have what, until ctx ends. Without it, nobody is told anything about which it is to be asked.
func (h *Hub) Run(ctx context.Context) error {
	done := make(chan struct{})
	loops := []func(context.Context){h.judge, h.judge, h.askPolicies, h.askPolicies, h.recheck}
	for _, loop := range loops {
		go func() {
			loop(ctx)
			done <- struct{}{}
		}()
	}
	for range loops {
		<-done
	}
	return nil // ctx ended
}
