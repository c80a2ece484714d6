package triggers_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// loadAll returns the rows of a topic or, where key is not nil, of a key of it, as one page has them.
func loadAll(t *testing.T, c conn, topic string, key *string) []string {
	t.Helper()
	return list[string](t, c, `select coalesce(data, 'null') from tidings.load($1, $2, null, false, 1000000, 1000000000)`, topic, key)
}

// loadPages returns the rows of a topic, read page by page.
func loadPages(t *testing.T, c conn, topic string, backwards bool, rows int) (all []string) {
	t.Helper()
	var after []string
	for page := 0; ; page++ {
		if page > 100 {
			t.Fatalf("the pages of %s have no end", topic)
		}
		got, err := c.Query(t.Context(), `select place, data from tidings.load($1, null, $2, $3, $4, 1000000)`, topic, after, backwards, rows)
		if err != nil {
			t.Fatal(explain(err))
		}
		n := 0
		for got.Next() {
			var data *string
			if err := got.Scan(&after, &data); err != nil {
				t.Fatal(err)
			}
			all = append(all, *data)
			n++
		}
		if err := got.Err(); err != nil {
			t.Fatal(explain(err))
		}
		if n < rows {
			return all
		}
	}
}

// What is loaded is, to the letter, what the events told, whatever the session of the one or the other has set.
func TestLoadSaysWhatEventsSay(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	plain, odd := l.connect(t), l.connect(t)
	run(t, plain, ownTypes)
	var values, columns []string
	for i, c := range typedValues {
		values = append(values, fmt.Sprintf(`cast('%s' as %s) as c%d`, strings.ReplaceAll(c.value, `'`, `''`), c.typ, i))
		columns = append(columns, fmt.Sprintf("c%d", i))
	}
	run(t, plain, `create table source as select `+strings.Join(values, ", ")+`; create table typed (like source)`)
	run(t, odd, oddSettings)
	for _, listed := range [][]string{nil, columns, {"c3", "c0"}} {
		run(t, plain, `truncate typed`)
		run(t, plain, `select tidings.watch('typed', columns => $1)`, listed)
		since := cursor(t, plain)
		run(t, plain, `insert into typed table source`)
		told := list[string](t, plain, `select data::text from tidings.since($1)`, since)
		for _, c := range []conn{plain, odd} {
			if got := loadAll(t, c, "typed", nil); !slices.Equal(got, told) {
				t.Errorf("with columns %.40q: loaded\n%s\ntold\n%s", listed, lines(got), lines(told))
			}
		}
	}
	// Each by itself: the settings that a trigger function pins depend on the types that there are.
	for i, c := range typedValues {
		run(t, plain, fmt.Sprintf(`create table one_%d (v %s);
			select tidings.watch('one_%[1]d', key => 'v')`, i, c.typ))
		since := cursor(t, plain)
		run(t, odd, fmt.Sprintf(`insert into public.one_%d select c%[1]d from public.source`, i))
		told := list[string](t, plain, `select coalesce(key, '-') || ' ' || data::text from tidings.since($1)`, since)
		for _, c := range []conn{plain, odd} {
			got := list[string](t, c, `select coalesce(row_key, '-') || ' ' || data from tidings.load($1)`, fmt.Sprintf("one_%d", i))
			if !slices.Equal(got, told) || len(got) != 1 {
				t.Fatalf("%s: loaded\n%s\ntold\n%s", typedValues[i].typ, lines(got), lines(told))
			}
			key, _, _ := strings.Cut(told[0], ` {"v":`)
			if n := len(loadAll(t, c, fmt.Sprintf("one_%d", i), &key)); n != 1 {
				t.Errorf("the key %q of type %s has %d rows", key, typedValues[i].typ, n)
			}
		}
	}
}

