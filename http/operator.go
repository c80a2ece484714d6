package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// Operator is what whoever runs the service has an address of its own for: metrics, profiles, and how it is. Nobody signs in there: it
// is for a machine, or a network, that others do not reach.
type Operator struct {
	Server  *Server
	Metrics http.Handler
	Logger  *slog.Logger // nil: none
}

// Handler routes requests.
func (o *Operator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /healthz", o.Server.serveHealthz)
	mux.HandleFunc("GET /readyz", o.Server.serveReadyz)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", notFound) // it has no profile in it, and may have what nobody else is to read
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/", notFound)
	return ownName(mux)
}

// ownName refuses, on a loopback address, requests for a name that anybody can have pointed there: a page that a browser on this machine
// shows would otherwise read what is here.
func ownName(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Content-Type-Options"] = nosniff
		w.Header()["Cross-Origin-Resource-Policy"] = ownPages
		w.Header()["X-Frame-Options"] = notFramed
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if local != nil && isLoopback(local.String()) && !isAddress(r.Host) {
			writeError(w, http.StatusForbidden, "host_not_allowed", fmt.Sprintf("ask for this by its address, or as localhost, not as %q", r.Host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Serve serves on the listener until ctx ends.
func (o *Operator) Serve(ctx context.Context, listener net.Listener) error {
	o.Server.init()
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	server := &http.Server{
		Handler: o.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, // a profile that is being made ends
		ErrorLog:    slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(newTellingListener(listener, logger)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		err = server.Close()
		if err != nil {
			return fmt.Errorf("shut down %s: %w", listener.Addr(), err)
		}
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	}
	return nil
}

// serveNoMetrics tells where they are to whoever looks for them where clients come.
func serveNoMetrics(w http.ResponseWriter, _ *http.Request) {
	writeError(w, http.StatusNotFound, "not_found", "metrics are served at the address of --admin-listen alone")
}
