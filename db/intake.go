package db

import (
	"context"
	"encoding/json"
	"time"

	"tidings/realtime"
)

// Batches that are published while a read goes on have about this many bytes and events at most, so that one large
// transaction is not held in memory.
const (
	batchBytes  = 256 << 10
	batchEvents = 1000
)

// intake publishes what is read, in batches.
type intake struct {
	reader   *Reader
	position *realtime.Cursor
	began    time.Time // the read; zero: another instance's

	batch        realtime.Batch
	bytes        int
	stale        bool   // what can be subscribed to has changed: what follows is told by the new rules
	last         uint64 // the transaction of the last event
	transactions int
}

// add takes the next event.
func (in *intake) add(ctx context.Context, e *realtime.Event) error {
	// What stands behind an order is told when that has been obeyed. Policies are asked again once for as many orders as stand together:
	// they may come from a trigger, for each row.
	if n := len(in.batch.Events); n > 0 {
		if last := in.batch.Events[n-1]; isOrder(last) && !(isRecheck(last) && isRecheck(e)) {
			in.flush(last.Cursor)
		}
	}
	if e.Topic == realtime.OwnTopic {
		in.stale = in.stale || e.Type == "topics"
	} else if in.stale {
		if n := len(in.batch.Events); n > 0 {
			in.flush(in.batch.Events[n-1].Cursor)
		}
		if err := in.refresh(ctx); err != nil {
			return err
		}
	}
	in.batch.Events = append(in.batch.Events, e)
	if e.Xid != in.last {
		in.last = e.Xid
		in.transactions++
	}
	if in.bytes += len(e.Data); in.bytes >= batchBytes || len(in.batch.Events) >= batchEvents {
		in.flush(e.Cursor)
	}
	return nil
}

// flush publishes what was taken so far, which ends at the position.
func (in *intake) flush(to realtime.Cursor) {
	r := in.reader
	in.batch.From, in.batch.To, in.batch.Began = *in.position, to, in.began
	r.Sink.Publish(in.batch)
	if r.Relay != nil {
		r.Relay.Publish(in.batch)
	}
	for _, order := range r.count(in.batch) {
		r.obey(order)
	}
	*in.position = to
	in.batch, in.bytes = realtime.Batch{}, 0
}

// end publishes the rest.
func (in *intake) end(ctx context.Context, to realtime.Cursor) error {
	in.flush(to)
	if in.stale {
		return in.refresh(ctx) // to begin anew reads them, too
	}
	return nil
}

func (in *intake) refresh(ctx context.Context) error {
	in.stale = false
	return in.reader.readTopics(ctx)
}

// isOrder reports whether the event tells servers to do something.
func isOrder(e *realtime.Event) bool { return e.Topic == realtime.OwnTopic && e.Type != "beat" }

func isRecheck(e *realtime.Event) bool { return isOrder(e) && e.Type == "recheck" }

// count counts what has been published, and returns what servers are told to do.
func (r *Reader) count(b realtime.Batch) (orders []*realtime.Event) {
	if len(b.Events) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range b.Events {
		switch {
		case e.Topic != realtime.OwnTopic:
			r.events++
		case !isOrder(e):
			r.beatHeard(e.ID.Entry)
		case len(orders) > 0 && isRecheck(e) && isRecheck(orders[len(orders)-1]):
		default:
			orders = append(orders, e)
		}
	}
	return orders
}

// obey does what servers are told to do by the log.
func (r *Reader) obey(e *realtime.Event) {
	switch e.Type {
	case "disconnect":
		var order struct {
			Session, Reason string
		}
		_ = json.Unmarshal(e.Data, &order) // what is missing is empty
		if r.Disconnect != nil {
			r.Disconnect(e.Key, order.Session, order.Reason == "revoked", e.At)
		}
	case "recheck":
		r.Sink.Recheck()
	}
}
