package triggers_test

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"tidings/db"
	"tidings/triggers"
)

// objects are what a database has, but for what PostgreSQL makes by itself.
const objects = `
select 'relation ' || oid::regclass from pg_class where relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
union all select 'function ' || oid::regprocedure from pg_proc where pronamespace::regnamespace::text !~ '^(pg_|information_schema)'
union all select 'schema ' || nspname from pg_namespace where nspname !~ '^pg_(toast|temp)'
union all select 'trigger ' || tgrelid::regclass || ' ' || tgname from pg_trigger where not tgisinternal
union all select 'event trigger ' || evtname from pg_event_trigger
union all select 'type ' || oid::regtype from pg_type where typnamespace::regnamespace::text !~ '^(pg_|information_schema)'
order by 1`

func TestMigrateDownAndUp(t *testing.T) {
	t.Parallel()
	l := openAt(t, newDatabase(t))
	s := l.connect(t)
	run(t, s, `create schema shop; create table shop.items (id int primary key, v text); create table others (id int);
		create table days (id int, day int) partition by range (day); create table days_1 partition of days for values from (10) to (20)`)
	before := list[string](t, s, objects)
	for round := range 3 {
		if err := l.MigrateUp(t.Context(), liveSet); err != nil {
			t.Fatal(err)
		}
		if err := l.MigrateUp(t.Context(), liveSet); err != nil {
			t.Fatal("up again:", err)
		}
		status, err := l.MigrationStatus(t.Context(), liveSet)
		if err != nil || status.Version == 0 || status.Version != status.Latest || status.Dirty {
			t.Errorf("status after up: %+v, %v", status, err)
		}
		run(t, s, `select tidings.watch('shop.items'); select tidings.watch('others', read => 'public'); select tidings.watch('days', key => 'day')`)
		since := cursor(t, s)
		run(t, s, `insert into shop.items values (1, 'a'); insert into days values (1, 10); insert into others values (1)`)
		rotateTimes(t, s, 3)
		run(t, s, `update shop.items set v = 'b'; truncate shop.items, others, days; select tidings.unwatch('others')`)
		run(t, s, `create table dropped (id int); select tidings.watch('dropped'); drop table dropped`)
		if got := events(t, s, since); len(got) != 7 {
			t.Errorf("round %d: events:\n%s", round, lines(got))
		}
		if err := l.MigrateDown(t.Context(), liveSet); err != nil {
			t.Fatal(err)
		}
		if after := list[string](t, s, objects); !slices.Equal(after, before) {
			t.Fatalf("after down there are\n%s\nwant\n%s", lines(after), lines(before))
		}
		run(t, s, `insert into shop.items values (1, 'a'); update shop.items set v = 'b'; insert into days values (1, 10); truncate shop.items, days`)
		if status, err := l.MigrationStatus(t.Context(), liveSet); err != nil || status != (db.MigrationStatus{Latest: status.Latest}) {
			t.Errorf("status after down: %+v, %v", status, err)
		}
	}
	if err := l.MigrateDown(t.Context(), liveSet); err != nil {
		t.Error("down of nothing:", err)
	}
}

// Each migration takes back what it made, in a database with watched tables and entries as well, and can be made anew.
func TestMigrateStepByStep(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(triggers.Migrations, "migrations/*.up.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	s := connectTo(t, newDatabase(t))
	apply := func(file string) {
		t.Helper()
		sql, err := fs.ReadFile(triggers.Migrations, file)
		if err != nil {
			t.Fatal(err)
		}
		run(t, s, string(sql))
	}
	run(t, s, `create schema tidings; create table items (id int primary key, v text);
		create table days (id int, day int) partition by range (day); create table days_1 partition of days default`)
	for range 2 {
		var before [][]string
		for _, file := range files {
			before = append(before, list[string](t, s, objects))
			apply(file)
			if strings.HasSuffix(file, "_watch.up.sql") {
				run(t, s, `create table dropped (id int); select tidings.watch('items'), tidings.watch('days'), tidings.watch('dropped'); drop table dropped`)
				run(t, s, `insert into items select g, 'a' from generate_series(1, 20) as g; insert into days values (1, 2); update items set id = id + 100`)
				rotateTimes(t, s, eras+2)
				run(t, s, `insert into items values (1, 'a'); insert into days values (1, 2)`)
			}
		}
		if n := get[int](t, s, `select count(*) from tidings.log where topic <> 'tidings'`); n != 2 {
			t.Errorf("%d entries, want 2", n)
		}
		for i, file := range slices.Backward(files) {
			apply(strings.Replace(file, ".up.", ".down.", 1))
			if got := list[string](t, s, objects); !slices.Equal(got, before[i]) {
				t.Fatalf("%s leaves\n%s\nwant\n%s", file, lines(got), lines(before[i]))
			}
		}
		run(t, s, `update items set v = 'b'; truncate items, days; insert into days values (1, 2)`)
		if comment := get[*string](t, s, `select obj_description('tidings'::regnamespace)`); comment != nil {
			t.Errorf("the schema's comment is still %q", *comment)
		}
	}
}

// The watch of a dropped table gave way to another; nothing of it must be left in the way.
func TestMigrateDownAfterADroppedTable(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items+`drop table items;`+items)
	if err := l.MigrateDown(t.Context(), liveSet); err != nil {
		t.Error(err)
	}
	if get[bool](t, s, `select exists (select from pg_namespace where nspname = 'tidings')`) {
		t.Errorf("schema tidings is still there, with\n%s", lines(list[string](t, s, objects)))
	}
}

// Whoever installs and whoever removes at the same time, one comes after another: what is left is whole, and can be installed or removed.
func TestMigrateUpAndDownAtOnce(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	for range 4 {
		var all sync.WaitGroup
		for _, do := range []func(context.Context, db.MigrationSet) error{l.MigrateDown, l.MigrateUp, l.MigrateDown, l.MigrateUp, l.MigrateDown} {
			all.Go(func() {
				if err := do(t.Context(), liveSet); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	if err := l.MigrateUp(t.Context(), liveSet); err != nil {
		t.Fatal(err)
	}
	s := l.connect(t)
	run(t, s, `create table things (id int primary key); select tidings.watch('things'); insert into things values (1)`)
	if err := l.MigrateDown(t.Context(), liveSet); err != nil {
		t.Fatal(err)
	}
	if get[bool](t, s, `select to_regnamespace('tidings') is not null`) {
		t.Error("schema tidings is left")
	}
}
