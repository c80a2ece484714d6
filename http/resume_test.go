package http_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tidings/realtime"
)

// Every cursor that was said is exact, also those in the middle of a statement's rows: what follows it is what followed.
func TestEveryCursorResumes(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	// One instance has the events in memory; the other must read the log, and so little at a time that a read is cut off.
	s := start(t, d.url, options{})
	reading := start(t, d.url, options{hub: realtime.Options{RecentBytes: 1, QueueBytes: 600}})
	c := s.dial("messages", "comments")

	d.message("first")
	d.exec(`with m as (insert into messages (author_id, title, content) select 1, 'one of four', '' from generate_series(1, 4) returning id)
		insert into comments (message_id, author_id, content) select 1, 1, 'one of three' from generate_series(1, 3)`)
	d.exec(`update messages set title = title || '!'`)
	d.exec(`delete from comments`)
	d.message("last")
	var frames []frame
	for len(frames) == 0 || frames[len(frames)-1].row(t).Title != "last" {
		frames = append(frames, c.next())
	}
	if want := 1 + 4 + 3 + 5 + 3 + 1; len(frames) != want {
		t.Fatalf("%d events came, want %d", len(frames), want)
	}

	for name, instance := range map[string]*service{"the same instance": s, "another": reading} {
		for i, from := range frames {
			byQuery := instance.dialQuery(url.Values{"channel": {"comments", "messages"}, "since": {from.Cursor}}.Encode())
			byCommand := instance.dialQuery("")
			byCommand.subscribe("messages", from.Cursor)
			for _, f := range frames[i+1:] {
				if got := byQuery.next(); got.ID != f.ID || string(got.Data) != string(f.Data) || got.Type != f.Type || got.At != f.At {
					t.Fatalf("after event %d, from %s: got %s, want %s", i, name, got.text, f.text)
				}
				if strings.HasPrefix(f.Type, "message_") {
					if got := byCommand.next(); got.ID != f.ID {
						t.Fatalf("after event %d, from %s, by command: got %s, want %s", i, name, got.text, f.text)
					}
				}
			}
			byQuery.expect("subscribed")
			byQuery.expect("subscribed")
			byCommand.expect("subscribed")
		}
	}
}

// A client that keeps nothing but the last cursor it saw gets everything exactly once and in order, however often it
// loses its connection, and to whichever instance it comes back.
func TestResumeAfterRandomDisconnects(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.message("commented")
	instances := []*service{
		start(t, d.url, options{}),
		start(t, d.url, options{hub: realtime.Options{RecentBytes: 20_000, QueueBytes: 5_000}}),
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)

	const writers, writes = 6, 60
	ctx := t.Context()
	begun := make(chan struct{})
	var first sync.WaitGroup // the clients' first connections
	var writing errgroup.Group
	for w := range writers {
		random := rand.New(rand.NewPCG(seed, uint64(w)))
		writing.Go(func() error {
			<-begun
			for n := range writes {
				if err := writeSome(ctx, d, random, w, n); err != nil {
					return fmt.Errorf("writer %d: %w", w, err)
				}
			}
			return nil
		})
	}

	const clients = 8
	got := make([][]string, clients)
	var reading errgroup.Group
	first.Add(clients)
	for n := range clients {
		random := rand.New(rand.NewPCG(seed, uint64(100+n)))
		reading.Go(func() error {
			var err error
			got[n], err = followWithBreaks(ctx, instances, random, first.Done)
			return err
		})
	}
	first.Wait()
	close(begun)
	if err := writing.Wait(); err != nil {
		t.Fatal(err)
	}
	// Two, so that whoever was told of the first and lost its connection then still hears of the end.
	d.message("the end")
	if err := reading.Wait(); err != nil {
		t.Fatal(err)
	}

	want := query[[]string](d, `select array_agg(title order by id) from messages where title like 'w%'`)
	want = append(want, query[[]string](d, `select array_agg(content order by id) from comments`)...)
	slices.Sort(want)
	for n := range got {
		// What a writer wrote later comes later.
		last := make(map[string]string)
		for _, text := range got[n] {
			writer, number, _ := strings.Cut(text, " ")
			if number <= last[writer] {
				t.Errorf("client %d: %s comes after %s of the same writer", n, number, last[writer])
			}
			last[writer] = number
		}
		slices.Sort(got[n])
		if !slices.Equal(got[n], want) {
			missing, twice := difference(want, got[n])
			t.Errorf("client %d got %d events of %d; it lacks %q, and has too many of %q", n, len(got[n]), len(want), missing, twice)
		}
	}
}

