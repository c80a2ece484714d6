package http_test

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
	"tidings/realtime"
)

// Whatever a client says wrong is answered by its code, and the connection goes on.
func TestMistakes(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table private (id int primary key)`)
	d.exec(`select tidings.watch('private')`)
	d.exec(`create table keyless (n int)`)
	d.exec(`select tidings.watch('keyless', read => 'public')`)
	const limit = 1024
	s := start(t, d.url, options{server: tidingshttp.Options{MaxFrame: limit}, hub: realtime.Options{MaxChannels: 4}})

	c := s.dial("messages", "comments:1", "comments:2")
	n := 0
	for _, m := range []struct{ name, command, code, channel, message string }{
		{"unknown channel", `{"type":"subscribe","channel":"nothing"}`, "unknown_channel", "nothing", "no table is watched"},
		{"key of a keyless topic", `{"type":"subscribe","channel":"keyless:1"}`, "unknown_channel", "keyless:1", "have no key"},
		{"forbidden", `{"type":"subscribe","channel":"private"}`, "forbidden", "private", "not public"},
		{"forbidden key", `{"type":"subscribe","channel":"private:1"}`, "forbidden", "private:1", "not public"},
		{"forbidden switch", `{"type":"switch","channel":"private"}`, "forbidden", "private", "not public"},
		{"empty", ``, "bad_json", "", "too early"},
		{"cut off", `{"type":`, "bad_json", "", "too early"},
		{"malformed", `{type:"subscribe"}`, "bad_json", "", "not JSON"},
		{"not JSON", `subscribe messages`, "bad_json", "", "not JSON"},
		{"array", `[{"type":"subscribe"}]`, "bad_json", "", "is a JSON object, not an array"},
		{"string", `"subscribe"`, "bad_json", "", "is a JSON object, not a string"},
		{"number", `1`, "bad_json", "", "is a JSON object, not a number"},
		{"boolean", `true`, "bad_json", "", "is a JSON object, not a bool"},
		{"null", `null`, "bad_json", "", "JSON object"},
		{"type is a number", `{"type":1}`, "bad_json", "", `"type" is a string, not a number`},
		{"channel is an array", `{"type":"subscribe","channel":["messages"]}`, "bad_json", "", `"channel" is a string, not an array`},
		{"since is an object", `{"type":"subscribe","channel":"comments:3","since":{}}`, "bad_json", "", `"since" is a string, not an object`},
		{"channels is a string", `{"type":"subscribe","channels":"comments:3"}`, "bad_json", "", `"channels" is an array of strings, not a string`},
		{"channels has a number", `{"type":"subscribe","channels":["comments:3",4]}`, "bad_json", "", `each of the command's "channels" is a string, not a number`},
		{"snapshot is a string", `{"type":"subscribe","channel":"comments:3","snapshot":"true"}`, "bad_json", "", `"snapshot" is a boolean, not a string`},
		{"channel and channels", `{"type":"subscribe","channel":"comments:3","channels":["comments:4"]}`, "bad_json", "", "one of them"},
		{"no channels at all", `{"type":"subscribe","channels":[]}`, "bad_channel", "", `"channels" are empty`},
		{"null for channels", `{"type":"subscribe","channels":null}`, "bad_channel", "", `"channels", is missing`},
		{"a channel of several is no name", `{"type":"subscribe","channels":["comments:3","a:"]}`, "bad_channel", "", `"channels"[1]: channel "a:" has no key`},
		{"a channel of several is empty", `{"type":"subscribe","channels":["comments:3",""]}`, "bad_channel", "", `"channels"[1]: the channel's name is missing`},
		{"unsubscribe from several", `{"type":"unsubscribe","channels":["messages"]}`, "bad_json", "", `"unsubscribe" has no field "channels"`},
		{"switch to several", `{"type":"switch","channels":["messages"]}`, "bad_json", "", `"switch" has no field "channels"`},
		{"typing in several", `{"type":"typing","channels":["messages"]}`, "bad_json", "", `"typing" has no field "channels"`},
		{"ping with channels", `{"type":"ping","channels":[]}`, "bad_json", "", `"ping" has no field "channels"`},
		{"ping in a channel", `{"type":"ping","channel":"messages"}`, "bad_json", "", `"ping" has no field "channel"`},
		{"unsubscribe with rows", `{"type":"unsubscribe","channel":"messages","snapshot":false}`, "bad_json", "", `"unsubscribe" has no field "snapshot"`},
		{"a field in upper case", `{"type":"subscribe","Channel":"comments:3"}`, "bad_json", "", `"subscribe" has no field "Channel"`},
		{"unknown field", `{"type":"subscribe","channel":"comments:3","cursor":"x"}`, "bad_json", "", `unknown field "cursor"`},
		{"two objects", `{"type":"ping"}{"type":"ping"}`, "bad_json", "", "one command"},
		{"something behind", `{"type":"ping"} x`, "bad_json", "", "one command"},
		{"unknown command", `{"type":"publish","channel":"messages"}`, "unknown_command", "", `"publish"`},
		{"upper case", `{"type":"SUBSCRIBE","channel":"comments:3"}`, "unknown_command", "", `"SUBSCRIBE"`},
		{"no type", `{"channel":"messages"}`, "unknown_command", "", "missing"},
		{"no type, nor anything", `{}`, "unknown_command", "", "missing"},
		{"no channel", `{"type":"subscribe"}`, "bad_channel", "", "missing"},
		{"empty channel", `{"type":"unsubscribe","channel":""}`, "bad_channel", "", "missing"},
		{"colon", `{"type":"subscribe","channel":":"}`, "bad_channel", "", "topic"},
		{"no key", `{"type":"subscribe","channel":"a:"}`, "bad_channel", "", "key"},
		{"no topic", `{"type":"switch","channel":":1"}`, "bad_channel", "", "topic"},
		{"too long a name", `{"type":"subscribe","channel":"messages:` + strings.Repeat("x", 512) + `"}`, "bad_channel", "", "512"},
		{"control character", `{"type":"subscribe","channel":"mess\u0000ages"}`, "bad_channel", "", "characters"},
		{"line break", `{"type":"subscribe","channel":"messages:1\n"}`, "bad_channel", "", "characters"},
		{"C1 control character", `{"type":"subscribe","channel":"messages:\u0085"}`, "bad_channel", "", "characters"},
		{"invalid UTF-8", "{\"type\":\"subscribe\",\"channel\":\"\xff\"}", "bad_frame", "", "UTF-8"},
		{"cut off UTF-8", "\xd0", "bad_frame", "", "UTF-8"},
		{"oversized", `{"type":"ping"}` + strings.Repeat(" ", limit), "frame_too_large", "", "1024"},
		{"the largest that is read", strings.Repeat("x", 16*limit), "frame_too_large", "", "1024"},
		{"subscribed already", `{"type":"subscribe","channel":"messages"}`, "already_subscribed", "messages", "already"},
		{"not subscribed", `{"type":"unsubscribe","channel":"messages:1"}`, "not_subscribed", "messages:1", "not subscribed"},
		{"not subscribed, nor known", `{"type":"unsubscribe","channel":"nothing"}`, "not_subscribed", "nothing", "not subscribed"},
	} {
		t.Run(m.name, func(t *testing.T) {
			c := c.in(t)
			c.send(m.command)
			if f := c.expectError(m.code); f.Channel != m.channel || !strings.Contains(f.Message, m.message) || len(f.Message) > 1000 {
				t.Errorf("got %s, want channel %q and a message with %q", f.text, m.channel, m.message)
			}
			n++
			proveAlive(c, n)
		})
	}
	t.Run("binary", func(t *testing.T) {
		c := c.in(t)
		c.write(websocket.BinaryMessage, []byte(`{"type":"ping"}`))
		c.expectError("bad_frame")
		proveAlive(c, 0)
	})
	t.Run("too many channels", func(t *testing.T) {
		c := c.in(t)
		c.subscribe("comments:3", "")
		c.expect("subscribed")
		c.subscribe("comments:4", "")
		if f := c.expectError("too_many_channels"); f.Channel != "comments:4" || !strings.Contains(f.Message, "4") {
			t.Errorf("got %s", f.text)
		}
		c.command("unsubscribe", "comments:3", "")
		c.expect("unsubscribed")
		proveAlive(c, 0)

		query := url.Values{"channel": {"comments:1", "comments:2", "comments:3", "comments:4", "comments:5"}}
		c = s.in(t).dialQuery(query.Encode())
		if f := c.expectError("too_many_channels"); f.Channel != "comments:5" {
			t.Errorf("got %s", f.text)
		}
		for range 4 {
			c.expect("subscribed")
		}
	})
	t.Run("unknown parameter", func(t *testing.T) {
		c := s.in(t).dialQuery("chanel=messages")
		if f := c.expectError("bad_request"); !strings.Contains(f.Message, `"chanel"`) {
			t.Errorf("got %s", f.text)
		}
		proveAlive(c, 0)
	})
	t.Run("unreadable query", func(t *testing.T) {
		c := s.in(t).dialQuery("channel=%zz")
		c.send(`{"type":"ping"}`)
		if f := c.next(); f.Type == "pong" { // which may overtake
			c.send(`{"type":"ping"}`)
			c.expectError("bad_request")
		} else if f.Code != "bad_request" {
			t.Errorf("got %s", f.text)
		}
	})
	t.Run("bad channel in the query", func(t *testing.T) {
		c := s.in(t).dialQuery("channel=" + url.QueryEscape("messages:\x00"))
		c.expectError("bad_channel")
		proveAlive(c, 0)
	})
}

