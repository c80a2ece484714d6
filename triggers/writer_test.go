package triggers_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"tidings/db/dbtest"
)

// A role with nothing but the right to write to the table writes, whatever it has prepared, and the event flows.
func TestWriterWithoutRights(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	for _, columns := range []string{`null`, `'{id,v}'`} {
		s := l.connect(t)
		role := newRole(t, s)
		run(t, s, `drop schema if exists shop cascade; create schema shop; create table shop.items (id int primary key, v text);
			select tidings.watch('shop.items', columns => `+columns+`)`)
		run(t, s, `create schema trap; grant usage, create on schema trap to `+role)
		run(t, s, `grant usage on schema shop to `+role+`; grant insert on shop.items to `+role)

		w := connectTo(t, with(t, l.url, "user", role))
		run(t, w, dbtest.Traps)
		run(t, w, `set search_path = trap, pg_catalog, shop`)
		since := cursor(t, l.Pool)
		run(t, w, `insert into shop.items values (1, 'a'), (2, 'b')`)
		expect(t, l.Pool, since, `
			item_added 1 {"id":1,"v":"a"}
			item_added 2 {"id":2,"v":"b"}`)
		refused(t, w, "42501", "permission denied", `select * from shop.items`)
		refused(t, w, "42501", "permission denied", `update shop.items set v = 'x'`)
		refused(t, w, "42501", "permission denied", `delete from shop.items`)

		// Many rows, while somebody is asleep, so that all of the functions' bodies are run.
		run(t, s, `select tidings.attend('the test', true)`)
		since = cursor(t, l.Pool)
		run(t, w, `insert into shop.items select g, 'v' from pg_catalog.generate_series(101, 120) as g`)
		if got := events(t, l.Pool, since); len(got) != 20 || got[19] != `item_added 120 {"id":120,"v":"v"}` {
			t.Errorf("got %s", lines(got))
		}

		run(t, s, `grant select, update, delete, truncate on shop.items to `+role)
		since = cursor(t, l.Pool)
		run(t, w, `update shop.items set v = 'w', id = case when id operator(pg_catalog.=) 105 then 1105 else id end where id operator(pg_catalog.>) 100`)
		run(t, w, `delete from shop.items where id operator(pg_catalog.>) 100`)
		if got := events(t, l.Pool, since); len(got) != 40 || !slices.Contains(got, `item_updated 1105<105 {"id":1105,"v":"w"}`) ||
			!slices.Contains(got, `item_deleted 120 {"id":120,"v":"w"}`) {
			t.Errorf("got %s", lines(got))
		}
		since = cursor(t, l.Pool)
		run(t, w, `update shop.items set id = 3 where id operator(pg_catalog.=) 2`)
		run(t, w, `delete from shop.items where id operator(pg_catalog.=) 1`)
		run(t, w, `truncate shop.items`)
		expect(t, l.Pool, since, `
			item_updated 3<2 {"id":3,"v":"b"}
			item_deleted 1 {"id":1,"v":"a"}
			items_truncated -`)
		run(t, l.Pool, `drop schema trap cascade`)
	}
}

// Row-level security decides what a role may write; what it wrote is told in full.
func TestWriterUnderRowSecurity(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	role := newRole(t, s)
	run(t, s, `create table items (id int primary key, owner text, n int default 0); select tidings.watch('items');
		insert into items values (1, 'somebody');
		alter table items enable row level security; alter table items force row level security;
		create policy theirs on items to public using (owner = current_user) with check (true)`)
	run(t, s, `grant select, insert, update, delete on items to `+role)
	w := connectTo(t, with(t, l.url, "user", role))
	since := cursor(t, s)
	run(t, w, `insert into items values (2, current_user), (3, 'somebody')`)
	run(t, w, `update items set n = n + 1`)
	run(t, w, `delete from items`)
	refused(t, w, "42501", "row-level security", `set row_security = off; delete from items`)
	expect(t, s, since, `
		item_added 2 {"id":2,"owner":"`+role+`","n":0}
		item_added 3 {"id":3,"owner":"somebody","n":0}
		item_updated 2 {"id":2,"owner":"`+role+`","n":1}
		item_deleted 2 {"id":2,"owner":"`+role+`","n":1}`)
}

