package triggers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// days is a table in partitions, one of them with partitions of its own, and watched through its root.
const days = `
create table days (id int, day int, v text, primary key (id, day)) partition by range (day);
create table days_1 partition of days for values from (10) to (20);
create table days_2 partition of days for values from (20) to (30) partition by list (day);
create table days_2a partition of days_2 for values in (20, 21);
create table days_2b partition of days_2 default;
select tidings.watch('days', key => 'day');`

func TestPartitions(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, days)
	for _, c := range []struct{ name, do, want string }{
		{"through the root", `insert into days values (1, 25, 'a'), (2, 10, 'b'), (3, 20, 'c')`, `
			day_added 25 {"id":1,"day":25,"v":"a"}
			day_added 10 {"id":2,"day":10,"v":"b"}
			day_added 20 {"id":3,"day":20,"v":"c"}`},
		{"into a partition", `insert into days_1 values (4, 11, 'd')`, `day_added 11 {"id":4,"day":11,"v":"d"}`},
		{"into a partition that has partitions", `insert into days_2 values (5, 21, 'e'), (6, 29, 'f')`, `
			day_added 21 {"id":5,"day":21,"v":"e"}
			day_added 29 {"id":6,"day":29,"v":"f"}`},
		{"into a partition of a partition", `insert into days_2b values (7, 28, 'g')`, `day_added 28 {"id":7,"day":28,"v":"g"}`},
		{"update and delete through the root", `update days set v = 'x' where id in (2, 7); delete from days where id = 2`, `
			day_updated 10 {"id":2,"day":10,"v":"x"}
			day_updated 28 {"id":7,"day":28,"v":"x"}
			day_deleted 10 {"id":2,"day":10,"v":"x"}`},
		{"update and delete in a partition", `update days_2 set v = 'y' where id = 7; delete from days_2b where id = 7`, `
			day_updated 28 {"id":7,"day":28,"v":"y"}
			day_deleted 28 {"id":7,"day":28,"v":"y"}`},
		{"moved to another partition", `update days set day = 12 where id = 1`, `day_updated 12<25 {"id":1,"day":12,"v":"a"}`},
		{"moved within a partition that has partitions", `update days_2 set day = 27 where id = 3`, `day_updated 27<20 {"id":3,"day":27,"v":"c"}`},
		{"some moved, some not", `update days set day = case id when 1 then 13 when 4 then 20 else day end, v = 'm'`, `
			day_updated 20<11 {"id":4,"day":20,"v":"m"}
			day_updated 13<12 {"id":1,"day":13,"v":"m"}
			day_updated 21 {"id":5,"day":21,"v":"m"}
			day_updated 29 {"id":6,"day":29,"v":"m"}
			day_updated 27 {"id":3,"day":27,"v":"m"}`},
		{"on conflict", `insert into days values (1, 13, 'again'), (8, 14, 'new') on conflict (id, day) do update set v = excluded.v`, `
			day_updated 13 {"id":1,"day":13,"v":"again"}
			day_added 14 {"id":8,"day":14,"v":"new"}`},
		{"truncate of a partition", `truncate days_2b`, `days_truncated -`},
		{"truncate of the root", `truncate days`, `days_truncated -`},
		{"truncate of the root among writes", `begin; insert into days values (1, 13, 'a'); truncate days; insert into days_1 values (2, 13, 'b'); truncate days; commit`, `
			day_added 13 {"id":1,"day":13,"v":"a"}
			days_truncated -
			day_added 13 {"id":2,"day":13,"v":"b"}
			days_truncated -`},
	} {
		t.Run(c.name, func(t *testing.T) {
			since := cursor(t, s)
			run(t, s, c.do)
			expect(t, s, since, c.want)
		})
	}
}

// Unlike UPDATE, MERGE moves a row to another partition by deleting it and adding it there, and PostgreSQL says so.
func TestMergeIntoPartitions(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	if get[int](t, s, "select current_setting('server_version_num')::int / 10000") < 15 {
		return // no MERGE
	}
	run(t, s, days)
	run(t, s, `insert into days values (1, 10, 'a'), (2, 11, 'b'), (3, 20, 'c'), (4, 25, 'd')`)
	since := cursor(t, s)
	run(t, s, `merge into days using (values (1, 26), (2, 11), (3, 12), (4, null), (5, 21)) as x (id, day) on x.id = days.id
		when matched and x.day is null then delete
		when matched then update set day = x.day
		when not matched then insert values (x.id, x.day, 'new')`)
	got := events(t, s, since)
	slices.Sort(got)
	want := split(`
		day_added 12 {"id":3,"day":12,"v":"c"}
		day_added 21 {"id":5,"day":21,"v":"new"}
		day_added 26 {"id":1,"day":26,"v":"a"}
		day_deleted 10 {"id":1,"day":10,"v":"a"}
		day_deleted 20 {"id":3,"day":20,"v":"c"}
		day_deleted 25 {"id":4,"day":25,"v":"d"}
		day_updated 11 {"id":2,"day":11,"v":"b"}`)
	if !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", lines(got), lines(want))
	}
}

