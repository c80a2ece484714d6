package http_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tidings/db"
	tidingshttp "tidings/http"
	"tidings/http/graph"
	"tidings/realtime"
)

// graphHandler is a server without a database, of a hub that is ready or not.
func graphHandler(t *testing.T, ready bool) http.Handler {
	t.Helper()
	hub := realtime.NewHub(noSource{}, realtime.Options{})
	if ready {
		hub.Start(realtime.Cursor{Origin: "0a1b2c3d", Seen: realtime.Snapshot{Xmin: 1, Xmax: 1}})
	}
	api := graph.New(&db.Channel{}, func() bool { return false }, hub, slog.New(slog.DiscardHandler), graph.Options{Introspection: true})
	t.Cleanup(api.Close)
	return (&tidingshttp.Server{Hub: hub, Graph: api}).Handler()
}

// deadlines is a response that takes nothing without a deadline, and only so much.
type deadlines struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (w *deadlines) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

func (w *deadlines) Write(b []byte) (int, error) {
	if time.Until(w.deadline) <= 0 || len(b) > 64<<10 {
		return 0, errors.New("for this a client has no time, or for ever")
	}
	w.deadline = time.Time{}
	return w.ResponseRecorder.Write(b)
}

// A client that does not take its answer holds nothing up for ever; one that takes it slowly has time for each part.
func TestGraphAnswersHaveDeadlines(t *testing.T) {
	t.Parallel()
	const document = `{ __schema { types { name description fields { name description type { name } args { name description } } } } }`
	for _, media := range []string{"application/json", "text/event-stream"} {
		request := httptest.NewRequestWithContext(t.Context(), "GET", "/graphql?query="+url.QueryEscape(document), nil)
		request.Header.Set("Accept", media)
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		graphHandler(t, true).ServeHTTP(w, request)
		if w.Code != 200 || !strings.HasSuffix(strings.TrimRight(w.Body.String(), "\n"), map[string]string{"application/json": "}", "text/event-stream": "data: "}[media]) {
			t.Errorf("%s: got %d and %d bytes", media, w.Code, w.Body.Len())
		}
	}
}

// A browser's EventSource gives up for ever at any status but 200.
func TestGraphNotReady(t *testing.T) {
	t.Parallel()
	target := "/graphql?query=" + url.QueryEscape(added)
	for _, tt := range []struct {
		method, media string
		status        int
		body          string
	}{
		{"GET", "text/event-stream", 200, "retry: "},
		{"GET", "application/json", 503, graph.CodeUnavailable},
		{"POST", "text/event-stream", 503, graph.CodeUnavailable},
	} {
		request := httptest.NewRequestWithContext(t.Context(), tt.method, target, strings.NewReader(`{"query":"{ __typename }"}`))
		request.Header.Set("Accept", tt.media)
		request.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		graphHandler(t, false).ServeHTTP(w, request)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) || w.Code != 200 && w.Header().Get("Retry-After") != "1" {
			t.Errorf("%s for %s: got %d %v %s", tt.method, tt.media, w.Code, w.Header(), w.Body)
		}
	}
}
