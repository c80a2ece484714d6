package graph

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"tidings/realtime"
)

// Plan makes the results of all subscriptions that have the same document, variables and rights: once for all of them. What it makes
// of a run of events is kept with the run, like any other encoding.
type Plan struct {
	// Format is how a run is written down: results, for FirstResult to read. It is made by Ready, and must not be by anybody else.
	Format *realtime.Format

	api    *API
	key    planKey
	target target
	grants grants
	field  string // its name in the response
	ctx    context.Context
	cancel context.CancelFunc
	users  int // of the plan; api.mu is held

	mu            sync.Mutex // of executing
	next          graphql.ResponseHandler
	messages      chan *Message
	comments      chan *Comment
	events        chan *Event
	presence      chan *PresenceChange
	notifications chan *Notification
	activities    chan *Activity

	waiting sync.Mutex
	pending map[*realtime.Run][]func() // who waits for it, and what comes behind it
}

// planKey is what subscriptions have in common that are executed together. Since when they follow does not belong to it.
type planKey struct {
	query, operation, variables, grants string
}

// plan returns the operation's plan, and counts one more user of it.
func (a *API) plan(o *Operation, t target, field *graphql.CollectedField, g grants) *Plan {
	key := planKey{o.context.RawQuery, o.context.OperationName, variablesKey(o.context, field), g.key()}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.plans[key]
	if p == nil {
		t.since, t.message = "", nil
		p = &Plan{
			api: a, key: key, target: t, field: field.Alias, grants: g,
			messages: make(chan *Message, 1), comments: make(chan *Comment, 1), events: make(chan *Event, 1),
			presence: make(chan *PresenceChange, 1), notifications: make(chan *Notification, 1), activities: make(chan *Activity, 1),
			pending: make(map[*realtime.Run][]func()),
		}
		p.Format = newFormat(weak.Make(p))
		p.ctx, p.cancel = context.WithCancel(a.ctx)
		p.next, p.ctx = a.executor.DispatchOperation(context.WithValue(p.ctx, planContext{}, p), o.context)
		a.plans[key] = p
	}
	p.users++
	return p
}

// Refusal says why somebody may not be told the plan's results, whatever the events are: they may have rows of a topic that he may not
// read; nil: he may.
func (p *Plan) Refusal(ctx context.Context, id *realtime.Identity) *realtime.Error {
	if p.target.topic == "" { // of events there is nothing but the events
		return nil
	}
	for _, topic := range readable {
		if p.grants[topic] != nil {
			continue
		}
		if err := mayRead(ctx, p.api.hub, id, topic); err != nil {
			return err
		}
	}
	return nil
}

// newFormat is a plan's format. Runs are kept for a while with what they were encoded in, and plans that nobody uses are not to be kept
// with them.
func newFormat(plan weak.Pointer[Plan]) *realtime.Format {
	return &realtime.Format{Append: func(b []byte, events []*realtime.Event) []byte {
		if p := plan.Value(); p != nil {
			b = p.append(b, events)
		}
		return b
	}}
}

// Release counts a user out.
func (p *Plan) Release() {
	p.api.mu.Lock()
	defer p.api.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(p.api.plans, p.key)
		p.cancel()
		p.Format.Retire()
	}
}

// variablesKey is what the variables are, but for the one that says since when, if it says nothing else.
func variablesKey(c *graphql.OperationContext, field *graphql.CollectedField) string {
	variables := c.Variables
	if since := field.Arguments.ForName("since"); since != nil && since.Value.Kind == ast.Variable && uses(c, since.Value.Raw) == 1 {
		variables = make(map[string]any, len(c.Variables))
		for name, value := range c.Variables {
			if name != since.Value.Raw {
				variables[name] = value
			}
		}
	}
	key, _ := json.Marshal(variables) // they were JSON before
	return string(key)
}

// uses counts how often a document refers to the variable.
func uses(c *graphql.OperationContext, name string) int {
	n := 0
	var value func(v *ast.Value)
	value = func(v *ast.Value) {
		if v == nil {
			return
		}
		if v.Kind == ast.Variable && v.Raw == name {
			n++
		}
		for _, child := range v.Children {
			value(child.Value)
		}
	}
	directives := func(list ast.DirectiveList) {
		for _, d := range list {
			for _, a := range d.Arguments {
				value(a.Value)
			}
		}
	}
	var selections func(set ast.SelectionSet)
	selections = func(set ast.SelectionSet) {
		for _, selection := range set {
			switch s := selection.(type) {
			case *ast.Field:
				for _, a := range s.Arguments {
					value(a.Value)
				}
				directives(s.Directives)
				selections(s.SelectionSet)
			case *ast.InlineFragment:
				directives(s.Directives)
				selections(s.SelectionSet)
			case *ast.FragmentSpread:
				directives(s.Directives)
			}
		}
	}
	directives(c.Operation.Directives)
	selections(c.Operation.SelectionSet)
	for _, f := range c.Doc.Fragments {
		directives(f.Directives)
		selections(f.SelectionSet)
	}
	return n
}

