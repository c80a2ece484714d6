package triggers_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
)

// listener hears the doorbell on a connection of its own.
type listener struct {
	conn *pgx.Conn
	mark conn
}

func listen(t *testing.T, l *live) *listener {
	t.Helper()
	c := l.connect(t)
	run(t, c, "listen tidings")
	run(t, c, "select tidings.attend('the test', true)")
	return &listener{c, l.Pool}
}

// heard returns the payloads since the last call. Notifications come in the order of commits, so a last one of our own
// tells that all are there.
func (l *listener) heard(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const end = "that is all"
	run(t, l.mark, "select pg_notify('tidings', $1)", end)
	payloads := []string{}
	for {
		n, err := l.conn.WaitForNotification(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n.Payload == end {
			return payloads
		}
		payloads = append(payloads, n.Payload)
	}
}

// One ring a transaction and topic, however much it wrote.
func TestDoorbell(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items+`create table others (id int primary key, item int references items on delete cascade); select tidings.watch('others');`+days)
	bell := listen(t, l)
	for _, c := range []struct {
		name, do string
		topics   []string
	}{
		{"one row", `insert into items values (1, 'a')`, []string{"items"}},
		{"many rows, in several entries", `insert into items select g, repeat('x', 1000) from generate_series(2, 200) as g`, []string{"items"}},
		{"many statements", `begin; update items set v = 'x'; update items set v = 'y' where id < 5; delete from items where id = 200; commit`, []string{"items"}},
		{"two topics", `begin; insert into others values (1, 1); insert into items values (300, 'z'); insert into others values (2, 1); commit`, []string{"others", "items"}},
		{"cascade", `delete from items where id = 1`, []string{"items", "others"}},
		{"no rows", `begin; update items set v = 'x' where false; insert into items values (2, 'x') on conflict do nothing; delete from items where id < 0; commit`, nil},
		{"rollback", `begin; insert into items values (1, 'a'); rollback`, nil},
		{"rollback to a savepoint", `begin; savepoint s; insert into items values (1, 'a'); rollback to s; insert into others values (5, 2); commit`, []string{"others"}},
		{"many savepoints", `begin; insert into items values (401, 'a'); savepoint s; insert into items values (402, 'a'); release s; savepoint s;
			insert into items values (403, 'a'); savepoint t; delete from items where id > 400; release s; commit`, []string{"items"}},
		{"truncate", `truncate items cascade`, []string{"items", "others"}},
		{"truncate of a partitioned table", `truncate days`, []string{"days"}},
		{"doorbell off", `set tidings.doorbell = off; insert into items values (1, 'a'); truncate items cascade`, nil},
		{"doorbell false", `set tidings.doorbell = false; delete from items`, nil},
		{"doorbell no", `set tidings.doorbell = no; insert into items values (1, 'a')`, nil},
		{"doorbell 0", `set tidings.doorbell = 0; delete from items`, nil},
		{"doorbell f", `set tidings.doorbell = f; insert into items values (1, 'a')`, nil},
		{"doorbell FALSE", `set tidings.doorbell = 'FALSE'; delete from items`, nil},
		{"doorbell true", `set tidings.doorbell = true; insert into items values (1, 'a')`, []string{"items"}},
		{"no doorbell at all", `set tidings.doorbell = 'sometimes'; delete from items`, []string{"items"}},
		{"an empty doorbell", `set tidings.doorbell = ''; insert into items values (1, 'a'); delete from items`, []string{"items"}},
		{"doorbell on again", `set tidings.doorbell = on; insert into items values (1, 'a')`, []string{"items"}},
		{"doorbell reset", `set tidings.doorbell = off; reset tidings.doorbell; delete from items`, []string{"items"}},
		{"repeatable read", `begin isolation level repeatable read; insert into items values (1, 'a'); commit`, []string{"items"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			last := get[string](t, s, "select coalesce(max(id), 0)::text from tidings.log")
			run(t, s, c.do)
			xid := get[*string](t, s, "select (array_agg(xid order by xid desc))[1]::text from tidings.log where id > $1::text::bigint", last)
			topics := []string{}
			for _, payload := range bell.heard(t) {
				var p map[string]string
				if err := json.Unmarshal([]byte(payload), &p); err != nil {
					t.Fatalf("payload %s: %v", payload, err)
				}
				if len(p) != 2 || xid == nil || p["xid"] != *xid {
					t.Errorf("payload %s, want a topic and transaction %v", payload, xid)
				}
				topics = append(topics, p["topic"])
			}
			slices.Sort(topics)
			slices.Sort(c.topics)
			if !slices.Equal(topics, c.topics) {
				t.Errorf("topics %q, want %q", topics, c.topics)
			}
		})
	}
}

