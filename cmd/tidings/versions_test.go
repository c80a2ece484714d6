package main_test

import (
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"tidings/db/dbtest"
)

// On every version of PostgreSQL: installed by a role that is no superuser, served by another that owns nothing, written to by a third that knows of
// nothing; and over a failover.
func TestEveryPostgres(t *testing.T) {
	t.Parallel()
	for name, programs := range dbtest.Versions(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			managed(t, dbtest.StartClusterOf(t, programs, map[string]string{"jit": "off"}))
		})
	}
}

// as is the address for another role.
func as(t testing.TB, address, role string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("user", role)
	u.RawQuery = query.Encode()
	return u.String()
}

func managed(t *testing.T, cluster *dbtest.Cluster) {
	admin := cluster.URL()
	version := ask[int](t, admin, `select current_setting('server_version_num')::int / 10000`)
	owner, web, app := as(t, admin, "owner"), as(t, admin, "web"), as(t, admin, "app")
	sql(t, admin, `create role owner login; create role web login; create role app login; create schema shop authorization owner;
		grant create on database tidings to owner; grant usage, create on schema public to owner; revoke create on schema public from public`)
	if version%2 == 0 { // who may make roles makes the one that reads for clients; otherwise it is there
		sql(t, admin, `alter role owner createrole`)
	} else {
		sql(t, admin, `create role tidings_reader; grant tidings_reader to owner with admin option`)
	}
	succeed(t, environ(), "migrate", "up", "--public", "--database-url", owner)
	fail(t, environ(), []string{"serve", "--listen", "127.0.0.1:0", "--no-migrate", "--database-url", web}, "role web may not serve", "tidings migrate grant web")
	sql(t, owner, tourTables)
	if said := succeed(t, environ(), "migrate", "grant", "web", "--database-url", owner); strings.Contains(said, "missing") {
		t.Error(said)
	}
	fail(t, environ(), []string{"migrate", "grant", "app", "--database-url", web}, "for the role that owns schema tidings")
	// What is watched later is served as well, and what kinds of tables and statements a version has.
	sql(t, owner, `create table shop.days (id int, day int, title text, primary key (id, day)) partition by range (day);
		create table shop.days_1 partition of shop.days for values from (0) to (10); select tidings.watch('shop.days', read => 'public', key => 'id');
		grant usage on schema shop to app; grant insert, update, delete, select on shop.days, notes, users to app; create policy app on notes to app using (true); grant usage on all sequences in schema public to app`)

	p, at := serve(t, environ(), "--no-migrate", "--database-url", web)
	write := func(statement string) { sql(t, app, statement) }
	tour(t, at, write, true, func() {})

	days := dial(t, "ws://"+at+"/ws?channel=days")
	days.expect("subscribed", "")
	write(`insert into shop.days values (1, 1, 'one')`)
	days.expect("day_added", "one")
	if version >= 15 {
		write(`merge into shop.days d using (values (1, 'merged'), (2, 'two')) as n(id, title) on d.id = n.id when matched then update set title = n.title
			when not matched then insert (id, day, title) values (n.id, 1, n.title)`)
		days.expect("day_updated", "merged")
		days.expect("day_added", "two")
	}
	// Nobody but a superuser hears of a new partition at once; who serves is to see to it all the same.
	sql(t, owner, `create table shop.days_2 partition of shop.days for values from (10) to (20); grant insert on shop.days_2 to app`)
	sql(t, web, `select tidings.follow_partitions()`)
	write(`insert into shop.days_2 values (3, 11, 'three')`)
	days.expect("day_added", "three")
	eventually(t, "the log has a new partition", func() bool { return ask[bool](t, web, `select tidings.rotate(true)`) })
	write(`insert into shop.days values (4, 1, 'four')`)
	days.expect("day_added", "four")

	// And it may do nothing else.
	for _, statement := range []string{
		`drop table notes`, `alter table messages add x int`, `create table mine ()`, `insert into notes values (7, '1', 'x')`, `delete from users`,
		`select tidings.watch('messages')`, `select tidings.unwatch('notes')`, `insert into tidings.log (topic, type) values ('messages', 'message_added')`,
		`update tidings.settings set retention = '1 minute'`, `update tidings.watches set read = 'public'`, `select tidings.grant_serving('app')`, `drop schema tidings cascade`,
		`create trigger t after insert on messages for each statement execute function tidings.tell_topics_changed()`, `truncate messages`, `select tidings.refresh()`,
	} {
		refuse(t, web, statement)
	}
	if version >= 16 { // before, who may become tidings_reader has its rights at once
		refuse(t, web, `select * from notes`)
	}
	for _, statement := range []string{`select * from tidings.log`, `select tidings.beat('1 second')`, `select tidings.watch('users')`} {
		refuse(t, app, statement)
	}
	if said := p.stderr.String(); strings.Contains(said, "level=WARN") || strings.Contains(said, "level=ERROR") {
		t.Errorf("it says %s", said)
	}

	// The primary is gone, and a standby is promoted. Clients stay where they are.
	cluster.Stop()
	cluster.StartStandby()
	sql(t, admin, `select pg_promote(true, 60)`)
	eventually(t, "the standby is promoted", func() bool { return !ask[bool](t, admin, `select pg_is_in_recovery()`) })
	eventually(t, "the service is ready again", func() bool { return readyz(t, at) == 200 })
	write(`insert into shop.days values (5, 1, 'five')`)
	for {
		f, err := days.read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Data.Title == "five" {
			break
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("it ends with %d", code)
	}

	// It is taken back, and all of it is removed, by who installed it.
	succeed(t, environ(), "migrate", "revoke", "web", "--database-url", owner)
	refuse(t, web, `select tidings.beat('1 second')`)
	sql(t, admin, `drop role web`)
	sql(t, owner, `select tidings.unwatch('notes'); select tidings.unwatch('shop.days'); drop table notes`)
	succeed(t, environ(), "migrate", "down", "--yes", "--database-url", owner)
}

// refuse runs a statement for which a right must be missing.
func refuse(t testing.TB, address, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "42501") {
		t.Errorf("%s: got %v, want that it is not allowed", statement, err)
	}
}