// A superuser's installation has an event trigger: partitions come and go, and their triggers with them.
func TestPartitionsComeAndGo(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, days)
	for _, c := range []struct{ name, do, want string }{
		{"created", `create table days_3 partition of days for values from (30) to (40); insert into days_3 values (1, 30, 'a')`,
			`day_added 30 {"id":1,"day":30,"v":"a"}`},
		{"created below a partition", `create table days_2c partition of days_2 for values in (25); insert into days_2c values (2, 25, 'b')`,
			`day_added 25 {"id":2,"day":25,"v":"b"}`},
		{"attached, with columns in another order", `create table days_4 (v text, gone int, day int not null, id int not null);
			alter table days_4 drop gone; insert into days_4 values ('before', 41, 3); alter table days attach partition days_4 for values from (40) to (50);
			insert into days values (4, 42, 'root'); insert into days_4 values ('direct', 43, 5); update days set v = 'x' where day = 41`, `
			day_added 42 {"id":4,"day":42,"v":"root"}
			day_added 43 {"v":"direct","day":43,"id":5}
			day_updated 41 {"id":3,"day":41,"v":"x"}`},
		{"attached with partitions of its own", `create table days_5 (like days) partition by list (day);
			create table days_5a partition of days_5 default; alter table days attach partition days_5 for values from (50) to (60);
			insert into days_5a values (6, 50, 'a'); insert into days_5 values (7, 51, 'b')`, `
			day_added 50 {"id":6,"day":50,"v":"a"}
			day_added 51 {"id":7,"day":51,"v":"b"}`},
		{"created by a function", `do $$ begin create table days_6 partition of days for values from (60) to (70); insert into days_6 values (8, 60, 'a'); end $$`,
			`day_added 60 {"id":8,"day":60,"v":"a"}`},
		{"detached", `alter table days detach partition days_4; update days_4 set v = 'unheard'; insert into days_4 values ('x', 44, 9); truncate days_4`, ``},
		{"detached with partitions of its own", `alter table days detach partition days_5; insert into days_5a values (9, 52, 'x'); insert into days_5 values (9, 53, 'x')`, ``},
		{"detached, others drop", `alter table days detach partition days_3; drop table days_6; insert into days_1 values (1, 10, 'a')`,
			`day_added 10 {"id":1,"day":10,"v":"a"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			since := cursor(t, s)
			run(t, s, c.do)
			expect(t, s, since, c.want)
		})
	}
	run(t, s, "alter table days detach partition days_1 concurrently")
	since := cursor(t, s)
	run(t, s, `insert into days_1 values (2, 11, 'unheard')`)
	expect(t, s, since, ``)

	if got := list[string](t, s, "select problem from tidings.watched where problem is not null"); len(got) > 0 {
		t.Errorf("problems: %q", got)
	}
	run(t, s, "select tidings.unwatch('days')")
	if got := list[string](t, s, "select tgrelid::regclass::text || ' ' || tgname from pg_trigger where tgname like 'tidings%'"); len(got) > 0 {
		t.Errorf("triggers left behind: %q", got)
	}
}

// Without the event trigger, servers call follow_partitions now and then.
func TestFollowPartitions(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `drop event trigger tidings_partitions`)
	run(t, s, days)
	follow := func(want int) {
		t.Helper()
		if got := get[int](t, s, "select renewed from tidings.follow_partitions()"); got != want {
			t.Errorf("follow_partitions renewed %d watches, want %d", got, want)
		}
		if got := list[string](t, s, "select problem from tidings.watched where problem is not null"); len(got) > 0 {
			t.Errorf("problems: %q", got)
		}
	}
	follow(0)
	run(t, s, `create table days_3 partition of days for values from (30) to (40)`)
	if get[bool](t, s, "select problem is null from tidings.watched") {
		t.Error("tidings.watched does not tell that a partition has no triggers")
	}
	follow(1)
	since := cursor(t, s)
	run(t, s, `insert into days_3 values (1, 30, 'a')`)
	expect(t, s, since, `day_added 30 {"id":1,"day":30,"v":"a"}`)

	run(t, s, `alter table days detach partition days_3`)
	follow(1)
	since = cursor(t, s)
	run(t, s, `insert into days_3 values (2, 30, 'a')`)
	expect(t, s, since, ``)
	follow(0)
}

// A table that cannot be followed, for want of a right on its new partition, keeps no other from being followed.
func TestFollowPartitionsOfOthers(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `drop event trigger tidings_partitions`)
	run(t, s, days)
	run(t, s, `
		create table weeks (id int primary key, v text) partition by range (id);
		create table weeks_1 partition of weeks for values from (0) to (10);
		select tidings.watch('weeks');
		create table weeks_2 partition of weeks for values from (10) to (20);
		create table days_3 partition of days for values from (30) to (40)`)
	run(t, s, `create function refuse() returns event_trigger language plpgsql as $$ begin
		if exists (select from pg_event_trigger_ddl_commands() where objid = 'public.days_3'::regclass
			or objid in (select oid from pg_trigger where tgrelid = 'public.days_3'::regclass)) then raise 'not on days_3'; end if; end $$;
		create event trigger refuse on ddl_command_end when tag in ('CREATE TRIGGER') execute function refuse()`)
	if got := get[string](t, s, `select renewed || ' ' || problem from tidings.follow_partitions()`); got != "1 public.days: not on days_3" {
		t.Errorf("follow_partitions says %q", got)
	}
	since := cursor(t, s)
	run(t, s, `insert into weeks values (11, 'heard')`)
	expect(t, s, since, `week_added 11 {"id":11,"v":"heard"}`)
}

// One partition goes and another comes, between two looks: the number of them is the same.
func TestFollowPartitionsThatTakeTurns(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `drop event trigger tidings_partitions`)
	run(t, s, days)
	run(t, s, `alter table days detach partition days_1; create table days_3 partition of days for values from (30) to (40)`)
	run(t, s, `select tidings.follow_partitions()`)
	since := cursor(t, s)
	run(t, s, `insert into days_3 values (1, 30, 'heard'); insert into days_1 values (1, 10, 'unheard')`)
	expect(t, s, since, `day_added 30 {"id":1,"day":30,"v":"heard"}`)
}

// Of a row that a trigger keeps out of the partition that it was to move to, only its old self is left, and the old rows
// no longer stand beside the new ones.
func TestRowLostBetweenPartitions(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `
		create table rows (id int, k text) partition by list (k);
		create table rows_a partition of rows for values in ('a');
		create table rows_b partition of rows for values in ('b');
		select tidings.watch('rows', key => 'k');
		create function turn_away() returns trigger language plpgsql as $$ begin return null; end $$;
		create trigger turn_away before insert on rows_b for each row when (new.id = 1) execute function turn_away();
		insert into rows values (1, 'a'), (2, 'a'), (3, 'b')`)
	run(t, s, `update rows set k = 'b'`)
	got := list[string](t, s, `select id || ' ' || k from rows order by id`)
	if len(got) != 2 {
		t.Fatalf("the rows are %q: this test has no point", got)
	}
	moved := list[string](t, s, `select l.old_key from `+logRows+`
		where l.type = 'row_updated' and l.row::json ->> 'id' = '3' and l.old_key is not null`)
	if len(moved) > 0 {
		t.Errorf("row 3, which stayed under key b, is said to have been under %q", moved)
	}
}

// A statement fires the statement triggers of the table that it names: those of a partition hear nothing of what is
// written through its root.
func TestPartitionWatchedAlone(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table days (id int, day int) partition by list (day); create table days_1 partition of days for values in (1)`)
	since := cursor(t, s)
	if _, err := s.Exec(t.Context(), `select tidings.watch('days_1')`); err != nil {
		return // refused: nobody relies on it
	}
	run(t, s, `insert into days values (1, 1)`)
	expect(t, s, since, `days_1_added - {"id":1,"day":1}`)
}

