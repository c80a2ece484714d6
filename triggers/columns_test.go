package triggers_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestColumns(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table users (id int primary key, name text, secret text, more jsonb);
		select tidings.watch('users', columns => '{name,more}')`)
	since := cursor(t, s)
	run(t, s, `insert into users values (1, 'a', 'hidden', '{"x": [1, 2]}'), (2, null, 'hidden', null)`)
	run(t, s, `insert into users values (1, 'A', 'hidden', 'null') on conflict (id) do update set name = excluded.name`)
	run(t, s, `update users set id = 3, secret = 'hidden still' where id = 2`)
	run(t, s, `delete from users where id = 1`)
	expect(t, s, since, `
		user_added 1 {"name":"a","more":{"x": [1, 2]}}
		user_added 2 {"name":null,"more":null}
		user_updated 1 {"name":"A","more":{"x": [1, 2]}}
		user_updated 3<2 {"name":null,"more":null}
		user_deleted 1 {"name":"A","more":{"x": [1, 2]}}`)

	run(t, s, `update users set name = 'B'`)
	// A listed column that is gone is null, or left out.
	for _, c := range []struct{ name, change, want string }{
		{"a column added later", `alter table users add phone text default 'hidden'`, `user_updated 3 {"name":"B"}`},
		{"after a refresh", `select tidings.refresh()`, `user_updated 3 {"name":"B"}`},
		{"a listed column renamed", `alter table users rename more to details`, `user_updated 3 {"name":"B"}`},
		{"another takes its name", `alter table users rename secret to more; alter table users alter more type int using 5`, `user_updated 3 {"more":5,"name":"B"}`},
		{"all listed columns dropped", `alter table users drop more, drop name`, `user_updated 3 {}`},
		{"the key renamed", `alter table users rename id to number`, `user_updated - {}`},
		{"the key back", `alter table users rename number to id`, `user_updated 3 {}`},
		{"the key dropped", `alter table users drop id`, `user_updated - {}`},
		{"another key of that name", `alter table users add id uuid default '00000000-0000-0000-0000-000000000005'`,
			`user_updated 00000000-0000-0000-0000-000000000005 {}`},
		{"everything dropped", `alter table users drop id, drop details, drop phone`, `user_updated - {}`},
		{"and added again", `alter table users add name text default 'C', add id int default 7`, `user_updated 7 {"name":"C"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, s, c.change)
			since := cursor(t, s)
			run(t, s, `alter table users add extra int; update users set extra = 1; alter table users drop extra`)
			if got := events(t, s, since); len(got) != 1 || withoutNulls(t, got[0]) != c.want {
				t.Errorf("events:\n%s\nwant:\n%s", lines(got), lines([]string{c.want}))
			}
		})
	}
	if n := get[int](t, s, `select count(*) from tidings.log where log::text like '%hidden%'`); n > 0 {
		t.Errorf("%d entries have what was to stay hidden", n)
	}
}

// Every kind of statement goes on when the key, the listed columns, or both, are gone.
func TestColumnsGone(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	for _, columns := range []string{`null`, `'{id,k,v}'`} {
		s := l.connect(t)
		run(t, s, `drop table if exists items; create table items (id int, k text, v text)`)
		run(t, s, `select tidings.watch('items', key => 'k', columns => `+columns+`)`)
		run(t, s, `insert into items values (1, 'a', 'x'), (2, 'b', 'x'), (3, 'c', 'x'), (4, 'd', 'x')`)
		run(t, s, `alter table items drop k, drop v`)
		since := cursor(t, s)
		run(t, s, `insert into items values (5)`)
		run(t, s, `update items set id = 1 where id = 1`)
		run(t, s, `delete from items where id = 2`)
		run(t, s, `truncate items`)
		got := events(t, l.Pool, since)
		for i := range got {
			got[i] = withoutNulls(t, got[i])
		}
		want := []string{`item_added - {"id":5}`, `item_updated - {"id":1}`, `item_deleted - {"id":2}`, `items_truncated -`}
		if !slices.Equal(got, want) {
			t.Errorf("events:\n%s\nwant:\n%s", lines(got), lines(want))
		}
		problems := list[string](t, s, "select problem from tidings.watched where problem is not null")
		if len(problems) != 1 || !strings.Contains(problems[0], "key") {
			t.Errorf("tidings.watched says %q of a key that is gone", problems)
		}
	}
}

// withoutNulls is an event without those members of its row that are null.
func withoutNulls(t *testing.T, event string) string {
	t.Helper()
	before, row, ok := strings.Cut(event, " {")
	if !ok {
		return event
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte("{"+row), &members); err != nil {
		t.Fatalf("%v: %s", err, event)
	}
	for name, value := range members {
		if string(value) == "null" {
			delete(members, name)
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return before + " " + string(text)
}

// The type json keeps its text as it came, and with it what no text in PostgreSQL can hold once it is unescaped.
func TestColumnsBesideOddJSON(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	for _, c := range []struct{ name, columns, value, want string }{
		{"null character in a column that stays", `{id}`, `{"a":"\u0000"}`, `{"id":1}`},
		{"null character in a column that goes out", `{id,j}`, `{"a":"\u0000"}`, `{"id":1,"j":{"a":"\u0000"}}`},
		{"half a surrogate pair", `{id,j}`, `["\ud800", "\udc00"]`, `{"id":1,"j":["\ud800", "\udc00"]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := l.connect(t)
			run(t, s, `drop table if exists items; create table items (id int primary key, j json)`)
			run(t, s, `select tidings.watch('items', columns => $1::text[])`, c.columns)
			since := cursor(t, s)
			run(t, s, `insert into items values (1, $1::text::json)`, c.value)
			expect(t, s, since, `item_added 1 `+c.want)
		})
	}
}

// A column that is added later may need settings of the trigger function that the others did not.
func TestColumnAddedLater(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	run(t, s, `alter table items add span interval`)
	since := cursor(t, s)
	run(t, s, `set intervalstyle = sql_standard; insert into items values (1, 'a', '1 day 02:00')`)
	expect(t, s, since, `item_added 1 {"id":1,"v":"a","span":"1 day 02:00:00"}`)

	// Where there is no event trigger, servers look now and then.
	run(t, s, `drop event trigger tidings_partitions; alter table items drop span; select tidings.follow_partitions()`)
	run(t, s, `alter table items alter id type text; alter table items add b bytea`)
	for _, want := range []int{1, 0} {
		if got := get[int](t, s, `select renewed from tidings.follow_partitions()`); got != want {
			t.Errorf("follow_partitions renewed %d watches, want %d", got, want)
		}
	}
	since = cursor(t, s)
	run(t, s, `set bytea_output = escape; insert into items values ('2', 'b', 'b')`)
	expect(t, s, since, `item_added 2 {"id":"2","v":"b","b":"\\x62"}`)
}
