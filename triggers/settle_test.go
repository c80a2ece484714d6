package triggers_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"
)

// A dump takes the log along into a database where its transaction ids mean nothing. Watches and triggers work there at
// once, and settle empties the log.
func TestSettleAfterRestore(t *testing.T) {
	t.Parallel()
	source := openLive(t)
	s := source.connect(t)
	// The view is a superuser's.
	bin := get[string](t, s, `select setting from pg_config where name = 'BINDIR'`)
	dump, err := exec.LookPath(filepath.Join(bin, "pg_dump"))
	if err != nil {
		t.Log("this PostgreSQL comes without pg_dump: ", err)
		return
	}
	restore, err := exec.LookPath(filepath.Join(bin, "psql"))
	if err != nil {
		t.Log("this PostgreSQL comes without psql: ", err)
		return
	}
	run(t, s, `create schema "Odd one"; set search_path = "Odd one"`)
	run(t, s, items+days+`create table "Restricted" (id int primary key, secret text); select tidings.watch('"Restricted"', topic => 'it''s', columns => '{id}', read => 'public');
		insert into items values (1, 'a'), (2, 'b'); insert into days values (1, 10, 'x'); update items set v = 'c'`)
	rotateTimes(t, s, 3)
	run(t, s, `insert into items values (3, 'c')`)
	since := cursor(t, s)

	target := openAt(t, newDatabase(t))
	var script, complaints bytes.Buffer
	c := exec.CommandContext(t.Context(), dump, "--dbname="+source.url)
	c.Stdout, c.Stderr = &script, &complaints
	if err := c.Run(); err != nil {
		t.Fatalf("pg_dump: %v\n%s", err, &complaints)
	}
	c = exec.CommandContext(t.Context(), restore, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname="+target.url)
	c.Stdin, c.Stderr = &script, &complaints
	if err := c.Run(); err != nil {
		t.Fatalf("psql: %v\n%s", err, &complaints)
	}

	r := target.connect(t)
	run(t, r, `set search_path = "Odd one"`)
	if n := get[int](t, r, `select count(*) from tidings.log`); n == 0 {
		t.Error("the dump has no log")
	}
	refused(t, r, "22023", "is from another database", `select tidings.since('`+since+`')`)
	watched := `select concat_ws(' ', "table", topic, event, key, columns, read, problem) from tidings.watched`
	if got, want := list[string](t, r, watched), list[string](t, s, watched); !slices.Equal(got, want) {
		t.Errorf("watched:\n%s\nwant:\n%s", lines(got), lines(want))
	}
	early := get[string](t, r, `with xid as (insert into items values (1000, 'before it is settled') returning pg_current_xact_id()::text as xid) select xid from xid`)
	if get[string](t, r, `select tidings.settle()`) != "copied" {
		t.Error("settle took the copy for the original")
	}
	if !get[bool](t, r, `select pg_visible_in_snapshot('`+early+`'::xid8, tidings.position())`) {
		t.Error("the position is before what is forgotten")
	}
	if get[string](t, r, `select tidings.settle()`) != "home" {
		t.Error("settle settled twice")
	}
	if get[string](t, s, `select tidings.settle()`) != "home" {
		t.Error("settle took the original for a copy")
	}
	if n := get[int](t, r, `select count(*) from tidings.log`); n > 0 {
		t.Errorf("%d entries are left", n)
	}
	since = cursor(t, r)
	run(t, r, `insert into items values (4, 'd'); update items set v = 'x' where id = 1; insert into days_2b values (2, 25, 'y');
		insert into "Restricted" values (1, 'hidden'); truncate days; create table days_9 partition of days for values from (90) to (99); insert into days_9 values (1, 91, 'z')`)
	expect(t, r, since, `
		item_added 4 {"id":4,"v":"d"}
		item_updated 1 {"id":1,"v":"x"}
		day_added 25 {"id":2,"day":25,"v":"y"}
		it__added 1 {"id":1}
		days_truncated -
		day_added 91 {"id":1,"day":91,"v":"z"}`)
	rotateTimes(t, r, eras)
	if got := events(t, r, since); len(got) != 6 {
		t.Errorf("%d events after some rotations", len(got))
	}
	rotateTimes(t, r, 1)
	refused(t, r, "22023", expired, `select tidings.since('`+since+`')`)
	run(t, r, `create table more (id int); select tidings.watch('more'); select tidings.unwatch('items')`)
	if err := target.MigrateDown(t.Context(), liveSet); err != nil {
		t.Error(err)
	}
}

// Several servers may start at a restored copy at once.
func TestSettleAtOnce(t *testing.T) {
	t.Parallel()
	const rounds, servers = 10, 6
	l := openLive(t)
	run(t, l.Pool, items)
	for range rounds {
		run(t, l.Pool, `insert into items values (1, 'a'); delete from items; update tidings.home set origin = 'elsewhere', place = 'elsewhere'`)
		var group errgroup.Group
		settled := make([]string, servers)
		for i := range settled {
			c := l.connect(t)
			group.Go(func() error {
				return c.QueryRow(t.Context(), `select tidings.settle()`).Scan(&settled[i])
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(explain(err))
		}
		n := 0
		for _, did := range settled {
			if did == "copied" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d servers settled, want 1", n)
		}
		if n := get[int](t, l.Pool, `select count(*) from tidings.log`); n > 0 {
			t.Errorf("%d entries are left", n)
		}
	}
}

// A promoted standby has the log of the old timeline up to some point, and hands out the same transaction ids again:
// positions of the old timeline are good as far as one is known to have come over.
func TestSettlePromoted(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	run(t, l.Pool, items)
	position := func() string { return get[string](t, l.Pool, `select tidings.cursor()`) }
	before := position()
	run(t, l.Pool, `insert into items values (1, 'a')`)
	if entry := get[*int64](t, l.Pool, `select tidings.beat('1 hour')`); entry == nil {
		t.Fatal("no beat was written")
	}
	if entry := get[*int64](t, l.Pool, `select tidings.beat('1 hour')`); entry != nil {
		t.Error("a beat was written, though there was one lately")
	}
	run(t, l.Pool, `insert into items values (2, 'b')`)
	after := position()

	// As after a promotion: the timeline is another than the one at home.
	run(t, l.Pool, `update tidings.home set timeline = timeline - 1`)
	old := get[string](t, l.Pool, `select origin from tidings.home`)
	run(t, l.Pool, `update tidings.settings set installation = 'what tidings.origin() had on the old timeline is not so now'`)
	if got := get[string](t, l.Pool, `select tidings.settle()`); got != "promoted" {
		t.Fatalf("settled as %s, want promoted", got)
	}
	if got := get[string](t, l.Pool, `select tidings.settle()`); got != "home" {
		t.Errorf("settled again, as %s", got)
	}
	if now := get[string](t, l.Pool, `select tidings.origin()`); now == old {
		t.Error("the origin is the old timeline's")
	}
	if got, want := list[string](t, l.Pool, `select data->>'v' from tidings.since('`+before+`')`), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("since a position that came over: %q, want %q", got, want)
	}
	refused(t, l.Pool, "22023", "what a failover lost", `select tidings.since('`+after+`')`)
}
