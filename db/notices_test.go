package db_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
)

// notices are the notifications, as "user kind actor message comment", sorted.
func notices(t *testing.T, c *db.Channel) []string {
	t.Helper()
	return ask[string](t, c, `select concat_ws(' ', user_id, kind, actor_id, message_id, comment_id) from notifications order by 1`)
}

// acts are the activities, as "key type data", in their order.
func acts(t *testing.T, c *db.Channel) []string {
	t.Helper()
	return ask[string](t, c, `select concat_ws(' ', coalesce(key, '-'), type, data) from tidings.log where topic = 'activity' order by id`)
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) && len(got)+len(want) > 0 {
		t.Errorf("%s: got\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// Whoever writes notifies those whom it concerns: each of them once, and never himself.
func TestNotifications(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		run  []string
		want []string
	}{
		{"a comment on a message", []string{`insert into comments (message_id, author_id, content) values (1, 3, 'x')`},
			[]string{"1 comment 2 1 1", "1 comment 3 1 2", "2 reply 3 1 2"}},
		{"a comment on one's own", []string{`insert into comments (message_id, author_id, content) values (1, 1, 'x')`},
			[]string{"1 comment 2 1 1", "2 reply 1 1 2"}},
		{"a mention beats a comment", []string{`insert into comments (message_id, author_id, content) values (1, 3, 'x @ADA')`},
			[]string{"1 comment 2 1 1", "1 mention 3 1 2", "2 reply 3 1 2"}},
		{"a mention beats a reply", []string{`insert into comments (message_id, author_id, content) values (1, 3, '@boris!')`},
			[]string{"1 comment 2 1 1", "1 comment 3 1 2", "2 mention 3 1 2"}},
		{"a mention of oneself", []string{`insert into comments (message_id, author_id, content) values (1, 2, '@boris')`, `insert into messages (author_id, title, content) values (1, '@ada', '@ada')`},
			[]string{"1 comment 2 1 1", "1 comment 2 1 2"}},
		{"mentions in a message", []string{`insert into messages (author_id, title, content) values (1, '@boris', '@boris, @chloe')`},
			[]string{"1 comment 2 1 1", "2 mention 1 2", "3 mention 1 2"}},
		{"an edit that mentions more", []string{`insert into messages (author_id, title, content) values (1, 'x', '@boris')`, `update messages set content = content || ' @chloe' where id = 2`,
			`update messages set content = content || ' @chloe' where id = 2`, `update messages set content = 'none' where id = 2`},
			[]string{"1 comment 2 1 1", "2 mention 1 2", "3 mention 1 2"}},
		{"an edited comment", []string{`update comments set content = '@ada @chloe'`, `update comments set content = '@chloe @boris'`},
			[]string{"1 comment 2 1 1", "1 mention 2 1 1", "3 mention 2 1 1"}},
		{"an edit of something else", []string{`update comments set content = '@ada'`, `update comments set created_at = now() - interval '1 day'`},
			[]string{"1 comment 2 1 1", "1 mention 2 1 1"}},
		{"many rows of a statement", []string{`insert into comments (message_id, author_id, content) values (1, 3, 'x'), (1, 2, 'y'), (1, 1, 'z')`},
			[]string{"1 comment 2 1 1", "1 comment 2 1 3", "1 comment 3 1 2", "2 reply 1 1 4", "2 reply 3 1 2", "3 reply 1 1 4", "3 reply 2 1 3"}},
		{"somebody acts for the author", []string{`select set_config('tidings.user', '3', false)`, `insert into comments (message_id, author_id, content) values (1, 2, '@chloe @ada')`},
			[]string{"1 comment 2 1 1", "1 mention 3 1 2"}},
		{"somebody acts who is no user", []string{`select set_config('tidings.user', '99', false)`, `insert into comments (message_id, author_id, content) values (1, 2, 'x')`,
			`select set_config('tidings.user', 'root', false)`, `insert into comments (message_id, author_id, content) values (1, 2, 'x')`,
			`select set_config('tidings.user', '99999999999999999999', false)`, `insert into comments (message_id, author_id, content) values (1, 2, 'x')`},
			[]string{"1 comment 2 1 1", "1 comment 2 1 2", "1 comment 2 1 3", "1 comment 2 1 4"}},
		{"a deleted comment", []string{`insert into comments (message_id, author_id, content) values (1, 3, '@boris')`, `delete from comments where id = 1`},
			[]string{"1 comment 3 1 2", "2 mention 3 1 2"}},
		{"a deleted message", []string{`insert into messages (author_id, title, content) values (1, 'x', '@boris')`, `delete from messages where id = 1`},
			[]string{"2 mention 1 2"}},
		{"a deleted user", []string{`insert into comments (message_id, author_id, content) values (1, 3, '@boris')`, `delete from users where id = 2`},
			[]string{"1 comment 3 1 2"}},
		{"a truncation of comments", []string{`insert into messages (author_id, title, content) values (1, 'x', '@boris')`, `truncate comments`},
			[]string{"2 mention 1 2"}},
		{"a truncation of messages", []string{`insert into messages (author_id, title, content) values (1, 'x', '@boris')`, `truncate messages, comments`}, nil},
		{"a message and a comment of one statement", []string{`with m as (insert into messages (id, author_id, title, content) values (7, 1, 'x', 'y') returning id)
			insert into comments (message_id, author_id, content) select id, 2, 'z' from m`}, []string{"1 comment 2 1 1", "1 comment 2 7 2"}},
		{"a user who is deleted later in the statement", []string{`with u as (delete from users where id = 3) insert into comments (message_id, author_id, content) values (1, 2, '@chloe')`},
			[]string{"1 comment 2 1 1", "1 comment 2 1 2"}},
		{"a rollback", []string{`begin; insert into comments (message_id, author_id, content) values (1, 3, 'x'); rollback`}, []string{"1 comment 2 1 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := writing(t, dbtest.Database(t))
			conn, err := c.DB.Pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, sql := range tt.run {
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			_, _ = conn.Exec(t.Context(), `reset all`)
			conn.Release()
			same(t, tt.name, notices(t, c), tt.want...)
		})
	}
}

// Names have any characters but white space, and texts are what people write.
func TestMentions(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	run(`insert into users (username, display_name) select name, name from unnest(array['ada', 'Ada.', 'ada@work', 'bo-bo', 'Ёлка', '字', '[x]', 'o''neil', repeat('w', 64), '%', 'a_b']) as name`)
	run(`insert into users (username, display_name) select 'user' || n, 'x' from generate_series(1, 30) n`)
	for text, want := range map[string]string{
		"":                                   "",
		"@":                                  "",
		"@ @ @":                              "",
		"@ada":                               "ada",
		"hello @ADA, and @Bo-Bo!":            "ada bo-bo",
		"(@ada)":                             "ada",
		"line\n@ada\tand\u00a0@bo-bo":        "ada bo-bo",
		"@ada.":                              "Ada.",
		"@ada..":                             "Ada.",
		"@ada?!":                             "ada",
		"@adam":                              "",
		"@ada,@bo-bo;@ada":                   "ada bo-bo",
		"@ada@work":                          "ada@work",
		"@ada@home":                          "",
		"ada@work, x@ada.com, x.@ada":        "",
		"me@here.org or @bo-bo-":             "bo-bo",
		"@@ada":                              "",
		"https://example.org/@ada":           "",
		"«@ёЛКА», @字。":                       "Ёлка 字",
		"@字":                                 "字",
		"@[x] @[X]:":                         "[x]",
		"@o'neil's @o'neil'":                 "o'neil",
		"@%":                                 "%",
		"@a_b @a%b @axb":                     "a_b",
		"@" + strings.Repeat("W", 64):        strings.Repeat("w", 64),
		"@" + strings.Repeat("w", 65):        "",
		"@ada" + strings.Repeat("!", 99):     "ada",
		strings.Repeat("@", 70_000):          "",
		strings.Repeat("@nobody ", 50):       "",
		strings.Repeat(" ", 70_000) + "@ada": "",
	} {
		got := ask[string](t, c, `select u.username from mentioned($1) with ordinality as m(id, n) join users u using (id) order by m.n`, text)
		if strings.Join(got, " ") != want {
			t.Errorf("%.100q mentions %q, want %q", text, got, want)
		}
	}
	all := ask[string](t, c, `select u.username from mentioned((select string_agg('@user' || n, ' ' order by n) from generate_series(1, 30) n)) with ordinality as m(id, n)
		join users u using (id) order by m.n`)
	if len(all) != 20 || all[0] != "user1" || all[19] != "user20" {
		t.Errorf("of 30 mentions %v count", all)
	}
}

// The latest who have commented hear of it, and not all who ever did.
func TestRepliesAreBounded(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	run(`insert into users (username, display_name) select 'user' || n, 'x' from generate_series(4, 150) n`)
	run(`insert into comments (message_id, author_id, content) select 1, n, 'x' from generate_series(4, 150) n`)
	run(`truncate notifications`)
	run(`insert into comments (message_id, author_id, content) values (1, 3, 'x')`)
	got := ask[string](t, c, `select concat_ws(' ', kind, count(*), min(user_id), max(user_id)) from notifications group by kind order by 1`)
	same(t, "after 147 others", got, "comment 1 1 1", "reply 100 51 150")
	run(`insert into comments (message_id, author_id, content) select 1, 2, 'x' from generate_series(1, 250) n`)
	run(`truncate notifications`)
	run(`insert into comments (message_id, author_id, content) values (1, 3, 'x')`)
	same(t, "after one has said much", ask[string](t, c, `select concat_ws(' ', user_id, kind) from notifications order by 1`), "1 comment", "2 reply")
}

// A statement of many rows tells each user once of a message, and notifies of a bounded number.
func TestNotificationsInBulk(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	run(`insert into users (username, display_name) select 'user' || n, 'x' from generate_series(4, 1000) n`)
	run(`insert into messages (author_id, title, content) select 1 + n % 1000, 'x', 'y' from generate_series(1, 3000) n`)
	run(`truncate notifications`)
	const kinds = `select concat_ws(' ', kind, count(*), count(distinct user_id)) from notifications group by kind order by 1`

	run(`insert into comments (message_id, author_id, content) select 1, 3, 'x' from generate_series(1, 1000) n`)
	same(t, "1,000 rows", ask[string](t, c, kinds), "comment 1000 1", "reply 200 1") // of whom the first has commented among the latest 200

	run(`truncate notifications`)
	run(`insert into comments (message_id, author_id, content) select 1, 3, case n when 700 then '@boris @ada' else 'x' end from generate_series(1, 50000) n`)
	same(t, "50,000 rows on one message", ask[string](t, c, kinds), "mention 2 2")

	run(`truncate notifications`)
	run(`insert into comments (message_id, author_id, content) select 1 + n, 1 + n * 7 % 1000, 'x' from generate_series(1, 3000) n`)
	if n := ask[int](t, c, `select count(*)::int from notifications where kind = 'comment'`)[0]; n < 2900 {
		t.Errorf("of 3,000 comments on as many messages %d were told", n)
	}

	run(`truncate notifications`)
	run(`insert into comments (message_id, author_id, content) select 1 + n % 3000, 3, '@user' || 4 + n % 997 from generate_series(1, 20000) n`)
	same(t, "20,000 mentions", ask[string](t, c, kinds), "mention 10000 997")

	run(`truncate notifications`)
	run(`update messages set content = content || ' @user5'`)
	if n := ask[int](t, c, `select count(*)::int from notifications where user_id = 5 and kind = 'mention'`)[0]; n != 2998 {
		t.Errorf("of an update of 3,001 messages %d were told", n) // three are the user's own
	}
	run(`delete from messages`)
	same(t, "when all is gone", notices(t, c))
}

func TestNotificationsByCopy(t *testing.T) {
	t.Parallel()
	c, _ := writing(t, dbtest.Database(t))
	rows := [][]any{{int64(1), int64(3), "@boris"}, {int64(1), int64(1), "x"}}
	if _, err := c.DB.Pool.CopyFrom(t.Context(), pgx.Identifier{"comments"}, []string{"message_id", "author_id", "content"}, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	same(t, "after COPY", notices(t, c), "1 comment 2 1 1", "1 comment 3 1 2", "2 mention 3 1 2", "2 reply 1 1 3", "3 reply 1 1 3")
}

// Whatever is wrong with what notifications need, writers go on.
func TestNotificationsFailNoWriter(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{
		`drop table notifications cascade`,
		`alter table notifications rename user_id to whom`,
		`alter table notifications add check (kind = 'none') not valid`,
		`alter table users rename username to name`,
		`alter table messages rename title to headline`,
		`alter table comments rename content to text`,
		`drop function mentioned(text)`,
		`drop function notify(bigint[], text[], bigint[], bigint[], bigint[])`,
	} {
		t.Run(broken, func(t *testing.T) {
			t.Parallel()
			c, run := writing(t, dbtest.Database(t))
			run(broken)
			title, content := "title", "content"
			if strings.Contains(broken, "headline") {
				title = "headline"
			}
			if strings.Contains(broken, "to text") {
				content = "text"
			}
			for _, sql := range []string{
				`insert into messages (author_id, ` + title + `, content) values (1, '@boris', '@chloe')`,
				`update messages set content = '@boris @chloe'`,
				`insert into comments (message_id, author_id, ` + content + `) values (2, 2, '@chloe')`,
				`update comments set ` + content + ` = '@ada @chloe'`,
				`delete from comments where id = 1`,
				`delete from messages where id = 2`,
				`truncate comments`,
			} {
				run(sql)
			}
			if n := ask[int](t, c, `select count(*)::int from messages`)[0]; n != 1 {
				t.Errorf("there are %d messages", n)
			}
		})
	}
}

// A role that may write a row and nothing else notifies as well.
func TestNotificationsOfPlainWriters(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	run(`do $$ begin create role notices_writer; exception when duplicate_object or unique_violation then null; end $$`)
	run(`grant insert on messages, comments to notices_writer`)
	tx, err := c.DB.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	for _, sql := range []string{
		`set local role notices_writer`,
		// What is found first by a search path of the writer's is not what is read.
		`create temp table users (id bigint, username text)`, `create temp table notifications (id bigint)`,
		`insert into comments (message_id, author_id, content) values (1, 3, '@boris')`,
	} {
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := ask[string](t, c, `select concat_ws(' ', user_id, kind, actor_id) from public.notifications order by 1`)
	same(t, "by a role with INSERT", got, "1 comment 2", "1 comment 3", "2 mention 3")
	run(`drop owned by notices_writer`)
}

// Nobody waits for a user who is being deleted, in either order, and nothing is left of who is gone.
func TestNotificationsBesideDeletions(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	ctx := t.Context()
	deleting, err := c.DB.Pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer deleting.Rollback(context.WithoutCancel(ctx))
	if _, err := deleting.Exec(ctx, `delete from users where id = 3`); err != nil {
		t.Fatal(err)
	}
	// It would wait for the end of the other, which comes later.
	run(`insert into comments (message_id, author_id, content) values (1, 2, '@chloe @ada')`)
	run(`begin isolation level repeatable read; update users set display_name = 'x' where id = 1; insert into comments (message_id, author_id, content) values (1, 2, '@ada'); commit`)
	if err := deleting.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	same(t, "beside a deletion", notices(t, c), "1 comment 2 1 1", "1 mention 2 1 2", "1 mention 2 1 3")

	writer, err := c.DB.Pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Rollback(context.WithoutCancel(ctx))
	if _, err := writer.Exec(ctx, `insert into comments (message_id, author_id, content) values (1, 2, '@ada')`); err != nil {
		t.Fatal(err)
	}
	deleted := make(chan error, 1)
	go func() {
		_, err := c.DB.Pool.Exec(ctx, `delete from users where id = 1`) // waits for the writer
		deleted <- err
	}()
	if err := writer.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	same(t, "of a user who is gone", notices(t, c))
}

// Many write and delete at the same time: nobody fails, nothing is told twice, and nothing is left of what is gone.
func TestNotificationsOfManyWriters(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	run(`insert into users (username, display_name) select 'user' || n, 'x' from generate_series(4, 20) n`)
	run(`insert into messages (author_id, title, content) select 1 + n % 20, 'x', 'y' from generate_series(1, 20) n`)
	run(`truncate notifications`)
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for n := range 40 {
				sql := fmt.Sprintf(`insert into comments (message_id, author_id, content) select id, %d, '@user%d and @user%d' from messages where id = %d for key share`,
					1+w, 4+(w+n)%17, 4+n%17, 1+(w*n)%21)
				switch {
				case w == 0 && n%10 == 3:
					sql = fmt.Sprintf(`delete from messages where id = %d`, 2+n)
				case w == 1 && n%4 == 3:
					sql = fmt.Sprintf(`delete from users where id = %d`, 10+n/4)
				case w == 2 && n%4 == 3:
					sql = `delete from comments where id = (select max(id) from comments)`
				case w == 3 && n%4 == 3:
					sql = `update comments set content = content || ' @user5' where id = (select max(id) from comments)`
				case w == 4 && n%4 == 3:
					if _, err := c.MarkAllNotificationsRead(t.Context(), int64(4+n%7), nil); err != nil {
						t.Error(err)
					}
				}
				if _, err := c.DB.Pool.Exec(t.Context(), sql); err != nil {
					t.Errorf("%s: %v", sql, err)
				}
			}
		})
	}
	group.Wait()
	if left := ask[int](t, c, `select count(*)::int from notifications n where not exists (select from messages m where m.id = n.message_id)
		or n.comment_id is not null and not exists (select from comments c where c.id = n.comment_id) or n.user_id = n.actor_id`)[0]; left > 0 {
		t.Errorf("%d notifications are of what is gone, or of one's own acts", left)
	}
	if twice := ask[int](t, c, `select count(*)::int from (select from notifications group by user_id, message_id, comment_id, kind having count(*) > 1) as t`)[0]; twice > 0 {
		t.Errorf("%d were told twice", twice)
	}
	if missing := ask[int](t, c, `select count(*)::int from comments c join messages m on m.id = c.message_id
		where c.id > 1 and m.author_id <> c.author_id and not exists (select from notifications n where n.user_id = m.author_id and n.comment_id = c.id)`)[0]; missing > 0 {
		t.Errorf("of %d comments the message's author does not know", missing)
	}
}
