package tidings_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidings "tidings/clients/go"
)

// script is a service that says what a test wants it to, connection by connection; the last is repeated.
type script struct {
	*httptest.Server
	asked chan url.Values // what each connection asked for
	mu    sync.Mutex
	plays []func(ws *websocket.Conn)
}

func newScript(t testing.TB, plays ...func(ws *websocket.Conn)) *script {
	t.Helper()
	s := &script{asked: make(chan url.Values, 1000), plays: plays}
	var upgrader websocket.Upgrader
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		s.asked <- r.URL.Query()
		s.mu.Lock()
		play := s.plays[0]
		if len(s.plays) > 1 {
			s.plays = s.plays[1:]
		}
		s.mu.Unlock()
		play(ws)
	}))
	t.Cleanup(s.Close)
	return s
}

// says says frames, and then nothing until the client leaves; a frame that is a number is a goodbye, and "cut" the end.
func says(frames ...any) func(ws *websocket.Conn) {
	return func(ws *websocket.Conn) {
		for _, f := range frames {
			switch f := f.(type) {
			case int:
				_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(f, "why"), time.Now().Add(patience))
				return
			case string:
				if f == "cut" {
					return
				}
				_ = ws.WriteMessage(websocket.TextMessage, []byte(f)) // it may have gone
			}
		}
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
		}
	}
}

const (
	subscribed = `{"type":"subscribed","channel":"a","cursor":"c-subscribed"}`
	added      = `{"type":"a_added","channel":"a","id":"1","cursor":"c-event","at":"2026-03-01T10:20:30.123456Z","data":{"id":1}}`
	row        = `{"type":"row","channel":"a:1","data":{"id":1}}`
	loaded     = `{"type":"loaded","rows":1,"channel":"a","cursor":"c-loaded"}`
	resets     = `{"type":"reset","reason":"expired","message":"why","channel":"a"}`
)

// The cursor with which a client comes back is that behind which it was told everything.
func TestComingBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		rows   bool
		since  string
		frames []any
		want   string
	}{
		{"nothing was said", false, "", []any{"cut"}, ""},
		{"nothing was said behind a cursor", false, "c0", []any{"cut"}, "c0"},
		{"live", false, "", []any{subscribed, "cut"}, "c-subscribed"},
		{"an event", false, "", []any{subscribed, added, "cut"}, "c-event"},
		{"an event before it is live", false, "c0", []any{added, "cut"}, "c-event"},
		{"a notice of a quiet channel", false, "", []any{subscribed, `{"type":"cursor","cursor":"c-quiet"}`, "cut"}, "c-quiet"},
		{"a signal has no cursor", false, "", []any{subscribed, `{"type":"typing","channel":"a","data":{}}`, "cut"}, "c-subscribed"},
		{"some rows", true, "", []any{row, "cut"}, ""},
		{"all rows", true, "", []any{row, loaded, "cut"}, ""},
		{"rows and an event, not live", true, "", []any{row, loaded, added, "cut"}, ""},
		{"rows, live", true, "", []any{row, loaded, added, subscribed, "cut"}, "c-subscribed"},
		{"rows, by a channel that always has them", false, "", []any{row, loaded, added, "cut"}, ""},
		{"a reset", false, "c0", []any{resets, "cut"}, "c0"},
		{"a reset, live", false, "c0", []any{resets, subscribed, "cut"}, "c-subscribed"},
		{"a reset, and rows", true, "c0", []any{resets, row, loaded, added, "cut"}, ""},
		{"a reset later", true, "", []any{subscribed, added, resets, row, "cut"}, ""},
		{"an error that passes", false, "c0", []any{added, `{"type":"error","code":"unavailable","message":"why","channel":"a"}`}, "c-event"},
		{"too many connections", false, "c0", []any{`{"type":"error","code":"too_many_connections_of_user","message":"why"}`}, "c0"},
		{"something unknown", false, "", []any{subscribed, `{"type":"unsubscribed","channel":"b"}`, `{"type":"pong"}`, `{"type":"new","data":1,"more":[]}`, "cut"}, "c-subscribed"},
		{"no JSON any more", false, "", []any{subscribed, `nonsense`}, "c-subscribed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, says(c.frames...), says())
			o := tidings.Options{Channels: []string{"a"}, Since: c.since, Rows: c.rows}
			f := follow(t, &tidings.Client{URL: s.URL, Backoff: quick}, o)
			for i, want := range []string{c.since, c.want} {
				select {
				case asked := <-s.asked:
					if got := asked.Get("since"); got != want || asked.Get("channel") != "a" || (asked.Get("snapshot") == "true") != c.rows {
						t.Errorf("connection %d asks for %v, want the cursor %q", i, asked, want)
					}
				case <-f.ended:
					t.Fatalf("it ended: %v", f.err)
				}
			}
		})
	}
}

