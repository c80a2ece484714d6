package realtime

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"
)

// runs are those that were made of some batches, and can be made again. Its lock is taken with any of the others held.
type runs struct {
	mu      sync.Mutex
	batches list.List    // *batch, those that have runs, in the order in which they got them
	encoded atomic.Int64 // bytes of these, as they are sent, and of what else they take
}

// setSize is what a set of channels takes at a batch, beside its signature and its events' encodings: though it have none of them.
const setSize = 256

// batch is a Batch and the runs that were made of it, one for each set of channels: who is fed from memory shares them
// with all who were live when it was published.
type batch struct {
	Batch
	at     time.Time    // when it was published
	round  uint64       // in which
	trail  Trail        // nil: nobody follows it
	queued atomic.Int64 // for how many, if somebody does
	shared *runs        // whose lock is needed for what follows

	bySignature map[string]*Run // of the set of channels; nil where it has nothing of the batch
	sets        int             // bytes that these sets take, and shared counts
	listed      *list.Element   // in shared.batches; nil: it is not
	forgotten   bool            // nobody else will ask for its runs

	judged judgements // of its events; the bench's lock is needed
}

// run returns what the subscriber has of the batch, which it shares with all who have the same channels, and may read the same; nil if
// nothing.
func (b *batch) run(s *Subscriber) *Run {
	b.shared.mu.Lock()
	run, made := b.bySignature[s.signature]
	b.shared.mu.Unlock()
	if made {
		return run
	}
	return b.keep(s.signature, b.runFor(s))
}

// runFor returns what the subscriber has of the batch, shared with nobody; nil if nothing.
func (b *batch) runFor(s *Subscriber) *Run {
	var events []*Event
	for _, e := range b.Events {
		if s.wants(e) {
			events = append(events, e)
		}
	}
	return s.guard(b.ending(events), b)
}

// keep shares the run with all who have the same channels, and returns it, or the one of somebody who was faster.
func (b *batch) keep(signature string, run *Run) *Run {
	rs := b.shared
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if faster, made := b.bySignature[signature]; made {
		return faster
	}
	if b.bySignature == nil {
		b.bySignature = make(map[string]*Run)
	}
	b.bySignature[signature] = run
	if b.forgotten {
		return run // those who have it now share it
	}
	if b.listed == nil {
		b.listed = rs.batches.PushBack(b)
	}
	size := setSize + len(signature)
	if run != nil {
		size += 8 * run.count // pointers to events
		run.keep(&rs.encoded)
	}
	b.sets += size
	rs.encoded.Add(int64(size))
	return run
}

// shrink forgets runs, the oldest first, until they take maxBytes at most.
func (rs *runs) shrink(maxBytes int) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for first := rs.batches.Front(); first != nil && int(rs.encoded.Load()) > maxBytes; first = rs.batches.Front() {
		first.Value.(*batch).strip()
	}
}

// forget forgets the batch's runs, and those that may still be made of it.
func (rs *runs) forget(b *batch) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	b.strip()
	b.forgotten = true
}

// strip forgets the runs; who has one in its queue keeps it.
func (b *batch) strip() {
	for _, run := range b.bySignature {
		if run != nil {
			run.forget()
		}
	}
	b.bySignature = nil
	b.shared.encoded.Add(-int64(b.sets))
	b.sets = 0
	if b.listed != nil {
		b.shared.batches.Remove(b.listed)
		b.listed = nil
	}
}
