package triggers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Entries end where the keys are long, too.
func TestLongKeys(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `update tidings.settings set chunk_bytes = 10000`)
	run(t, s, `create table items (id int, k text); select tidings.watch('items', key => 'k', columns => '{id}')`)
	run(t, s, `insert into items select g, repeat('x', 5000) || g from generate_series(1, 100) as g; update items set k = id; delete from items`)
	if longest := get[int](t, s, "select max(case when rows is null then 1 else data::text::int end) from tidings.log where type <> 'item_deleted'"); longest > 3 {
		t.Errorf("an entry has %d rows with keys of 5,000 bytes", longest)
	}
	if got := get[int](t, s, `select count(*) from `+logRows+` where length(l.old_key) > 5000 or length(l.key) > 5000`); got != 200 {
		t.Errorf("%d long keys, want 200", got)
	}
}

// A key goes out whatever its length; if it is also a column that goes out, it counts as one.
func TestLongKeyThatStays(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `update tidings.settings set max_value_bytes = 27`)
	run(t, s, `create table items (id int primary key, k text, v text)`)
	for _, c := range []struct{ columns, atMost, over string }{
		{`'{id}'`, `{"id":1}`, `{"id":1}`},
		{`'{id,k}'`, `{"id":1,"k":"` + strings.Repeat("x", 27) + `"}`, `null`},
		{`null`, `{"id":1,"k":"` + strings.Repeat("x", 27) + `","v":null}`, `null`},
	} {
		run(t, s, `select tidings.watch('items', key => 'k', columns => `+c.columns+`)`)
		since := cursor(t, s)
		run(t, s, `insert into items values (1, repeat('x', 27))`)
		run(t, s, `update items set k = repeat('y', 28)`)
		run(t, s, `delete from items`)
		atMost, over := strings.Repeat("x", 27), strings.Repeat("y", 28)
		expect(t, s, since, fmt.Sprintf("item_added %[1]s %[3]s\nitem_updated %[2]s<%[1]s %[4]s\nitem_deleted %[2]s %[4]s", atMost, over, c.atMost, c.over))
	}
}

// longValues have, by their types, values of n, with the greatest n at which they are not too long where 1,000 bytes are
// allowed.
var longValues = []struct {
	typ, value string
	n          int
}{
	{"text", `repeat('x', %d)`, 1000},
	{"text", `repeat('é', %d)`, 500},
	{"varchar", `repeat('x', %d)`, 1000},
	{"varchar(2000)", `repeat('x', %d)`, 1000},
	{"bpchar", `repeat('x', %d)`, 1000},
	{"long", `repeat('x', %d)`, 1000},
	{"bytea", `decode(repeat('00', %d), 'hex')`, 1000},
	{"json", `to_json(repeat('x', %d))`, 1000 - 4 - 2}, // a value has its length before it
	{"jsonb", `to_jsonb(repeat('x', %d))`, 1000 - 4 - 8},
	{"text[]", `array[repeat('x', %d)]`, 1000 - 24 - 4},
	{"int[]", `array_fill(1, array[%d])`, (1000 - 24) / 4},
}

// Whether a row is too long is the same for one and for many, for all that is done to it, for what is told and what is loaded, and
// whether columns are listed or not.
func TestLongValues(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `update tidings.settings set max_value_bytes = 1000; create domain long as text`)
	for _, c := range longValues {
		for _, columns := range []string{`null`, `'{id,v}'`, `'{v,w}'`} {
			t.Run(c.typ+" "+columns, func(t *testing.T) {
				run(t, s, fmt.Sprintf(`drop table if exists items; create table items (id int primary key, w text, v %s); select tidings.watch('items', columns => %s)`, c.typ, columns))
				// The odd ones are too long by one.
				value := fmt.Sprintf("case when id %% 2 = 1 then %s when id > 0 then %s end", fmt.Sprintf(c.value, c.n+1), fmt.Sprintf(c.value, c.n))
				for ids, want := range map[string]string{
					"1": "01 long", "2": "02",
					"0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12": "00, 01 long, 02, 03 long, 04, 05 long, 06, 07 long, 08, 09 long, 10, 11 long, 12",
				} {
					run(t, s, `truncate items`)
					since := cursor(t, s)
					run(t, s, fmt.Sprintf(`insert into items (id, v) select id, %s from unnest(array[%s]) as id`, value, ids))
					loaded := list[string](t, s, `select row_key || ' ' || coalesce(data, 'null') from tidings.load('items')`)
					told := events(t, s, since)
					for i, row := range loaded {
						if i >= len(told) || told[i] != "item_added "+row {
							t.Errorf("loaded is %.60s, and not told", row)
						}
					}
					for _, sql := range []string{`update items set w = 'x'`, `update items set id = id + 100`, `delete from items`} {
						since = cursor(t, s)
						run(t, s, sql)
						if got := longOnes(t, events(t, s, since)); got != want {
							t.Errorf("%s: told are %s, want %s", sql, got, want)
						}
					}
				}
			})
		}
	}
}

// longOnes are the rows that events tell of, by the last two digits of their keys, and which are too long.
func longOnes(t *testing.T, events []string) string {
	t.Helper()
	var rows []string
	for _, event := range events {
		var id int
		if _, err := fmt.Sscanf(event[strings.Index(event, " ")+1:], "%d", &id); err != nil {
			t.Fatal(err)
		}
		row := fmt.Sprintf("%02d", id%100)
		if strings.HasSuffix(event, " null") {
			row += " long"
		}
		rows = append(rows, row)
	}
	slices.Sort(rows)
	return strings.Join(rows, ", ")
}

