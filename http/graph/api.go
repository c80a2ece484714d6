package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"tidings/db"
	"tidings/realtime"
)

// Options are the API's limits. Zero values take the defaults.
type Options struct {
	// Introspection answers what the schema is.
	Introspection bool
	// OpenWrites has who sends no token write as anybody, as a person in psql may.
	OpenWrites bool
	// MaxQueryBytes and MaxTokens are how long a document may be; 64 KiB and 5,000.
	MaxQueryBytes int
	MaxTokens     int
	// MaxDepth is how deep fields may be nested; 16, which the usual introspection query needs.
	MaxDepth int
	// MaxFields and MaxAliases are how many an operation may have, those of its fragments counted each time they are spread; 1,000
	// and 50.
	MaxFields  int
	MaxAliases int
	// MaxComplexity is how many fields an answer may have, if all pages are full; 20,000. MaxEventComplexity is that of what a
	// subscription tells of one event, which may be one of many; 1,000.
	MaxComplexity      int
	MaxEventComplexity int
	// MaxBytes is how many bytes of rows are read for one answer, or for events that are told together; 32 MiB.
	MaxBytes int
	// DefaultPageSize and MaxPageSize are of connections; 20 and 100.
	DefaultPageSize int
	MaxPageSize     int
	// Timeout is how long a query or a mutation may take; 10 s.
	Timeout time.Duration
	// Accounts are the service's own; nil: it has none.
	Accounts Accounts
	// Status is how the instance is doing, for administrators; nil: nobody is told.
	Status func() realtime.Instance
	// Observe is told of each operation before it is executed, and may give it another context; of a subscription, before it begins. What it
	// returns is called at the end, with the codes of the errors. Nil: nobody wants to know.
	Observe func(ctx context.Context, kind, name string) (_ context.Context, done func(codes []string))
	// AdminWatch lets administrators make tables live.
	AdminWatch bool
}

func (o Options) withDefaults() Options {
	def := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	def(&o.MaxQueryBytes, 64<<10)
	def(&o.MaxTokens, 5000)
	def(&o.MaxDepth, 16)
	def(&o.MaxFields, 1000)
	def(&o.MaxAliases, 50)
	def(&o.MaxComplexity, 20_000)
	def(&o.MaxEventComplexity, 1000)
	def(&o.MaxBytes, 32<<20)
	def(&o.DefaultPageSize, 20)
	def(&o.MaxPageSize, 100)
	o.DefaultPageSize = min(o.DefaultPageSize, o.MaxPageSize)
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return o
}

// API executes GraphQL requests.
type API struct {
	store    *db.Channel
	tables   func() bool // whether the application's are there
	hub      *realtime.Hub
	logger   *slog.Logger
	options  Options
	executor *executor.Executor

	ctx    context.Context // of what subscriptions read
	cancel context.CancelFunc
	group  sync.WaitGroup // of executions for subscriptions

	mu    sync.Mutex
	plans map[planKey]*Plan

	admins admins

	overviews overviews

	executions, statements atomic.Uint64
}

// cacheText is how much text of documents is kept parsed, and how much more of those that clients may name by their hash.
const (
	cacheText     = 1 << 20
	persistedText = 8 << 20
)

// New makes an API, which is to be closed. Whether the application's tables are there is asked with each request.
func New(store *db.Channel, tables func() bool, hub *realtime.Hub, logger *slog.Logger, options Options) *API {
	a := &API{store: store, tables: tables, hub: hub, logger: logger, options: options.withDefaults(), plans: make(map[planKey]*Plan)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	schema := Config{Resolvers: resolvers{}}
	a.weigh(&schema.Complexity)
	e := executor.New(NewExecutableSchema(schema))
	e.SetErrorPresenter(a.present)
	e.SetRecoverFunc(func(_ context.Context, panicked any) error {
		return fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())
	})
	e.SetQueryCache(newCache(cacheText, func(doc *ast.QueryDocument) int { return len(doc.Position.Src.Input) }))
	e.SetParserTokenLimit(a.options.MaxTokens)
	e.SetDisableSuggestion(!a.options.Introspection)
	e.Use(extension.AutomaticPersistedQuery{Cache: newCache(persistedText, func(query string) int { return len(query) })})
	e.Use(&limits{options: &a.options})
	e.Use(&extension.ComplexityLimit{Func: func(_ context.Context, c *graphql.OperationContext) int {
		if c.Operation.Operation == ast.Subscription {
			return a.options.MaxEventComplexity
		}
		return a.options.MaxComplexity
	}})
	if a.options.Introspection {
		e.Use(extension.Introspection{})
	}
	a.executor = e
	return a
}

// Close ends what is being executed for subscriptions, and waits for it.
func (a *API) Close() {
	a.cancel()
	a.group.Wait()
}

// Stats are the API's figures: those of the moment, and what was counted since it began.
type Stats struct {
	Subscriptions int    // that are told of events
	Plans         int    // that make their results: each for all who have the same document, variables and rights
	Executions    uint64 // of a subscription's fields, for an event
	Statements    uint64 // that read the application's tables
}

