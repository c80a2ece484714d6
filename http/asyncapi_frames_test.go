package http_test

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
	"tidings/realtime"
)

// All that the server says is in the document, as what it is; and all that is in the document is said.
func TestAsyncAPIFrames(t *testing.T) {
	t.Parallel()
	d, p := crowded(t)
	d.exec(`create table private (id int primary key); select tidings.watch('private');
		create table large (id int primary key, body text); select tidings.watch('large', read => 'public');
		insert into large select i, repeat('x', 500) from generate_series(1, 100) as i;
		update tidings.settings set max_value_bytes = 1000;
		update tidings.streams set read = 'public';
		select tidings.refresh()`)
	const limit, interval = 1024, 300 * time.Millisecond
	s := start(t, d.url, options{secret: secret, hub: realtime.Options{MaxChannels: 5, QueueBytes: 20_000}, server: tidingshttp.Options{
		MaxFrame: limit, PingInterval: interval, PongTimeout: 10 * patience, MaxConnectionsPerUser: 8, CompressMinBytes: 1,
	}})
	seen := new(sightings)
	now := query[string](d, `select tidings.cursor()`)
	origin, _, _ := strings.Cut(now, "-")

	t.Run("events", func(t *testing.T) {
		s, d := s.in(t), d.in(t)
		all := s.listenAll(seen, channels([]string{"messages", "comments", "activity"}))
		for _, l := range all {
			l.await("subscribed", "subscribed", "subscribed")
		}
		d.exec(`insert into messages (author_id, title, content) values (1, 'one', ''), (1, 'too large', repeat('x', 2000))`)
		d.exec(`update comments set message_id = 1 where message_id <> 1`)
		d.exec(`delete from comments where id = 1`)
		d.exec(`truncate comments cascade`)
		for _, l := range all {
			l.await("changed", "changed omitted", "changed moved", "changed", "told", "truncated")
		}
		d.exec(`select tidings.broadcast('messages', 'announcement', '["Back in five minutes"]')`)
		for _, l := range all {
			l.await("told")
		}
		d.exec(`select tidings.broadcast('messages', 'wave', '5', kept => false)`)
		for _, l := range all {
			l.await("toldNow")
		}
		typist := s.listen(seen, "ws", channels([]string{"comments:1"}, "token", token(t, "1", time.Hour)))
		typist.await("subscribed")
		typist.send(`{"type":"typing","channel":"comments:1"}`)
		for _, l := range all {
			l.await("typing")
		}
		d.exec(`insert into private values (1)`) // so that there is something new elsewhere
		for _, l := range all[:2] {              // of a stream, it is no frame
			l.await("cursor")
		}
	})

	t.Run("rows", func(t *testing.T) {
		s, d := s.in(t), d.in(t)
		p.Arrive("1")
		d.awaitOnline(1)
		all := s.listenAll(seen, channels([]string{"presence", "messages", "large"}, "snapshot", "true"))
		for _, l := range all {
			refused := "error snapshot_too_large"
			if l.stream != nil {
				refused = "streamError snapshot_too_large"
			}
			l.await(refused, "row", "loaded", "row", "row omitted", "loaded", "subscribed", "subscribed")
		}
		p.Arrive("2")
		d.awaitOnline(2)
		p.Leave("2")
		for _, l := range all {
			l.await("presence user_online", "presence user_offline")
		}
	})

	t.Run("resets", func(t *testing.T) {
		s := s.in(t)
		other := newDatabase(t)
		forgetful := start(t, other.url, options{hub: realtime.Options{RecentBytes: 1}})
		expired := query[string](other, `select tidings.cursor()`)
		other.message("forgotten")
		eventually(t, "no transaction is open that began before", func() bool {
			return query[bool](other, `select pg_snapshot_xmin(pg_current_snapshot()) > all (array_agg(xid)) from tidings.log`)
		})
		for range 7 {
			if !query[bool](other, `select tidings.rotate(true)`) {
				t.Fatal("the log was not rotated")
			}
		}
		for _, r := range []struct {
			of             *service
			cursor, reason string
		}{{s, "nonsense", "malformed"}, {s, expired, "foreign"}, {s, origin + "-99999999", "future"}, {forgetful, expired, "expired"}} {
			for _, l := range r.of.listenAll(seen, channels([]string{"messages"}, "since", r.cursor)) {
				l.await("reset "+r.reason, "subscribed")
			}
		}
	})

	t.Run("mistakes in the URL", func(t *testing.T) {
		s := s.in(t)
		names := []string{"messages", "nothing", "private", ":", "comments:1", "comments:2", "comments:3", "comments:4", "comments:5"}
		for _, l := range s.listenAll(seen, channels(names, "colour", "red")) {
			refused := "error "
			if l.stream != nil {
				refused = "streamError "
			}
			l.await(refused+"bad_request", refused+"bad_channel", refused+"unknown_channel", refused+"forbidden", refused+"too_many_channels", "subscribed")
		}
	})

	for range 8 {
		s.dialAs(token(t, "3", time.Hour))
	}
	for _, channel := range endpoints[:2] {
		t.Run("commands on "+channel, func(t *testing.T) {
			s, d := s.in(t), d.in(t)
			l := s.listen(seen, channel, channels([]string{"messages"}))
			l.await("subscribed")
			l.write(websocket.BinaryMessage, []byte(`{"type":"ping"}`))
			l.await("error bad_frame")
			for _, c := range []struct{ command, answer string }{
				{`nonsense`, "error bad_json"},
				{strings.Repeat(" ", limit+1), "error frame_too_large"},
				{`{"type":"publish"}`, "error unknown_command"},
				{`{"type":"authenticate","token":""}`, "error bad_request"},
				{`{"type":"authenticate","token":"x"}`, "error unauthenticated"},
				{`{"type":"authenticate","token":"` + token(t, "3", time.Hour) + `"}`, "error too_many_connections_of_user"},
				{`{"type":"subscribe","channel":":"}`, "error bad_channel"},
				{`{"type":"subscribe","channel":"messages"}`, "error already_subscribed"},
				{`{"type":"unsubscribe","channel":"comments"}`, "error not_subscribed"},
				{`{"type":"subscribe","channel":"private"}`, "error forbidden"},
				{`{"type":"subscribe","channels":["comments:1","comments:2"]}`, "subscribed"},
				{`{"type":"unsubscribe","channel":"comments:1"}`, "unsubscribed"},
				{`{"type":"switch","channel":"comments:3","snapshot":true}`, "loaded"},
				{`{"type":"ping"}`, "pong"},
				{`{"type":"authenticate","token":"` + token(t, "1", time.Hour) + `"}`, "authenticated"},
			} {
				l.send(c.command)
				l.await(c.answer)
			}
			d.exec(`alter table tidings.settings rename signals to gone`)
			l.send(`{"type":"typing","channel":"comments:3"}`)
			l.await("error unavailable")
			d.exec(`alter table tidings.settings rename gone to signals`)
			for range 20 { // more than at once
				l.send(`{"type":"typing","channel":"comments:3"}`)
			}
			l.await("error rate_limited")
			if err := l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			l.awaitGoodbye(1000, "")
		})
	}

	t.Run("goodbyes", func(t *testing.T) {
		s, d := s.in(t), d.in(t)
		messages := func(token string) []*listener {
			t.Helper()
			all := s.listenAll(seen, channels([]string{"messages"}, "token", token))
			for _, l := range all {
				l.await("subscribed")
			}
			return all
		}
		short := messages(token(t, "1", 15*time.Second))
		for _, end := range []struct {
			how, reason string
			code        int
		}{{`select tidings.disconnect('2')`, "disconnected", 4005}, {`select tidings.revoke('2')`, "revoked", 4004}} {
			all := messages(tokenOf(t, "2", time.Hour, nil))
			d.exec(end.how)
			for _, l := range all {
				l.awaitGoodbye(end.code, end.reason)
			}
		}
		for _, channel := range endpoints[:2] {
			s.listen(seen, channel, channels(nil, "token", token(t, "3", time.Hour))).awaitGoodbye(4007, "too_many_connections_of_user")
			l := s.listen(seen, channel, "")
			for range 100 {
				l.send(`nonsense`)
			}
			l.awaitGoodbye(4002, "bad_frames")
			l = s.listen(seen, channel, "")
			l.send(strings.Repeat(" ", 16*limit+1))
			l.awaitGoodbye(1009, "frame_too_large")
		}
		for _, l := range short {
			l.await("tokenExpiring")
			l.awaitGoodbye(4003, "token_expired")
		}
		page, response, err := websocket.DefaultDialer.DialContext(t.Context(), s.url("ws", "/ws?token=x"), http.Header{"Origin": {"http://" + s.addr}})
		if err != nil {
			t.Fatal(err, response)
		}
		defer page.Close()
		l := &listener{t: t, channel: "ws", said: asyncAPIDocument(t).Channels["ws"].said, seen: seen, client: &client{t: t, ws: page}}
		l.awaitGoodbye(4006, "unauthenticated")

		raw := s.dialRaw("/ws")
		raw.write([]byte{0xC0 | opText, 0x80, 1, 2, 3, 4})
		raw.expectClose(1002, "protocol: ")
		raw = s.dialRaw("/ws", offer)
		raw.write(deflatedFrame(true, opText, nil))
		raw.expectClose(1007, "corrupt: ")
		silent := start(t, d.url, options{server: tidingshttp.Options{PingInterval: interval, PongTimeout: interval}})
		silent.dialRaw("/ws").expectClose(4000, "silent: ")
		seen.add("goodbye 1002 protocol", "goodbye 1007 corrupt", "goodbye 4000 silent")
	})

	t.Run("streams that are refused", func(t *testing.T) {
		refused := func(s *service, code string, header http.Header) {
			t.Helper()
			a := s.request("GET", "/events?channel=messages", with(header, "Accept", "text/event-stream"))
			_, data, _ := strings.Cut(a.body, "\ndata: ")
			l := &listener{t: t, channel: "events", said: asyncAPIDocument(t).Channels["events"].said, seen: seen}
			if label, err := l.look(data); err != nil || label != "streamError "+code {
				t.Errorf("got %q, %v, want %s: %s", label, err, code, a.body)
			}
		}
		refused(s.in(t), "too_many_connections_of_user", authorization(token(t, "3", time.Hour)))
		few := start(t, d.url, options{server: tidingshttp.Options{MaxConnections: 1}})
		few.dial("messages")
		refused(few, "too_many_connections", nil)
		few = start(t, d.url, options{server: tidingshttp.Options{MaxConnectionsPerAddress: 1}})
		few.dial("messages")
		refused(few, "too_many_connections_from_address", nil)

		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		empty := &http.Server{Handler: (&tidingshttp.Server{Hub: realtime.NewHub(nil, realtime.Options{})}).Handler()}
		served := make(chan error, 1)
		go func() { served <- empty.Serve(listener) }()
		refused(&service{t: t, addr: listener.Addr().String()}, "not_ready", nil)
		if err := empty.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})

	all := s.listenAll(seen, channels([]string{"messages"}))
	for _, l := range all {
		l.await("subscribed")
	}
	s.tell()
	for _, l := range all {
		l.awaitGoodbye(1001, "shutdown")
	}
	if t.Failed() {
		return // so something may not have been seen
	}
	seen.check(t,
		"goodbye 4001 stalled",           // takes as long as it says: TestStalledWebSocket
		"events streamError unavailable", // a database that does not answer, in the right moment
	)
}
