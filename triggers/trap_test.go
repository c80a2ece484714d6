package triggers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tidings/db/dbtest"
)

// trapped are tables, each with its watch, of which the trigger functions differ.
var trapped = []struct{ name, columns, end, watch string }{
	{"plain", `id int primary key, k text, v text, more jsonb default '{"a":[1]}'`, ``, `key => 'k'`},
	{"plain, by the primary key", `id int primary key, k text, v text, more varchar default 'x'`, ``, ``},
	{"plain, listed columns", `id int primary key, k text, v text, more text[] default '{a,b}'`, ``, `key => 'k', columns => '{more,v,id}'`},
	{"plain, what is listed is gone", `id int primary key, k text, v text, more jsonb default '[1]'`, ``, `key => 'gone', columns => '{gone,v,id,more}'`},
	{"plain, without a key", `id int, k text, v text, more timestamptz default '2024-02-03 04:05:06+00'`, ``, ``},
	{"plain, a domain and an enum", `id int primary key, k text, v shop.long, more shop.size default 'large'`, ``, `key => 'more'`},
	{"partitioned", `id int, k text, v text, more numeric default 1.50`, `partition by range (id)`, `key => 'k'`},
	{"not plain", `id int primary key, k text, v text, more bytea default '\x00ff'`, ``, `key => 'k'`},
	{"not plain, an enum with a cast", `id int primary key, k text, v text, more shop.mood default 'glad'`, ``, `key => 'k'`},
}

// Each is run by a writer in a trap and by another in none. They have no name that is looked up.
var trappedWrites = []string{
	`insert into %s (id, k, v) values (1, 'a', 'x')`,
	`insert into %s (id, k, v) select g, pg_catalog.concat('k', pg_catalog.mod(g, 5)), case when pg_catalog.mod(g, 7) operator(pg_catalog.=) 0 then pg_catalog.repeat('x', 500) else 'x' end
	   from pg_catalog.generate_series(2, 40) as g`,
	`insert into %s (id, k, v) values (41, null, pg_catalog.repeat('x', 500)), (42, null, null)`,
	`insert into %s (id, k, v) select 43, 'k', 'x' where false`,
	`update %s set v = 'y' where id operator(pg_catalog.=) 1`,
	`update %s set k = 'moved', v = 'z' where id operator(pg_catalog.=) 1`,
	`update %s set id = 100, k = null where id operator(pg_catalog.=) 2`,
	`update %s set v = 'w' where pg_catalog.mod(id, 7) operator(pg_catalog.<>) 0`,
	`update %s set id = id operator(pg_catalog.+) 200, k = pg_catalog.concat(k, '!') where pg_catalog.mod(id, 3) operator(pg_catalog.=) 0`,
	`update %s set k = 'nobody' where id operator(pg_catalog.<) 0`,
	`delete from %s where id operator(pg_catalog.=) 1`,
	`delete from %s where id operator(pg_catalog.>) 20`,
	`begin; truncate %s; truncate %[1]s; commit`,
	`set tidings.doorbell = off; insert into %s (id, k, v) values (1, 'a', 'x'); reset tidings.doorbell`,
}

// Nothing that a writer has put before PostgreSQL's own functions, operators, types and tables is seen by the trigger
// functions, which run with their owner's rights.
func TestWriterInATrap(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `update tidings.settings set max_value_bytes = 400, chunk_bytes = 300; select tidings.attend('the test', true)`)
	run(t, s, `create schema shop; create domain shop.long as text; create type shop.size as enum ('small', 'large'); create type shop.mood as enum ('glad');
		create function shop.mood_json(shop.mood) returns json language sql as 'select to_json(upper($1::text) || length($1::text)::text)';
		create cast (shop.mood as json) with function shop.mood_json(shop.mood)`)
	role := newRole(t, s)
	run(t, s, `create schema trap; grant usage, create on schema trap to `+role+`; grant usage on schema shop to `+role)
	w := connectTo(t, with(t, l.url, "user", role))
	run(t, w, dbtest.Traps)
	paths := []string{`trap, pg_catalog`, `trap, pg_catalog, pg_temp`, `pg_temp, trap, pg_catalog`}
	for _, path := range paths {
		run(t, w, `set search_path = `+path)
		for _, sql := range []string{
			`select 1 = 1`, `select 1 in (1, 2)`, `select 1::bigint > 0`, `select 'a' || 'b'::pg_catalog.text`, `select nullif(1, 1)`, `select 1 is distinct from 1`,
			`select 1 between 0 and 2`, `select case 1 when 1 then 2 end`, `select 1 = any (array[1])`, `select 'a'::pg_catalog.text like 'b'`,
			`select to_json(5)`, `select octet_length('a')`, `select array_append(array[1], 2)`, `select array_cat(array[1], array[2])`, `select array_fill(1, array[1])`,
			`select pg_notify('a', 'b')`, `select current_setting('a', true)`, `select pg_current_xact_id()`, `select lower('A')`, `select concat('a', 'b', 'c')`,
			`select pg_sequence_last_value(0::pg_catalog.oid)`, `select count(*)`, `select pg_column_size('1'::pg_catalog.jsonb)`, `select null::text`, `select null::refcursor`, `select null::json`,
		} {
			if sql == `select null::json` && get[int](t, s, `select current_setting('server_version_num')::int`) >= 170000 {
				continue // from here on it is a word of SQL's own
			}
			refused(t, w, "P0001", "trap: ", sql)
		}
	}

	for i, c := range trapped {
		t.Run(c.name, func(t *testing.T) {
			for _, table := range []string{"trapped", "free"} {
				name := fmt.Sprintf("shop.%s_%d", table, i)
				run(t, s, fmt.Sprintf(`create table %s (%s) %s`, name, c.columns, c.end))
				if c.end != "" {
					run(t, s, fmt.Sprintf(`create table %s_a partition of %[1]s for values from (0) to (20); create table %[1]s_b partition of %[1]s default`, name))
				}
				run(t, s, fmt.Sprintf(`alter table %s add gone text`, name))
				run(t, s, fmt.Sprintf(`select tidings.watch('%s', topic => '%s %d', event => 'thing'%s)`, name, table, i, strings.TrimSuffix(", "+c.watch, ", ")))
				run(t, s, fmt.Sprintf(`alter table %s drop gone`, name))
			}
			if plain := get[bool](t, s, `select tidings.plain(w) from tidings.watches w where relation = $1::text::regclass`, fmt.Sprintf("shop.trapped_%d", i)); plain == strings.HasPrefix(c.name, "not") {
				t.Fatalf("plain: %v", plain)
			}
			run(t, s, fmt.Sprintf(`grant all on shop.trapped_%d to %s`, i, role))
			for n, sql := range trappedWrites {
				run(t, w, `set search_path = `+paths[n%len(paths)])
				since := cursor(t, s)
				run(t, s, fmt.Sprintf(sql, fmt.Sprintf("shop.free_%d", i)))
				want := events(t, s, since)
				since = cursor(t, s)
				run(t, w, fmt.Sprintf(sql, fmt.Sprintf("shop.trapped_%d", i)))
				got := events(t, s, since)
				for j := range got {
					got[j] = strings.Replace(got[j], "trapped ", "free ", 1)
				}
				// In which order the rows lie is the tables' own affair.
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%s\nevents:\n%s\nwant:\n%s", sql, lines(got), lines(want))
				}
			}
		})
	}
}
