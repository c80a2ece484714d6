package http_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tidings/realtime"
)

// Several channels in one command are one request: they begin at one and the same position, as those of a URL.
func TestSubscribeToSeveral(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table private (id int primary key)`)
	d.exec(`select tidings.watch('private')`)
	id := d.message("before")
	s := start(t, d.url, options{hub: realtime.Options{MaxChannels: 3}})
	past := query[string](d, `select tidings.cursor()`)
	other := s.dial("messages", "comments")
	d.message("missed")
	d.comment(id, "missed, too")
	other.expectRow("message_added", "missed")
	other.expectRow("comment_added", "missed, too") // so the service has them

	subscribed := func(c *client, want ...string) (cursors []string) {
		t.Helper()
		var got []string
		for range want {
			f := c.expect("subscribed")
			got, cursors = append(got, f.Channel), append(cursors, f.Cursor)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("subscribed to %q, want %q", got, want)
		}
		return slices.Compact(cursors)
	}

	// From a cursor: what both missed comes in order, and no cursor goes back.
	c := s.dialQuery("")
	c.send(fmt.Sprintf(`{"type":"subscribe","channels":["messages","comments:%d","messages"],"since":%q}`, id, past))
	c.expectRow("message_added", "missed")
	c.expectRow("comment_added", "missed, too")
	if cursors := subscribed(c, fmt.Sprintf("comments:%d", id), "messages"); len(cursors) != 1 {
		t.Errorf("the channels begin at %q", cursors)
	}

	// With their rows, which are of one moment.
	c = s.dialQuery("")
	c.send(fmt.Sprintf(`{"type":"subscribe","channels":["comments:%d","messages:%d"],"snapshot":true}`, id, id))
	var loaded []string
	for len(loaded) < 2 {
		if f := c.next(); f.Type == "loaded" {
			loaded = append(loaded, f.Cursor)
		} else if f.Type != "row" {
			t.Fatalf("got %s", f.text)
		}
	}
	if loaded[0] != loaded[1] {
		t.Errorf("the rows are of %q", loaded)
	}
	subscribed(c, fmt.Sprintf("comments:%d", id), fmt.Sprintf("messages:%d", id))

	// What cannot be had is refused by name, and the others are had.
	c = s.dial("messages")
	c.send(`{"type":"subscribe","channels":["private","comments:1","messages"]}`)
	c.send(`{"type":"subscribe","channels":["nothing","comments:2","comments:3","private"]}`)
	var refused []string
	for len(refused) < 5 {
		if f := c.next(); f.Type == "error" {
			refused = append(refused, f.Code+" "+f.Channel)
		} else if f.Type != "subscribed" || f.Channel != "comments:1" {
			t.Fatalf("got %s", f.text)
		}
	}
	want := []string{
		"forbidden private", "already_subscribed messages",
		"unknown_channel nothing", "too_many_channels comments:3", "too_many_channels private", // which is not asked about
	}
	if !slices.Equal(refused, want) {
		t.Errorf("refused are %q, want %q", refused, want)
	}
	subscribed(c, "comments:2")

	// A name that is none is a mistake in the command, of which nothing is done.
	c = s.dialQuery("")
	c.send(`{"type":"subscribe","channels":["comments:1","comments:"]}`)
	if f := c.expectError("bad_channel"); !strings.Contains(f.Message, `"channels"[1]: channel "comments:" has no key`) {
		t.Errorf("got %s", f.text)
	}
	c.subscribe("comments:1", "")
	c.expect("subscribed")

	// In the envelope it is the same.
	e := s.dialEnvelope("")
	e.send(`{"type":"subscribe","channels":["comments:1","messages"]}`)
	for _, channel := range []string{"comments:1", "messages"} {
		if _, text, err := e.ws.ReadMessage(); err != nil || !strings.HasPrefix(string(text), `{"event":"subscribed","channel":"`+channel+`"`) {
			t.Errorf("got %s, %v", text, err)
		}
	}
}
