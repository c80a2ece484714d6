package triggers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// items is the table that most tests write to.
const items = `create table items (id int primary key, v text); select tidings.watch('items');`

// Each case has a schema of its own, first on the search path.
var statements = []struct {
	name      string
	needs     int // PostgreSQL's major version
	setup     string
	do        string
	fails     string // the SQLSTATE with which do must fail
	unordered bool   // PostgreSQL doesn't say in which order
	want      string
}{
	{
		name:  "insert",
		setup: items,
		do:    `insert into items values (1, 'a')`,
		want:  `item_added 1 {"id":1,"v":"a"}`,
	}, {
		name:  "insert several",
		setup: items,
		do:    `insert into items values (3, 'c'), (1, 'a'), (2, null)`,
		want: `item_added 3 {"id":3,"v":"c"}
		       item_added 1 {"id":1,"v":"a"}
		       item_added 2 {"id":2,"v":null}`,
	}, {
		name:  "insert select",
		setup: items,
		do:    `insert into items select g, 'v' || g from generate_series(1, 3) as g order by g desc`,
		want: `item_added 3 {"id":3,"v":"v3"}
		       item_added 2 {"id":2,"v":"v2"}
		       item_added 1 {"id":1,"v":"v1"}`,
	}, {
		name:  "update",
		setup: items + `insert into items values (1, 'a'), (2, 'b'), (3, 'c')`,
		do:    `update items set v = v || '!' where id <> 2`,
		want: `item_updated 1 {"id":1,"v":"a!"}
		       item_updated 3 {"id":3,"v":"c!"}`,
	}, {
		name:  "update that changes nothing",
		setup: items + `insert into items values (1, 'a')`,
		do:    `update items set v = v`,
		want:  `item_updated 1 {"id":1,"v":"a"}`,
	}, {
		name:  "update from a join",
		setup: items + `insert into items values (1, 'a'), (2, 'b'); create table names as select 1 as id, 'x' as name`,
		do:    `update items set v = name from names where names.id = items.id`,
		want:  `item_updated 1 {"id":1,"v":"x"}`,
	}, {
		name:  "delete",
		setup: items + `insert into items values (1, 'a'), (2, 'b'), (3, 'c')`,
		do:    `delete from items where id > 1`,
		want: `item_deleted 2 {"id":2,"v":"b"}
		       item_deleted 3 {"id":3,"v":"c"}`,
	}, {
		name:  "no rows",
		setup: items + `insert into items values (1, 'a')`,
		do: `insert into items select 2, 'b' where false; update items set v = 'x' where id = 5; delete from items where id = 5;
		     insert into items values (1, 'x') on conflict do nothing`,
	}, {
		name:  "truncate",
		setup: items + `insert into items values (1, 'a')`,
		do:    `truncate items`,
		want:  `items_truncated -`,
	}, {
		name:  "truncate of an empty table",
		setup: items,
		do:    `truncate items`,
		want:  `items_truncated -`,
	}, {
		name: "truncate several",
		setup: items + `create table others (id int primary key); select tidings.watch('others');
		                create table unheard (id int)`,
		do: `truncate others, unheard, items`,
		want: `others_truncated -
		       items_truncated -`,
	}, {
		name: "truncate cascade",
		setup: items + `create table parts (item int references items); select tidings.watch('parts');
		                create table pieces (item int references items); select tidings.watch('pieces')`,
		do:        `truncate items cascade`,
		unordered: true,
		want: `items_truncated -
		       parts_truncated -
		       pieces_truncated -`,
	}, {
		name:  "truncate between writes",
		setup: items,
		do: `begin; insert into items values (1, 'a'); truncate items; insert into items values (2, 'b'); truncate items;
		     insert into items values (3, 'c'); commit`,
		want: `item_added 1 {"id":1,"v":"a"}
		       items_truncated -
		       item_added 2 {"id":2,"v":"b"}
		       items_truncated -
		       item_added 3 {"id":3,"v":"c"}`,
	}, {
		name:  "truncate after a truncate that was rolled back",
		setup: items + `insert into items values (1, 'a')`,
		do:    `begin; savepoint s; truncate items; rollback to s; truncate items; commit`,
		want:  `items_truncated -`,
	}, {
		name:  "on conflict do update",
		setup: items + `insert into items values (1, 'a'), (2, 'b')`,
		do: `insert into items values (3, 'c'), (2, 'B'), (4, 'd'), (1, 'A')
		     on conflict (id) do update set v = excluded.v where items.id <> 1`,
		unordered: true,
		want: `item_added 3 {"id":3,"v":"c"}
		       item_added 4 {"id":4,"v":"d"}
		       item_updated 2 {"id":2,"v":"B"}`,
	}, {
		name:      "on conflict do update to another key",
		setup:     `create table items (id int primary key, k text); select tidings.watch('items', key => 'k'); insert into items values (1, 'a'), (2, 'b')`,
		do:        `insert into items values (1, 'c'), (3, 'c'), (2, 'b') on conflict (id) do update set k = excluded.k`,
		unordered: true,
		want: `item_added c {"id":3,"k":"c"}
		       item_updated c<a {"id":1,"k":"c"}
		       item_updated b {"id":2,"k":"b"}`,
	}, {
		name:  "on conflict do nothing",
		setup: items + `insert into items values (1, 'a')`,
		do:    `insert into items values (1, 'A'), (2, 'B') on conflict do nothing`,
		want:  `item_added 2 {"id":2,"v":"B"}`,
	}, {
		name:  "merge",
		needs: 15,
		setup: items + `insert into items values (1, 'a'), (2, 'b'), (3, 'c')`,
		do: `merge into items using (values (1, 'A'), (2, null), (3, 'same'), (4, 'D')) as x (id, v) on x.id = items.id
		     when matched and x.v is null then delete
		     when matched and x.v = 'same' then do nothing
		     when matched then update set v = x.v
		     when not matched then insert values (x.id, x.v)`,
		unordered: true,
		want: `item_added 4 {"id":4,"v":"D"}
		       item_updated 1 {"id":1,"v":"A"}
		       item_deleted 2 {"id":2,"v":"b"}`,
	}, {
		name:  "merge that moves rows to other keys",
		needs: 15,
		setup: `create table items (id int primary key, k text); select tidings.watch('items', key => 'k');
		        insert into items values (1, 'a'), (2, 'b'), (3, 'c')`,
		do: `merge into items using (values (1, 'b'), (2, 'b'), (3, 'a')) as x (id, k) on x.id = items.id
		     when matched then update set k = x.k`,
		unordered: true,
		want: `item_updated b<a {"id":1,"k":"b"}
		       item_updated b {"id":2,"k":"b"}
		       item_updated a<c {"id":3,"k":"a"}`,
	}, {
		name: "data-modifying with",
		setup: items + `create table archive (id int, v text); select tidings.watch('archive', event => 'kept');
		                insert into items values (1, 'a'), (2, 'b'), (3, 'c')`,
		do: `with gone as (delete from items where id < 3 returning *),
		          changed as (update items set v = 'C' where id = 3 returning *)
		     insert into archive select * from gone union all select * from changed`,
		unordered: true,
		want: `item_deleted 1 {"id":1,"v":"a"}
		       item_deleted 2 {"id":2,"v":"b"}
		       item_updated 3 {"id":3,"v":"C"}
		       kept_added - {"id":1,"v":"a"}
		       kept_added - {"id":2,"v":"b"}
		       kept_added - {"id":3,"v":"C"}`,
	}, {
		name:  "two updates of a table in one with",
		setup: items + `insert into items values (1, 'a'), (2, 'b')`,
		do:    `with x as (update items set v = 'x' where id = 1), y as (insert into items values (3, 'c')) update items set v = 'y' where id = 2`,
		want: `item_added 3 {"id":3,"v":"c"}
		       item_updated 2 {"id":2,"v":"y"}
		       item_updated 1 {"id":1,"v":"x"}`,
		unordered: true,
	}, {
		name: "cascading delete",
		setup: items + `create table parts (id int primary key, item int references items on delete cascade);
		                select tidings.watch('parts', key => 'item');
		                insert into items values (1, 'a'), (2, 'b'), (3, 'c'); insert into parts values (10, 1), (11, 2), (12, 3), (13, 1)`,
		do: `delete from items where id < 3`,
		want: `item_deleted 1 {"id":1,"v":"a"}
		       item_deleted 2 {"id":2,"v":"b"}
		       part_deleted 1 {"id":10,"item":1}
		       part_deleted 1 {"id":13,"item":1}
		       part_deleted 2 {"id":11,"item":2}`,
	}, {
		name: "delete that sets null",
		setup: items + `create table parts (id int primary key, item int references items on delete set null);
		                select tidings.watch('parts', key => 'item');
		                insert into items values (1, 'a'), (2, 'b'); insert into parts values (10, 1), (11, 2), (12, null), (13, 1)`,
		do: `delete from items where id = 1`,
		want: `item_deleted 1 {"id":1,"v":"a"}
		       part_updated -<1 {"id":10,"item":null}
		       part_updated -<1 {"id":13,"item":null}`,
	}, {
		name: "delete that sets the default",
		setup: items + `create table parts (id int primary key, item int default 2 references items on delete set default);
		                select tidings.watch('parts', key => 'item');
		                insert into items values (1, 'a'), (2, 'b'); insert into parts values (10, 1), (11, 2)`,
		do: `delete from items where id = 1`,
		want: `item_deleted 1 {"id":1,"v":"a"}
		       part_updated 2<1 {"id":10,"item":2}`,
	}, {
		name: "cascading update",
		setup: items + `create table parts (id int primary key, item int references items on update cascade);
		                select tidings.watch('parts', key => 'item');
		                insert into items values (1, 'a'), (2, 'b'); insert into parts values (10, 1), (11, 2), (12, 1)`,
		do: `update items set id = id + 100`,
		want: `item_updated 101<1 {"id":101,"v":"a"}
		       item_updated 102<2 {"id":102,"v":"b"}
		       part_updated 101<1 {"id":10,"item":101}
		       part_updated 101<1 {"id":12,"item":101}
		       part_updated 102<2 {"id":11,"item":102}`,
	}, {
		name: "cascade within a table",
		setup: `create table items (id int primary key, parent int references items on delete cascade); select tidings.watch('items');
		        insert into items values (1, null), (2, 1), (3, 2), (4, 3), (5, 1), (6, null)`,
		do:        `delete from items where id = 1`,
		unordered: true,
		want: `item_deleted 1 {"id":1,"parent":null}
		       item_deleted 2 {"id":2,"parent":1}
		       item_deleted 3 {"id":3,"parent":2}
		       item_deleted 4 {"id":4,"parent":3}
		       item_deleted 5 {"id":5,"parent":1}`,
	}, {
		name:  "through a view",
		setup: items + `create view low as select v as name, id as number from items where id < 100 with check option`,
		do: `insert into low (number, name) values (1, 'a'), (2, 'b'); update low set name = 'A' where number = 1;
		     delete from low where number = 2`,
		want: `item_added 1 {"id":1,"v":"a"}
		       item_added 2 {"id":2,"v":"b"}
		       item_updated 1 {"id":1,"v":"A"}
		       item_deleted 2 {"id":2,"v":"b"}`,
	}, {
		name: "through a view with an instead trigger",
		setup: items + `create view texts as select v from items;
		                create function write() returns trigger language plpgsql as $$ begin insert into items values (length(new.v), new.v); return new; end $$;
		                create trigger instead instead of insert on texts for each row execute function write()`,
		do: `insert into texts values ('aaa'), ('a')`,
		want: `item_added 3 {"id":3,"v":"aaa"}
		       item_added 1 {"id":1,"v":"a"}`,
	}, {
		name:  "by a rule",
		setup: items + `create table calls (id int); create rule also as on insert to calls do also insert into items values (new.id, 'rule')`,
		do:    `insert into calls values (1)`,
		want:  `item_added 1 {"id":1,"v":"rule"}`,
	}, {
		name: "from functions",
		setup: items + `create function fill(n int) returns void language plpgsql as $$ begin for i in 1..n loop insert into items values (i, 'p'); end loop; end $$;
		                create function drain() returns setof items language sql as $$ delete from items where id > 1 returning * $$`,
		do: `select fill(3); select * from drain()`,
		want: `item_added 1 {"id":1,"v":"p"}
		       item_added 2 {"id":2,"v":"p"}
		       item_added 3 {"id":3,"v":"p"}
		       item_deleted 2 {"id":2,"v":"p"}
		       item_deleted 3 {"id":3,"v":"p"}`,
	}, {
		name: "from another table's triggers",
		setup: items + `create table orders (id int primary key); select tidings.watch('orders');
		                create function note() returns trigger language plpgsql as $$ begin insert into items values (new.id, tg_when); return new; end $$;
		                create trigger before before insert on orders for each row when (new.id < 10) execute function note();
		                create trigger after after insert on orders for each row when (new.id >= 10) execute function note()`,
		do:        `insert into orders values (1), (10)`,
		unordered: true,
		want: `item_added 1 {"id":1,"v":"BEFORE"}
		       item_added 10 {"id":10,"v":"AFTER"}
		       order_added 1 {"id":1}
		       order_added 10 {"id":10}`,
	}, {
		name: "before triggers have the last word",
		setup: items + `create function amend() returns trigger language plpgsql as $$ begin
		                  if new.v = 'skip' then return null; end if; new.v := upper(new.v); return new; end $$;
		                create trigger amend before insert or update on items for each row execute function amend()`,
		do: `insert into items values (1, 'a'), (2, 'skip'), (3, 'c'); update items set v = case id when 1 then 'skip' else 'd' end`,
		want: `item_added 1 {"id":1,"v":"A"}
		       item_added 3 {"id":3,"v":"C"}
		       item_updated 3 {"id":3,"v":"D"}`,
	}, {
		name: "generated and identity columns",
		setup: `create table items (id int generated always as identity primary key, a int, b int generated always as (a * 2) stored);
		        select tidings.watch('items')`,
		do: `insert into items (a) values (5), (7); update items set a = 6 where id = 1; delete from items where id = 2`,
		want: `item_added 1 {"id":1,"a":5,"b":10}
		       item_added 2 {"id":2,"a":7,"b":14}
		       item_updated 1 {"id":1,"a":6,"b":12}
		       item_deleted 2 {"id":2,"a":7,"b":14}`,
	}, {
		name: "deferred constraints that hold",
		setup: `create table items (id int primary key deferrable initially deferred, v text); select tidings.watch('items');
		        insert into items values (1, 'a'), (2, 'b')`,
		do: `begin; update items set id = 3 - id; commit`,
		want: `item_updated 2<1 {"id":2,"v":"a"}
		       item_updated 1<2 {"id":1,"v":"b"}`,
	}, {
		name:  "a deferred constraint that does not hold",
		setup: items + `create table parts (id int, item int references items deferrable initially deferred); select tidings.watch('parts')`,
		do:    `begin; insert into items values (1, 'a'); insert into parts values (1, 5); commit`,
		fails: "23503",
	}, {
		name:  "rollback",
		setup: items + `insert into items values (1, 'a')`,
		do:    `begin; insert into items values (2, 'b'); update items set v = 'x'; delete from items; truncate items; rollback`,
	}, {
		name:  "a statement that fails",
		setup: items + `insert into items values (5, 'a')`,
		do:    `insert into items select g, 'x' from generate_series(1, 5) as g`,
		fails: "23505",
	}, {
		name:  "savepoints",
		setup: items,
		do: `begin; insert into items values (1, 'a'); savepoint s; insert into items values (2, 'b'); update items set v = 'x';
		     rollback to s; insert into items values (3, 'c'); savepoint t; delete from items where id = 1; release t; commit`,
		want: `item_added 1 {"id":1,"v":"a"}
		       item_added 3 {"id":3,"v":"c"}
		       item_deleted 1 {"id":1,"v":"a"}`,
	}, {
		name:  "an exception that is caught",
		setup: items,
		do: `do $$ begin
		       insert into items values (1, 'a');
		       begin insert into items values (2, 'b'); insert into items values (1, 'c'); exception when unique_violation then null; end;
		       insert into items values (3, 'd');
		     end $$`,
		want: `item_added 1 {"id":1,"v":"a"}
		       item_added 3 {"id":3,"v":"d"}`,
	}, {
		name:  "a parent table's update and delete reach those that inherit from it",
		setup: items + `create table more (w int) inherits (items); insert into items values (1, 'a'); insert into more values (2, 'b', 5)`,
		do:    `update items set v = 'x'; delete from items`,
		want: `item_updated 1 {"id":1,"v":"x"}
		       item_updated 2 {"id":2,"v":"x"}
		       item_deleted 1 {"id":1,"v":"x"}
		       item_deleted 2 {"id":2,"v":"x"}`,
	}, {
		name:  "without a primary key",
		setup: `create table items (a int, b text); select tidings.watch('items')`,
		do:    `insert into items values (1, 'a'), (1, 'a'), (null, null); update items set b = 'x' where a is null; delete from items where a = 1; truncate items`,
		want: `item_added - {"a":1,"b":"a"}
		       item_added - {"a":1,"b":"a"}
		       item_added - {"a":null,"b":null}
		       item_updated - {"a":null,"b":"x"}
		       item_deleted - {"a":1,"b":"a"}
		       item_deleted - {"a":1,"b":"a"}
		       items_truncated -`,
	}, {
		name:  "with a primary key of two columns",
		setup: `create table items (a int, b int, v text, primary key (a, b)); select tidings.watch('items')`,
		do:    `insert into items values (1, 2, 'x'); update items set b = 3; delete from items`,
		want: `item_added - {"a":1,"b":2,"v":"x"}
		       item_updated - {"a":1,"b":3,"v":"x"}
		       item_deleted - {"a":1,"b":3,"v":"x"}`,
	}, {
		name:  "with no columns",
		setup: `create table items (); select tidings.watch('items')`,
		do:    `insert into items default values; delete from items`,
		want: `item_added - {}
		       item_deleted - {}`,
	}, {
		name:  "an unlogged table",
		setup: `create unlogged table items (id int primary key); select tidings.watch('items')`,
		do:    `insert into items values (1)`,
		want:  `item_added 1 {"id":1}`,
	}, {
		name:  "moved rows among others",
		setup: `create table items (id int, k text); select tidings.watch('items', key => 'k'); insert into items values (1, 'a'), (2, 'b'), (3, null), (4, 'a'), (5, 'c')`,
		do:    `update items set k = case id when 2 then 'a' when 3 then 'd' when 4 then null else k end`,
		want: `item_updated a {"id":1,"k":"a"}
		       item_updated a<b {"id":2,"k":"a"}
		       item_updated d {"id":3,"k":"d"}
		       item_updated -<a {"id":4,"k":null}
		       item_updated c {"id":5,"k":"c"}`,
	}, {
		name:  "keys that differ in white space alone, and the empty key",
		setup: `create table items (id int, k text); select tidings.watch('items', key => 'k'); insert into items values (1, 'a'), (2, '')`,
		do:    `update items set k = k || ' '`,
		want: `item_updated a <a {"id":1,"k":"a "}
		       item_updated  < {"id":2,"k":" "}`,
	},
}

