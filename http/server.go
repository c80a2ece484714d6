// Package http is tidings on the network: the WebSocket endpoint, the page, and what tells a load balancer how the
// service is doing. Inside this package http is always net/http.
//
// What it promises: a write to a client has a deadline, a client that is gone is noticed, and every goodbye has a code,
// a reason and a word on whether to come back. At shutdown clients are told so, behind the last whole frame, a few at a time.
package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"tidings/http/graph"
	"tidings/realtime"
)

// Options are the server's limits. Zero values take the defaults.
type Options struct {
	// AllowedOrigins are origins whose pages may connect, such as https://app.example.com, besides the server's own
	// and, where the server is reached by a loopback name, pages that were. "*" is any; "null" is a page from a file.
	AllowedOrigins []string
	// MaxConnections is the number of clients that are connected for events, by any transport; 20,000.
	MaxConnections int
	// MaxConnectionsPerAddress is how many of them an address may have, an IPv6 network of 64 bits counting as one; 0: 1,000, and this
	// machine itself as many as it likes.
	MaxConnectionsPerAddress int
	// MaxCommandsPerSecond is how many commands, or GraphQL operations, a user may send a second, or a WebSocket of nobody's; 50. CommandBurst
	// is how many may be sent at once after a quiet time; 500.
	MaxCommandsPerSecond int
	CommandBurst         int
	// TrustedProxies are the addresses of proxies that say in X-Forwarded-For whom they speak for; none.
	TrustedProxies []netip.Prefix
	// MaxFrame is the size in bytes of a command; 64 KiB. A larger one is answered with an error; one larger than
	// sixteen times that ends the connection.
	MaxFrame int
	// CompressMinBytes is how many bytes an event's JSON has at least to be compressed, on WebSockets whose clients offer
	// permessage-deflate; 0: none is, and the offer is not taken.
	CompressMinBytes int
	// MaxBody is the size in bytes of a GraphQL request, and of a message on its WebSockets; 256 KiB.
	MaxBody int
	// MaxBatch is how many GraphQL operations may be sent together; 10.
	MaxBatch int
	// MaxOperations is how many GraphQL operations a connection may have at a time; 100.
	MaxOperations int
	// InitTimeout is how long a client may take to begin on GraphQL's WebSockets; 10 s.
	InitTimeout time.Duration
	// PingInterval is how often a client is pinged; 25 s.
	PingInterval time.Duration
	// PongTimeout is how long after a ping a client that sends nothing is taken for gone; 10 s.
	PongTimeout time.Duration
	// StallTimeout is how long a client may read nothing at all of what waits for it; 90 s.
	StallTimeout time.Duration
	// MaxConnectionsPerUser is how many of them one user may have to this server; 1,000.
	MaxConnectionsPerUser int
	// TokenWarning is how long before a token runs out the client is warned, at most half of the time that is left; 60 s.
	TokenWarning time.Duration
	// PageRows and PageBytes are the most that one page of a channel's rows has; 1,000 and 4 MiB.
	PageRows  int
	PageBytes int
	// DrainDelay is how long the server, told to stop, goes on as ever but for /readyz, so that load balancers notice; 0: not at all.
	DrainDelay time.Duration
	// DrainTime is the time over which clients are then asked to move, where there are so many that it is needed; 10 s. Negative: all at once.
	DrainTime time.Duration
	// ShutdownTimeout is how long clients have after that, at least, to read what is queued and the goodbye; 10 s.
	ShutdownTimeout time.Duration
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = 20_000
	}
	if o.MaxCommandsPerSecond == 0 {
		o.MaxCommandsPerSecond = 50
	}
	if o.CommandBurst == 0 {
		o.CommandBurst = 500
	}
	if o.MaxConnectionsPerUser == 0 {
		o.MaxConnectionsPerUser = 1000
	}
	if o.MaxFrame == 0 {
		o.MaxFrame = 64 << 10
	}
	if o.PageRows == 0 {
		o.PageRows = 1000
	}
	if o.PageBytes == 0 {
		o.PageBytes = 4 << 20
	}
	if o.MaxBody == 0 {
		o.MaxBody = 256 << 10
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 10
	}
	if o.MaxOperations == 0 {
		o.MaxOperations = 100
	}
	def(&o.InitTimeout, 10*time.Second)
	def(&o.PingInterval, 25*time.Second)
	def(&o.PongTimeout, 10*time.Second)
	def(&o.StallTimeout, 90*time.Second)
	def(&o.TokenWarning, time.Minute)
	def(&o.DrainTime, 10*time.Second)
	def(&o.ShutdownTimeout, 10*time.Second)
	return o
}

