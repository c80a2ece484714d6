package http_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func TestSubscribeByQuery(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})

	one := s.dial("messages")
	several := s.dial("messages", "comments")
	repeated := s.dialQuery("channel=messages&channel=messages&channel=comments")
	for _, want := range []string{"messages", "comments"} {
		if f := repeated.expect("subscribed"); f.Channel != want || f.Cursor == "" {
			t.Errorf("got %s, want channel %s subscribed, with a cursor", f.text, want)
		}
	}
	none := s.dialQuery("")

	id := d.message("one")
	d.comment(id, "two")
	d.message("three")
	one.expectRow("message_added", "one")
	one.expectRow("message_added", "three")
	for _, c := range []*client{several, repeated} {
		c.expectRow("message_added", "one")
		c.expectRow("comment_added", "two")
		c.expectRow("message_added", "three")
	}
	none.send(`{"type":"ping"}`)
	if f := none.next(); f.text != `{"type":"pong"}` {
		t.Errorf("a connection without channels gets %s", f.text)
	}
}

func TestSubscribeByCommand(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	first, second := d.message("first"), d.message("second")
	s := start(t, d.url, options{})

	c := s.dial("messages")
	c.send(`{"type":"subscribe","channel":"comments:1"}`)
	if f := c.expect("subscribed"); f.Channel != "comments:1" || f.Cursor == "" {
		t.Fatalf("got %s", f.text)
	}
	d.comment(second, "not for us")
	d.comment(first, "for us")
	c.expectRow("comment_added", "for us")

	c.send(`{"type":"unsubscribe","channel":"messages"}`)
	if f := c.expect("unsubscribed"); f.text != `{"type":"unsubscribed","channel":"messages"}` {
		t.Fatalf("got %s", f.text)
	}
	d.message("left already")
	d.comment(first, "still for us")
	c.expectRow("comment_added", "still for us")

	// Who was away from a channel comes back to it as of now.
	c.send(`{"type":"subscribe","channel":"messages"}`)
	c.expect("subscribed")
	d.message("back again")
	c.expectRow("message_added", "back again")
}

func TestSwitch(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	id := d.message("first")
	s := start(t, d.url, options{})

	c := s.dial("messages", "comments")
	c.send(`{"type":"switch","channel":"comments:1"}`)
	left := []string{c.expect("unsubscribed").Channel, c.expect("unsubscribed").Channel}
	slices.Sort(left)
	if want := []string{"comments", "messages"}; !slices.Equal(left, want) {
		t.Errorf("the switch left %v, want %v", left, want)
	}
	if f := c.expect("subscribed"); f.Channel != "comments:1" {
		t.Errorf("got %s", f.text)
	}
	d.message("not for us")
	d.comment(id, "for us")
	c.expectRow("comment_added", "for us")

	// To the channel that it has: it stays, and says so.
	c.send(`{"type":"switch","channel":"comments:1"}`)
	if f := c.expect("subscribed"); f.Channel != "comments:1" {
		t.Errorf("got %s", f.text)
	}
	// To one that cannot be had: nothing is left.
	c.send(`{"type":"switch","channel":"nothing"}`)
	c.expectError("unknown_channel")
	d.comment(id, "still for us")
	c.expectRow("comment_added", "still for us")
}

func TestOneEventForSeveralChannels(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	ids := []int64{d.message("one"), d.message("two")}
	s := start(t, d.url, options{})
	c := s.dialQuery("channel=messages&channel=messages:1&channel=messages:2&channel=comments&channel=comments:1")
	for range 5 {
		c.expect("subscribed")
	}

	// Order across channels is the log's.
	var want []string
	for i := range 20 {
		id := ids[i%2]
		comment := fmt.Sprintf("comment %d", i)
		d.exec(`with m as (update messages set title = $2 where id = $1 returning id) select from m`, id, fmt.Sprintf("title %d", i))
		d.comment(id, comment)
		want = append(want, fmt.Sprintf("message_updated messages:%d title %d", id, i), fmt.Sprintf("comment_added comments:%d %s", id, comment))
	}
	for _, w := range want {
		f := c.next()
		r := f.row(t)
		if got := strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Type, f.Channel, cmp.Or(r.Title, r.Content))); got != w {
			t.Fatalf("got %q, want %q", got, w)
		}
	}
}