// writeSome writes one or some rows, in a transaction that may stay open while others come and go, or be rolled back.
func writeSome(ctx context.Context, d *database, random *rand.Rand, writer, n int) error {
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	rows := 1
	if random.IntN(4) == 0 {
		rows = 1 + random.IntN(20)
	}
	const insertMessages = `insert into messages (author_id, title, content)
		select 1, format('w%s %s', $1::int, to_char($2::int * 1000 + i, 'FM000000')), repeat('x', $4) from generate_series(1, $3::int) as i`
	const insertComments = `insert into comments (message_id, author_id, content)
		select 1, 1, format('w%s %s', $1::int, to_char($2::int * 1000 + 500 + i, 'FM000000')) from generate_series(1, $3::int) as i`
	if _, err := tx.Exec(ctx, insertMessages, writer, n, rows, random.IntN(400)); err != nil {
		return err
	}
	if random.IntN(3) == 0 {
		if _, err := tx.Exec(ctx, `select pg_sleep($1)`, random.Float64()/20); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, insertComments, writer, n, 1+rows/3); err != nil {
		return err
	}
	if random.IntN(10) == 0 {
		return nil
	}
	return tx.Commit(ctx)
}

// followWithBreaks follows messages and comments until the end, on one connection after another, and returns the rows.
func followWithBreaks(ctx context.Context, instances []*service, random *rand.Rand, connected func()) ([]string, error) {
	var got []string
	cursor := ""
	for once := true; ; {
		values := url.Values{"channel": {"messages", "comments"}}
		if cursor != "" {
			values.Set("since", cursor)
		}
		ws, err := instances[random.IntN(len(instances))].connect(ctx, values.Encode())
		if err != nil {
			return got, err
		}
		for budget := random.IntN(120); budget > 0 || once; budget-- {
			f, err := readFrame(ws)
			if err != nil {
				return got, errors.Join(err, ws.Close())
			}
			if f.Cursor != "" {
				cursor = f.Cursor
			}
			switch {
			case f.Type == "subscribed" && once:
				once = false
				connected()
			case f.Type == "message_added" || f.Type == "comment_added":
				var r row
				if err := unmarshal(f, &r); err != nil {
					return got, err
				}
				if r.Title == "the end" {
					return got, ws.Close()
				}
				if text := r.Title + r.Content; strings.HasPrefix(text, "w") {
					got = append(got, strings.TrimRight(text, "x"))
				}
			case f.Type != "subscribed":
				return got, errors.Join(fmt.Errorf("got %s", f.text), ws.Close())
			}
		}
		// Gone, without a word.
		if err := ws.NetConn().Close(); err != nil {
			return got, err
		}
	}
}

// difference returns what only one of two sorted lists has.
func difference(want, got []string) (missing, extra []string) {
	count := make(map[string]int)
	for _, s := range want {
		count[s]++
	}
	for _, s := range got {
		count[s]--
	}
	for s, n := range count {
		switch {
		case n > 0:
			missing = append(missing, s)
		case n < 0:
			extra = append(extra, s)
		}
	}
	slices.Sort(missing)
	slices.Sort(extra)
	return missing, extra
}

