package traces

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	oteltrace "go.opentelemetry.io/otel/trace"

	"tidings/realtime"
)

// endAfter is how long a batch is followed, at most: some clients may never be written to.
const endAfter = 10 * time.Second

// Follow makes a trace of a batch, if it is sampled: from the writing of its first row to the last client that it is written to.
//
//	batch              the whole way
//	  commit           from the writing of the row until the read that brought it began: its transaction, and the doorbell
//	  read             until the batch was there as a whole
//	  route            until it was in the queues of all whom it is for
//	  deliver          until the last client was written to, with an event for the first
func (t *Traces) Follow(b realtime.Batch) realtime.Trail {
	first := slices.IndexFunc(b.Events, func(e *realtime.Event) bool { return e.Topic != realtime.OwnTopic })
	if first < 0 {
		return nil
	}
	now := time.Now()
	e := b.Events[first]
	written := e.At
	if t.Ahead != nil {
		written = written.Add(-t.Ahead())
	}
	if written.After(now) {
		written = now // the clocks are not known that well
	}
	began := b.Began
	if began.IsZero() || began.Before(written) {
		began = written // the row was written while it was being read
	}
	ctx, root := t.tracer.Start(context.Background(), "batch", oteltrace.WithTimestamp(written), oteltrace.WithNewRoot(),
		oteltrace.WithSpanKind(oteltrace.SpanKindConsumer))
	if !root.IsRecording() {
		return nil
	}
	var topics []string
	events := 0
	for _, e := range b.Events {
		if e.Topic != realtime.OwnTopic {
			events++
			if len(topics) < maxTopics && !slices.Contains(topics, e.Topic) {
				topics = append(topics, e.Topic)
			}
		}
	}
	root.SetAttributes(attribute.StringSlice("tidings.topics", topics), attribute.Int("tidings.events", events), attribute.Int64("tidings.xid", int64(e.Xid)),
		attribute.Float64("tidings.publish_lag_seconds", now.Sub(written).Seconds()))
	l := &trail{traces: t, ctx: ctx, root: root, published: now}
	l.step("commit", written, began)
	l.step("read", began, now)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		root.End()
		return nil
	}
	t.trails[l] = struct{}{}
	l.timer = time.AfterFunc(endAfter, l.end)
	return l
}

// maxTopics is how many topics of a batch are named.
const maxTopics = 10

// trail is a batch's.
type trail struct {
	traces    *Traces
	ctx       context.Context
	root      oteltrace.Span
	published time.Time
	timer     *time.Timer

	mu          sync.Mutex
	ended       bool
	routed      time.Time // zero: not yet
	subscribers int
	clients     int // written to
	events      int
	first, last time.Time
}

// step is a part of the way.
func (l *trail) step(name string, from, to time.Time, attributes ...attribute.KeyValue) {
	_, span := l.traces.tracer.Start(l.ctx, name, oteltrace.WithTimestamp(from), oteltrace.WithAttributes(attributes...))
	span.End(oteltrace.WithTimestamp(to))
}

// Routed is realtime.Trail's.
func (l *trail) Routed(subscribers int) {
	l.mu.Lock()
	l.routed, l.subscribers = time.Now(), subscribers
	done := l.clients >= subscribers
	l.mu.Unlock()
	if done {
		l.end()
	}
}

// Written is realtime.Trail's.
func (l *trail) Written(events int) {
	l.mu.Lock()
	l.last = time.Now()
	if l.clients == 0 {
		l.first = l.last
	}
	l.clients++
	l.events += events
	done := !l.routed.IsZero() && l.clients >= l.subscribers
	l.mu.Unlock()
	if done {
		l.end()
	}
}

// end ends the trace.
func (l *trail) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	l.timer.Stop()
	to := l.published
	if !l.routed.IsZero() {
		to = l.routed
		l.step("route", l.published, to, attribute.Int("tidings.subscribers", l.subscribers))
	}
	if l.clients > 0 {
		_, span := l.traces.tracer.Start(l.ctx, "deliver", oteltrace.WithTimestamp(l.published),
			oteltrace.WithAttributes(attribute.Int("tidings.clients", l.clients), attribute.Int("tidings.events_written", l.events)))
		span.AddEvent("first client", oteltrace.WithTimestamp(l.first))
		span.End(oteltrace.WithTimestamp(l.last))
		if l.last.After(to) {
			to = l.last
		}
	}
	l.root.SetAttributes(attribute.Int("tidings.subscribers", l.subscribers), attribute.Int("tidings.clients", l.clients))
	l.root.End(oteltrace.WithTimestamp(to))
	l.traces.forget(l)
}

// forget forgets a trail that has ended. It may be called with the trail's lock held, and never takes one.
func (t *Traces) forget(l *trail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.trails, l)
}
