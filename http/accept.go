package http

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"golang.org/x/time/rate"
)

// acceptEvery is how often there is a line about connections that cannot be taken, at most.
const acceptEvery = time.Minute

// tellingListener says when connections cannot be taken, mostly because no more files may be open. What net/http has to say, who runs the
// service does not hear: most of it is of clients.
type tellingListener struct {
	net.Listener
	logger *slog.Logger
	failed rate.Sometimes
}

func newTellingListener(l net.Listener, logger *slog.Logger) *tellingListener {
	return &tellingListener{Listener: l, logger: logger, failed: rate.Sometimes{Interval: acceptEvery}}
}

// Accept is net.Listener's.
func (l *tellingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		l.failed.Do(func() {
			l.logger.Error("connections cannot be taken; trying again", "address", l.Addr().String(), "error", err)
		})
	}
	return conn, err
}

// surviving tells of a panic, which net/http survives, and ends the connection that it was on.
func (s *Server) surviving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p != http.ErrAbortHandler { //nolint:errorlint // net/http compares likewise
					s.Logger.Error("a request failed", "path", r.URL.Path, "error", fmt.Sprint("panic: ", p), "stack", string(debug.Stack()))
				}
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