func TestReset(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	other := newDatabase(t)
	s := start(t, d.url, options{hub: realtime.Options{RecentBytes: 1}}) // nothing is kept in memory

	expired := query[string](d, `select tidings.cursor()`)
	d.message("forgotten")
	eventually(t, "no transaction is open that began before", func() bool {
		return query[bool](d, `select pg_snapshot_xmin(pg_current_snapshot()) > all (array_agg(xid)) from tidings.log`)
	})
	for i := range 7 {
		if !query[bool](d, `select tidings.rotate(true)`) {
			t.Fatal("the log was not rotated")
		}
		if i == 0 {
			d.message("kept") // and the service, which has read it, lacks nothing
			eventually(t, "the service has read it", func() bool {
				_, body := s.readyz()
				return body.Events.Read == 4 // and the activity
			})
		}
	}
	now := query[string](d, `select tidings.cursor()`)
	origin, position, _ := strings.Cut(now, "-")
	var xid uint64
	if _, err := fmt.Sscanf(position, "%d", &xid); err != nil {
		t.Fatal(err)
	}
	future := fmt.Sprintf("%s-%d", origin, xid+1_000_000)

	for _, c := range []struct{ name, cursor, reason string }{
		{"nonsense", "nonsense", "malformed"},
		{"a number", "17", "malformed"},
		{"another grammar", origin + "-1:2:3:4:5", "malformed"},
		{"an order that cannot be", origin + "-100:1:7", "malformed"},
		{"too large a number", origin + "-99999999999999999999", "malformed"},
		{"injection", origin + "-1'; drop table messages; --", "malformed"},
		{"a middle without an end", origin + "-1-2", "malformed"},
		{"overlong", origin + "-" + strings.Repeat("1", 20_000), "malformed"},
		{"of another database", query[string](other, `select tidings.cursor()`), "foreign"},
		{"of the future", future, "future"},
		{"forgotten", expired, "expired"},
		{"the first of all", origin + "-3", "expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.in(t)
			byQuery := s.dialQuery(url.Values{"channel": {"messages", "comments"}, "since": {c.cursor}}.Encode())
			byCommand := s.dialQuery("")
			byCommand.subscribe("messages", c.cursor)
			added := s.dial("comments")
			added.subscribe("messages", c.cursor)
			for _, channels := range []struct {
				c    *client
				want []string
			}{{byQuery, []string{"messages", "comments"}}, {byCommand, []string{"messages"}}, {added, []string{"messages"}}} {
				for _, channel := range channels.want {
					if f := channels.c.expect("reset"); f.Reason != c.reason || f.Channel != channel || f.Message == "" || f.Cursor != "" {
						t.Errorf("got %s, want a reset of %s because of %s", f.text, channel, c.reason)
					}
				}
				for _, channel := range channels.want {
					if f := channels.c.expect("subscribed"); f.Channel != channel || f.Cursor == "" {
						t.Errorf("got %s, want %s subscribed", f.text, channel)
					}
				}
			}
			title := fmt.Sprintf("after %s", c.name)
			d.message(title)
			byQuery.expectRow("message_added", title)
			byCommand.expectRow("message_added", title)
			added.expectRow("message_added", title)
		})
	}
}

