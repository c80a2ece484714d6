package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	live "tidings/clients/go"
)

// witnessed is what a client was told, through however many connections.
type witnessed struct {
	name string
	mu   sync.Mutex
	rows []tick
	odd  []string     // what was not to be
	byes atomic.Int64 // how often it was asked to move
	late func() bool  // the balancer was, on a machine that is too busy: who is refused then comes back
}

// tick is a row of the table that is written: the nth of its writer.
type tick struct{ Writer, N int }

// expectInOrder expects it to have been told each writer's rows once and in order, and nothing odd. Nothing more is told by then.
func (w *witnessed) expectInOrder(t *testing.T, written [2]int) {
	t.Helper()
	var told [2]int
	for _, row := range w.rows {
		if told[row.Writer]++; row.N != told[row.Writer] {
			t.Errorf("%s: row %d of writer %d was told as the %dth", w.name, row.N, row.Writer, told[row.Writer])
			break
		}
	}
	if told != written || len(w.odd) > 0 {
		t.Errorf("%s: it was told %d rows, want %d, and %q", w.name, told, written, w.odd)
	}
}

func (w *witnessed) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.odd = append(w.odd, fmt.Sprintf(format, args...))
}

// hear takes a frame, and returns the cursor that is the last now.
func (w *witnessed) hear(text []byte, cursor string) string {
	var f struct {
		Type, Cursor string
		Data         tick
	}
	if err := json.Unmarshal(text, &f); err != nil {
		w.problem("%s: %v", text, err)
	}
	switch f.Type {
	case "tick_added":
		w.mu.Lock()
		w.rows = append(w.rows, f.Data)
		w.mu.Unlock()
	case "goodbye":
		w.byes.Add(1)
	case "subscribed", "cursor":
	default:
		w.problem("got %s", text)
	}
	if f.Cursor != "" {
		return f.Cursor
	}
	return cursor
}

// left takes what ended a WebSocket.
func (w *witnessed) left(ctx context.Context, err error) {
	var closed *websocket.CloseError
	switch {
	case ctx.Err() != nil:
	case errors.As(err, &closed) && closed.Code == 1001 && strings.HasPrefix(closed.Text, "shutdown: "):
		w.byes.Add(1)
	default:
		w.problem("it ended with %v", err)
	}
}

func (w *witnessed) counted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.rows)
}

// The ways to follow, each over one connection, from a cursor to another one.
var ways = map[string]func(ctx context.Context, at, cursor string, w *witnessed) (last string, err error){
	"/ws": func(ctx context.Context, at, cursor string, w *witnessed) (string, error) {
		ws, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+at+"/ws?channel=ticks&since="+cursor, nil)
		if err != nil {
			return cursor, err
		}
		defer ws.Close()
		stop := context.AfterFunc(ctx, func() { _ = ws.Close() })
		defer stop()
		for {
			_, text, err := ws.ReadMessage()
			if err != nil {
				w.left(ctx, err)
				return cursor, nil
			}
			cursor = w.hear(text, cursor)
		}
	},
	"/events": func(ctx context.Context, at, cursor string, w *witnessed) (string, error) {
		request, err := http.NewRequestWithContext(ctx, "GET", "http://"+at+"/events?channel=ticks", nil)
		if err != nil {
			return cursor, err
		}
		request.Header.Set("Last-Event-ID", cursor)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return cursor, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return cursor, errors.New(response.Status)
		}
		before := w.byes.Load()
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "data":
				w.hear([]byte(value), "")
			case "id":
				cursor = value
			}
		}
		if w.byes.Load() == before && ctx.Err() == nil {
			w.problem("the stream ended without a goodbye")
		}
		return cursor, nil
	},
	"graphql-transport-ws": func(ctx context.Context, at, cursor string, w *witnessed) (string, error) {
		dialer := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}
		ws, _, err := dialer.DialContext(ctx, "ws://"+at+"/graphql", nil)
		if err != nil {
			return cursor, err
		}
		defer ws.Close()
		stop := context.AfterFunc(ctx, func() { _ = ws.Close() })
		defer stop()
		for _, message := range []string{`{"type":"connection_init"}`, `{"type":"subscribe","id":"1","payload":{
			"query":"subscription ($since: String) { events(channels: [\"ticks\"], since: $since) { type cursor data } }","variables":{"since":"` + cursor + `"}}}`} {
			if err := ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
				return cursor, err
			}
		}
		for {
			var m struct {
				Type    string
				Payload struct {
					Data struct{ Events json.RawMessage }
				}
			}
			if err := ws.ReadJSON(&m); err != nil {
				w.left(ctx, err)
				return cursor, nil
			}
			if m.Type == "next" {
				cursor = w.hear(m.Payload.Data.Events, cursor)
			} else if m.Type != "connection_ack" {
				w.problem("got %+v", m)
			}
		}
	},
}

// follow follows, and comes back as the protocol says, until ctx ends.
func (w *witnessed) follow(ctx context.Context, at, cursor string, way func(ctx context.Context, at, cursor string, w *witnessed) (string, error)) {
	for ctx.Err() == nil {
		var err error
		if cursor, err = way(ctx, at, cursor, w); err != nil && ctx.Err() == nil {
			if !w.late() {
				w.problem("it could not connect: %v", err)
			}
			<-time.After(100 * time.Millisecond)
		}
	}
}

// followInGo follows with the client in Go.
func (w *witnessed) followInGo(ctx context.Context, at, cursor string) {
	client := &live.Client{URL: "http://" + at}
	o := live.Options{Channels: []string{"ticks"}, Since: cursor, OnState: func(_ live.State, err error) {
		var bye *live.Goodbye
		if errors.As(err, &bye) && bye.Code == 1001 {
			w.byes.Add(1)
		} else if err != nil && ctx.Err() == nil && !w.late() {
			w.problem("it is offline: %v", err)
		}
	}}
	for m, err := range client.Follow(ctx, o) {
		if err != nil {
			if ctx.Err() == nil {
				w.problem("it ended: %v", err)
			}
			return
		}
		if m.Kind != live.Place {
			w.hear(m.Raw, "")
		}
	}
}
