package http

import (
	"context"
	"slices"

	"tidings/http/graph"
	"tidings/realtime"
)

// Of all the subscriptions of a connection one feed is made here, for the conn that writes.

// maxAhead is how many of a connection's operations may have been read from the log, by the page, and wait for their results. So what
// cannot be made for a while holds up nothing else, and a connection does not have a page in memory for each of its operations.
const maxAhead = 4

// Refresh has subscriptions say where they are.
func (o *operations) Refresh() {
	o.mu.Lock()
	var subs []*realtime.Subscriber
	for _, op := range o.byID {
		if op.sub != nil {
			subs = append(subs, op.sub)
		}
	}
	o.mu.Unlock()
	for _, sub := range subs {
		sub.Refresh()
	}
}

// Unread is part of feed: what operations are answered is counted by the conn.
func (o *operations) Unread() bool { return false }

// wake has Take or Next look at the operation. It may be called with the hub's locks held.
func (op *operation) wake() {
	o := op.of
	o.mu.Lock()
	if op.woke || op.ended {
		o.mu.Unlock()
		return
	}
	op.woke = true
	o.woken = append(o.woken, op)
	o.mu.Unlock()
	o.kick()
}

// pop returns an operation that was woken, and has not ended; nil: there is none.
func (o *operations) pop() *operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.woken) == 0 {
		return nil
	}
	op := o.woken[0]
	o.woken = slices.Delete(o.woken, 0, 1)
	op.woke = false
	return op
}

// Take is part of feed.
func (o *operations) Take(items []realtime.Item) (_ []realtime.Item, behind bool) {
	for op := o.pop(); op != nil; op = o.pop() {
		items = op.take(items)
	}
	return items, o.mayRead()
}

// mayRead reports whether there is something to be read for who is behind.
func (o *operations) mayRead() bool {
	if len(o.behind) == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ahead = slices.DeleteFunc(o.ahead, func(op *operation) bool { return op.ended || len(op.held) == 0 })
	return len(o.ahead) < maxAhead
}

// take appends what can be told now.
func (op *operation) take(items []realtime.Item) []realtime.Item {
	for {
		if len(op.held) == 0 && !op.behind {
			op.held, op.behind = op.sub.Take(op.held)
		}
		if len(op.held) == 0 {
			break
		}
		if items = op.ready(items); len(op.held) > 0 {
			return items
		}
	}
	if op.behind {
		op.list()
	}
	return items
}

// list has Next come to the operation.
func (op *operation) list() {
	if !op.listed {
		op.listed = true
		op.of.behind = append(op.of.behind, op)
	}
}

// ready moves what is held to items, up to what is not made yet: take is called when it is.
func (op *operation) ready(items []realtime.Item) []realtime.Item {
	var room [4]*realtime.Run
	runs := room[:0]
	for _, i := range op.held {
		if i.Run != nil {
			runs = append(runs, i.Run)
		}
	}
	made := op.plan.Ready(runs, op.wake)
	n := 0
	for n < len(op.held) && (op.held[n].Run == nil || made > 0) {
		if op.held[n].Run != nil {
			made--
		}
		n++
	}
	items = append(items, op.held[:n]...)
	op.held = slices.Delete(op.held, 0, n)
	return items
}

// Next is part of feed.
func (o *operations) Next(ctx context.Context) (items []realtime.Item, err error) {
	for len(items) == 0 {
		if op := o.pop(); op != nil {
			items = op.take(nil)
			continue
		}
		if !o.mayRead() {
			return nil, nil
		}
		op := o.behind[0]
		if o.behind = o.behind[1:]; len(o.behind) == 0 {
			o.behind = nil
		}
		op.listed = false
		if op.held, err = op.sub.Next(ctx); err != nil {
			return nil, err
		}
		if op.behind = len(op.held) > 0; !op.behind {
			continue // it is live
		}
		if items = op.ready(nil); len(op.held) > 0 {
			o.ahead = append(o.ahead, op)
		} else {
			op.list()
		}
	}
	return items, nil
}

// appendOperation appends what an operation is told.
func appendOperation(b []byte, i *realtime.Item) (_ []byte, more bool) {
	op := i.Of.Owner.(*operation)
	op.of.mu.Lock()
	ended := op.ended
	op.of.mu.Unlock()
	switch {
	case ended:
	case i.Run != nil:
		results := i.Run.Encode(op.plan.Format)
		for i.Told < len(results) {
			if len(b) > maxGather {
				return b, true
			}
			r := graph.FirstResult(results[i.Told:])
			b = op.voice.next(b, op.prefix, r.Payload, r.Cursor)
			i.Told += r.Size
		}
	case i.Notice.Kind == realtime.NoticeCursor:
		b = op.voice.position(b, op.id, i.Notice.Cursor.String())
	default:
		if errs := graph.Errors(i.Notice); errs != nil && op.end() {
			b = op.voice.failed(b, op.id, errs)
		}
	}
	return b, false
}