// A client that loads rows together with their cursor, and follows from there, has no gap and no overlap.
func TestLoadThenFollow(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers errgroup.Group
	for w := range 3 {
		writers.Go(func() error {
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := d.pool.Exec(t.Context(), `insert into messages (author_id, title, content) values (1, $1, '')`,
					fmt.Sprintf("w%d %d", w, i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range 10 {
		var cursor string
		var titles []string
		err := d.pool.QueryRow(ctx, `select tidings.cursor(), coalesce(array_agg(title), '{}') from messages`).Scan(&cursor, &titles)
		if err != nil {
			t.Fatal(err)
		}
		c := s.dialQuery(url.Values{"channel": {"messages"}, "since": {cursor}}.Encode())
		for n := 0; n < 50; {
			if f := c.next(); f.Type == "message_added" {
				titles = append(titles, f.row(t).Title)
				n++
			}
		}
		if err := c.ws.Close(); err != nil {
			t.Error(err)
		}
		// A writer's rows were written one after another: those that are seen have no gap.
		seen := make(map[string]bool)
		count := make(map[string]int)
		for _, title := range titles {
			if seen[title] {
				t.Fatalf("message %q was seen twice", title)
			}
			seen[title] = true
			writer, _, _ := strings.Cut(title, " ")
			count[writer]++
		}
		for writer, n := range count {
			for i := range n {
				if title := fmt.Sprintf("%s %d", writer, i); !seen[title] {
					t.Fatalf("message %q is missing", title)
				}
			}
		}
	}
	stop()
	if err := writers.Wait(); err != nil {
		t.Error(err)
	}
}

// A channel that is added with a cursor of its own is told its past, and the others nothing twice.
func TestAddChannelWithPast(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for _, instance := range []options{{}, {hub: realtime.Options{RecentBytes: 1, QueueBytes: 600}}} {
		d.exec(`truncate messages, comments restart identity`)
		s := start(t, d.url, instance)
		start := query[string](d, `select tidings.cursor()`)
		c := s.dial("messages:1")
		witness := s.dial("comments")
		for i := range 30 {
			id := d.message(fmt.Sprintf("message %d", i))
			d.comment(id, fmt.Sprintf("comment %d", i))
			witness.expectRow("comment_added", fmt.Sprintf("comment %d", i)) // then it is the past for the service too
		}
		c.expectRow("message_added", "message 0")
		c.subscribe("comments", start)
		c.subscribe("messages", start)
		for i := range 30 {
			c.expectRow("comment_added", fmt.Sprintf("comment %d", i))
		}
		if f := c.expect("subscribed"); f.Channel != "comments" {
			t.Errorf("got %s", f.text)
		}
		for i := 1; i < 30; i++ { // the first has been told
			c.expectRow("message_added", fmt.Sprintf("message %d", i))
		}
		if f := c.expect("subscribed"); f.Channel != "messages" {
			t.Errorf("got %s", f.text)
		}
		d.message("live")
		c.expectRow("message_added", "live")
		_ = c.ws.Close()
		s.end()
	}
}

// A subscriber from the past, while the present goes on, is told everything in order.
func TestCatchUpWhileWriting(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{hub: realtime.Options{RecentBytes: 10_000, QueueBytes: 10_000}})
	beginning := query[string](d, `select tidings.cursor()`)
	d.exec(`insert into messages (author_id, title, content) select 1, 'past ' || i, repeat('x', 200) from generate_series(1, 2000) as i`)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	done := make(chan struct{})
	var writer errgroup.Group
	written := 0
	writer.Go(func() error {
		for ; ; written++ {
			select {
			case <-done:
				return nil
			default:
			}
			if _, err := d.pool.Exec(ctx, `insert into messages (author_id, title, content) values (1, 'present', '')`); err != nil {
				return err
			}
		}
	})
	c := s.dialQuery(url.Values{"channel": {"messages"}, "since": {beginning}}.Encode())
	last, n := int64(0), 0
	for subscribed := false; !subscribed || n < 2100; {
		f := c.next()
		if f.Type == "subscribed" {
			subscribed = true
			continue
		}
		if id := f.row(t).ID; id != last+1 {
			t.Fatalf("message %d came after %d", id, last)
		}
		last++
		n++
	}
	close(done)
	if err := writer.Wait(); err != nil {
		t.Fatal(err)
	}
	for ; n < 2000+written; n++ {
		if id := c.expect("message_added").row(t).ID; id != last+1 {
			t.Fatalf("message %d came after %d", id, last)
		}
		last++
	}
}

func TestManyComeBackAtOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{hub: realtime.Options{RecentBytes: 1000, QueueBytes: 2000, Readers: 2}})
	beginning := query[string](d, `select tidings.cursor()`)
	witness := s.dial("messages")
	for i := range 40 {
		d.message(fmt.Sprintf("message %d", i))
		witness.expectRow("message_added", fmt.Sprintf("message %d", i)) // then it is the past for the service too
	}
	var group errgroup.Group
	for range 100 {
		group.Go(func() error {
			ws, err := s.connect(t.Context(), url.Values{"channel": {"messages"}, "since": {beginning}}.Encode())
			if err != nil {
				return err
			}
			defer ws.Close()
			for i := range 40 {
				f, err := readFrame(ws)
				var r row
				if err == nil {
					err = unmarshal(f, &r)
				}
				if want := fmt.Sprintf("message %d", i); err != nil || r.Title != want {
					return fmt.Errorf("got %s, want %s: %w", f.text, want, err)
				}
			}
			f, err := readFrame(ws)
			if err != nil || f.Type != "subscribed" {
				return fmt.Errorf("got %s: %w", f.text, err)
			}
			return nil
		})
	}
	begun := time.Now()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("100 clients were fed 40 events each from the log in %s", time.Since(begun))
}
