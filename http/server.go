// Package http is tidings on the network: the WebSocket endpoint, the page, and what tells a load balancer how the
// service is doing. Inside this package http is always net/http.
//
// What it promises: a write to a client has a deadline, a client that is gone is noticed, and every goodbye has a code,
// a reason and a word on whether to come back. At shutdown clients are told so, behind the last whole frame.
package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tidings/realtime"
)

// Options are the server's limits. Zero values take the defaults.
type Options struct {
	// AllowedOrigins are origins whose pages may connect, such as https://app.example.com, besides the server's own
	// and, where the server is reached by a loopback name, pages that were. "*" is any; "null" is a page from a file.
	AllowedOrigins []string
	// MaxConnections is the number of open WebSocket connections; 20,000.
	MaxConnections int
	// MaxFrame is the size in bytes of a command; 64 KiB. A larger one is answered with an error; one larger than
	// sixteen times that ends the connection.
	MaxFrame int
	// PingInterval is how often a client is pinged; 25 s.
	PingInterval time.Duration
	// PongTimeout is how long after a ping a client that sends nothing is taken for gone; 10 s.
	PongTimeout time.Duration
	// WriteTimeout is how long a client may take in reading 64 KiB, or one smaller write; 10 s.
	WriteTimeout time.Duration
	// ShutdownTimeout is how long clients have, at shutdown, to read what is queued and the goodbye; 10 s.
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
	if o.MaxFrame == 0 {
		o.MaxFrame = 64 << 10
	}
	def(&o.PingInterval, 25*time.Second)
	def(&o.PongTimeout, 10*time.Second)
	def(&o.WriteTimeout, 10*time.Second)
	def(&o.ShutdownTimeout, 10*time.Second)
	return o
}

// Server serves a hub.
type Server struct {
	Hub     *realtime.Hub
	Health  func() Health       // how the feeding of the hub is doing
	Channel func() ChannelStore // returns nil where the application's tables are not there; may be nil
	Logger  *slog.Logger
	Options Options

	initOnce    sync.Once
	options     Options
	origins     originPolicy
	stopping    atomic.Bool
	connections atomic.Int64

	mu    sync.Mutex
	conns map[*wsConn]struct{}
	group sync.WaitGroup // of conns
}

func (s *Server) init() {
	s.initOnce.Do(func() {
		s.options = s.Options.withDefaults()
		s.origins = newOriginPolicy(s.options.AllowedOrigins)
		s.conns = make(map[*wsConn]struct{})
		if s.Logger == nil {
			s.Logger = slog.New(slog.DiscardHandler)
		}
	})
}

// Handler routes requests.
func (s *Server) Handler() http.Handler {
	s.init()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", s.serveWS)
	mux.HandleFunc("GET /healthz", s.serveHealthz)
	mux.HandleFunc("GET /readyz", s.serveReadyz)
	mux.HandleFunc("GET /{$}", s.servePage)
	mux.HandleFunc("GET /page/users", s.serveUsers)
	mux.Handle("GET /page/", pageFiles())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "not_found", fmt.Sprintf("there is nothing at %s %q", r.Method, r.URL.Path))
	})
	return mux
}

// Serve serves on the listener until ctx ends, then says goodbye to all and returns nil.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	s.init()
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		s.disconnectAll()
		s.group.Wait()
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.ShutdownTimeout)
	defer cancel()
	var goodbyes sync.WaitGroup
	goodbyes.Go(func() { s.sayGoodbye(deadline) })
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
	s.Logger.Info("stopped")
	return nil
}

// sayGoodbye tells every client that the server stops, and waits until all are gone, at most until ctx ends.
func (s *Server) sayGoodbye(ctx context.Context) {
	s.mu.Lock()
	for c := range s.conns {
		c.leave(goodbyeShutdown)
	}
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		s.group.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		s.disconnectAll()
		<-gone
	}
}

func (s *Server) disconnectAll() {
	s.stopping.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.abort()
	}
}

// add counts a connection in, unless the server is stopping.
func (s *Server) add(c *wsConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return false
	}
	s.conns[c] = struct{}{}
	s.group.Add(1)
	return true
}

func (s *Server) remove(c *wsConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.group.Done()
}

func (s *Server) channelStore() ChannelStore {
	if s.Channel == nil {
		return nil
	}
	return s.Channel()
}

// writeError answers with a code for the program and a sentence for its author.
func writeError(w http.ResponseWriter, status int, code, message string) {
	body, _ := json.Marshal(map[string]any{"error": map[string]string{"code": code, "message": message}})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}
