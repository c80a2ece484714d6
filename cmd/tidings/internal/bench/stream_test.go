package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// server serves with the handler until the test ends.
func server(t *testing.T, handler http.HandlerFunc) *url.URL {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// collect reads a stream to its end.
func collect(t *testing.T, s stream) (messages []string, end error) {
	t.Helper()
	defer s.close()
	for {
		text, cursor, err := s.next()
		if err != nil {
			return messages, err
		}
		messages = append(messages, fmt.Sprintf("%s %s", text, cursor))
	}
}

// Messages of any length are read, and a cursor comes with one or alone.
func TestEventStream(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 20_000)
	var asked *http.Request
	u := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r
		_, _ = io.WriteString(w, "retry: 1630\n\n:\n\nid: 1\ndata: one\n\nid: 2\n\ndata: two\n\ndata: "+long+"\n\nid: 3\ndata: "+long+"\n\nid: 4\ndata: cut")
	})
	s, err := newOpener(u, SSE).open(t.Context(), "x:1", []byte("27c6d97a-747"))
	if err != nil {
		t.Fatal(err)
	}
	got, end := collect(t, s)
	want := []string{"one 1", " 2", "two ", long + " ", long + " 3"}
	if fmt.Sprint(got) != fmt.Sprint(want) || !errors.Is(end, io.EOF) {
		t.Errorf("got %.200q, %v", got, end)
	}
	if asked.URL.String() != "/events?channel=x%3A1" || asked.Header.Get("Last-Event-ID") != "27c6d97a-747" {
		t.Errorf("it asked for %s with %v", asked.URL, asked.Header)
	}
}

// Frames of any length are read, and a goodbye has its name.
func TestSocketStream(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 20_000)
	asked := make(chan string, 2)
	u := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.String()
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for _, text := range []string{"one", long, "two"} {
			_ = ws.WriteMessage(websocket.TextMessage, []byte(text))
		}
		if r.URL.Query().Get("since") != "" {
			bye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "shutdown: the server is stopping")
			_ = ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
		}
	})
	for _, c := range []struct {
		transport   Transport
		cursor      []byte
		asked, name string
	}{
		{WebSocket, nil, "/ws?channel=x%3A1", "cut off"},
		{Envelope, []byte("1-2"), "/ws/events?channel=x%3A1&since=1-2", "goodbye: 1001 shutdown"},
	} {
		s, err := newOpener(u, c.transport).open(t.Context(), "x:1", c.cursor)
		if err != nil {
			t.Fatal(err)
		}
		got, end := collect(t, s)
		if want := []string{"one ", long + " ", "two "}; fmt.Sprint(got) != fmt.Sprint(want) || nameOf(end) != c.name {
			t.Errorf("%s: got %.200q, %v", c.transport, got, end)
		}
		if got := <-asked; got != c.asked {
			t.Errorf("it asked for %s, want %s", got, c.asked)
		}
	}
}

// The end of the context ends a read.
func TestStreamEnds(t *testing.T) {
	t.Parallel()
	u := server(t, func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) {
			_, _ = io.WriteString(w, "data: one\n\n")
			_ = http.NewResponseController(w).Flush() // the client may be gone
			<-r.Context().Done()
			return
		}
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		_ = ws.WriteMessage(websocket.TextMessage, []byte("one"))
		_, _, _ = ws.ReadMessage() // the client's end
	})
	for _, transport := range []Transport{WebSocket, SSE} {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := newOpener(u, transport).open(ctx, "x:1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _, err := s.next(); string(text) != "one" || err != nil {
			t.Fatalf("%s: got %q, %v", transport, text, err)
		}
		cancel()
		if got, err := collect(t, s); len(got) != 0 || err == nil {
			t.Errorf("%s: got %q, %v", transport, got, err)
		}
	}
}

// A service that does not want to is quoted, and where something can be done, it is said.
func TestRefusal(t *testing.T) {
	t.Parallel()
	full := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"error":{"code":"too_many_connections","message":"there are 2 connections already"}}`)
	})
	other := server(t, http.NotFound)
	for _, transport := range []Transport{WebSocket, Envelope, SSE} {
		_, err := newOpener(full, transport).open(t.Context(), "x:1", nil)
		if err == nil || nameOf(err) != "refused: 503 too_many_connections" || !strings.Contains(err.Error(), "2 connections") ||
			!strings.Contains(hint(err), "--max-connections") {
			t.Errorf("%s: got %v", transport, err)
		}
		_, err = newOpener(other, transport).open(t.Context(), "x:1", nil)
		if err == nil || nameOf(err) != "refused: 404" || !strings.Contains(err.Error(), "is it tidings?") {
			t.Errorf("%s: got %v", transport, err)
		}
	}
	if got := hint(fmt.Errorf("dial: %w", syscall.EMFILE)); !strings.Contains(got, "ulimit -n") {
		t.Errorf("got %q", got)
	}
	if got := hint(fmt.Errorf("dial: %w", syscall.EADDRNOTAVAIL)); !strings.Contains(got, "port") {
		t.Errorf("got %q", got)
	}
}
