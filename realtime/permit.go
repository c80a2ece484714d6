package realtime

import (
	"context"
	"slices"
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

// askPolicies asks what there is to ask, until ctx ends.
func (h *Hub) askPolicies(ctx context.Context) {
	for {
		h.mu.Lock()
		asks := h.asks[:min(len(h.asks), maxAsks)]
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
// subscribe. It does not wait for the new ones.
func (h *Hub) Recheck() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recheckPolicies()
}

// recheckPolicies is Recheck; h.mu is held.
func (h *Hub) recheckPolicies() {
	h.changes++
	clear(h.permits)
	select {
	case h.rechecked <- struct{}{}:
	default:
	}
}

// recheck asks from time to time, and whenever it is to, until ctx ends: what policies look at may have changed.
func (h *Hub) recheck(ctx context.Context) {
	tick := time.NewTicker(h.options.RecheckInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.rechecked:
		}
		for err := h.recheckAll(ctx); err != nil; err = h.recheckAll(ctx) {
			if !pause(ctx, retryAfter) {
				return
			}
		}
	}
}

// recheckAll asks for every channel that somebody has by a policy, once for all with the same rights.
func (h *Hub) recheckAll(ctx context.Context) error {
	type asked struct {
		ask  Ask
		subs []*Subscriber
	}
	byKey := make(map[permitKey]*asked)
	h.mu.Lock()
	for s := range h.registry.subscribers() {
		s.mu.Lock()
		for _, c := range s.channels() {
			if h.topics[c.Topic].policed() {
				rights := s.identity.rights()
				key := permitKey{c, rights.key()}
				if byKey[key] == nil {
					byKey[key] = &asked{ask: Ask{rights, c}}
				}
				byKey[key].subs = append(byKey[key].subs, s)
			}
		}
		s.mu.Unlock()
	}
	h.mu.Unlock()
	all := make([]*asked, 0, len(byKey))
	for _, a := range byKey {
		all = append(all, a)
	}
	for part := range slices.Chunk(all, maxAsks) {
		asks := make([]Ask, len(part))
		for i, a := range part {
			asks[i] = a.ask
		}
		answers, err := h.source.Permit(ctx, asks)
		if err != nil {
			return err
		}
		for i, a := range part {
			if answers[i] {
				continue
			}
			for _, s := range a.subs {
				s.lose(a.ask)
			}
		}
	}
	return nil
}

// lose takes a channel from a subscriber that a policy does not allow any more.
func (s *Subscriber) lose(ask Ask) {
	s.lock()
	defer s.unlock()
	if s.identity.rights().key() != ask.Rights.key() {
		return // he is somebody else by now
	}
	if s.leave(ask.Channel) {
		s.refuse(ask.Channel, Errorf(CodeForbidden, "channel %q is not for you any more", ask.Channel))
	}
	s.admit()
}

// Run asks the database who may have what, until ctx ends. Without it, nobody is told anything about which it is to be asked.
func (h *Hub) Run(ctx context.Context) error {
	done := make(chan struct{})
	loops := []func(context.Context){h.judge, h.judge, h.askPolicies, h.recheck}
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
