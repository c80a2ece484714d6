package checks

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// follower is a client that comes back when its connection ends, with its cursor, and notes which rows of a channel it is told of.
type follower struct {
	name   string
	follow func(f *follower, ctx context.Context) error
	base   string // https://127.0.0.1:1234
	tls    *tls.Config
	http   *http.Client

	mu       sync.Mutex
	cursor   string
	ids      []int
	opened   int       // how often it has come
	since    time.Time // when it came the last time
	heard    time.Time // when it heard the last time, if only that the service is there
	problems []string
}

// transports are all that tell of events.
var transports = []struct {
	name   string
	follow func(f *follower, ctx context.Context) error
}{
	{"/ws", func(f *follower, ctx context.Context) error { return f.followSocket(ctx, "/ws") }},
	{"/ws/events", func(f *follower, ctx context.Context) error { return f.followSocket(ctx, "/ws/events") }},
	{"/events", func(f *follower, ctx context.Context) error {
		return f.followStream(ctx, "/events?channel=things")
	}},
	{"/graphql, WebSocket", (*follower).followGraphQL},
	{"/graphql, stream", func(f *follower, ctx context.Context) error {
		return f.followStream(ctx, "/graphql?query="+url.QueryEscape(`subscription { events(channels: ["things"]) { data } }`))
	}},
}

// followers start several clients by each transport, from a position on.
func followers(t *testing.T, base string, trust *tls.Config, each int, cursor string) []*follower {
	t.Helper()
	var all []*follower
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	for _, transport := range transports {
		for n := range each {
			f := &follower{name: fmt.Sprintf("%s, client %d", transport.name, n+1), follow: transport.follow, base: base, tls: trust, cursor: cursor}
			f.http = &http.Client{Transport: &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true}}
			all = append(all, f)
			running.Go(func() { f.run(ctx) })
		}
	}
	return all
}

func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.follow(f, ctx)
		f.mu.Lock()
		if err != nil && ctx.Err() == nil {
			f.problems = append(f.problems, err.Error())
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (f *follower) isOpen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	f.since, f.heard = time.Now(), time.Now()
}

func (f *follower) hears() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = time.Now()
}

// told notes a row, and where to go on.
func (f *follower) told(id int, cursor string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = time.Now()
	if cursor != "" {
		f.cursor = cursor
	}
	if id != 0 {
		f.ids = append(f.ids, id)
	}
}

func (f *follower) position() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cursor
}

// thing is the one row's part of any event.
type thing struct {
	ID int `json:"id"`
}

func (f *follower) dial(ctx context.Context, path string, protocols ...string) (*websocket.Conn, error) {
	dialer := websocket.Dialer{TLSClientConfig: f.tls, Subprotocols: protocols, HandshakeTimeout: patience}
	ws, response, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(f.base, "http")+path, nil)
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%s: %w", response.Status, err)
		}
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = ws.Close() })
	f.isOpen()
	pong := ws.PingHandler()
	ws.SetPingHandler(func(text string) error {
		f.hears()
		return pong(text)
	})
	return ws, nil
}

func (f *follower) followSocket(ctx context.Context, path string) error {
	ws, err := f.dial(ctx, path+"?channel=things&since="+url.QueryEscape(f.position()))
	if err != nil {
		return err
	}
	defer ws.Close()
	for {
		var frame struct {
			Type, Event, Cursor string
			Data                thing
		}
		if err := ws.ReadJSON(&frame); err != nil {
			return err
		}
		switch frame.Type + frame.Event {
		case "thing_added":
			f.told(frame.Data.ID, frame.Cursor)
		case "reset", "error":
			return errors.New(frame.Type + frame.Event)
		default:
			f.told(0, "")
		}
	}
}

func (f *follower) followGraphQL(ctx context.Context) error {
	ws, err := f.dial(ctx, "/graphql", "graphql-transport-ws")
	if err != nil {
		return err
	}
	defer ws.Close()
	if err := ws.WriteJSON(map[string]any{"type": "connection_init"}); err != nil {
		return err
	}
	for {
		var message struct {
			Type    string
			Payload struct {
				Data struct {
					Events struct{ Data thing }
				}
				Extensions struct{ Cursor string }
			}
		}
		if err := ws.ReadJSON(&message); err != nil {
			return err
		}
		var answer any
		switch message.Type {
		case "connection_ack":
			answer = map[string]any{"id": "1", "type": "subscribe", "payload": map[string]any{
				"query":     `subscription ($since: String) { events(channels: ["things"], since: $since) { data } }`,
				"variables": map[string]any{"since": f.position()},
			}}
		case "ping":
			f.hears()
			answer = map[string]any{"type": "pong"}
		case "next":
			f.told(message.Payload.Data.Events.Data.ID, message.Payload.Extensions.Cursor)
		default:
			return errors.New(message.Type)
		}
		if answer != nil {
			if err := ws.WriteJSON(answer); err != nil {
				return err
			}
		}
	}
}

// followStream reads Server-Sent Events, of /events and of GraphQL.
func (f *follower) followStream(ctx context.Context, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.base+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Last-Event-ID", f.position())
	response, err := f.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	if f.tls != nil && response.ProtoMajor != 2 {
		return fmt.Errorf("the stream came by %s", response.Proto)
	}
	f.isOpen()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	var id int
	var cursor string
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "" && value != "":
			f.hears()
		case name == "" && lines.Text() == "":
			f.told(id, cursor)
			id, cursor = 0, ""
		case name == "id":
			cursor = value
		case name == "data" && value != "":
			var message struct {
				Type, Event, Code string
				Data              struct {
					thing
					Events struct{ Data thing }
				}
			}
			if err := json.Unmarshal([]byte(value), &message); err != nil {
				return fmt.Errorf("%q: %w", value, err)
			}
			if message.Type == "reset" || message.Type == "error" {
				return errors.New(value)
			}
			id = message.Data.ID + message.Data.Events.Data.ID
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// expectAll waits until every client was told of the rows 1 to last, each once and in order.
func expectAll(t *testing.T, all []*follower, last int) {
	t.Helper()
	want := make([]int, last)
	for i := range want {
		want[i] = i + 1
	}
	for _, f := range all {
		eventually(t, fmt.Sprintf("%s has heard of %d rows", f.name, last), func() (bool, string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.ids) >= last, fmt.Sprintf("it has heard of %v; %v", f.ids, f.problems)
		})
		f.mu.Lock()
		if !slices.Equal(f.ids, want) {
			t.Errorf("%s has heard of %v, want 1 to %d; %v", f.name, f.ids, last, f.problems)
		}
		f.mu.Unlock()
	}
}

// expectQuiet waits until every client's connection has been there for so long, while nothing happened but what keeps it.
func expectQuiet(t *testing.T, all []*follower, long time.Duration) {
	t.Helper()
	for _, f := range all {
		f.mu.Lock()
		opened := f.opened
		f.mu.Unlock()
		eventually(t, fmt.Sprintf("%s has been there for %s, and is", f.name, long), func() (bool, string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.opened != opened {
				t.Fatalf("%s, with nothing to hear, had to come back: %v", f.name, f.problems)
			}
			return f.heard.Sub(f.since) > long, fmt.Sprintf("it has heard for %s; %v", f.heard.Sub(f.since), f.problems)
		})
	}
}
