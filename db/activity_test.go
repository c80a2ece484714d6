package db_test

import (
	"testing"

	"tidings/db/dbtest"
)

// What anybody does is told, with who does it as the key.
func TestActivity(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		run  []string
		want []string
	}{
		{"a user who joins", []string{`insert into users (username, display_name) values ('dora', 'D'), ('emil', 'E')`},
			[]string{`4 user_joined {"actor":4}`, `5 user_joined {"actor":5}`}},
		{"a message", []string{`insert into messages (author_id, title, content) values (2, 'a "title"', 'x')`, `update messages set title = 'new' where id = 2`, `delete from messages where id = 2`},
			[]string{`2 message_written {"actor":2,"message":2,"title":"a \"title\""}`, `2 message_edited {"actor":2,"message":2,"title":"new"}`,
				`2 message_removed {"actor":2,"message":2,"title":"new"}`}},
		{"a comment", []string{`insert into comments (message_id, author_id, content) values (1, 3, 'x')`, `update comments set content = 'y' where id = 2`, `delete from comments where id = 2`},
			[]string{`3 comment_written {"actor":3,"message":1,"comment":2}`, `3 comment_edited {"actor":3,"message":1,"comment":2}`, `3 comment_removed {"actor":3,"message":1,"comment":2}`}},
		{"a message with its comments", []string{`delete from messages`}, []string{`1 message_removed {"actor":1,"message":1,"title":"title"}`}},
		{"a user with all", []string{`insert into comments (message_id, author_id, content) values (1, 3, 'x')`, `delete from users where id = 1`},
			[]string{`3 comment_written {"actor":3,"message":1,"comment":2}`}},
		{"what changes nothing to be read", []string{`update messages set title = title`, `update comments set created_at = created_at - interval '1 day'`, `delete from comments where id = 9`,
			`insert into messages (author_id, title, content) select 1, 'x', 'y' where false`}, nil},
		{"somebody acts for the author", []string{`select set_config('tidings.user', '3', false)`, `update comments set content = 'x'`, `delete from comments`, `delete from messages`},
			[]string{`3 comment_edited {"actor":3,"message":1,"comment":1}`, `3 comment_removed {"actor":3,"message":1,"comment":1}`, `3 message_removed {"actor":3,"message":1,"title":"title"}`}},
		{"something acts that is no user", []string{`select set_config('tidings.user', 'x"', false)`, `delete from comments`}, []string{`2 comment_removed {"actor":2,"message":1,"comment":1}`}},
		{"many rows of a statement", []string{`insert into comments (message_id, author_id, content) select 1, 2 + n % 2, 'x' from generate_series(1, 3) n`, `update comments set content = 'y' where id > 1`},
			[]string{`3 comment_written {"actor":3,"message":1,"comment":2}`, `2 comment_written {"actor":2,"message":1,"comment":3}`, `3 comment_written {"actor":3,"message":1,"comment":4}`,
				`3 comment_edited {"actor":3,"message":1,"comment":2}`, `2 comment_edited {"actor":2,"message":1,"comment":3}`, `3 comment_edited {"actor":3,"message":1,"comment":4}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := writing(t, dbtest.Database(t))
			conn, err := c.DB.Pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			before := len(acts(t, c))
			for _, sql := range tt.run {
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			_, _ = conn.Exec(t.Context(), `reset all`)
			conn.Release()
			same(t, tt.name, acts(t, c)[before:], tt.want...)
		})
	}
}

// Of many rows that one statement writes the first are told each, and the others by their number.
func TestActivityInBulk(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	for _, tt := range []struct{ sql, action string }{
		{`insert into users (username, display_name) select 'user' || n, 'x' from generate_series(1, 2500) n`, "user_joined"},
		{`insert into messages (author_id, title, content) select 1, 'x', 'y' from generate_series(1, 2500) n`, "message_written"},
		{`update messages set content = 'z' where id > 1`, "message_edited"},
		{`insert into comments (message_id, author_id, content) select 1, 2, 'x' from generate_series(1, 2500) n`, "comment_written"},
		{`update comments set content = 'z' where id > 1`, "comment_edited"},
		{`delete from comments where id > 1`, "comment_removed"},
		{`delete from messages where id > 1`, "message_removed"},
	} {
		before := ask[int64](t, c, `select max(id) from tidings.log`)[0]
		run(tt.sql)
		got := ask[string](t, c, `select concat_ws(' ', type, count(*), count(data->'count'), max((data->>'count')::int)) from tidings.log
			where topic = 'activity' and id > $1 group by type`, before)
		same(t, tt.sql, got, tt.action+" 1001 1 1500")
	}
	// A thousand are told each, and have nothing behind them.
	before := ask[int64](t, c, `select max(id) from tidings.log`)[0]
	run(`insert into messages (author_id, title, content) select 1, 'x', 'y' from generate_series(1, 1000) n`)
	got := ask[string](t, c, `select concat_ws(' ', type, count(*), count(data->'count')) from tidings.log where topic = 'activity' and id > $1 group by type`, before)
	same(t, "a thousand", got, "message_written 1000 0")
	before = ask[int64](t, c, `select max(id) from tidings.log`)[0]
	run(`begin; set local "tidings.user" = '2'; delete from messages; commit`)
	got = ask[string](t, c, `select concat_ws(' ', key, data) from tidings.log where topic = 'activity' and id > $1 order by id desc limit 1`, before)
	same(t, "who has removed so much", got, `2 {"actor":2,"count":1}`)
}

// A transaction that is to be prepared must not ring the doorbell.
func TestActivityWithoutDoorbell(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	run(`select tidings.attend('somebody asleep', true)`)
	listener, err := c.DB.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Release()
	if _, err := listener.Exec(t.Context(), `listen tidings`); err != nil {
		t.Fatal(err)
	}
	run(`begin; set local tidings.doorbell = off; insert into comments (message_id, author_id, content) values (1, 3, '@boris'); commit`)
	run(`notify tidings, 'after'`)
	n, err := listener.Conn().WaitForNotification(t.Context())
	if err != nil || n.Payload != "after" {
		t.Errorf("got %v, %v", n, err)
	}
}

// Activity has the titles of messages for those who may read them all, and for nobody where some may not.
func TestActivityTellsNoHiddenTitles(t *testing.T) {
	t.Parallel()
	for setup, told := range map[string]bool{
		``: true, // everything is public here
		`update tidings.streams set read = 'signed_in'`:                                                                                                       true,
		`update tidings.watches set read = 'signed_in' where topic = 'messages'`:                                                                              false,
		`update tidings.watches set read = 'signed_in'; update tidings.streams set read = 'signed_in'`:                                                        true,
		`alter table messages enable row level security`:                                                                                                      false,
		`select tidings.watch('messages', event => 'message', read => 'owner:author_id')`:                                                                     false,
		`select tidings.watch('messages', event => 'message', read => 'public', columns => '{id,content}')`:                                                   false,
		`select tidings.unwatch('messages')`:                                                                                                                  false,
		`create function may(jsonb, text, text) returns boolean language sql as 'select true'; select tidings.watch('messages', read => 'policy:public.may')`: false,
	} {
		t.Run(setup, func(t *testing.T) {
			t.Parallel()
			c, run := writing(t, dbtest.Database(t))
			before := len(acts(t, c))
			if setup != "" {
				run(setup)
			}
			run(`insert into messages (author_id, title, content) values (2, 'x', 'y'); update messages set title = 'z' where id = 2; delete from messages where id = 2`)
			title := func(title string) string {
				if told {
					return `,"title":"` + title + `"`
				}
				return ""
			}
			same(t, setup, acts(t, c)[before:], `2 message_written {"actor":2,"message":2`+title("x")+`}`, `2 message_edited {"actor":2,"message":2`+title("z")+`}`,
				`2 message_removed {"actor":2,"message":2`+title("z")+`}`)
		})
	}
}