// A primary key of any type, and of several columns, orders the pages: together they have each row once, both ways.
func TestLoadPages(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, odd := l.connect(t), l.connect(t)
	run(t, odd, oddSettings)
	run(t, s, ownTypes)
	if get[bool](t, s, `select exists (select from pg_available_extensions where name = 'citext')`) {
		run(t, s, `create schema elsewhere; create extension citext schema elsewhere`)
	} else {
		t.Log("there is no citext here")
	}
	for i, c := range []struct{ columns, key, values string }{
		{"a int", "a", `(3), (-1), (2), (0), (2147483647)`},
		{"a text", "a", `('b'), ('B'), ('a'), (''), ('é'), ('"x'), ('{1,2}'), ('a,b'), (E'a\nb'), ('\'), ('NULL'), ('null')`},
		{`a text collate "C"`, "a", `('b'), ('B'), ('a'), ('é')`},
		{"a varchar(3)", "a", `('b'), ('abc'), ('a')`},
		{"a char(3)", "a", `('b'), ('abc'), ('a')`},
		{`a "char"`, "a", `('b'), ('c'), ('a')`},
		{"a numeric", "a", `(1.50), (1e-30), ('NaN'), (12345678901234567890.1), (-5)`},
		{"a float8", "a", `(0.1), (0.1::float8 + 1e-17), (0.30000000000000004), (0.3), ('NaN'), ('-Infinity'), (1e300)`},
		{"a real", "a", `(0.1), (0.3), (16777216), (16777217 + 1)`},
		{"a boolean", "a", `(true), (false)`},
		{"a bytea", "a", `('\x00'), ('\xff00'), ('\x'), ('\x5c')`},
		{"a uuid", "a", `('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), ('00000000-9C0B-4EF8-BB6D-6BB9BD380A11')`},
		{"a date", "a", `('2024-02-03'), ('2024-03-02'), ('infinity'), ('0044-03-15 BC')`},
		{"a timestamptz", "a", `('2024-02-03 04:05:06.123456+05'), ('2024-02-03 04:05:06.123457+05'), ('-infinity'), ('0044-03-15 12:00 BC')`},
		{"a timestamptz(0)", "a", `('2024-02-03 04:05:06+05'), ('2024-02-03 04:05:07+05')`},
		{"a interval", "a", `('1 day'), ('-1 month 2 days'), ('25 hours'), ('0.000001 seconds')`},
		{"a inet", "a", `('10.0.0.1/8'), ('10.0.0.1'), ('::1')`},
		{"a mood", "a", `('sad'), ('it''s "fine"'), ('ok')`},
		{"a positive", "a", `(3), (1), (2)`},
		{"a int[]", "a", `('{1,2}'), ('{}'), ('{1,null}'), ('[5:6]={1,2}')`},
		{"a int4range", "a", `('[1,2)'), ('empty'), ('(,)'), ('[1,9)')`},
		{"a elsewhere.citext", "a", `('b'), ('C'), ('a'), ('D'), ('e')`},
		{"a int, b elsewhere.citext", "a, b", `(1, 'b'), (1, 'C'), (2, 'a'), (1, 'D'), (0, 'e'), (2, 'B')`},
		{"a int, b text, c date", "b, a", `(1, 'b', now()), (1, 'a', now()), (2, 'a', now()), (-1, 'b', now()), (0, '', now()), (3, 'c', now())`},
		{`"a b" int, "c""d" text`, `"c""d", "a b"`, `(1, 'b'), (1, 'a'), (2, 'a'), (-1, '%s')`},
	} {
		t.Run(c.columns, func(t *testing.T) {
			if strings.Contains(c.columns, "citext") && get[bool](t, s, `select to_regtype('elsewhere.citext') is null`) {
				t.Skip("there is no citext here")
			}
			topic := fmt.Sprintf("paged_%d", i)
			run(t, s, fmt.Sprintf(`create table %s (%s, primary key (%s)); insert into %[1]s values %[4]s; select tidings.watch('%[1]s')`,
				topic, c.columns, c.key, c.values))
			for _, order := range []string{"asc", "desc"} {
				by := strings.ReplaceAll(c.key, ",", " "+order+",") + " " + order
				run(t, s, `set timezone = 'UTC'`)
				want := list[string](t, s, fmt.Sprintf(`select to_json(x)::text from %s x order by %s`, topic, by))
				for _, session := range []conn{s, odd} {
					for rows := range 4 {
						if got := loadPages(t, session, topic, order == "desc", rows+1); !slices.Equal(got, want) {
							t.Errorf("%s, by %d: got\n%s\nwant\n%s", order, rows+1, lines(got), lines(want))
						}
					}
				}
			}
		})
	}
}

// A place that is none of the table's is an error: an empty page would be taken for the end.
func TestLoadAfterWhatIsNoPlace(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items+`insert into items values (1, 'a'); create table keyless (v text); select tidings.watch('keyless')`)
	for _, c := range []struct{ topic, place, code string }{
		{"items", "{x}", "22P02"}, {"items", "{1,2}", "22023"}, {"items", "{}", "22023"}, {"items", "{NULL}", "22023"}, {"keyless", "{1}", "22023"},
	} {
		refused(t, s, c.code, "", `select * from tidings.load($1, null, $2::text::text[])`, c.topic, c.place)
	}
	refused(t, s, "42P01", "no table is watched as nothing", `select * from tidings.load('nothing')`)
}