// A value is as long as it is, even where PostgreSQL keeps it in less.
func TestLongValuesThatCompress(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `update tidings.settings set max_value_bytes = 50000`)
	for _, c := range []struct{ typ, value string }{{"text", `repeat('x', 50001)`}, {"bpchar", `repeat('x', 50001)`}, {"bytea", `decode(repeat('00', 50001), 'hex')`}} {
		t.Run(c.typ, func(t *testing.T) {
			run(t, s, `drop table if exists items; create table items (id int primary key, v `+c.typ+`, n int); select tidings.watch('items')`)
			since := cursor(t, s)
			run(t, s, `insert into items values (1, `+c.value+`)`)
			if size := get[int](t, s, `select pg_column_size(v) from items`); size > 5000 {
				t.Fatalf("it has %d bytes in the table: this test has no point", size)
			}
			run(t, s, `update items set n = 1`)
			if got := loadAll(t, s, "items", nil); !slices.Equal(got, []string{"null"}) {
				t.Errorf("loaded %.60q", got)
			}
			run(t, s, `delete from items`)
			expect(t, s, since, "item_added 1 null\nitem_updated 1 null\nitem_deleted 1 null")
		})
	}
}

// What a column was, when the trigger functions were made, is no reason for a writer to fail or a row to be kept back: no value is
// in a column that was dropped or renamed, and one that has another type has another length.
func TestLongColumnsChange(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `drop event trigger tidings_partitions; update tidings.settings set max_value_bytes = 100`)
	for _, c := range []struct{ name, change, want string }{
		{"dropped", `alter table items drop v, drop b, drop p, drop j`, `{"id":1,"k":"a"}`},
		{"dropped with its type", `drop type pair cascade`, `{"id":1,"k":"a","v":null,"b":null,"j":null}`},
		{"renamed", `alter table items rename v to u; alter table items alter u set default repeat('x', 101)`,
			`{"id":1,"k":"a","u":"` + strings.Repeat("x", 101) + `","b":null,"p":null,"j":null}`},
		{"another takes its name", `alter table items rename v to u; alter table items add v int default 5`, `{"id":1,"k":"a","u":null,"b":null,"p":null,"j":null,"v":5}`},
		{"text to a number", `alter table items alter v type int using 5, alter v set default 5`, `{"id":1,"k":"a","v":5,"b":null,"p":null,"j":null}`},
		{"text to jsonb", `alter table items alter v type jsonb using '5', alter v set default '5'`, `{"id":1,"k":"a","v":5,"b":null,"p":null,"j":null}`},
		{"text to bytes", `alter table items alter v type bytea using null, alter v set default '\x05'`, `{"id":1,"k":"a","v":"\\x05","b":null,"p":null,"j":null}`},
		{"bytes to text", `alter table items alter b type text using 'b', alter b set default 'b'`, `{"id":1,"k":"a","v":null,"b":"b","p":null,"j":null}`},
		{"jsonb to a number", `alter table items alter j type int using 5, alter j set default 5`, `{"id":1,"k":"a","v":null,"b":null,"p":null,"j":5}`},
		{"the key to a number", `alter table items alter k drop default, alter k type int using 5, add z int`, `{"id":1,"k":5,"v":null,"b":null,"p":null,"j":null,"z":null}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, s, `drop table if exists items; drop type if exists pair; create type pair as (a text, b text);
				create table items (id int primary key, k varchar default 'a', v text, b bytea, p pair, j jsonb);
				select tidings.watch('items', key => 'k')`)
			run(t, s, c.change)
			key := "a"
			if strings.Contains(c.change, "alter k") {
				key = "5"
			}
			since := cursor(t, s)
			run(t, s, `insert into items (id, k) values (1, '`+key+`')`)
			run(t, s, `update items set id = id; delete from items`)
			run(t, s, `insert into items (id, k) select g, '`+key+`' from generate_series(1, 12) as g; update items set k = k; delete from items where id <= 11`)
			got := events(t, s, since)
			want := []string{"item_added " + key + " " + c.want, "item_updated " + key + " " + c.want, "item_deleted " + key + " " + c.want}
			if len(got) != 3+12+12+11 || !slices.Equal(got[:3], want) {
				t.Errorf("events:\n%s\nwant:\n%s", lines(got), lines(want))
			}
			// And once somebody has looked, what is there now counts.
			if n := get[int](t, s, `select renewed from tidings.follow_partitions()`); n != 1 {
				t.Errorf("follow_partitions renewed %d watches", n)
			}
			since = cursor(t, s)
			run(t, s, `update items set id = id`)
			if got, long := events(t, s, since), strings.Contains(c.want, "xxx"); len(got) != 1 || strings.HasSuffix(got[0], " null") != long {
				t.Errorf("afterwards:\n%s", lines(got))
			}
		})
	}
}

// A column may be called like the SQL that measures.
func TestLongNames(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	for _, name := range []string{") as longest from ", "longest", "of_row", "was", "before", "few", "ones", "count"} {
		for _, typ := range []string{"int", "text"} {
			t.Run(name+" "+typ, func(t *testing.T) {
				run(t, s, `drop table if exists items; create table items (id int primary key, `+quote(name)+` `+typ+`); select tidings.watch('items')`)
				since := cursor(t, s)
				run(t, s, `insert into items values (1, '5'); update items set id = 2; delete from items`)
				value := map[string]string{"int": `5`, "text": `"5"`}[typ]
				expect(t, s, since, fmt.Sprintf("item_added 1 {\"id\":1,%[1]q:%[2]s}\nitem_updated 2<1 {\"id\":2,%[1]q:%[2]s}\nitem_deleted 2 {\"id\":2,%[1]q:%[2]s}", name, value))
			})
		}
	}
}