// Server serves a hub.
type Server struct {
	Hub     *realtime.Hub
	Health  func() Health // how the feeding of the hub is doing
	Channel func() bool   // whether the application's tables are in the database; may be nil
	Graph   *graph.API    // nil: there is no /graphql
	// Authenticate finds out whose a token is; nil: none is taken.
	Authenticate Authenticate
	// Revoked reports whether a token that was valid is to be taken no more; nil: none is.
	Revoked func(user, session string, issued time.Time) (bool, error)
	// Signal tells who is there, on all instances, something that is kept nowhere; nil: nobody can.
	Signal   func(ctx context.Context, signal realtime.Signal) error
	Accounts *Accounts // nil: there is nothing below /auth
	Presence Presence  // nil: nobody is told who is there
	Instance Named
	// Alone reports that no other instance could take the clients of this one; nil: there may be some.
	Alone func() bool
	// Certificate is what clients are shown who connect by TLS; nil: they connect without.
	Certificate *Certificate
	Logger      *slog.Logger
	// Observers are told of each request.
	Observers []Observer
	Options   Options

	initOnce    sync.Once
	signals     *rate.Limiter
	persons     persons
	options     Options
	origins     originPolicy
	stopping    atomic.Bool // it was told to
	draining    atomic.Bool // no more clients are taken
	connections atomic.Int64
	seats       seats
	refusals    refusals
	largest     largest
	traffic     traffic

	unknownProxy sync.Once

	writers writers
	wheel   wheel
	crowd   crowd

	mu    sync.Mutex
	conns map[*conn]struct{}
	group sync.WaitGroup // of conns
}

func (s *Server) init() {
	s.initOnce.Do(func() {
		s.options = s.Options.withDefaults()
		s.origins = newOriginPolicy(s.options.AllowedOrigins)
		s.conns = make(map[*conn]struct{})
		s.signals = rate.NewLimiter(typingOfAll, int(typingOfAll))
		s.seats.limit = s.options.MaxConnectionsPerAddress
		s.wheel.init(s.crowd.settle, s.options.PingInterval, s.options.PongTimeout)
		if s.Logger == nil {
			s.Logger = slog.New(slog.DiscardHandler)
		}
	})
}

// Handler routes requests.
func (s *Server) Handler() http.Handler {
	s.init()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", s.serveWS(wsDialect))
	mux.HandleFunc("GET /ws/events", s.serveWS(envelopeDialect))
	mux.HandleFunc("GET /events", s.serveEvents)
	mux.HandleFunc("GET /asyncapi.yaml", serveAsyncAPI)
	mux.HandleFunc("OPTIONS /events", s.servePreflight)
	mux.HandleFunc("GET /channels/{channel...}", s.serveChannel)
	mux.HandleFunc("OPTIONS /channels/", s.servePreflight)
	if s.Graph != nil {
		mux.HandleFunc("/graphql", s.serveGraphQL)
		mux.HandleFunc("GET /graphql/schema.graphql", s.serveSchema)
		mux.HandleFunc("OPTIONS /graphql", s.serveGraphPreflight)
		mux.HandleFunc("GET /graphql/files/{version}/{name}", s.serveGraphiQLFile)
	}
	s.handleAuth(mux)
	mux.HandleFunc("GET /healthz", s.serveHealthz)
	mux.HandleFunc("GET /readyz", s.serveReadyz)
	mux.HandleFunc("GET /{$}", s.servePage)
	mux.HandleFunc("GET /admin", s.serveAdmin)
	mux.Handle("GET /page/", pageFiles())
	mux.HandleFunc("GET /tidings.js", serveClient)
	mux.HandleFunc("GET /tidings.d.ts", serveClient)
	mux.HandleFunc("GET /metrics", serveNoMetrics)
	mux.HandleFunc("/", notFound)
	return s.secured(s.surviving(observed(mux, s.Observers)))
}

func notFound(w http.ResponseWriter, r *http.Request) {
	writeError(w, http.StatusNotFound, "not_found", fmt.Sprintf("there is nothing at %s %q", r.Method, r.URL.Path))
}

