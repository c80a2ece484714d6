package http

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tidings/realtime"
)

// fullListener has no connections, as where no more files may be open.
type fullListener struct{ net.Listener }

func (fullListener) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
}
func (fullListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// That connections cannot be taken is said, however often it is tried, once in a while.
func TestTellingListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines strings.Builder
		l := newTellingListener(fullListener{}, slog.New(slog.NewTextHandler(&lines, nil)))
		for range 100 { // for a hundred seconds
			if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
				t.Fatal(err)
			}
			<-time.After(time.Second) // on the bubble's clock
		}
		if got := lines.String(); strings.Count(got, "\n") != 2 || strings.Count(got, "connections cannot be taken; trying again") != 2 {
			t.Errorf("it says %q", got)
		}
	})
}

// A panic is told of to whoever runs the service, and to the observers of requests, as what it is; the service goes on.
func TestPanic(t *testing.T) {
	t.Parallel()
	var lines strings.Builder
	var statuses []int
	s := &Server{
		Hub: realtime.NewHub(nil, realtime.Options{}), Logger: slog.New(slog.NewTextHandler(&lines, nil)),
		Health: func() Health { panic("no more") },
		Observers: []Observer{func(r *http.Request) (context.Context, func(string, int)) {
			return r.Context(), func(_ string, status int) { statuses = append(statuses, status) }
		}},
	}
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // net/http compares likewise
				t.Errorf("net/http is told %v", p)
			}
		}()
		s.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/readyz", nil))
	}()
	if len(statuses) != 1 || statuses[0] != http.StatusInternalServerError {
		t.Errorf("observers are told %v", statuses)
	}
	if got := lines.String(); !strings.Contains(got, `level=ERROR msg="a request failed" path=/readyz error="panic: no more"`) {
		t.Errorf("it says %q", got)
	}
}

// All that was refused is told, also of a flood that is over before the next line may come.
func TestTellOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines strings.Builder
		s := &Server{Logger: slog.New(slog.NewTextHandler(&lines, nil))}
		ctx, stop := context.WithCancel(t.Context())
		go s.tellOfRefusals(ctx)
		for range 1000 {
			s.refused("unauthenticated", netip.MustParseAddr("192.0.2.1"), "/ws")
		}
		<-time.After(time.Minute) // on the bubble's clock
		synctest.Wait()
		got := lines.String()
		if strings.Count(got, "\n") != 2 || !strings.Contains(got, "times=1 ") || !strings.Contains(got, "times=999 address=192.0.2.1 path=/ws") {
			t.Errorf("it says %q", got)
		}
		stop()
		synctest.Wait()
	})
}
