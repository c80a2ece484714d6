package db_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
)

// writing makes a channel with the users 1, 2 and 3, the message 1 of user 1, and the comment 1 of user 2 on it.
func writing(t *testing.T, address string) (*db.Channel, func(sql string, args ...any)) {
	t.Helper()
	c, run := channel(t, address)
	run(`insert into users (username, display_name) values ('ada', 'Ada'), ('boris', 'Борис'), ('chloe', 'Chloé')`)
	run(`insert into messages (author_id, title, content) values (1, 'title', 'content')`)
	run(`insert into comments (message_id, author_id, content) values (1, 2, 'comment')`)
	return c, run
}

func by(user int64) db.Actor { return db.Actor{UserID: user} }

var anybody = db.Actor{Anybody: true}

// Rows are written by their authors, and by whoever may act as anybody.
func TestWrite(t *testing.T) {
	t.Parallel()
	c, _ := writing(t, dbtest.Database(t))
	ctx := t.Context()
	var once db.Once
	title, content := "another title", "other content"
	for _, who := range []db.Actor{by(1), anybody} {
		m, err := c.CreateMessage(ctx, who, db.Message{AuthorID: 1, Title: "новый", Content: ""}, once)
		if err != nil || m.ID == 0 || m.AuthorID != 1 || m.Title != "новый" || m.CreatedAt.IsZero() || !m.UpdatedAt.Equal(m.CreatedAt) {
			t.Errorf("created %+v, %v", m, err)
		}
		changed, err := c.UpdateMessage(ctx, who, m.ID, &title, nil, once)
		if err != nil || changed.Title != title || changed.Content != "" || !changed.UpdatedAt.After(m.UpdatedAt) {
			t.Errorf("updated %+v, %v", changed, err)
		}
		changed, err = c.UpdateMessage(ctx, who, m.ID, nil, &content, once)
		if err != nil || changed.Title != title || changed.Content != content {
			t.Errorf("updated %+v, %v", changed, err)
		}
		said, err := c.CreateComment(ctx, who, db.Comment{MessageID: m.ID, AuthorID: 1, Content: "so"}, once)
		if err != nil || said.MessageID != m.ID || said.AuthorID != 1 || said.Content != "so" {
			t.Errorf("created %+v, %v", said, err)
		}
		corrected, err := c.UpdateComment(ctx, who, said.ID, content, once)
		if err != nil || corrected.ID != said.ID || corrected.Content != content {
			t.Errorf("updated %+v, %v", corrected, err)
		}
		if err := c.DeleteComment(ctx, who, said.ID, once); err != nil {
			t.Error(err)
		}
		if _, err := c.CreateComment(ctx, who, db.Comment{MessageID: m.ID, AuthorID: 1, Content: "so"}, once); err != nil {
			t.Error(err)
		}
		if err := c.DeleteMessage(ctx, who, m.ID, once); err != nil {
			t.Error(err)
		}
	}
	if n := ask[int](t, c, `select (select count(*) from messages)::int * 100 + (select count(*) from comments)::int`)[0]; n != 101 {
		t.Errorf("got %d messages and comments, want 101", n)
	}
}

// What is somebody else's, or is not there, is not written.
func TestWriteRefused(t *testing.T) {
	t.Parallel()
	c, _ := writing(t, dbtest.Database(t))
	ctx := t.Context()
	text := "text"
	all := func(who db.Actor, message, comment, author int64, once db.Once) map[string]error {
		errs := make(map[string]error)
		_, errs["create message"] = c.CreateMessage(ctx, who, db.Message{AuthorID: author, Title: text}, once)
		_, errs["update message"] = c.UpdateMessage(ctx, who, message, &text, nil, once)
		errs["delete message"] = c.DeleteMessage(ctx, who, message, once)
		_, errs["create comment"] = c.CreateComment(ctx, who, db.Comment{MessageID: 1, AuthorID: author, Content: text}, once)
		_, errs["update comment"] = c.UpdateComment(ctx, who, comment, text, once)
		errs["delete comment"] = c.DeleteComment(ctx, who, comment, once)
		return errs
	}
	for _, once := range []db.Once{{}, {Key: "key"}} {
		for _, who := range []db.Actor{{}, by(3), by(-1)} {
			for what, err := range all(who, 1, 1, 1, once) {
				if !errors.Is(err, db.ErrNotTheirs) {
					t.Errorf("%s by %+v: got %v", what, who, err)
				}
			}
		}
		for what, err := range all(anybody, 99, 99, 99, once) {
			var invalid *db.InvalidError
			if strings.HasPrefix(what, "create") && (!errors.As(err, &invalid) || invalid.Column != "author_id") ||
				!strings.HasPrefix(what, "create") && !errors.Is(err, db.ErrNotFound) {
				t.Errorf("%s, of nothing: got %v", what, err)
			}
		}
	}
	if got := ask[string](t, c, `select (select string_agg(title, ' ') from messages) || ' ' || (select string_agg(content, ' ') from comments)
		|| ' ' || (select count(*) from mutations)`)[0]; got != "title comment 0" {
		t.Errorf("the tables have %s", got)
	}
}