// A table that is watched by itself becomes a partition of a watched one, and is let go again: its events are told once.
func TestWatchedTableAttached(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, days)
	run(t, s, `create table alone (id int not null, day int not null, v text); select tidings.watch('alone', key => 'day')`)
	problem := func(want string) {
		t.Helper()
		if got := strings.Join(list[string](t, s, "select problem from tidings.watched where problem is not null"), "\n"); got != want {
			t.Errorf("problem: %s\nwant: %s", got, want)
		}
	}
	run(t, s, `alter table days attach partition alone for values from (30) to (40)`)
	for range 2 {
		since := cursor(t, s)
		run(t, s, `insert into alone values (1, 30, 'a'); insert into days values (2, 31, 'b')`)
		expect(t, s, since, `
			day_added 30 {"id":1,"day":30,"v":"a"}
			day_added 31 {"id":2,"day":31,"v":"b"}`)
		problem("it has become a partition of public.days, which is watched too, and its events are told there: unwatch this one")
		run(t, s, `select tidings.refresh(); delete from days`)
	}
	run(t, s, `alter table days detach partition alone`)
	since := cursor(t, s)
	run(t, s, `insert into alone values (3, 30, 'a')`)
	expect(t, s, since, `alone_added 30 {"id":3,"day":30,"v":"a"}`)
	problem("")
}

