package triggers_test

import (
	"slices"
	"strings"
	"testing"

	"tidings/db/dbtest"
)

// What tidings_reader is granted for a watch goes with it, and what somebody else has granted stays.
func TestReaderLosesWhatItWasLent(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	const granted = `select c.oid::regclass::text from pg_class c where c.relkind = 'r' and c.relnamespace::regnamespace::text in ('shop', 'club') and has_table_privilege('tidings_reader', c.oid, 'select')
		union all select 'schema ' || nspname from pg_namespace where nspname in ('shop', 'club', 'tidings') and has_schema_privilege('tidings_reader', oid, 'usage') order by 1`
	check := func(what string, want ...string) {
		t.Helper()
		if got := list[string](t, s, granted); !slices.Equal(got, want) {
			t.Errorf("%s: tidings_reader may read %q, want %q", what, got, want)
		}
	}
	run(t, s, `create schema shop; create schema club;
		create table shop.a (id int primary key); create table shop.b (id int primary key); create table shop.c (id int primary key); create table club.d (id int primary key);
		alter table shop.a enable row level security; alter table shop.b enable row level security; alter table shop.c enable row level security;
		alter table club.d enable row level security;
		create policy p on shop.a using (exists (select from shop.b where b.id = a.id)); grant select on shop.c to tidings_reader`)
	watch := func() {
		t.Helper()
		run(t, s, `select tidings.watch('shop.a'), tidings.watch('shop.b'), tidings.watch('shop.c'), tidings.watch('club.d')`)
	}
	watch()
	check("watched", "club.d", "schema club", "schema shop", "schema tidings", "shop.a", "shop.b", "shop.c")
	run(t, s, `select tidings.unwatch('shop.c'), tidings.unwatch('shop.b'), tidings.unwatch('club.d')`)
	check("another watch needs it", "schema shop", "schema tidings", "shop.a", "shop.b", "shop.c")
	run(t, s, `select tidings.unwatch('shop.a')`)
	check("unwatched", "schema tidings", "shop.b", "shop.c")
	run(t, s, `revoke select on shop.b from tidings_reader`)
	watch()
	run(t, s, `drop table club.d`)
	if err := l.MigrateDown(t.Context(), liveSet); err != nil {
		t.Fatal(err)
	}
	check("after down", "shop.c")
}

// Servers are to ask again after a change of a policy that they ask, and of no other.
func TestPoliciesOfOthersAreNobodysConcern(t *testing.T) {
	t.Parallel()
	s := openLive(t).connect(t)
	run(t, s, notes+`create table friends (who text, of text); create table rooms (room text, who text); create table others (id int);
		create policy friends on notes for select using (exists (select from friends f where f.of = notes.owner));
		create policy rooms on friends using (exists (select from rooms r where r.who = friends.who));
		select tidings.watch('notes')`)
	for sql, want := range map[string]int{
		`create policy p on others using (true); alter policy p on others using (false); drop policy p on others`: 0,
		`create policy p on notes using (true)`: 1,
		`drop policy own on notes`:              1,
		`create policy p on friends using (true); alter policy p on friends using (false); drop policy p on friends`: 3,
		`create policy p on rooms using (true)`:                      1,
		`create function f() returns int language sql as 'select 1'`: 0,
	} {
		const rechecks = `select count(*) from tidings.log where topic = 'tidings' and type = 'recheck'`
		before := get[int](t, s, rechecks)
		run(t, s, sql)
		if got := get[int](t, s, rechecks) - before; got != want {
			t.Errorf("%s: servers are to ask again %d times, want %d", sql, got, want)
		}
	}
}

// Who may make roles but is no superuser makes the one that is asked, and may become it: from PostgreSQL 16 on, making it is not enough.
func TestReaderOfAnInstallerThatIsNoSuperuser(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, map[string]string{"jit": "off"})
	admin := connectTo(t, cluster.URL())
	run(t, admin, `create role installer login createrole`)
	giveDatabase(t, admin, "installer")
	run(t, admin, `grant create on schema public to installer`)
	s := openLiveAt(t, with(t, cluster.URL(), "user", "installer")).connect(t)
	run(t, s, notes+`select tidings.watch('notes')`)
	if problem := get[*string](t, s, `select problem from tidings.watched`); problem != nil {
		t.Error(*problem)
	}
	if got := judged(t, s, `{}`, "ada", `{"id":1,"owner":"ada"}`); got != "true" {
		t.Errorf("judged %q", got)
	}
	run(t, admin, `revoke tidings_reader from installer cascade`)
	if version := get[int](t, admin, `select current_setting('server_version_num')::int`); version >= 160000 {
		run(t, admin, `grant tidings_reader to installer with set false`)
	}
	if problem := get[*string](t, s, `select problem from tidings.watched`); problem == nil || !strings.Contains(*problem, "may not become role tidings_reader") {
		t.Errorf("who may not become the role is told %v", problem)
	}
	refused(t, s, "42501", "", `set role tidings_reader`)
}
