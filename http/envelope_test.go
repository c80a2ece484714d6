package http_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
)

// dialEnvelope connects to /ws/events.
func (s *service) dialEnvelope(query string) *client {
	s.t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: s.tls.Clone()}
	ws, _, err := dialer.DialContext(s.t.Context(), s.url("ws", "/ws/events?"+query), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = ws.Close() })
	return &client{t: s.t, ws: ws}
}

// On /ws/events each frame is that of /ws, but that its type is called event; commands are the same.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table lines (v text)`)
	d.exec(`select tidings.watch('lines', read => 'public')`)
	id := d.message("there before")
	s := start(t, d.url, options{server: tidingshttp.Options{PingInterval: time.Second, MaxCommandsPerSecond: noPace, CommandBurst: noPace}})
	past := query[string](d, `select tidings.cursor()`)
	plain, envelope := s.dialQuery("channel=messages&channel=nothing&colour=red"), s.dialEnvelope("channel=messages&channel=nothing&colour=red")
	cursors := 0
	// next reads a frame of the envelope as it would be on /ws. Cursors come by the clock.
	next := func() string {
		t.Helper()
		for {
			if err := envelope.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			kind, text, err := envelope.ws.ReadMessage()
			if err != nil || kind != websocket.TextMessage {
				t.Fatalf("got a frame of type %d, %v", kind, err)
			}
			rest, ok := strings.CutPrefix(string(text), `{"event":"`)
			var f struct {
				Event *string
				Type  *string
			}
			if err := json.Unmarshal(text, &f); err != nil || !ok || f.Event == nil || f.Type != nil {
				t.Fatalf("got %.1000s, %v", text, err)
			}
			if *f.Event != "cursor" {
				return `{"type":"` + rest
			}
			cursors++
		}
	}
	seen := make(map[string]bool)
	same := func(types ...string) {
		t.Helper()
		for _, typ := range types {
			f := plain.expect(typ)
			got, want := next(), f.text
			if f.Cursor != "" { // where the log is, and where a read of it began, differs from moment to moment
				var g frame
				if err := json.Unmarshal([]byte(got), &g); err != nil || g.Cursor == "" {
					t.Fatalf("got %s, %v", got, err)
				}
				got = strings.Replace(got, g.Cursor, f.Cursor, 1)
			}
			if got != want {
				t.Fatalf("got\n%.1000s\nwant\n%.1000s", got, want)
			}
			seen[typ] = true
		}
	}
	both := func(command string) {
		t.Helper()
		plain.send(command)
		envelope.send(command)
	}
	same("error", "error", "subscribed")
	d.exec(`insert into lines values ('unheard')`)
	d.exec(`update messages set title = $1 where id = $2`, `"quoted" — один`, id)
	same("message_updated")
	both(`{"type":"subscribe","channel":"comments:1"}`)
	same("subscribed")
	comment := d.comment(id, "a comment")
	same("comment_added")
	d.exec(`update comments set message_id = $1 where id = $2`, d.message("another"), comment)
	same("message_added", "comment_updated")
	both(`{"type":"ping"}`)
	same("pong")
	both(`{"type":"unsubscribe","channel":"comments:1"}`)
	same("unsubscribed")
	both(`{"event":"ping"}`)
	same("error")
	both(`nonsense`)
	same("error")
	both(`{"type":"subscribe","channel":"lines","since":"nonsense","snapshot":true}`)
	same("reset", "row", "loaded", "subscribed")
	both(`{"type":"switch","channel":"messages","snapshot":true}`)
	same("unsubscribed", "unsubscribed", "row", "row", "loaded", "subscribed")
	both(`{"type":"subscribe","channel":"comments","since":"` + past + `"}`)
	same("comment_added", "comment_updated", "subscribed")
	d.exec(`truncate messages, comments`)
	same("messages_truncated", "comments_truncated")
	for cursors == 0 { // which comes with a ping, where nothing else did
		both(`{"type":"ping"}`)
		same("pong")
	}
	if len(seen) != 13 {
		t.Errorf("only these were seen: %v", seen)
	}

	s.tell()
	envelope.expectGoodbye(websocket.CloseGoingAway, goodbyeShutdown)
	plain.readUntilGoodbye(websocket.CloseGoingAway, goodbyeShutdown)
}

// It resumes with a cursor of /ws, and the other way round.
func TestEnvelopeResumes(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	plain := s.dial("messages")
	for _, title := range []string{"one", "two", "three"} {
		d.message(title)
	}
	first := plain.expectRow("message_added", "one")
	second := plain.expectRow("message_added", "two")
	plain.expectRow("message_added", "three")
	envelope := s.dialEnvelope(url.Values{"channel": {"messages"}, "since": {first.Cursor}}.Encode())
	f := envelope.next()
	if strings.Replace(f.text, f.Cursor, second.Cursor, 1) != strings.Replace(second.text, `{"type":`, `{"event":`, 1) {
		t.Errorf("got %s, want %s", f.text, second.text)
	}
	again := s.dialQuery(url.Values{"channel": {"messages"}, "since": {f.Cursor}}.Encode())
	again.expectRow("message_added", "three")
}
