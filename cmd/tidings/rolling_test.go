package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

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
		defer context.AfterFunc(ctx, func() { _ = ws.Close() })()
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
		defer context.AfterFunc(ctx, func() { _ = ws.Close() })()
		for _, message := range []string{`{"type":"connection_init"}`, `{"type":"subscribe","id":"1","payload":{
			"query":"subscription ($since: String) { events(channels: [\"ticks\"], since: $since) { type cursor data } }","variables":{"since":"` + cursor + `"}}}`} {
			if err := ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
				return cursor, err
			}
		}
		for {
			var m struct {
				Type    string
				Payload struct{ Data struct{ Events json.RawMessage } }
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

// Two instances behind a balancer are restarted one after the other, while two write. All who follow, in whatever way, are asked to move,
// after the instance has said that it is not ready any more, and are told each row once and in order.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	address := liveDatabase(t)
	sql(t, address, `create table ticks (writer int, n int, primary key (writer, n)); select tidings.watch('ticks', read => 'public')`)
	flags := []string{"--database-url", address, "--no-sign-in", "--drain-delay", "2s"}
	env := slices.DeleteFunc(environ(), func(v string) bool { return strings.HasPrefix(v, "TIDINGS_SECRET=") })
	var rooms [2]*program
	var at [2]string
	for n := range rooms {
		rooms[n], at[n] = serve(t, env, flags...)
	}
	b := balance(t, at[:]...)
	b.awaitReady(2)

	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	var all []*witnessed
	enter := func(name string, follow func(w *witnessed)) {
		w := &witnessed{name: name, late: func() bool { return b.late(time.Second) }}
		all = append(all, w)
		group.Go(func() { follow(w) })
	}
	cursor := ask[string](t, address, `select tidings.cursor()`)
	for range 3 {
		for name, way := range ways {
			enter(name, func(w *witnessed) { w.follow(ctx, b.at(), cursor, way) })
		}
		enter("clients/go", func(w *witnessed) { w.followInGo(ctx, b.at(), cursor) })
	}
	for range 2 {
		enter("clients/js", func(w *witnessed) { w.followInJavaScript(ctx, t, b.at(), cursor) })
	}

	stop := make(chan struct{})
	var writing sync.WaitGroup
	var written [2]int
	for writer := range written {
		writing.Go(func() {
			conn, err := pgx.Connect(ctx, address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(context.WithoutCancel(ctx))
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				if _, err := conn.Exec(ctx, `insert into ticks values ($1, $2)`, writer, written[writer]+1); err != nil {
					t.Error(err)
					return
				}
				written[writer]++
			}
		})
	}
	for _, w := range all {
		eventually(t, w.name+" follows", func() bool { return w.counted() > 0 })
	}
	byes := func() (n int64) {
		for _, w := range all {
			n += w.byes.Load()
		}
		return n
	}
	for n, room := range rooms {
		before := byes()
		room.signal(syscall.SIGTERM)
		eventually(t, "it says that it is not ready", func() bool { return readyz(t, at[n]) == http.StatusServiceUnavailable })
		if asked := byes() - before; asked != 0 && !b.late(time.Second) {
			t.Errorf("%d clients were asked to move before it said so", asked)
		}
		if code := room.wait(); code != 0 {
			t.Errorf("it ends with %d", code)
		}
		room.await(&room.stderr, `msg=stopped cut=0`)
		rooms[n] = begin(t, env, append([]string{"serve", "--listen", at[n]}, flags...)...)
		b.awaitReady(2)
	}
	close(stop)
	writing.Wait()
	total := written[0] + written[1]
	for _, w := range all {
		eventually(t, fmt.Sprintf("%s was told all %d rows", w.name, total), func() bool { return w.counted() >= total })
	}
	cancel()
	group.Wait()
	for _, w := range all {
		var last [2]int
		for _, row := range w.rows {
			if last[row.Writer]++; row.N != last[row.Writer] {
				t.Errorf("%s: row %d of writer %d was told as the %dth", w.name, row.N, row.Writer, last[row.Writer])
				break
			}
		}
		if last != written || len(w.odd) > 0 {
			t.Errorf("%s: it was told %d rows, want %d, and %q", w.name, last, written, w.odd)
		}
		if w.byes.Load() < 1 && w.name != "clients/js" { // which does so quietly
			t.Errorf("%s was never asked to move", w.name)
		}
	}
}
