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
	identity  *realtime.Identity // whose it has become by the renewals
	renewals  int
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

// asker is who has asked for an operation, after so many renewals of the connection's identity.
type asker struct {
	identity *realtime.Identity
	renewals int
}

// asker is who asks now, whose identity the function tells. A renewal that is not done yet counts as one to come.
func (o *operations) asker(identity func() *realtime.Identity) asker {
	o.mu.Lock()
	renewals := o.renewals
	o.mu.Unlock()
	return asker{identity(), renewals}
}

// subscribe begins a subscription of whoever the connection is of by then.
func (op *operation) subscribe(ctx context.Context, who asker, s *graph.Subscription) {
	o := op.of
	var refused *realtime.Error
	for {
		sub := o.server.Hub.NewSubscriber(who.identity, op.wake)
		sub.Owner = op
		o.mu.Lock()
		gone, renewed := op.ended, o.renewals != who.renewals
		if !gone && !renewed {
			op.sub, op.plan = sub, s.Plan // which are renewed with all others from now on
		}
		current := asker{o.identity, o.renewals}
		o.mu.Unlock()
		switch {
		case gone:
			sub.Close()
			s.Plan.Release()
			return
		case renewed:
			sub.Close()
			who, refused = current, s.Plan.Refusal(ctx, current.identity)
			continue
		case refused != nil:
			sub.Tell(refused, realtime.Channel{})
		}
		sub.Subscribe(ctx, s.Channels, realtime.SubscribeOptions{Since: s.Since})
		return
	}
}

// renew says whose a subscription is from now on. It ends where its results may have what he may not read.
func renew(ctx context.Context, sub *realtime.Subscriber, plan *graph.Plan, id *realtime.Identity) {
	if err := plan.Refusal(ctx, id); err != nil {
		sub.Tell(err, realtime.Channel{})
	}
	sub.SetIdentity(ctx, id)
}

// identify says whose the subscriptions are from now on. It is not called twice at a time.
func (o *operations) identify(ctx context.Context, id *realtime.Identity) {
	o.mu.Lock()
	o.identity = id
	o.renewals++
	plans := make(map[*realtime.Subscriber]*graph.Plan)
	for _, op := range o.byID {
		if op.sub != nil {
			plans[op.sub] = op.plan
		}
	}
	o.mu.Unlock()
	for sub, plan := range plans {
		renew(ctx, sub, plan, id)
	}
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

// Close ends all. What is executed is broken off, which await waits for.
func (o *operations) Close() {
	o.mu.Lock()
	o.closed = true
	all := o.all()
	o.mu.Unlock()
	for _, op := range all {
		op.end()
	}
}

// await returns when nothing is executed any more; Close has been called.
func (o *operations) await() { o.group.Wait() }

// all are the operations; mu is held.
func (o *operations) all() []*operation {
	all := make([]*operation, 0, len(o.byID))
	for _, op := range o.byID {
		all = append(all, op)
	}
	return all
}