func TestFrames(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`update tidings.settings set max_value_bytes = 1000`)
	d.exec(`select tidings.refresh()`)
	s := start(t, d.url, options{})
	c := s.dial("messages", "comments")
	const made = `"created_at":"2026-01-02T03:04:05.678901+00:00","updated_at":"2026-01-02T03:04:05.678901+00:00"}`
	const insertMessage = `insert into messages values ($1, 1, $2, $3, '2026-01-02 03:04:05.678901Z', '2026-01-02 03:04:05.678901Z')`

	for _, step := range []struct {
		do   func()
		want string // without id, cursor and time
	}{{
		func() { d.exec(insertMessage, 5, `a "title"`, "one\ntwo \u2028 </script> Ж \U0001F600") },
		`{"type":"message_added","channel":"messages:5",…,"data":{"id":5,"author_id":1,"title":"a \"title\"",` +
			`"content":"one\ntwo ` + "\u2028" + ` </script> Ж ` + "\U0001F600" + `",` + made + `}`,
	}, {
		func() { d.exec(insertMessage, 6, "another", "") },
		`{"type":"message_added","channel":"messages:6",…,"data":{"id":6,"author_id":1,"title":"another","content":"",` + made + `}`,
	}, {
		func() {
			d.exec(`insert into comments values (7, 5, 1, 'c', '2026-01-02 03:04:05.678901Z', '2026-01-02 03:04:05.678901Z')`)
		},
		`{"type":"comment_added","channel":"comments:5",…,"data":{"id":7,"message_id":5,"author_id":1,"content":"c",` + made + `}`,
	}, {
		func() { d.exec(`update comments set message_id = 6, updated_at = created_at + interval '1 day'`) },
		`{"type":"comment_updated","channel":"comments:6",…,"moved_from":"comments:5","data":{"id":7,"message_id":6,"author_id":1,"content":"c",` +
			strings.Replace(made, `"updated_at":"2026-01-02`, `"updated_at":"2026-01-03`, 1) + `}`,
	}, {
		func() { d.exec(`delete from comments`) },
		`{"type":"comment_deleted","channel":"comments:6",…,"data":{"id":7,"message_id":6,"author_id":1,"content":"c",` +
			strings.Replace(made, `"updated_at":"2026-01-02`, `"updated_at":"2026-01-03`, 1) + `}`,
	}, {
		func() { d.exec(insertMessage, 8, "large", strings.Repeat("x", 2000)) },
		`{"type":"message_added","channel":"messages:8",…,"omitted":true,"data":null}`,
	}, {
		func() { d.exec(`truncate comments`) },
		`{"type":"comments_truncated","channel":"comments",…,"data":null}`,
	}} {
		before := time.Now().Add(-time.Second)
		step.do()
		f := c.next()
		parts := fmt.Sprintf(`"id":%q,"cursor":%q,"at":%q`, f.ID, f.Cursor, f.At)
		if got := strings.Replace(f.text, parts, "…", 1); got != step.want {
			t.Errorf("got  %s\nwant %s", got, step.want)
		}
		if !regexp.MustCompile(`^[0-9]+(-[0-9]+)?$`).MatchString(f.ID) {
			t.Errorf("the id is %q", f.ID)
		}
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9]+(:[0-9]+(:[0-9,]+)?)?$`).MatchString(f.Cursor) {
			t.Errorf("the cursor is %q", f.Cursor)
		}
		at, err := time.Parse("2006-01-02T15:04:05.000000Z", f.At)
		if err != nil || at.Before(before) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("the time is %q: %v", f.At, err)
		}
	}

	c.send(`{"type":"unsubscribe","channel":"comments"}`)
	if f := c.next(); f.text != `{"type":"unsubscribed","channel":"comments"}` {
		t.Errorf("got %s", f.text)
	}
	c.send(`{"type":"subscribe","channel":"comments:5","since":"nonsense"}`)
	if f := c.next(); f.text != `{"type":"reset","reason":"malformed","message":`+
		`"what was given as a cursor is none: load afresh; what follows begins now","channel":"comments:5"}` {
		t.Errorf("got %s", f.text)
	}
	if f := c.next(); f.text != `{"type":"subscribed","channel":"comments:5","cursor":"`+f.Cursor+`"}` || f.Cursor == "" {
		t.Errorf("got %s", f.text)
	}
	c.send(`{"type":"subscribe","channel":"nothing"}`)
	if f := c.next(); f.text != `{"type":"error","code":"unknown_channel","message":`+
		`"there is no channel \"nothing\": no table is watched as \"nothing\"","channel":"nothing"}` {
		t.Errorf("got %s", f.text)
	}
}

func TestKeyChannels(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	first, second := d.message("first"), d.message("second")
	s := start(t, d.url, options{})
	comment := d.comment(second, "of the second")
	c := s.dial("comments:1")

	d.comment(second, "not for us")
	d.exec(`update comments set content = 'not for us' where id = $1`, comment)
	d.comment(first, "for us")
	c.expectRow("comment_added", "for us")

	// A row that comes here, and one that goes from here.
	d.exec(`update comments set message_id = 1, content = 'moved here' where id = $1`, comment)
	if f := c.expectRow("comment_updated", "moved here"); f.Channel != "comments:1" || f.MovedFrom != "comments:2" {
		t.Errorf("got %s", f.text)
	}
	d.exec(`update comments set message_id = 2, content = 'moved away' where id = $1`, comment)
	if f := c.expectRow("comment_updated", "moved away"); f.Channel != "comments:2" || f.MovedFrom != "comments:1" {
		t.Errorf("got %s", f.text)
	}
	d.exec(`delete from messages where id = 2`)

	d.exec(`truncate comments`)
	if f := c.expect("comments_truncated"); f.Channel != "comments" || string(f.Data) != "null" {
		t.Errorf("got %s", f.text)
	}
	d.exec(`delete from messages where id = 1`)
	d.exec(`insert into messages (id, author_id, title, content) values (1, 1, 'again', '')`)
	d.comment(1, "the end")
	c.expectRow("comment_added", "the end")
}

// Every row committed after the cursor that comes with subscribed arrives, and nothing twice, whenever one subscribes.
func TestSubscribedIsExact(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers errgroup.Group
	for w := range 4 {
		writers.Go(func() error {
			for i := 0; ctx.Err() == nil; i++ {
				_, err := d.pool.Exec(t.Context(), `insert into messages (author_id, title, content)
					select 1, $1, '' from generate_series(1, 3)`, fmt.Sprintf("%d/%d", w, i))
				if err != nil {
					return err
				}
			}
			return nil
		})
	}

	var clients errgroup.Group
	for n := range 20 {
		clients.Go(func() error {
			query := "channel=messages"
			if n%2 == 1 {
				query = ""
			}
			ws, err := s.connect(ctx, query)
			if err != nil {
				return err
			}
			defer ws.Close()
			if query == "" {
				if err := ws.WriteMessage(1, []byte(`{"type":"subscribe","channel":"messages"}`)); err != nil {
					return err
				}
			}
			subscribed, err := readFrame(ws)
			if err != nil || subscribed.Type != "subscribed" {
				return fmt.Errorf("got %s, %w", subscribed.text, err)
			}
			got := make(map[string]bool)
			var last frame
			for len(got) < 100 {
				f, err := readFrame(ws)
				if err != nil {
					return err
				}
				if got[f.ID] {
					return fmt.Errorf("event %s came twice", f.ID)
				}
				got[f.ID], last = true, f
			}
			// What the log has between the two cursors is what came.
			rows, err := d.pool.Query(ctx, `select id from tidings.since($1) where topic = 'messages' except select id from tidings.since($2)`,
				subscribed.Cursor, last.Cursor)
			if err != nil {
				return err
			}
			defer rows.Close()
			want := 0
			for ; rows.Next(); want++ {
				var id string
				if err := rows.Scan(&id); err != nil {
					return err
				}
				if !got[id] {
					return fmt.Errorf("event %s did not come", id)
				}
			}
			if rows.Err() == nil && want != len(got) {
				return fmt.Errorf("%d events came, and the log has %d", len(got), want)
			}
			return rows.Err()
		})
	}
	if err := clients.Wait(); err != nil {
		t.Error(err)
	}
	stop()
	if err := writers.Wait(); err != nil {
		t.Error(err)
	}
}

func TestRepeatedQueryAndBadOnes(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	c := s.dialQuery("channel=nothing&channel=messages&channel=:&colour=red&since=")
	codes := make(map[string]int)
	for range 4 {
		f := c.next()
		codes[f.Type+" "+f.Code]++
	}
	want := map[string]int{"error unknown_channel": 1, "error bad_channel": 1, "error bad_request": 1, "subscribed ": 1}
	if got, wanted := mustJSON(t, codes), mustJSON(t, want); got != wanted {
		t.Errorf("got %s, want %s", got, wanted)
	}
	d.message("it works all the same")
	c.expectRow("message_added", "it works all the same")
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