func TestStatements(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	version := get[int](t, l.Pool, "select current_setting('server_version_num')::int / 10000")
	s := l.connect(t)
	for i, c := range statements {
		if version < c.needs {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			schema := fmt.Sprintf("case_%d", i)
			run(t, s, "create schema "+schema+"; set search_path = "+schema)
			run(t, s, c.setup)
			since := cursor(t, l.Pool)
			if c.fails != "" {
				refused(t, s, c.fails, "", c.do)
			} else {
				run(t, s, c.do)
			}
			got, want := events(t, l.Pool, since), split(c.want)
			if c.unordered {
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("events:\n%s\nwant:\n%s", lines(got), lines(want))
			}
			// The next case has tables of the same names.
			run(t, l.Pool, "drop schema "+schema+" cascade")
		})
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	since := cursor(t, s)
	rows := [][]any{{2, "b"}, {1, "a\\\t\n"}, {3, nil}}
	if _, err := s.CopyFrom(t.Context(), pgx.Identifier{"items"}, []string{"id", "v"}, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReader("5,five\n4,\"fo\"\"ur\"\n")
	if _, err := s.PgConn().CopyFrom(t.Context(), text, "copy items (id, v) from stdin with (format csv)"); err != nil {
		t.Fatal(err)
	}
	expect(t, s, since, `
		item_added 2 {"id":2,"v":"b"}
		item_added 1 {"id":1,"v":"a\\\t\n"}
		item_added 3 {"id":3,"v":null}
		item_added 5 {"id":5,"v":"five"}
		item_added 4 {"id":4,"v":"fo\"ur"}`)

	run(t, s, days)
	since = cursor(t, s)
	if _, err := s.PgConn().CopyFrom(t.Context(), strings.NewReader("1,25,a\n2,11,b\n3,20,c\n4,12,d\n"), "copy days from stdin with (format csv)"); err != nil {
		t.Fatal(err)
	}
	expect(t, s, since, `
		day_added 25 {"id":1,"day":25,"v":"a"}
		day_added 11 {"id":2,"day":11,"v":"b"}
		day_added 20 {"id":3,"day":20,"v":"c"}
		day_added 12 {"id":4,"day":12,"v":"d"}`)

	since = cursor(t, s)
	if _, err := s.PgConn().CopyFrom(t.Context(), strings.NewReader("6,six\n5,again\n"), "copy items from stdin with (format csv)"); err == nil {
		t.Error("a COPY that breaks the primary key was accepted")
	}
	if _, err := s.PgConn().CopyFrom(t.Context(), strings.NewReader(""), "copy items from stdin with (format csv)"); err != nil {
		t.Error(err)
	}
	expect(t, s, since, ``)
}

// A statement is an entry for each of the first few rows and one for the rest, and all have the one transaction.
func TestEntries(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	since := cursor(t, s)
	run(t, s, `begin; insert into items select g, 'x' from generate_series(1, 100) as g; update items set v = 'y' where id <= 10;
		savepoint s; delete from items where id = 1; release s`)
	xid := get[string](t, s, "select pg_current_xact_id()::text")
	run(t, s, "commit")

	got := list[string](t, s, `select concat_ws(' ', topic, type, xid, case when rows is null then 'row ' || key else data || ' rows, ' || cardinality(rows) || ' texts' end, old_key)
		from tidings.log where topic <> 'tidings' order by id`)
	var want []string
	for id := range 8 {
		want = append(want, fmt.Sprintf("items item_added %s row %d", xid, id+1))
	}
	want = append(want, "items item_added "+xid+" 92 rows, 184 texts", "items item_updated "+xid+" 10 rows, 20 texts", "items item_deleted "+xid+" row 1")
	if !slices.Equal(got, want) {
		t.Errorf("entries:\n%s\nwant:\n%s", lines(got), lines(want))
	}
	if n := len(events(t, s, since)); n != 111 {
		t.Errorf("%d events, want 111", n)
	}
	if !get[bool](t, s, "select bool_and(at between now() - interval '1 hour' and clock_timestamp()) from tidings.log") {
		t.Error("the entries' times are not the clock's")
	}
}

// A session keeps the plans of its trigger functions; the table may change under them.
func TestTableChangesUnderASession(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table items (id int primary key, k int, v text); select tidings.watch('items', key => 'k')`)
	for range 7 { // more often than it takes PostgreSQL to keep a generic plan
		run(t, s, `insert into items values (1, 1, 'a')`)
		run(t, s, `update items set k = 2`)
		run(t, s, `delete from items`)
	}
	for _, c := range []struct{ change, want string }{
		{`alter table items alter k type bigint`, `{"id":1,"k":5,"v":"a"}`},
		{`alter table items alter k type text using k::text`, `{"id":1,"k":"5","v":"a"}`},
		{`alter table items add w boolean default true`, `{"id":1,"k":"5","v":"a","w":true}`},
		{`alter table items drop v, add v text`, `{"id":1,"k":"5","w":true,"v":"a"}`},
		{`alter table items rename to things; alter table things rename v to u; alter table things rename u to v`, `{"id":1,"k":"5","w":true,"v":"a"}`},
		{`create schema elsewhere; alter table things set schema elsewhere; set search_path = elsewhere`, `{"id":1,"k":"5","w":true,"v":"a"}`},
	} {
		run(t, s, c.change)
		table := get[string](t, s, "select relation::text from tidings.watches")
		since := cursor(t, s)
		run(t, s, `insert into `+table+` (id, k, v) values (1, '5', 'a')`)
		run(t, s, `update `+table+` set id = 1`)
		run(t, s, `delete from `+table)
		expect(t, s, since, "item_added 5 "+c.want+"\nitem_updated 5 "+c.want+"\nitem_deleted 5 "+c.want)
	}
	if got := get[string](t, s, `select concat_ws(' ', "table", topic, problem) from tidings.watched`); got != "things items" {
		t.Errorf("watched: %q", got)
	}
}