func TestDoorbellOfOddTopics(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	bell := listen(t, l)
	for _, name := range oddNames {
		run(t, s, "create table "+quote(name)+" (id int)")
		run(t, s, "select tidings.watch($1::text::regclass)", quote(name))
		bell.heard(t)
		run(t, s, "insert into "+quote(name)+" values (1)")
		want, err := json.Marshal(map[string]string{"topic": name, "xid": get[string](t, s, "select xid::text from tidings.log order by xid desc limit 1")})
		if err != nil {
			t.Fatal(err)
		}
		var got, wanted map[string]string
		heard := bell.heard(t)
		if len(heard) != 1 || json.Unmarshal([]byte(heard[0]), &got) != nil || json.Unmarshal(want, &wanted) != nil ||
			got["topic"] != wanted["topic"] || got["xid"] != wanted["xid"] {
			t.Errorf("%q: heard %q, want %s", name, heard, want)
		}
	}
}

func TestDoorbellOfWatches(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table items (id int); create table others (id int)`)
	bell := listen(t, l)
	for _, c := range []struct {
		do    string
		rings bool
	}{
		{`select tidings.watch('items')`, true},
		{`select tidings.watch('items', read => 'public')`, true},
		{`begin; select tidings.watch('others'); select tidings.unwatch('items'); commit`, true},
		{`begin; select tidings.unwatch('others'); rollback`, false},
		{`select tidings.unwatch('others')`, true},
		{`select tidings.refresh()`, false},
		{`insert into items values (1)`, false},
	} {
		run(t, s, c.do)
		want := []string{}
		if c.rings {
			want = append(want, `{"watches":"changed"}`)
		}
		if got := bell.heard(t); !slices.Equal(got, want) {
			t.Errorf("%s: heard %q, want %q", c.do, got, want)
		}
	}
}

// The doorbell is rung for those asleep, and for nobody else, whatever the writer's snapshot is.
func TestSleepers(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, old := l.connect(t), l.connect(t)
	run(t, s, items)
	bell := listen(t, l)
	n := 0
	for _, c := range []struct {
		do    string
		rings bool
	}{
		{`select tidings.attend('the test', true)`, true},
		{`select tidings.attend('the test', false)`, false},
		{`select tidings.attend('another', false)`, false},
		{`select tidings.attend('another', true)`, true},
		{`select tidings.attend('the test', true)`, true},
		{`select tidings.leave('another')`, true},
		{`select tidings.leave('nobody')`, true},
		{`select tidings.leave('the test')`, false},
		{`select tidings.attend('another', true)`, true},
		{`update tidings.instances set seen_at = seen_at - interval '2 minutes'; select tidings.attend('the test', false)`, false},
		{`begin; select tidings.attend('the test', true); commit`, true},
	} {
		for _, level := range []string{"read committed", "repeatable read", "serializable"} {
			run(t, old, `begin isolation level `+level+`; select from items`) // its snapshot is from before
			run(t, s, c.do)
			bell.heard(t)
			n++
			run(t, old, `insert into items values ($1, 'a')`, n)
			run(t, old, `commit`)
			if got := len(bell.heard(t)); got > 1 || c.rings != (got == 1) {
				t.Errorf("%s, then a row under %s: %d rings, want %t", c.do, level, got, c.rings)
			}
		}
	}
}