// Ready returns of how many runs, from the first on, the results are made. Those of the others will be, all of them, and then wake is
// called, once.
func (p *Plan) Ready(runs []*realtime.Run, wake func()) (n int) {
	n = p.made(runs)
	if n == len(runs) {
		return n
	}
	p.waiting.Lock()
	defer p.waiting.Unlock()
	if n += p.made(runs[n:]); n == len(runs) {
		return n
	}
	first := runs[n]
	others, begun := p.pending[first]
	p.pending[first] = append(others, wake)
	if !begun {
		missing := slices.Clone(runs[n:])
		p.api.group.Go(func() { p.make(missing) })
	}
	return n
}

// made is of how many runs, from the first on, the results are made.
func (p *Plan) made(runs []*realtime.Run) (n int) {
	for n < len(runs) && runs[n].Encoded(p.Format) {
		n++
	}
	return n
}

// make makes the runs' results, and wakes who waits for the first of them: by then they are all there, to be told at once.
func (p *Plan) make(runs []*realtime.Run) {
	for _, run := range runs {
		run.Encode(p.Format)
	}
	p.waiting.Lock()
	waiting := p.pending[runs[0]]
	delete(p.pending, runs[0])
	p.waiting.Unlock()
	for _, wake := range waiting {
		wake()
	}
}

// Result is what a subscription is told of one event.
type Result struct {
	Payload []byte // JSON
	Cursor  []byte // the position just behind the event
	Size    int    // in bytes, as the plan has made it
}

// FirstResult reads the first of what a plan has made; behind its size stands the next.
func FirstResult(results []byte) Result {
	payload := 8 + int(binary.LittleEndian.Uint32(results))
	size := payload + int(binary.LittleEndian.Uint32(results[4:]))
	return Result{results[8:payload:payload], results[payload:size:size], size}
}

func appendResult(b, payload []byte, cursor string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(cursor)))
	return append(append(b, payload...), cursor...)
}

// retryAfter is how long a plan waits for the database before it tries again, and retryAtLast how long it does in the end.
const (
	retryAfter  = 250 * time.Millisecond
	retryAtLast = 4 * time.Second
)

// maxResults is how many bytes the results of a run's events have together, about: it is all in memory, and for each client once more. A
// run has 256 KiB of rows, or 1,000 events, or one.
const maxResults = 16 << 20

// append appends the events' results. While what they need cannot be read, it waits.
func (p *Plan) append(b []byte, events []*realtime.Event) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var mine []*realtime.Event
	for _, e := range events {
		if p.target.wants(e) {
			mine = append(mine, e)
		}
	}
	together, wait := len(mine), retryAfter
	for len(mine) > 0 && p.ctx.Err() == nil {
		var made int
		b, made = p.results(b, mine[:min(len(mine), together)])
		if mine = mine[made:]; made > 0 {
			together, wait = max(together, 2*made), retryAfter // the database may have been away, and not slow
			continue
		}
		together = max(1, together/2) // what takes too long for all may be done for some
		timer := time.NewTimer(wait)
		wait = min(2*wait, retryAtLast)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
		}
	}
	return b
}

// results appends the results of events that are all the plan's, and says of how many: fewer than all where the database did not answer.
func (p *Plan) results(b []byte, events []*realtime.Event) (longer []byte, made int) {
	longer = b
	add := func(e *realtime.Event, r *graphql.Response) {
		cursor := e.Cursor.String()
		longer = appendResult(longer, payload(r, cursor), cursor)
		made++
	}
	defer func() {
		if panicked := recover(); panicked != nil { // a mistake of ours in one subscription is not to end the others
			add(events[made], p.failed(p.api.present(p.ctx, fmt.Errorf("panic: %v\n%s", panicked, debug.Stack()))))
		}
	}()
	p.drain()
	s := p.api.newSession(Viewer{}, ofSubscription)
	s.grants = p.grants
	defer p.api.end(s)
	ctx, cancel := context.WithTimeout(withSession(p.ctx, s), p.api.options.Timeout)
	defer cancel()
	feeds, err := p.feeds(ctx, events)
	if err != nil {
		return longer, made
	}
	for i, e := range events {
		if err := feeds[i].err; err != nil {
			add(e, p.failed(err))
			continue
		}
		if len(longer) > maxResults {
			add(e, p.failed(errorf(CodeTooComplex, "the results of events that were read together have at most %d bytes: ask for less of each", maxResults)))
			continue
		}
		feeds[i].send()
		p.api.executions.Add(1)
		r := p.next(ctx)
		if r == nil || unavailable(r.Errors) {
			break
		}
		add(e, r)
	}
	return longer, made
}

// failed is the result of an event of which nothing but an error can be told.
func (p *Plan) failed(err *gqlerror.Error) *graphql.Response {
	err.Path = ast.Path{ast.PathName(p.field)}
	return &graphql.Response{Data: json.RawMessage("null"), Errors: gqlerror.List{err}}
}

// drain takes back what was given to an execution that was broken off before it took it.
func (p *Plan) drain() {
	select {
	case <-p.messages:
	case <-p.comments:
	case <-p.events:
	case <-p.presence:
	case <-p.notifications:
	case <-p.activities:
	default:
	}
}

func unavailable(errs gqlerror.List) bool {
	for _, err := range errs {
		if code := err.Extensions["code"]; code == CodeUnavailable || code == CodeTimeout {
			return true
		}
	}
	return false
}

func payload(r *graphql.Response, cursor string) []byte {
	b := respond(r).Body
	b = append(b[:len(b)-1], `,"extensions":{"cursor":"`...)
	b = append(b, cursor...)
	return append(b, `"}}`...)
}