func TestLoadByKey(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, ownTypes)
	for i, c := range []struct {
		typ, values string
		keys        map[string]int // how many rows each has
	}{
		{"int", `(1), (1), (2), (null)`, map[string]int{"1": 2, "2": 1, "3": 0, "01": 0, " 1": 0, "+1": 0, "abc": 0, "99999999999": 0, "": 0, "1.0": 0, "null": 0}},
		{"smallint", `(1)`, map[string]int{"1": 1, "99999": 0, "0x1": 0}},
		{"bigint", `(9223372036854775807)`, map[string]int{"9223372036854775807": 1, "9223372036854775808": 0}},
		{"numeric", `(1.0), (1), (1.00), ('NaN')`, map[string]int{"1": 1, "1.0": 1, "1.00": 1, "NaN": 1, "nan": 0, "1e0": 0, "x": 0}},
		{"text", `('a'), ('A'), (''), ('a:b'), ('''; drop table x; --'), ('%s')`,
			map[string]int{"a": 1, "A": 1, "a:b": 1, "'; drop table x; --": 1, "%s": 1, "b": 0, "": 1}},
		{"varchar(3)", `('abc'), ('a')`, map[string]int{"abc": 1, "abcd": 0, "a": 1, "a ": 0}},
		{"char(3)", `('abc'), ('a')`, map[string]int{"abc": 1, "a": 1, "a  ": 0, "abcd": 0}},
		{"uuid", `('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11')`,
			map[string]int{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11": 1, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11": 0, "a": 0}},
		{"date", `('2024-02-03'), ('infinity')`, map[string]int{"2024-02-03": 1, "infinity": 1, "3.2.2024": 0, "today": 0, "2024-02-31": 0}},
		{"timestamptz", `('2024-02-03 04:05:06+05')`, map[string]int{"2024-02-02 23:05:06+00": 1, "2024-02-03 04:05:06+05": 0, "x": 0}},
		{"boolean", `(true), (true), (false)`, map[string]int{"true": 2, "false": 1, "t": 0}},
		{"mood", `('ok'), ('sad'), ('ok')`, map[string]int{"ok": 2, "nothing": 0}},
		{"float8", `(0.1), (1)`, map[string]int{"0.1": 1, "1": 1, "1.0": 0}},
	} {
		topic := fmt.Sprintf("keyed_%d", i)
		run(t, s, fmt.Sprintf(`create table %s (id serial, k %s); create index on %[1]s (k); insert into %[1]s (k) values %[3]s;
			select tidings.watch('%[1]s', key => 'k')`, topic, c.typ, c.values))
		for key, want := range c.keys {
			if got := loadAll(t, s, topic, &key); len(got) != want {
				t.Errorf("the key %q of type %s has %d rows, want %d:\n%s", key, c.typ, len(got), want, lines(got))
			}
		}
	}
	// Where it can, it takes the index.
	run(t, s, `create table many (id int primary key, k int); insert into many select i, i / 2 from generate_series(1, 20000) as i;
		create index on many (k); analyze many; select tidings.watch('many', key => 'k')`)
	if get[int](t, s, "select current_setting('server_version_num')::int / 10000") < 15 {
		return // there is no way to know when what it counts has been counted
	}
	run(t, s, `select pg_stat_force_next_flush()`)
	before := get[int](t, l.connect(t), `select seq_scan from pg_stat_user_tables where relname = 'many'`)
	other := l.connect(t)
	key := "5000"
	if got := loadAll(t, other, "many", &key); len(got) != 2 {
		t.Errorf("got %q", got)
	}
	run(t, other, `select pg_stat_force_next_flush()`)
	if after := get[int](t, l.connect(t), `select seq_scan from pg_stat_user_tables where relname = 'many'`); after != before {
		t.Errorf("a key's rows were looked for in all the table: %d scans, before %d", after, before)
	}
}