// proveAlive subscribes to a channel and leaves it again.
func proveAlive(c *client, n int) {
	c.t.Helper()
	channel := fmt.Sprintf("comments:%d", 100+n)
	c.subscribe(channel, "")
	if f := c.expect("subscribed"); f.Channel != channel {
		c.t.Fatalf("got %s, want %s subscribed", f.text, channel)
	}
	c.command("unsubscribe", channel, "")
	if f := c.expect("unsubscribed"); f.Channel != channel {
		c.t.Fatalf("got %s, want %s unsubscribed", f.text, channel)
	}
}

func TestManyBadFrames(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	c := s.dial("messages")
	// 99 in a row are borne, again and again.
	for range 3 {
		for range 99 {
			c.send(`nonsense`)
		}
		for range 99 {
			c.expectError("bad_json")
		}
		c.send(`{"type":"ping"}`)
		c.expect("pong")
	}
	for range 100 {
		c.send(`nonsense`)
	}
	for range 99 {
		c.expectError("bad_json")
	}
	c.expectGoodbye(4002, "bad_frames")

	// The goodbye also reaches who goes on talking.
	c = s.dial("messages")
	for range 20_000 {
		if err := c.ws.WriteMessage(websocket.TextMessage, []byte(`nonsense`)); err != nil {
			break // it is no longer listened to
		}
	}
	for range 99 {
		c.expectError("bad_json")
	}
	c.expectGoodbye(4002, "bad_frames")
	s.awaitConnections(0)
}

func TestFarTooLarge(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	const limit = 1024
	s := start(t, d.url, options{server: tidingshttp.Options{MaxFrame: limit}})
	for _, size := range []int{16*limit + 1, 17 * limit, 4 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c := s.in(t).dial("messages")
			// The connection may end before all is written.
			_ = c.ws.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), size))
			c.expectGoodbye(1009, "frame_too_large")
		})
	}
	s.awaitConnections(0)
}