// Serve serves on the listener until ctx ends, then has all clients move, and returns nil.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	s.init()
	listener = newTellingListener(listener, s.Logger)
	tls := s.Certificate != nil
	if tls {
		listener = s.Certificate.listen(listener)
	}
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			setSendBuffer(c, sendBuffer)
			return ctx
		},
		ErrorLog:  slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(tls)
	server.Protocols.SetUnencryptedHTTP2(!tls) // from a proxy that ends TLS
	listening, closed := context.WithCancel(context.WithoutCancel(ctx))
	watching, stopWatching := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	watchers.Go(func() { s.tellOfSlow(watching, slowEvery) })
	watchers.Go(func() { s.tellOfRefusals(watching) })
	defer watchers.Wait()
	defer stopWatching()
	failed := make(chan error, 1)
	go func() {
		defer closed()
		failed <- server.Serve(listener)
	}()
	select {
	case <-listening.Done():
		s.disconnectAll()
		s.await()
		return fmt.Errorf("serve %s: %w", listener.Addr(), <-failed)
	case <-ctx.Done():
	}
	s.drain(listening, server)
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.ShutdownTimeout)
	defer cancel()
	cut := 0
	var goodbyes sync.WaitGroup
	goodbyes.Go(func() { cut = s.awaitGone(deadline) })
	err := server.Shutdown(deadline) // hijacked connections are not its concern
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	goodbyes.Wait()
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	s.Logger.Info("stopped", "cut", cut)
	return nil
}

// await returns when all connections have ended, and what was done for them.
func (s *Server) await() {
	s.group.Wait()
	s.writers.group.Wait()
	s.wheel.group.Wait()
}

// disconnectAll ends all connections as they are, and returns how many there were.
func (s *Server) disconnectAll() int {
	s.stopping.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	for c := range s.conns {
		c.wire.abort()
	}
	return len(s.conns)
}

// add counts a connection in, unless no more are taken.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.crowd.add()
	s.conns[c] = struct{}{}
	s.traffic.opened(c.dialect.transport)
	s.group.Add(1)
	s.reassure(c)
	return true
}

func (s *Server) remove(c *conn) {
	c.endTenure()
	s.mu.Lock()
	delete(s.conns, c)
	s.traffic.closed(c.dialect.transport)
	s.mu.Unlock()
	s.group.Done()
}

// refusal is an answer that something cannot be had.
type refusal struct {
	status        int
	code, message string
	field         string // of the body, whose value is wrong; empty: none
	retryAfter    int    // seconds; 0: not unchanged
}

func (f *refusal) answer(w http.ResponseWriter) {
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retryAfter))
	}
	writeErrorBody(w, f.status, errorBody{Code: f.code, Message: f.message, Field: f.field, RetryAfter: f.retryAfter})
}

// refusalOf is the HTTP answer of an error.
func refusalOf(err *realtime.Error) *refusal {
	f := &refusal{status: http.StatusBadRequest, code: string(err.Code), message: err.Message}
	switch err.Code {
	case realtime.CodeUnknownChannel:
		f.status = http.StatusNotFound
	case realtime.CodeForbidden:
		f.status = http.StatusForbidden
	case realtime.CodeUnavailable:
		f.status, f.retryAfter = http.StatusServiceUnavailable, 1
	case realtime.CodeSnapshotTooLarge:
		f.status = http.StatusUnprocessableEntity
	}
	return f
}

func originNotAllowed(r *http.Request) *refusal {
	return &refusal{status: http.StatusForbidden, code: "origin_not_allowed",
		message: fmt.Sprintf("pages of %q may not connect: allow them with --allow-origin", r.Header.Get("Origin"))}
}

var notReady = &refusal{status: http.StatusServiceUnavailable, retryAfter: 1, code: "not_ready",
	message: "the service is starting or stopping: come back in a second"}

func (s *Server) hasChannel() bool { return s.Channel != nil && s.Channel() }

// errorBody is an error as it is answered.
type errorBody struct {
	Code       string `json:"code"`
	Message    string `json:"message"`
	Field      string `json:"field,omitempty"`
	RetryAfter int    `json:"retryAfter,omitempty"` // seconds
}

// writeError answers with a code for the program and a sentence for its author.
func writeError(w http.ResponseWriter, status int, code, message string) {
	writeErrorBody(w, status, errorBody{Code: code, Message: message})
}

func writeErrorBody(w http.ResponseWriter, status int, e errorBody) {
	body, _ := json.Marshal(map[string]errorBody{"error": e})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}