// The log is nobody's but its owner's, also for a role that may look into the schema.
func TestLogIsClosed(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	role := newRole(t, s)
	run(t, s, items)
	run(t, s, `grant all on items to `+role)
	w := connectTo(t, with(t, l.url, "user", role))
	for _, rights := range []string{``, `grant usage on schema tidings to ` + role} {
		run(t, s, rights)
		for _, sql := range []string{
			`select * from tidings.log`, `select * from tidings.log_0`, `insert into tidings.log (topic, type) values ('items', 'x')`,
			`update tidings.log set topic = 'x'`, `delete from tidings.log`, `truncate tidings.log`, `select nextval('tidings.log_id')`,
			`select * from tidings.watches`, `delete from tidings.watches`, `update tidings.settings set retention = '1 minute'`, `select * from tidings.eras`,
			`select * from tidings.watched`, `select * from tidings.log_partitions`, `select * from tidings.home`,
			`select tidings.watch('items')`, `select tidings.unwatch('items')`, `select tidings.refresh()`, `select tidings.rotate()`, `select tidings.rotate(true)`,
			`select tidings.settle()`, `select * from tidings.since('x-1')`, `select tidings.follow_partitions()`,
		} {
			refused(t, w, "42501", "permission denied", sql)
		}
	}
	functions := list[bool](t, s, `select has_function_privilege($1, oid, 'execute') from pg_proc
		where pronamespace = 'tidings'::regnamespace and prorettype = 'trigger'::regtype and proname ~ '^capture_[0-9]+_'`, role)
	if !slices.Equal(functions, []bool{false, false, false, false}) {
		t.Errorf("whether a trigger function may be executed by everybody, who could put it on tables of their own: %v", functions)
	}
}

func TestIsolationLevels(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, other := l.connect(t), l.connect(t)
	run(t, s, items)
	run(t, s, `insert into items values (1, 'a')`)
	for _, level := range []pgx.TxIsoLevel{pgx.ReadUncommitted, pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(level), func(t *testing.T) {
			since := cursor(t, l.Pool)
			a, err := s.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Rollback(t.Context())
			b, err := other.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Rollback(t.Context())
			// Both have their snapshots before either writes, and neither is in the other's way.
			run(t, a, `select`)
			run(t, b, `select`)
			run(t, a, `insert into items values (2, 'a'); update items set v = 'A' where id = 2; delete from items where id = 2`)
			run(t, b, `insert into items values (3, 'b'); update items set id = 4 where id = 3; delete from items where id = 4`)
			for _, tx := range []pgx.Tx{b, a} {
				if err := tx.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			expect(t, l.Pool, since, `
				item_added 2 {"id":2,"v":"a"}
				item_updated 2 {"id":2,"v":"A"}
				item_deleted 2 {"id":2,"v":"A"}
				item_added 3 {"id":3,"v":"b"}
				item_updated 4<3 {"id":4,"v":"b"}
				item_deleted 4 {"id":4,"v":"b"}`)
		})
	}
	t.Run("truncate", func(t *testing.T) {
		run(t, s, days)
		since := cursor(t, s)
		run(t, s, `begin isolation level serializable; insert into days values (1, 10, 'a'); truncate days; commit`)
		expect(t, s, since, `
			day_added 10 {"id":1,"day":10,"v":"a"}
			days_truncated -`)
	})
}

func TestPreparedTransactions(t *testing.T) {
	t.Parallel()
	l := openLiveAt(t, dbtest.StartCluster(t, map[string]string{"max_prepared_transactions": "5", "jit": "off"}).URL())
	s := l.connect(t)
	run(t, s, items)
	since := cursor(t, s)
	run(t, l.Pool, `select tidings.attend('the test', true)`)
	run(t, s, `begin; insert into items values (1, 'a')`)
	refused(t, s, "0A000", "NOTIFY", `prepare transaction 'rung'`)

	run(t, s, `begin; set local tidings.doorbell = off; insert into items values (2, 'b'); update items set v = 'B'`)
	run(t, s, `prepare transaction 'kept'`)
	run(t, s, `begin; set local tidings.doorbell = off; insert into items values (3, 'c')`)
	run(t, s, `prepare transaction 'dropped'`)
	run(t, s, `insert into items values (4, 'd')`)
	expect(t, s, since, `item_added 4 {"id":4,"v":"d"}`)
	between := cursor(t, s)
	run(t, s, `commit prepared 'kept'`)
	run(t, s, `rollback prepared 'dropped'`)
	expect(t, s, between, `
		item_added 2 {"id":2,"v":"b"}
		item_updated 2 {"id":2,"v":"B"}`)
}

// What a database does with queries changes nothing.
func TestPlannerSettings(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table items (id int, k text); select tidings.watch('items', key => 'k')`)
	run(t, s, `set jit = on; set jit_above_cost = 0; set jit_inline_above_cost = 0; set jit_optimize_above_cost = 0; set plan_cache_mode = force_generic_plan;
		set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0; set enable_seqscan = off; set enable_nestloop = off`)
	// It had another name before PostgreSQL 16.
	run(t, s, `select set_config(name, 'on', false) from pg_settings where name in ('force_parallel_mode', 'debug_parallel_query')`)
	since := cursor(t, l.Pool)
	run(t, s, `insert into items values (1, 'a'), (2, 'b'); update items set k = 'c' where id = 2; delete from items where id = 1; truncate items`)
	expect(t, l.Pool, since, `
		item_added a {"id":1,"k":"a"}
		item_added b {"id":2,"k":"b"}
		item_updated c<b {"id":2,"k":"c"}
		item_deleted a {"id":1,"k":"a"}
		items_truncated -`)
}
