package triggers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The rows of one large statement come out complete and in order, in entries of about the size that was asked for.
func TestLargeStatements(t *testing.T) {
	t.Parallel()
	const n, chunk, row = 50_000, 32768, 200
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table items (id int primary key, v text); select tidings.watch('items')`)

	check := func(typ, sql string, id func(i int) int, text string) {
		t.Helper()
		first := get[int64](t, s, "select coalesce(max(id), 0) from tidings.log")
		run(t, s, sql)
		rows := list[string](t, s, `select l.key || ' ' || l.row from `+logRows+` where l.id > $1 and l.type = $2 order by l.id, l.n`, first, typ)
		if len(rows) != n {
			t.Fatalf("%s: %d rows, want %d", typ, len(rows), n)
		}
		for i, got := range rows {
			if want := fmt.Sprintf(`%d {"id":%[1]d,"v":"%[2]s%[1]d"}`, id(i), text); got != want {
				t.Fatalf("%s: row %d is %s, want %s", typ, i, got, want)
			}
		}
		sizes := list[int](t, s, `select case when rows is not null then (select sum(octet_length(r)) from unnest(rows[:data::text::int]) as r)::int end from tidings.log
			where id > $1 and rows is not null order by id`, first) // without the first few, which have entries of their own
		for i, size := range sizes {
			if size > chunk+row || size < chunk/3 && i < len(sizes)-1 {
				t.Errorf("%s: entry %d of %d has %d bytes of rows, want about %d", typ, i, len(sizes), size, chunk)
			}
		}
		if moved := get[int](t, s, "select count(*) from tidings.log where id > $1 and (old_key is not null or case when rows is not null then cardinality(rows) <> 2 * data::text::int end)", first); moved > 0 {
			t.Errorf("%s: %d entries have old keys, and no row moved", typ, moved)
		}
	}
	backwards := func(i int) int { return n - i }
	check("item_added", `insert into items select g, 'v' || g from generate_series(50000, 1, -1) as g`, backwards, "v")
	check("item_updated", `update items set v = 'w' || id`, backwards, "w")
	check("item_deleted", `delete from items`, backwards, "w")
}

// Every third row moves, in entries of some ten rows.
func TestMovesAcrossChunks(t *testing.T) {
	t.Parallel()
	const n = 1000
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `update tidings.settings set chunk_bytes = 300`)
	run(t, s, `create table items (id int, k text); select tidings.watch('items', key => 'k')`)
	run(t, s, `insert into items select g, 'k' || g from generate_series(1, $1::int) as g`, n)
	if entries := get[int](t, s, "select count(*) from tidings.log"); entries < n/20 {
		t.Fatalf("%d entries: this test has no point", entries)
	}
	since := cursor(t, s)
	run(t, s, `update items set k = k || '!' where id % 3 = 0 or id % 2 = 0 and id < 500`)
	run(t, s, `update items set k = case when id % 3 = 0 then 'moved' || id else k end`)

	var want []string
	key := func(i int) string {
		if i%3 == 0 || i%2 == 0 && i < 500 {
			return fmt.Sprintf("k%d!", i)
		}
		return fmt.Sprintf("k%d", i)
	}
	var untouched, touched []int
	for i := 1; i <= n; i++ {
		if strings.HasSuffix(key(i), "!") {
			touched = append(touched, i)
			want = append(want, fmt.Sprintf(`item_updated %s<k%d {"id":%[2]d,"k":"%[1]s"}`, key(i), i))
		} else {
			untouched = append(untouched, i)
		}
	}
	for _, i := range append(untouched, touched...) { // in the order in which they lie in the table
		if i%3 == 0 {
			want = append(want, fmt.Sprintf(`item_updated moved%d<%s {"id":%[1]d,"k":"moved%[1]d"}`, i, key(i)))
		} else {
			want = append(want, fmt.Sprintf(`item_updated %s {"id":%d,"k":"%[1]s"}`, key(i), i))
		}
	}
	got := events(t, s, since)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("event %d of %d (want %d) is\n%s\nwant\n%s", i, len(got), len(want), lines(got[i:min(i+1, len(got))]), lines(want[i:min(i+1, len(want))]))
		}
	}
	if longer := get[int](t, s, "select count(*) from tidings.log where case when rows is not null then cardinality(rows) not in (2 * data::text::int, 3 * data::text::int) end"); longer > 0 {
		t.Errorf("%d entries have another number of keys, or of old keys, than of rows", longer)
	}
}

func TestLongRows(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table items (id int primary key, v text); select tidings.watch('items')`)
	since := cursor(t, s)
	run(t, s, `insert into items select g, repeat('жд😀"\', 100000) || g from generate_series(1, 3) as g`)
	run(t, s, `update items set v = repeat(v, 5) where id = 2`)
	run(t, s, `delete from items where id = 2`)
	text := strings.Repeat(`жд😀\"\\`, 100_000)
	want := []string{
		`item_added 1 {"id":1,"v":"` + text + `1"}`,
		`item_added 2 {"id":2,"v":"` + text + `2"}`,
		`item_added 3 {"id":3,"v":"` + text + `3"}`,
		`item_updated 2 {"id":2,"v":"` + strings.Repeat(text+"2", 5) + `"}`,
		`item_deleted 2 {"id":2,"v":"` + strings.Repeat(text+"2", 5) + `"}`,
	}
	if got := events(t, s, since); !slices.Equal(got, want) {
		t.Error("long rows came out changed")
	}
	if entries := get[int](t, s, "select count(*) from tidings.log where topic <> 'tidings'"); entries != 5 {
		t.Errorf("%d entries, want one for each of the 5 rows", entries)
	}
}

