package http

import (
	"context"
	"slices"
	"sync"

	"tidings/http/graph"
	"tidings/realtime"
)

// operations are what a connection has asked of the GraphQL API and is not done: it is told of all of them by one conn.
//
// A subscription is a Subscriber of its own. What its runs come to is made by its plan, once for all who have the same, and by
// nobody who writes: a run whose results are not made yet is held back until they are.
type operations struct {
	server *Server
	kick   func()
	max    int
	group  sync.WaitGroup // of goroutines that execute

	mu        sync.Mutex
	byID      map[string]*operation
	executing int
	toExecute []*operation // wait for their turn, in order
	woken     []*operation // have something for Take
	closed    bool

	// Of whoever writes.
	behind []*operation // have something for Next
	ahead  []*operation // have been read by it, and wait for their results
}

// maxExecuting is how many of a connection's operations are executed at a time, those included that were ended meanwhile: who begins
// and ends them faster than that has no more of them done.
const maxExecuting = 16

// maxAhead is how many of a connection's operations may have been read from the log, by the page, and wait for their results. So what
// cannot be made for a while holds up nothing else, and a connection does not have a page in memory for each of its operations.
const maxAhead = 4

// operation is one of them.
type operation struct {
	of     *operations
	id     string
	voice  voice
	prefix []byte // of what it is told
	cancel context.CancelFunc

	// of.mu is needed.
	sub   *realtime.Subscriber // of a subscription, once it has begun
	plan  *graph.Plan          // as sub
	do    func()               // while it waits for its turn
	woke  bool
	ended bool

	// Of whoever writes.
	held   []realtime.Item // taken, and not told
	behind bool            // Next is to be asked for more, and not Take
	listed bool            // in of.behind: nothing is held
}

// voice is how operations are told things.
type voice interface {
	// prefix is what stands before each of an operation's payloads.
	prefix(id string) []byte
	// next appends a payload, behind the prefix, and the cursor that is in it, if there is one.
	next(b, prefix, payload, cursor []byte) []byte
	// failed appends that the operation has ended with the errors, a JSON array.
	failed(b []byte, id string, errs []byte) []byte
	// complete appends that the operation has ended.
	complete(b []byte, id string) []byte
	// position appends that nothing has happened up to the cursor.
	position(b []byte, id, cursor string) []byte
}

func (s *Server) newOperations(kick func()) *operations {
	return &operations{server: s, kick: kick, max: s.options.MaxOperations, byID: make(map[string]*operation)}
}

// begin takes an id for an operation. It returns nil where there is one with this id; too many is for when there are enough.
func (o *operations) begin(ctx context.Context, id string, v voice) (op *operation, _ context.Context, tooMany bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.byID[id] != nil {
		return nil, ctx, false
	}
	if len(o.byID) >= o.max {
		return nil, ctx, true
	}
	op = &operation{of: o, id: id, voice: v, prefix: v.prefix(id)}
	ctx, op.cancel = context.WithCancel(ctx)
	o.byID[id] = op
	return op, ctx, false
}

// execute has f called, which answers or subscribes, when it is the operation's turn; if it is ended before, not at all.
func (op *operation) execute(f func()) {
	o := op.of
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case op.ended:
	case o.executing < maxExecuting:
		o.executing++
		o.group.Go(func() { o.execute(f) })
	default:
		op.do = f
		o.toExecute = append(o.toExecute, op)
	}
}

// execute calls f, and then what waits for its turn.
func (o *operations) execute(f func()) {
	for f != nil {
		f()
		f = o.nextToExecute()
	}
}

// nextToExecute returns what waits for its turn; nil: nothing does, and a turn is free.
func (o *operations) nextToExecute() (f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.toExecute) == 0 {
		o.executing--
		return nil
	}
	op := o.toExecute[0]
	o.toExecute = slices.Delete(o.toExecute, 0, 1)
	f, op.do = op.do, nil
	return f
}

// subscribe begins a subscription.
func (op *operation) subscribe(ctx context.Context, s *graph.Subscription) {
	sub := op.of.server.Hub.NewSubscriber(op.wake)
	sub.Owner = op
	op.of.mu.Lock()
	gone := op.ended
	if !gone {
		op.sub, op.plan = sub, s.Plan
	}
	op.of.mu.Unlock()
	if gone {
		sub.Close()
		s.Plan.Release()
		return
	}
	sub.Subscribe(ctx, s.Channels, realtime.SubscribeOptions{Since: s.Since})
}

// end ends the operation, and reports whether it had not ended yet: who gets true has the last word.
func (op *operation) end() bool {
	op.of.mu.Lock()
	if op.ended {
		op.of.mu.Unlock()
		return false
	}
	op.ended = true
	delete(op.of.byID, op.id)
	isIt := func(x *operation) bool { return x == op }
	if op.do != nil {
		op.do = nil
		op.of.toExecute = slices.DeleteFunc(op.of.toExecute, isIt)
	}
	if op.woke {
		op.of.woken = slices.DeleteFunc(op.of.woken, isIt) // nobody may look there for a while
	}
	op.of.mu.Unlock()
	op.cancel()
	if op.sub != nil {
		op.sub.Close()
		op.plan.Release()
		op.of.kick() // another may be read for now
	}
	return true
}

// stop ends the operation with this id, if there is one.
func (o *operations) stop(id string) {
	o.mu.Lock()
	op := o.byID[id]
	o.mu.Unlock()
	if op != nil {
		op.end()
	}
}

// Close ends all.
func (o *operations) Close() {
	o.mu.Lock()
	o.closed = true
	all := o.all()
	o.mu.Unlock()
	for _, op := range all {
		op.end()
	}
	o.group.Wait()
}

// all are the operations; mu is held.
func (o *operations) all() []*operation {
	all := make([]*operation, 0, len(o.byID))
	for _, op := range o.byID {
		all = append(all, op)
	}
	return all
}

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
	n := 0
	for n < len(op.held) && (op.held[n].Run == nil || op.plan.Ready(op.held[n].Run, op.wake)) {
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