// A value that cannot be is told by its column.
func TestWriteInvalid(t *testing.T) {
	t.Parallel()
	c, _ := writing(t, dbtest.Database(t))
	ctx := t.Context()
	message := func(author int64, title, content string) func() error {
		return func() error {
			_, err := c.CreateMessage(ctx, anybody, db.Message{AuthorID: author, Title: title, Content: content}, db.Once{})
			return err
		}
	}
	comment := func(message, author int64, content string) func() error {
		return func() error {
			_, err := c.CreateComment(ctx, anybody, db.Comment{MessageID: message, AuthorID: author, Content: content}, db.Once{})
			return err
		}
	}
	long := strings.Repeat("字", 501)
	key := func(key string) func() error {
		return func() error {
			_, err := c.CreateMessage(ctx, by(1), db.Message{AuthorID: 1, Title: "title"}, db.Once{Key: key})
			return err
		}
	}
	for what, test := range map[string]struct {
		do     func() error
		column string
	}{
		"no title":             {message(1, "", ""), "title"},
		"a blank title":        {message(1, " \t\n", ""), "title"},
		"a long title":         {message(1, long, ""), "title"},
		"an author":            {message(99, "title", ""), "author_id"},
		"a NUL in a title":     {message(1, "a\x00b", ""), ""},
		"a NUL in the content": {message(1, "title", "\x00"), ""},
		"a comment of nothing": {comment(1, 1, ""), "content"},
		"a comment's author":   {comment(1, 99, "text"), "author_id"},
		"a comment's message":  {comment(99, 1, "text"), "message_id"},
		"a NUL in a comment":   {comment(1, 1, "\x00"), ""},
		"a long key":           {key(strings.Repeat("k", 201)), "key"},
		"a NUL in a key":       {key("\x00"), ""},
		"a title, later": {func() error {
			_, err := c.UpdateMessage(ctx, by(1), 1, &long, nil, db.Once{})
			return err
		}, "title"},
		"a comment, later": {func() error {
			_, err := c.UpdateComment(ctx, by(2), 1, "", db.Once{})
			return err
		}, "content"},
	} {
		var invalid *db.InvalidError
		if err := test.do(); !errors.As(err, &invalid) || invalid.Column != test.column || errors.Is(err, db.ErrUnavailable) {
			t.Errorf("%s: got %v, want one of column %q", what, err, test.column)
		}
	}
	for what, do := range map[string]func() error{
		"500 characters": message(1, long[len("字"):], ""), "200 bytes": key(strings.Repeat("k", 200)), "a long comment": comment(1, 1, strings.Repeat(long, 1000)),
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

type input struct{ Title string }

// However many ask for the same with the same key, it is done once, and all are answered.
func TestOnceAtOnce(t *testing.T) {
	t.Parallel()
	c, _ := writing(t, with(t, dbtest.Database(t), "pool_max_conns", "20"))
	for round := range transactions(t, 10) {
		once := db.Once{Key: strings.Repeat("k", round+1), Input: input{"title"}}
		ids := make([]int64, 20)
		var all sync.WaitGroup
		for n := range ids {
			all.Go(func() {
				m, err := c.CreateMessage(t.Context(), by(1), db.Message{AuthorID: 1, Title: "once"}, once)
				if err != nil || m.Title != "once" {
					t.Errorf("got %+v, %v", m, err)
				}
				ids[n] = m.ID
			})
		}
		all.Wait()
		for _, id := range ids {
			if id != ids[0] || id == 0 {
				t.Fatalf("got the ids %d", ids)
			}
		}
		if n := ask[int](t, c, `select count(*)::int from messages where title = 'once'`)[0]; n != round+1 {
			t.Fatalf("got %d rows, want %d", n, round+1)
		}
	}
}

// A key is its user's, and for one thing.
func TestOnce(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	ctx := t.Context()
	create := func(who int64, title string, once db.Once) (db.Message, error) {
		return c.CreateMessage(ctx, by(who), db.Message{AuthorID: who, Title: title}, once)
	}
	first, err := create(1, "first", db.Once{Key: "a", Input: input{"first"}})
	if err != nil {
		t.Fatal(err)
	}
	// Again: as it is now.
	run(`update messages set title = 'changed' where id = $1`, first.ID)
	again, err := create(1, "first", db.Once{Key: "a", Input: input{"first"}})
	if err != nil || again.ID != first.ID || again.Title != "changed" {
		t.Errorf("got %+v, %v, want it changed", again, err)
	}

	// Something else.
	if m, err := create(1, "other", db.Once{Key: "a", Input: input{"other"}}); !errors.Is(err, db.ErrKeyUsed) {
		t.Errorf("another input: got %+v, %v", m, err)
	}
	if m, err := c.CreateComment(ctx, by(1), db.Comment{MessageID: 1, AuthorID: 1, Content: "x"}, db.Once{Key: "a", Input: input{"first"}}); !errors.Is(err, db.ErrKeyUsed) {
		t.Errorf("the same input of something else: got %+v, %v", m, err)
	}
	if err := c.DeleteMessage(ctx, by(1), first.ID, db.Once{Key: "a", Input: input{"first"}}); !errors.Is(err, db.ErrKeyUsed) {
		t.Errorf("the same input of something else: got %v", err)
	}
	second, err := create(2, "other", db.Once{Key: "a", Input: input{"other"}})
	if err != nil || second.ID == first.ID || second.AuthorID != 2 {
		t.Errorf("somebody else: got %+v, %v", second, err)
	}

	// What failed was not done.
	for range 2 {
		if _, err := create(1, "", db.Once{Key: "b", Input: input{""}}); err == nil {
			t.Error("a message without a title was written")
		}
	}
	third, err := create(1, "third", db.Once{Key: "b", Input: input{"third"}})
	if err != nil || third.Title != "third" {
		t.Errorf("after a failure: got %+v, %v", third, err)
	}
	if _, err := create(1, "x", db.Once{Key: "c", Input: func() {}}); err == nil || errors.Is(err, db.ErrUnavailable) {
		t.Errorf("an input that is none: got %v", err)
	}

	// Updates and deletions.
	title, update := "updated once", db.Once{Key: "u", Input: "u"}
	for range 2 {
		if m, err := c.UpdateMessage(ctx, by(1), first.ID, &title, nil, update); err != nil || m.ID != first.ID || m.Title != title {
			t.Errorf("got %+v, %v", m, err)
		}
	}
	if n := ask[int](t, c, `select count(*)::int from tidings.log where type = 'message_updated'`)[0]; n != 2 {
		t.Errorf("%d updates were made, want 2", n)
	}
	for range 2 {
		if err := c.DeleteMessage(ctx, by(1), first.ID, db.Once{Key: "d", Input: "d"}); err != nil {
			t.Error(err)
		}
		if err := c.DeleteComment(ctx, by(2), 1, db.Once{Key: "d", Input: "d"}); err != nil {
			t.Error(err)
		}
	}
	if err := c.DeleteMessage(ctx, by(1), first.ID, db.Once{Key: "e", Input: "d"}); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("with another key: got %v", err)
	}
	if m, err := create(1, "first", db.Once{Key: "a", Input: input{"first"}}); !errors.Is(err, db.ErrGone) {
		t.Errorf("created and deleted: got %+v, %v", m, err)
	}
	if m, err := c.UpdateMessage(ctx, by(1), first.ID, &title, nil, update); !errors.Is(err, db.ErrGone) {
		t.Errorf("updated and deleted: got %+v, %v", m, err)
	}
}

// A day later, a key is any key.
func TestOnceForADay(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	create := func(key, title string) (db.Message, error) {
		return c.CreateMessage(t.Context(), by(1), db.Message{AuthorID: 1, Title: title}, db.Once{Key: key, Input: title})
	}
	old, err := create("a", "old")
	if err != nil {
		t.Fatal(err)
	}
	run(`update mutations set done_at = now() - interval '23 hours 59 minutes'`)
	if again, err := create("a", "old"); err != nil || again.ID != old.ID {
		t.Errorf("before: got %+v, %v", again, err)
	}
	run(`update mutations set done_at = now() - interval '1 day 1 second'`)
	made, err := create("a", "new")
	if err != nil || made.ID == old.ID || made.Title != "new" {
		t.Errorf("after: got %+v, %v", made, err)
	}
	if again, err := create("a", "new"); err != nil || again.ID != made.ID {
		t.Errorf("again: got %+v, %v", again, err)
	}

	// At once, too: one takes the old key, and the others find it taken.
	run(`update mutations set done_at = now() - interval '2 days'`)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := create("a", "newer"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := ask[int](t, c, `select count(*)::int from messages where title = 'newer'`)[0]; n != 1 {
		t.Errorf("got %d rows, want 1", n)
	}

	// Old ones go, a few at a time.
	run(`insert into mutations (user_id, key, digest, done_at) select 2, n, '', now() - interval '2 days' from generate_series(1, 25) n`)
	for n := range 3 {
		if left := ask[int](t, c, `select count(*)::int from mutations where user_id = 2`)[0]; left != 25-10*n {
			t.Errorf("%d old keys are left, want %d", left, 25-10*n)
		}
		if _, err := create(strings.Repeat("b", n+1), "more"); err != nil {
			t.Fatal(err)
		}
	}
	if left := ask[int](t, c, `select count(*)::int from mutations where user_id = 2`)[0]; left != 0 {
		t.Errorf("%d old keys are left", left)
	}
}

// Who loses the connection, or the time, in the middle has written nothing, and may try again with the same key.
func TestWriteCutOff(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	title, once := "cut off", db.Once{Key: "a", Input: "a"}
	update := func(ctx context.Context) error {
		_, err := c.UpdateMessage(ctx, by(1), 1, &title, nil, once)
		return err
	}
	start := func(ctx context.Context) chan error {
		result := make(chan error, 1)
		go func() { result <- update(ctx) }()
		return result
	}
	release := held(t, c, `select from messages where id = 1 for update`)
	waits := `datname = current_database() and wait_event_type = 'Lock'`

	result := start(t.Context())
	blocked(t, c, 1)
	run(`select pg_terminate_backend(pid) from pg_stat_activity where ` + waits)
	if err := <-result; !errors.Is(err, db.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lost connection: got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := update(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("a deadline: got %v", err)
	}
	ctx, leave := context.WithCancel(t.Context())
	result = start(ctx)
	blocked(t, c, 1)
	leave()
	if err := <-result; !errors.Is(err, context.Canceled) || errors.Is(err, db.ErrUnavailable) {
		t.Errorf("a caller that has gone: got %v", err)
	}
	await(t, "nobody to wait", func() bool { return ask[int](t, c, `select count(*)::int from pg_stat_activity where `+waits)[0] == 0 })
	if got := ask[string](t, c, `select title || (select count(*) from mutations) from messages`)[0]; got != "title0" {
		t.Errorf("got %s", got)
	}

	release()
	if err := update(t.Context()); err != nil {
		t.Error(err)
	}
	if got := ask[string](t, c, `select title || (select count(*) from mutations) from messages`)[0]; got != title+"1" {
		t.Errorf("got %s", got)
	}
}

// Who writes a comment does not wait for who changes the message.
func TestCommentBesideAnUpdate(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	run(`create function slow() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(1); return new; end $$;
		create trigger slow before update on messages for each row execute function slow()`)
	release := held(t, c, `select pg_advisory_xact_lock(1)`)
	title := "slow"
	result := make(chan error, 1)
	go func() {
		_, err := c.UpdateMessage(t.Context(), by(1), 1, &title, nil, db.Once{})
		result <- err
	}()
	blocked(t, c, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.CreateComment(ctx, by(2), db.Comment{MessageID: 1, AuthorID: 2, Content: "meanwhile"}, db.Once{}); err != nil {
		t.Error(err)
	}
	release()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// The application's tables go and come back, with and without rows.
func TestChannelMigrations(t *testing.T) {
	t.Parallel()
	c, _ := writing(t, dbtest.Database(t))
	for range 2 {
		if _, err := c.CreateMessage(t.Context(), anybody, db.Message{AuthorID: 1, Title: "title"}, db.Once{Key: "a"}); err != nil {
			t.Error(err)
		}
		indexes := ask[string](t, c, `select indexdef from pg_indexes where schemaname = 'public' order by 1`)
		if err := c.DB.MigrateDown(t.Context(), db.ChannelMigrations); err != nil {
			t.Fatal(err)
		}
		if left := ask[string](t, c, `select relname::text from pg_class where relnamespace = 'public'::regnamespace`); len(left) > 0 {
			t.Errorf("%q are left", left)
		}
		if err := c.DB.MigrateUp(t.Context(), db.ChannelMigrations); err != nil {
			t.Fatal(err)
		}
		if again := ask[string](t, c, `select indexdef from pg_indexes where schemaname = 'public' order by 1`); strings.Join(again, "\n") != strings.Join(indexes, "\n") {
			t.Errorf("the indexes were %q and are %q", indexes, again)
		}
		status, err := c.DB.MigrationStatus(t.Context(), db.ChannelMigrations)
		if err != nil || status.Version != status.Latest || status.Dirty {
			t.Errorf("got %+v, %v", status, err)
		}
		if err := c.Demonstrate(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