// A page ends behind the row that exceeds its bytes, and has one row at least; what is too long to be told is null.
func TestLoadBounds(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items+`insert into items select i, repeat('x', 1000) from generate_series(1, 100) as i`)
	for bytes, want := range map[int]int{0: 1, 1000: 1, 2000: 2, 20_000: 16, 1_000_000: 100} {
		if got := list[string](t, s, `select data from tidings.load('items', null, null, false, 1000, $1)`, bytes); len(got) != want {
			t.Errorf("%d bytes are %d rows, want %d", bytes, len(got), want)
		}
	}
	run(t, s, `update tidings.settings set max_value_bytes = 500; update items set v = 'small' where id = 2`)
	got := loadAll(t, s, "items", nil)
	if len(got) != 100 || got[0] != "null" || got[1] != `{"id":2,"v":"small"}` || got[99] != "null" {
		t.Errorf("got %d rows, %q", len(got), got[:2])
	}
	// An omitted row costs next to nothing, so a page has many of them.
	if got := list[int](t, s, `select 1 from tidings.load('items', null, null, false, 1000, 10000)`); len(got) != 39 {
		t.Errorf("10,000 bytes are %d rows, want 39", len(got))
	}
}

func TestLoadTables(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, days+`insert into days values (1, 10, 'a'), (2, 20, 'b'), (3, 29, 'c'), (1, 11, 'd');
		create table days_3 (v text, day int not null, id int not null); insert into days_3 values ('e', 30, 0);
		alter table days attach partition days_3 for values from (30) to (40);
		create schema "My Shop"; create table "My Shop"."The ""Things""" ("Id" int primary key, "a b" text, secret text, "tidings row" text);
		insert into "My Shop"."The ""Things""" values (1, 'x', 'y', 'z');
		select tidings.watch('"My Shop"."The ""Things"""', topic => 'the %s things', columns => array['tidings row', 'Id', 'a b'], key => 'a b');
		create table keyless (v text); insert into keyless values ('a'), ('a'), ('b'); select tidings.watch('keyless');
		create table empty (); insert into empty default values; select tidings.watch('empty')`)
	check := func(topic, key string, want ...string) {
		t.Helper()
		var by *string
		if key != "" {
			by = &key
		}
		if got := loadAll(t, s, topic, by); !slices.Equal(got, want) {
			t.Errorf("%s:%s: got\n%s\nwant\n%s", topic, key, lines(got), lines(want))
		}
	}
	check("days", "", `{"id":0,"day":30,"v":"e"}`, `{"id":1,"day":10,"v":"a"}`, `{"id":1,"day":11,"v":"d"}`, `{"id":2,"day":20,"v":"b"}`, `{"id":3,"day":29,"v":"c"}`)
	check("days", "20", `{"id":2,"day":20,"v":"b"}`)
	if got := loadPages(t, s, "days", false, 2); len(got) != 5 {
		t.Errorf("got\n%s", lines(got))
	}
	check("the %s things", "", `{"Id":1,"a b":"x","tidings row":"z"}`)
	check("the %s things", "x", `{"Id":1,"a b":"x","tidings row":"z"}`)
	check("the %s things", "y")
	check("keyless", "", `{"v":"a"}`, `{"v":"a"}`, `{"v":"b"}`)
	check("empty", "", `{}`)

	// What changes after the watch.
	run(t, s, `alter table "My Shop"."The ""Things""" drop column "tidings row"; alter table "My Shop"."The ""Things""" rename to things;
		alter table keyless add id serial primary key, drop v`)
	check("the %s things", "", `{"Id":1,"a b":"x","tidings row":null}`)
	check("keyless", "", `{"id":1}`, `{"id":2}`, `{"id":3}`)
	run(t, s, `alter table "My Shop".things drop column "a b"`)
	check("the %s things", "", `{"Id":1,"a b":null,"tidings row":null}`)
	check("the %s things", "x")
	run(t, s, `select tidings.watch('"My Shop".things', topic => 'things', columns => '{Id}', key => 'Id')`)
	check("things", "1", `{"Id":1}`)
	refused(t, s, "42P01", "no table is watched", `select * from tidings.load('the %s things')`)
}

