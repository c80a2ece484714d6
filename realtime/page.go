package realtime

import (
	"slices"
	"time"
)

// sharePage is how long a page of the log is kept for others who come from about the same place: many who were away
// together are few queries.
const sharePage = 5 * time.Second

// page is a part of the log that was read for one subscriber: what there is of some topics behind a position.
type page struct {
	batch
	topics []string
	bytes  int
	expiry *time.Timer // forgets it
}

// topics are those of the channels that the next read is for, sorted.
func (s *Subscriber) topics() []string {
	members := s.members
	if s.replay != nil {
		members = s.replay.members
	}
	topics := make([]string, 0, len(members))
	for _, m := range members {
		topics = append(topics, m.channel.Topic)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// keepPage keeps what was read, and wakes those who can go on with it; no locks are held.
func (h *Hub) keepPage(topics []string, b Batch) {
	if len(b.Events) == 0 {
		return
	}
	p := &page{topics: topics, batch: batch{Batch: b, shared: new(runs)}, bytes: batchBytes(b)}
	h.mu.Lock()
	defer h.mu.Unlock()
	bytes := p.bytes
	for _, other := range h.pages {
		bytes += other.bytes
	}
	for bytes > 2*h.options.Readers*h.options.QueueBytes && len(h.pages) > 0 {
		bytes -= h.pages[0].bytes
		h.dropPages(1)
	}
	h.pages = append(h.pages, p)
	p.expiry = time.AfterFunc(sharePage, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.pages = slices.DeleteFunc(h.pages, func(x *page) bool { return x == p })
	})
	h.toRead = slices.DeleteFunc(h.toRead, func(s *Subscriber) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !p.serves(s.from, topics) {
			return false
		}
		s.wakeup()
		return true
	})
}

// dropPages forgets the n oldest pages; h.mu is held.
func (h *Hub) dropPages(n int) {
	for _, p := range h.pages[:n] {
		p.expiry.Stop() // which holds it in memory, too
	}
	h.pages = slices.Delete(h.pages, 0, n)
}

// serves reports whether there is something in the page for a subscriber at the position.
func (p *page) serves(from Cursor, topics []string) bool {
	return slices.Equal(p.topics, topics) && from.Includes(p.From) && !from.Includes(p.To)
}

// fromPage feeds the subscriber from a page that was read for another one. The hub's lock and the subscriber's are held.
func (s *Subscriber) fromPage(topics []string) bool {
	for _, p := range s.hub.pages {
		if !p.serves(s.from, topics) {
			continue
		}
		var run *Run
		to, ok := p.To, true
		if s.from.Equal(p.From) && s.settled(p.From) {
			run = p.run(s)
		} else {
			run, to, ok = p.rest(s.from, s)
		}
		if !ok || to.Equal(s.from) {
			continue
		}
		if run != nil {
			s.hub.counters.fromMemory.Add(uint64(run.count))
			s.push(Item{Run: run})
		}
		s.from, s.trusted = to, true
		return true
	}
	return false
}
