package realtime

// Signal is something that is told to who is there, and kept nowhere: it has no place among the events, and who is behind does not hear
// of it.
type Signal struct {
	Channel Channel
	Type    string
	Data    []byte // JSON
	From    string // the user who is not told; empty: everybody is
}

// maxSignals is how much else may be unread by a subscriber that is told a signal.
const maxSignals = 100

// Signal tells the subscribers of the channel, and of its topic. It does not block.
func (h *Hub) Signal(signal Signal) {
	for _, s := range h.registry.at(signal.Channel) {
		s.mu.Lock()
		mine := signal.From != "" && s.identity.Name() == signal.From
		if s.live && !mine && s.notices < maxSignals {
			s.push(Item{Notice: &Notice{Kind: NoticeSignal, Channel: signal.Channel, Type: signal.Type, Data: signal.Data}})
		}
		s.mu.Unlock()
	}
}

// MaySignal says why somebody may not say in a channel that he is writing something; nil: he may, if he may subscribe to it.
func (h *Hub) MaySignal(id *Identity, c Channel) *Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch t, known := h.topics[c.Topic]; {
	case id == nil:
		return Errorf(CodeForbidden, "who writes in channel %q is to have signed in", c)
	case known && t.Guard != GuardNone:
		return Errorf(CodeForbidden, "channel %q is not told who is typing: not all who may subscribe may read all of its rows", c)
	case known && !t.Typing:
		return Errorf(CodeForbidden, "channel %q is not told who is typing: its table's watch does not say typing", c)
	}
	return nil
}

// at returns the subscribers of the channel, and of its topic, once each.
func (r *registry) at(c Channel) (subs []*Subscriber) {
	t, ok := r.topics.Load(c.Topic)
	if !ok {
		return nil
	}
	nodes := t.(*topicNodes)
	nodes.mu.Lock()
	defer nodes.mu.Unlock()
	seen := make(map[*Subscriber]bool)
	add := func(n *node) {
		for _, m := range n.members {
			if !seen[m.subscriber] {
				seen[m.subscriber] = true
				subs = append(subs, m.subscriber)
			}
		}
	}
	add(&nodes.own)
	if n := nodes.keys[c.Key]; c.Key != "" && n != nil {
		add(n)
	}
	return subs
}
