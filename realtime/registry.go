package realtime

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// registry is who subscribes to which channel. Each topic has a lock of its own, under which no other is taken.
type registry struct {
	topics sync.Map // of *topicNodes by name; they stay when they are empty
}

// topicNodes are the topic's own channel, and its keys'.
type topicNodes struct {
	mu   sync.Mutex
	own  node
	keys map[string]*node
}

// node is the subscribers of a channel.
type node struct {
	members []*member

	// Of Publish alone.
	round  uint64   // that events are of
	events []*Event // of this round
	run    *Run     // of events, once somebody takes all of them
}

func (r *registry) topic(name string) *topicNodes {
	t, ok := r.topics.Load(name)
	if !ok {
		t, _ = r.topics.LoadOrStore(name, &topicNodes{keys: make(map[string]*node)})
	}
	return t.(*topicNodes)
}

// join adds the member to its channel's node.
func (r *registry) join(m *member) {
	t := r.topic(m.channel.Topic)
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &t.own
	if m.channel.Key != "" {
		if n = t.keys[m.channel.Key]; n == nil {
			n = &node{}
			t.keys[m.channel.Key] = n
		}
	}
	m.node, m.index = n, len(n.members)
	n.members = append(n.members, m)
}

// leave is the reverse of join.
func (r *registry) leave(m *member) {
	t := r.topic(m.channel.Topic)
	t.mu.Lock()
	defer t.mu.Unlock()
	n := m.node
	last := len(n.members) - 1
	n.members[m.index] = n.members[last]
	n.members[m.index].index = m.index
	n.members[last] = nil
	n.members = n.members[:last]
	if m.channel.Key != "" && last == 0 {
		delete(t.keys, m.channel.Key)
	}
}

// each calls f with every topic, under its lock.
func (r *registry) each(f func(name string, t *topicNodes)) {
	for name, t := range r.topics.Range {
		t := t.(*topicNodes)
		t.mu.Lock()
		f(name.(string), t)
		t.mu.Unlock()
	}
}

// subscribers returns all that have a channel.
func (r *registry) subscribers() map[*Subscriber]struct{} {
	all := make(map[*Subscriber]struct{})
	r.each(func(_ string, t *topicNodes) {
		for _, m := range t.own.members {
			all[m.subscriber] = struct{}{}
		}
		for _, key := range t.keys {
			for _, m := range key.members {
				all[m.subscriber] = struct{}{}
			}
		}
	})
	return all
}

// count returns how many subscriptions there are, by topic.
func (r *registry) count() map[string]int {
	counts := make(map[string]int)
	r.each(func(name string, t *topicNodes) {
		n := len(t.own.members)
		for _, key := range t.keys {
			n += len(key.members)
		}
		if n > 0 {
			counts[name] = n
		}
	})
	return counts
}

// members is how many the channel has.
func (r *registry) members(c Channel) int {
	known, ok := r.topics.Load(c.Topic)
	if !ok {
		return 0
	}
	t := known.(*topicNodes)
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Key == "" {
		return len(t.own.members)
	}
	if key := t.keys[c.Key]; key != nil {
		return len(key.members)
	}
	return 0
}

// largest returns the channels with the most members, at most n of them, and whether that is all that have any.
func (r *registry) largest(n int) (largest []ChannelCount, all bool) {
	all = true
	least := 0 // who has no more than that is not among them
	cut := func() {
		slices.SortFunc(largest, func(a, b ChannelCount) int {
			return cmp.Or(b.Subscribers-a.Subscribers, strings.Compare(a.Channel, b.Channel))
		})
		if len(largest) > n {
			largest, all = largest[:n], false
			least = largest[n-1].Subscribers
		}
	}
	r.each(func(name string, t *topicNodes) {
		add := func(key string, members int) {
			switch {
			case members == 0:
			case members <= least:
				all = false
			default:
				largest = append(largest, ChannelCount{Channel{name, key}.String(), members})
				if len(largest) >= 10*n {
					cut()
				}
			}
		}
		add("", len(t.own.members))
		for key, node := range t.keys {
			add(key, len(node.members))
		}
	})
	cut()
	return largest, all
}

// found is whose a batch is. It belongs to Publish, and is used again.
type found struct {
	nodes       []*node
	subscribers []*Subscriber
}

func (f *found) forget() {
	for _, n := range f.nodes {
		n.events, n.run = nil, nil
	}
	clear(f.nodes)
	clear(f.subscribers)
	f.nodes, f.subscribers = f.nodes[:0], f.subscribers[:0]
}

// find returns the subscribers of the batch's events, and notes with each at which nodes it was found.
func (r *registry) find(b *batch, f *found) []*Subscriber {
	for events := b.Events; len(events) > 0; {
		name, n := events[0].Topic, 1
		for n < len(events) && events[n].Topic == name {
			n++
		}
		if t, ok := r.topics.Load(name); ok {
			t.(*topicNodes).find(b, events[:n], f)
		}
		events = events[n:]
	}
	return f.subscribers
}

// find finds the subscribers of some of the batch's events, all of the topic.
func (t *topicNodes) find(b *batch, events []*Event, f *found) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		f.take(&t.own, b, e)
		switch {
		case e.Everywhere:
			for _, key := range t.keys {
				f.take(key, b, e)
			}
		default:
			if e.Keyed {
				f.take(t.keys[e.Key], b, e)
			}
			if e.Moved && !(e.Keyed && e.Key == e.OldKey) {
				f.take(t.keys[e.OldKey], b, e)
			}
		}
	}
}

// take notes that the event is the node's, and at the first one whose node it is.
func (f *found) take(n *node, b *batch, e *Event) {
	if n == nil || len(n.members) == 0 {
		return
	}
	if n.round != b.round {
		n.round = b.round
		f.nodes = append(f.nodes, n)
		for _, m := range n.members {
			s := m.subscriber
			if s.foundIn != b.round {
				s.foundIn, s.touched = b.round, s.touched[:0]
				f.subscribers = append(f.subscribers, s)
			}
			s.touched = append(s.touched, n)
		}
	}
	n.events = append(n.events, e)
}
