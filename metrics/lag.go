package metrics

import (
	"sync/atomic"
	"time"

	"tidings/realtime"
)

// sampleEvery is how often a batch is followed to its clients, at most.
const sampleEvery = 250 * time.Millisecond

// sampling chooses the batches that are followed.
type sampling struct {
	next  time.Time                            // of whoever publishes alone
	ahead atomic.Pointer[func() time.Duration] // the database's clock; nil: it is taken for ours
}

// Follow notes how late a batch is published, and follows some to their clients.
func (m *Metrics) Follow(b realtime.Batch) realtime.Trail {
	at, ok := writtenAt(b)
	if !ok {
		return nil
	}
	if ahead := m.sampling.ahead.Load(); ahead != nil {
		at = at.Add(-(*ahead)())
	}
	now := time.Now()
	m.publishLag.Observe(max(now.Sub(at), 0).Seconds())
	if now.Before(m.sampling.next) {
		return nil
	}
	m.sampling.next = now.Add(sampleEvery)
	return &trail{m, at}
}

// writtenAt is when the first row of a batch was written, by the database's clock. It returns false where nobody can have subscribed to
// any of it.
func writtenAt(b realtime.Batch) (time.Time, bool) {
	for _, e := range b.Events {
		if e.Topic != realtime.OwnTopic {
			return e.At, true
		}
	}
	return time.Time{}, false
}

// trail is a batch's, written then.
type trail struct {
	metrics *Metrics
	at      time.Time
}

// Routed is realtime.Trail's.
func (t *trail) Routed(int) {}

// Written is realtime.Trail's.
func (t *trail) Written(events int) {
	if events > 0 {
		t.metrics.deliveryLag.Observe(max(time.Since(t.at), 0).Seconds())
	}
}
