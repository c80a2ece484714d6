package http

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
)

// Observer is told of each request before it is served, and may give it another context. What it returns is called once, when the answer
// begins: of a stream or a WebSocket, too, which may go on for days. The route is the pattern of the path, and not what the client wrote;
// empty: there is no such path.
type Observer func(r *http.Request) (_ context.Context, answered func(route string, status int))

// observed has the observers told of what next serves.
func observed(next http.Handler, observers []Observer) http.Handler {
	if len(observers) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told := make([]func(route string, status int), len(observers))
		ctx := r.Context()
		for i, observe := range observers {
			ctx, told[i] = observe(r.WithContext(ctx))
		}
		r = r.WithContext(ctx)
		begun := false
		o := &observedWriter{ResponseWriter: w, begin: func(status int) {
			if begun {
				return
			}
			begun = true
			for _, answered := range told {
				answered(routeOf(r), status)
			}
		}}
		ended := http.StatusInternalServerError // by a panic
		defer func() { o.begin(ended) }()
		next.ServeHTTP(o, r)
		ended = http.StatusOK
	})
}

// routeOf is the path's pattern, which the mux has noted in the request.
func routeOf(r *http.Request) string {
	_, path, ok := strings.Cut(r.Pattern, " ")
	if !ok {
		path = r.Pattern
	}
	switch path {
	case "/":
		return "" // whatever nothing else is for
	case "/{$}":
		return "/"
	}
	return path
}

// observedWriter notes when an answer begins.
type observedWriter struct {
	http.ResponseWriter
	begin func(status int)
}

// Unwrap is for http.ResponseController.
func (o *observedWriter) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// WriteHeader is http.ResponseWriter's.
func (o *observedWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		o.begin(status)
	}
	o.ResponseWriter.WriteHeader(status)
}

// Write is http.ResponseWriter's.
func (o *observedWriter) Write(b []byte) (int, error) {
	o.begin(http.StatusOK)
	return o.ResponseWriter.Write(b)
}

// Hijack is http.Hijacker's. Whoever takes a connection over switches protocols.
func (o *observedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(o.ResponseWriter).Hijack()
	if err == nil {
		o.begin(http.StatusSwitchingProtocols)
	}
	return conn, buffers, err
}