// Who may load needs no right to the table; who may not load has no way around that.
func TestLoadRights(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	admin := connectTo(t, address)
	role, guest := newRole(t, admin), newRole(t, admin)
	giveDatabase(t, admin, role)
	l := openLiveAt(t, with(t, address, "user", role))
	s := l.connect(t)
	run(t, s, items+`insert into items values (1, 'mine')`)
	run(t, admin, `create table theirs (id int primary key, v text); insert into theirs values (1, 'theirs'); select tidings.watch('theirs')`)
	if got := loadAll(t, s, "items", nil); !slices.Equal(got, []string{`{"id":1,"v":"mine"}`}) {
		t.Errorf("got %q", got)
	}
	refused(t, s, "42501", "theirs", `table theirs`)
	if got := loadAll(t, s, "theirs", nil); !slices.Equal(got, []string{`{"id":1,"v":"theirs"}`}) {
		t.Errorf("got %q", got)
	}
	g := connectTo(t, with(t, address, "user", guest))
	refused(t, g, "42501", "", `select * from tidings.load('items')`)
	run(t, s, `grant usage on schema tidings to `+guest)
	refused(t, g, "42501", "load", `select * from tidings.load('items')`)
	for _, function := range list[string](t, s, `select oid::regprocedure::text from pg_proc where pronamespace = 'tidings'::regnamespace and proname like 'load%'`) {
		if get[bool](t, s, `select has_function_privilege($1, $2, 'execute')`, guest, function) {
			t.Errorf("anybody may call %s", function)
		}
	}
}

// Rows that a policy would keep from us are not left out without a word: their events are told.
func TestLoadWithRowSecurity(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	admin := connectTo(t, address)
	role := newRole(t, admin)
	giveDatabase(t, admin, role)
	l := openLiveAt(t, with(t, address, "user", role))
	s := l.connect(t)
	run(t, s, items+`insert into items values (1, 'a'); alter table items enable row level security`)
	if got := loadAll(t, s, "items", nil); len(got) != 1 {
		t.Errorf("the owner gets %q", got)
	}
	run(t, s, `alter table items force row level security`)
	refused(t, s, "42501", "row-level security", `select * from tidings.load('items')`)
}

// The load functions come and go with the watches, those included that were there before.
func TestLoadFunctionsFollowWatches(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	functions := func() []string {
		t.Helper()
		return list[string](t, s, `select proname::text from pg_proc where pronamespace = 'tidings'::regnamespace and proname ~ '^load_\d' order by 1`)
	}
	if got := functions(); len(got) != 0 {
		t.Errorf("without a watch there are %q", got)
	}
	run(t, s, items+`create table others (id int); select tidings.watch('others')`)
	run(t, s, `insert into items values (1, 'a')`)
	if got := functions(); len(got) != 2 {
		t.Errorf("with two watches there are %q", got)
	}
	run(t, s, `drop table others`)
	refused(t, s, "42P01", "no table is watched as others", `select * from tidings.load('others')`)
	run(t, s, `select tidings.forget_dropped()`)
	if got := functions(); len(got) != 1 {
		t.Errorf("with one watch there are %q", got)
	}
	run(t, s, readAll(t, "migrations/0007_load.down.sql"))
	if got := functions(); len(got) != 0 {
		t.Errorf("after down there are %q", got)
	}
	run(t, s, readAll(t, "migrations/0007_load.up.sql"))
	if got := loadAll(t, s, "items", nil); !slices.Equal(got, []string{`{"id":1,"v":"a"}`}) {
		t.Errorf("got %q", got)
	}
	run(t, s, `select tidings.unwatch('items')`)
	if got := functions(); len(got) != 0 {
		t.Errorf("after unwatch there are %q", got)
	}
}

// The rows are those of the position that the same statement takes.
func TestLoadIsOfThePosition(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, open, late := l.connect(t), l.connect(t), l.connect(t)
	run(t, s, items+`insert into items values (1, 'seen')`)
	run(t, open, `begin; insert into items values (2, 'open')`)
	run(t, late, `begin isolation level repeatable read; select`)
	run(t, s, `insert into items values (3, 'seen, too')`)
	for _, by := range []struct {
		conn conn
		want []string
	}{{s, []string{`{"id":1,"v":"seen"}`, `{"id":3,"v":"seen, too"}`}}, {late, []string{`{"id":1,"v":"seen"}`}}} {
		c, want := by.conn, by.want
		rows, err := c.Query(t.Context(), `select tidings.cursor(), json_agg(data::json) from tidings.load('items')`)
		if err != nil {
			t.Fatal(explain(err))
		}
		var at string
		var data []json.RawMessage
		for rows.Next() {
			if err := rows.Scan(&at, &data); err != nil {
				t.Fatal(err)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(explain(err))
		}
		var got []string
		for _, d := range data {
			got = append(got, string(d))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if c == late {
			run(t, open, `commit`)
			expect(t, s, at, `
				item_added 2 {"id":2,"v":"open"}
				item_added 3 {"id":3,"v":"seen, too"}`)
		}
	}
}

func readAll(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(liveSet.Files, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
