package main_test

import (
	"crypto/rand"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"tidings/db/dbtest"
)

// states are the versions of the two sets as status prints them: live, channel.
func states(t *testing.T, status string) string {
	t.Helper()
	match := regexp.MustCompile(`(?s)SET +VERSION +LATEST +STATE\nlive +(\d+) +(\d+) +(.*?)\nchannel +(\d+) +(\d+) +(.*?)\n`).FindStringSubmatch(status)
	if match == nil {
		t.Fatalf("the status is %q", status)
	}
	for i := 1; i < 6; i += 3 {
		if up := match[i] == match[i+1]; up != (match[i+2] == "up to date") {
			t.Errorf("the status is %q", status)
		}
	}
	return match[3] + ", " + match[6]
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	env := environ("DATABASE_URL=" + address)
	migrate := func(want string, args ...string) {
		t.Helper()
		if got := states(t, succeed(t, env, append([]string{"migrate"}, args...)...)); got != want {
			t.Errorf("after migrate %v: %s, want %s", args, got, want)
		}
	}
	migrate("not installed, not installed", "status")
	if got := ask[int](t, address, `select count(*)::int from pg_namespace where nspname = 'tidings'`); got != 0 {
		t.Error("status has changed the database")
	}
	migrate("not installed, not installed", "down")
	migrate("up to date, not installed", "up", "--only", "live")
	migrate("up to date, up to date", "up")
	migrate("up to date, up to date", "up")
	migrate("up to date, up to date", "status")
	fail(t, env, []string{"migrate", "down", "--only", "live"}, "need schema tidings")

	sql(t, address, `insert into users (username, display_name) values ('ada', 'Ada')`)
	for _, args := range [][]string{{"migrate", "down"}, {"migrate", "down", "--only", "channel"}} {
		fail(t, env, args, "rows", "--yes")
	}
	migrate("up to date, up to date", "status")
	migrate("up to date, not installed", "down", "--only", "channel", "--yes")
	migrate("up to date, up to date", "up", "--only", "channel")
	sql(t, address, `insert into users (username, display_name) values ('ada', 'Ada'); insert into messages (author_id, title, content) values (1, 'x', '')`)
	migrate("not installed, not installed", "down", "--yes")
	if got := ask[int](t, address, `select count(*)::int from pg_namespace n left join pg_class c on c.relnamespace = n.oid
		where n.nspname = 'tidings' or n.nspname = 'public' and c.oid is not null`); got != 0 {
		t.Errorf("%d things are left", got)
	}
	if got := ask[int](t, address, `select (select count(*) from pg_event_trigger) + (select count(*) from pg_proc where pronamespace = 'public'::regnamespace)`); got != 0 {
		t.Errorf("%d functions and event triggers are left", got)
	}
	migrate("up to date, up to date", "up")
}

// Who may make no schema, and has one that was made for him, can install into it, and find that all is there.
func TestMigrateIntoAGivenSchema(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	role := "given_" + strings.ToLower(rand.Text())
	sql(t, address, `create role `+role+` login password 'x'; create schema tidings authorization `+role+`; revoke create on schema public from public`)
	own, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := own.Query()
	query.Set("user", role)
	query.Set("password", "x")
	own.User, own.RawQuery = nil, query.Encode()
	env := environ("DATABASE_URL=" + own.String())
	for range 2 {
		if got := states(t, succeed(t, env, "migrate", "up", "--only", "live")); got != "up to date, not installed" {
			t.Errorf("got %s", got)
		}
	}
	fail(t, env, []string{"migrate", "up"}, "grant create on schema public to \""+role+"\"")
}

// In a database that has a table of that name already, nothing of it is touched.
func TestMigrateBesideOwnTables(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	env := environ("DATABASE_URL=" + address)
	sql(t, address, `create table users (name text); insert into users values ('mine')`)
	fail(t, env, []string{"migrate", "up"}, `"users" already exists`, "it is installed", "--only live")
	if got := states(t, succeed(t, env, "migrate", "status")); got != "up to date, not installed" {
		t.Errorf("got %s", got)
	}
	if got := ask[string](t, address, `select string_agg(name, ',') from users`); got != "mine" {
		t.Errorf("the table has %q", got)
	}
	if got := ask[string](t, address, `select string_agg(tablename, ' ') from pg_tables where schemaname = 'public'`); got != "users" {
		t.Errorf("the tables are %s", got)
	}
	fail(t, env, []string{"migrate", "up", "--only", "channel"}, `"users" already exists`)
	succeed(t, env, "migrate", "up", "--only", "live")

	// Own tables with rows do not keep what is not installed from being removed.
	if got := states(t, succeed(t, env, "migrate", "down")); got != "not installed, not installed" {
		t.Errorf("got %s", got)
	}
	if got := ask[string](t, address, `select string_agg(name, ',') from users`); got != "mine" {
		t.Errorf("the table has %q", got)
	}
}

// What is watched is unwatched by going down.
func TestMigrateDownWithWatches(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	env := environ("DATABASE_URL=" + address)
	sql(t, address, `create table orders (id int primary key)`)
	succeed(t, env, "watch", "orders")
	sql(t, address, `insert into orders values (1)`)
	succeed(t, env, "migrate", "down")
	sql(t, address, `insert into orders values (2); update orders set id = 3 where id = 2; delete from orders; truncate orders`)
	if got := ask[int](t, address, `select count(*)::int from pg_trigger where not tgisinternal`); got != 0 {
		t.Errorf("%d triggers are left", got)
	}
}

// Two that migrate at once do not get in each other's way.
func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	env := environ("DATABASE_URL=" + address)
	var programs []*program
	for range 4 {
		programs = append(programs, begin(t, env, "migrate", "up"))
	}
	for _, p := range programs {
		if code := p.wait(); code != 0 {
			t.Errorf("exit code %d: %s", code, &p.stderr)
		}
	}
	if got := states(t, succeed(t, env, "migrate", "status")); got != "up to date, up to date" {
		t.Errorf("got %s", got)
	}
	if strings.Contains(succeed(t, env, "migrate", "status"), "cut off") {
		t.Error("a migration was cut off")
	}
}