// A row of which a value is too long is told of without its data, and keeps its place and its keys.
func TestRowsTooLong(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table items (id int, k text, v text); select tidings.watch('items', key => 'k')`)
	run(t, s, `update tidings.settings set max_value_bytes = 50`)
	since := cursor(t, s)
	run(t, s, `insert into items values (1, 'a', repeat('x', 100))`)
	expect(t, s, since, `item_added a {"id":1,"k":"a","v":"`+strings.Repeat("x", 100)+`"}`)

	if got := get[int](t, s, `select tidings.refresh()`); got != 1 {
		t.Errorf("refresh renewed %d watches, want 1", got)
	}
	run(t, s, `truncate items`)
	since = cursor(t, s)
	run(t, s, `insert into items values (1, 'a', 'x'), (2, 'b', repeat('x', 50)), (3, 'c', repeat('x', 51)), (4, 'd', repeat('x', 1000)), (5, 'e', '')`)
	run(t, s, `update items set k = upper(k) where id in (1, 4, 5)`)
	run(t, s, `delete from items where id >= 4`)
	expect(t, s, since, `
		item_added a {"id":1,"k":"a","v":"x"}
		item_added b {"id":2,"k":"b","v":"`+strings.Repeat("x", 50)+`"}
		item_added c null
		item_added d null
		item_added e {"id":5,"k":"e","v":""}
		item_updated A<a {"id":1,"k":"A","v":"x"}
		item_updated D<d null
		item_updated E<e {"id":5,"k":"E","v":""}
		item_deleted D null
		item_deleted E {"id":5,"k":"E","v":""}`)

	// Entries end even where all rows are too long.
	run(t, s, `update tidings.settings set chunk_bytes = 100; select tidings.refresh()`)
	since = cursor(t, s)
	run(t, s, `insert into items select g, 'k' || g, repeat('x', 1000) from generate_series(1, 100) as g`)
	got := events(t, s, since)
	if len(got) != 100 || got[0] != "item_added k1 null" || got[99] != "item_added k100 null" {
		t.Errorf("%d rows:\n%s", len(got), lines(got))
	}
	if longest := get[int](t, s, "select max(cardinality(rows) / 2) from tidings.log"); longest > 10 {
		t.Errorf("an entry has %d rows", longest)
	}
}

// What counts is what goes out: a long column that doesn't is no reason to keep the rest back.
func TestLongColumnThatStays(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `update tidings.settings set max_value_bytes = 50`)
	run(t, s, `create table items (id int primary key, v text); select tidings.watch('items', columns => '{id}')`)
	since := cursor(t, s)
	run(t, s, `insert into items values (1, repeat('x', 40)), (2, repeat('x', 1000))`)
	expect(t, s, since, `
		item_added 1 {"id":1}
		item_added 2 {"id":2}`)
}