// Stats returns the API's figures.
func (a *API) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Stats{Plans: len(a.plans), Executions: a.executions.Load(), Statements: a.statements.Load()}
	for _, p := range a.plans {
		s.Subscriptions += p.users
	}
	return s
}

// Introspection is whether the API answers what its schema is.
func (a *API) Introspection() bool { return a.options.Introspection }

// Request is what a client asks.
type Request struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName"`
	Variables     map[string]any `json:"variables"`
	Extensions    map[string]any `json:"extensions"`
}

// Response is an answer as JSON.
type Response struct {
	Body     []byte
	Errors   []byte   // of Body, a JSON array; nil: none
	Codes    []string // of Errors
	Executed bool     // whether it was begun: the answer has data then, if only null
}

// Operation is a request that was understood.
type Operation struct {
	api     *API
	viewer  Viewer
	context *graphql.OperationContext
}

// Prepare reads a request. Where it cannot be executed, the Response says why.
func (a *API) Prepare(ctx context.Context, viewer Viewer, r Request) (op *Operation, refused *Response) {
	defer a.recovered(ctx, &refused)
	ctx = graphql.StartOperationTrace(ctx)
	now := graphql.Now()
	c, errs := a.executor.CreateOperationContext(ctx, &graphql.RawParams{
		Query: r.Query, OperationName: r.OperationName, Variables: r.Variables, Extensions: r.Extensions,
		ReadTime: graphql.TraceTiming{Start: now, End: now},
	})
	if errs != nil {
		return nil, a.refuse(graphql.WithOperationContext(ctx, c), errs)
	}
	return &Operation{api: a, viewer: viewer, context: c}, nil
}

// recovered makes an answer of a panic: a mistake of ours in one request is not to end the others.
func (a *API) recovered(ctx context.Context, answer **Response) {
	if panicked := recover(); panicked != nil { //nolint:revive // it is deferred by those who may panic
		*answer = respond(&graphql.Response{Errors: gqlerror.List{a.present(ctx, fmt.Errorf("panic: %v\n%s", panicked, debug.Stack()))}})
	}
}

func (a *API) refuse(ctx context.Context, errs gqlerror.List) *Response {
	return respond(a.executor.DispatchError(ctx, errs))
}

// Refusal is the answer to what is not even a request.
func Refusal(code, format string, args ...any) *Response {
	return respond(&graphql.Response{Errors: gqlerror.List{errorf(code, format, args...)}})
}

// TooSoon is the answer to one operation of too many, with the milliseconds after which there may be another.
func TooSoon(message string, retryAfterMs int64) *Response {
	refused := errorf(CodeRateLimited, "%s", message)
	refused.Extensions["retryAfterMs"] = retryAfterMs
	return respond(&graphql.Response{Errors: gqlerror.List{refused}})
}

// respond writes an answer down.
func respond(r *graphql.Response) *Response {
	answer := &Response{Executed: r.Data != nil}
	for _, err := range r.Errors {
		if code, ok := err.Extensions["code"].(string); ok {
			answer.Codes = append(answer.Codes, code)
		}
	}
	if len(r.Errors) > 0 {
		answer.Errors, _ = json.Marshal(r.Errors) // strings, numbers and their lists can always be
		answer.Body = append(append(answer.Body, `{"errors":`...), answer.Errors...)
	}
	if r.Data != nil {
		separator := byte(',')
		if answer.Body == nil {
			separator = '{'
		}
		answer.Body = append(append(append(answer.Body, separator), `"data":`...), r.Data...)
	}
	answer.Body = append(answer.Body, '}')
	return answer
}

// Kind is query, mutation or subscription.
func (o *Operation) Kind() ast.Operation { return o.context.Operation.Operation }

// observe has the operation observed.
func (o *Operation) observe(ctx context.Context) (_ context.Context, done func(codes []string)) {
	if o.api.options.Observe == nil {
		return ctx, func([]string) {}
	}
	return o.api.options.Observe(ctx, string(o.Kind()), o.context.Operation.Name)
}

// Do executes a query or a mutation.
func (o *Operation) Do(ctx context.Context) (answer *Response) {
	ctx, done := o.observe(ctx)
	defer func() { done(answer.Codes) }()
	defer o.api.recovered(ctx, &answer)
	kind := ofQuery
	if o.Kind() == ast.Mutation {
		kind = ofMutation
	}
	ctx, cancel := context.WithTimeout(ctx, o.api.options.Timeout)
	defer cancel()
	s := o.api.newSession(o.viewer, kind)
	defer o.api.end(s)
	if kind == ofQuery {
		for _, topic := range readable {
			_, _ = s.mayRead(ctx, topic) // is remembered: to ask for it later might take another connection than the one that the query has by then
		}
	}
	handler, ctx := o.api.executor.DispatchOperation(withSession(ctx, s), o.context)
	r := handler(ctx)
	if r == nil { // ctx had ended
		r = &graphql.Response{Errors: gqlerror.List{o.api.present(ctx, context.Cause(ctx))}}
	}
	if r.Data == nil {
		r.Data = json.RawMessage("null")
	}
	return respond(r)
}