// Message.Cursor is where another Follow may begin.
func TestMessageCursor(t *testing.T) {
	t.Parallel()
	s := newScript(t, says(row, row, loaded, added, subscribed, added, `{"type":"typing","channel":"a","data":{}}`))
	f := follow(t, &tidings.Client{URL: s.URL}, tidings.Options{Channels: []string{"a"}, Rows: true})
	for _, want := range []struct {
		kind   tidings.Kind
		cursor string
	}{{tidings.Rows, ""}, {tidings.Event, ""}, {tidings.Live, "c-subscribed"}, {tidings.Event, "c-event"}, {tidings.Signal, "c-event"}} {
		if m := f.expect(want.kind); m.Cursor != want.cursor {
			t.Errorf("%s has the cursor %q, want %q", m.Kind, m.Cursor, want.cursor)
		}
	}
}

// After a goodbye, the client does what the protocol's table says.
func TestGoodbyes(t *testing.T) {
	t.Parallel()
	for code, comesBack := range map[int]bool{
		1000: true, 1001: true, 1002: false, 1007: false, 1009: true, 1011: true,
		4000: true, 4001: true, 4002: false, 4003: false, 4004: false, 4005: true, 4006: false, 4007: true, 4999: true,
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			s := newScript(t, says(subscribed, code), says(subscribed))
			f := follow(t, &tidings.Client{URL: s.URL, Backoff: quick}, tidings.Options{Channels: []string{"a"}})
			f.expect(tidings.Live)
			if comesBack {
				f.expect(tidings.Live)
				return
			}
			var bye *tidings.Goodbye
			if err := f.end(); !errors.As(err, &bye) || bye.Code != code || bye.Reason != "why" {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// A service that stops, and says so to a connection that has held, is come back to at once, and that is no failure. One that says so
// to each as soon as it is there is not.
func TestMoving(t *testing.T) {
	t.Parallel()
	stops := func(ws *websocket.Conn) {
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, "shutdown: the server is stopping"), time.Now().Add(patience))
	}
	for _, held := range []bool{true, false} {
		backoff := tidings.Backoff{Min: time.Minute, Max: time.Hour}
		if held {
			backoff.Min = time.Millisecond
		}
		s := newScript(t, func(ws *websocket.Conn) {
			_ = ws.WriteMessage(websocket.TextMessage, []byte(subscribed))
			if held {
				<-time.After(100 * time.Millisecond)
			}
			stops(ws)
		})
		left := make(chan *tidings.Disconnected, 1000)
		follow(t, &tidings.Client{URL: s.URL, Backoff: backoff}, tidings.Options{Channels: []string{"a"}, OnState: func(_ tidings.State, err error) {
			if d, ok := errors.AsType[*tidings.Disconnected](err); ok {
				left <- d
			}
		}})
		for range map[bool]int{true: 3, false: 1}[held] {
			d := <-left
			if bye, ok := errors.AsType[*tidings.Goodbye](d.Err); !ok || bye.Code != 1001 {
				t.Fatalf("held %v: it was left for %v", held, d.Err)
			}
			if held && (d.Attempt != 0 || d.Wait > time.Millisecond) || !held && (d.Attempt != 1 || d.Wait < 30*time.Second) {
				t.Errorf("held %v: it is attempt %d, after %s", held, d.Attempt, d.Wait)
			}
		}
	}
}

// A service that was one is waited for, whatever answers in its place meanwhile.
func TestAnotherInItsPlace(t *testing.T) {
	t.Parallel()
	s := newScript(t, says(subscribed, "cut"), says("nonsense"), says(`{"a":"page"`), says(subscribed))
	f := follow(t, &tidings.Client{URL: s.URL, Backoff: quick}, tidings.Options{Channels: []string{"a"}})
	f.expect(tidings.Live)
	f.expect(tidings.Live)
}

// While the loop is busy, the service hears that the client is there.
func TestBusyLoop(t *testing.T) {
	t.Parallel()
	alive := make(chan struct{})
	s := newScript(t, func(ws *websocket.Conn) {
		pongs := 0
		ws.SetPongHandler(func(string) error {
			if pongs++; pongs == 3 {
				close(alive)
			}
			return nil
		})
		says(subscribed, added, added, added, added)(ws)
	})
	c := &tidings.Client{URL: s.URL, Heartbeat: tidings.Heartbeat{After: 40 * time.Millisecond, Timeout: patience}}
	events := 0
	for m, err := range c.Follow(t.Context(), tidings.Options{Channels: []string{"a"}, Buffer: 1}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case m.Kind == tidings.Live:
			<-alive
		default:
			events++
		}
		if events == 4 {
			break
		}
	}
	if len(s.asked) != 1 {
		t.Errorf("there were %d connections", len(s.asked))
	}
}

// A quiet connection is asked whether it is there, and not given up as long as it answers.
func TestQuietConnection(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	s := newScript(t, func(ws *websocket.Conn) {
		pings := 0
		answer := ws.PingHandler()
		ws.SetPingHandler(func(text string) error {
			if pings++; pings == 5 {
				close(asked)
			}
			return answer(text)
		})
		says(subscribed)(ws)
	})
	f := follow(t, &tidings.Client{URL: s.URL, Heartbeat: tidings.Heartbeat{After: 20 * time.Millisecond, Timeout: patience}}, tidings.Options{Channels: []string{"a"}})
	f.expect(tidings.Live)
	<-asked
	if len(s.asked) != 1 {
		t.Errorf("there were %d connections", len(s.asked))
	}
}