// Transition tables cannot have the rows of foreign tables: PostgreSQL refuses the statement.
func TestForeignPartition(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	if !get[bool](t, s, `select exists (select from pg_available_extensions where name = 'postgres_fdw')`) {
		t.Log("this PostgreSQL comes without postgres_fdw")
		return
	}
	run(t, s, `create extension postgres_fdw`)
	run(t, s, `do $$ begin execute format('create server here foreign data wrapper postgres_fdw options (host %L, port %L, dbname %L)',
		btrim(current_setting('unix_socket_directories'), '"'), current_setting('port'), current_database()); end $$`)
	run(t, s, `do $$ begin execute format('create user mapping for current_user server here options (user %L)', current_user); end $$`)
	run(t, s, `create table remote (id int, day int);
		create table days (id int, day int) partition by list (day);
		create table days_1 partition of days for values in (1);
		create foreign table days_2 partition of days for values in (2) server here options (table_name 'remote')`)
	refused(t, s, "42809", "days has a partition that is a foreign table", `select tidings.watch('days')`)

	// One that comes later does not break what writes to the table, and is told of.
	run(t, s, `drop foreign table days_2; select tidings.watch('days', key => 'day')`)
	since := cursor(t, s)
	for _, attach := range []string{
		`create foreign table days_2 partition of days for values in (2) server here options (table_name 'remote')`,
		`create foreign table days_2 (id int, day int) server here options (table_name 'remote'); alter table days attach partition days_2 for values in (2)`,
	} {
		run(t, s, attach)
		run(t, s, `insert into days values (1, 1), (2, 2); update days set id = 3; delete from days; insert into days_1 values (4, 1)`)
		const want = "partition public.days_2 is a foreign table: what is written to it, or through public.days, is not heard"
		if got := list[string](t, s, `select problem from tidings.watched`); !slices.Equal(got, []string{want}) {
			t.Errorf("problems: %q, want %q", got, want)
		}
		run(t, s, `drop foreign table days_2; insert into days values (5, 1)`)
		expect(t, s, since, `
			day_added 1 {"id":4,"day":1}
			day_added 1 {"id":5,"day":1}`)
		since = cursor(t, s)
		if got := list[string](t, s, `select problem from tidings.watched where problem is not null`); len(got) > 0 {
			t.Errorf("problems: %q", got)
		}
	}
}

// What is told of a row that UPDATE moves to another partition is one update, whether or not the move is one to another key.
func TestUpdateAcrossPartitions(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	reference := `, foreign key (id, day) references days on update cascade`
	if get[int](t, l.Pool, "select current_setting('server_version_num')::int / 10000") < 15 {
		reference = `` // it takes the move for a deletion
	}
	for _, c := range []struct{ key, added, moved, both string }{
		{"day", "10", "25<10", "12<25"},
		{"id", "1", "1", "7<1"},
		{"v", "a", "a", "b<a"},
	} {
		t.Run(c.key, func(t *testing.T) {
			s := l.connect(t)
			run(t, s, `drop table if exists notes; drop table if exists days`)
			run(t, s, days)
			// A partition whose columns stand in another order, and whoever refers to it.
			run(t, s, `drop table days_2 cascade; create table days_2 (v text, gone int, day int not null, id int not null, primary key (id, day));
				alter table days_2 drop gone; alter table days attach partition days_2 for values from (20) to (30);
				create table notes (id int, day int`+reference+`)`)
			run(t, s, `select tidings.watch('days', key => $1)`, c.key)
			since := cursor(t, s)
			run(t, s, `insert into days values (1, 10, 'a'); insert into notes values (1, 10)`)
			run(t, s, `update days set day = 25`)
			run(t, s, `update days set day = 12, id = 7, v = 'b'`)
			expect(t, s, since, fmt.Sprintf(`
				day_added %s {"id":1,"day":10,"v":"a"}
				day_updated %s {"id":1,"day":25,"v":"a"}
				day_updated %s {"id":7,"day":12,"v":"b"}`, c.added, c.moved, c.both))
		})
	}
}
