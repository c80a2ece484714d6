package main_test

import (
	"regexp"
	"strings"
	"testing"

	"tidings/db/dbtest"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	env := environ("DATABASE_URL=" + address)
	sql(t, address, `
		create table orders (id int primary key, customer_id int, title text, note text);
		create schema shop;
		create table shop.items (id int primary key);
		create table "Mixed Case" ("Id" int primary key, "Title" text);
		create table "quo""ted" (id int);
		create table lines (n int);
		create view orders_view as select * from orders`)
	// listed returns the line of a table in the list, with single spaces.
	listed := func(table string) string {
		t.Helper()
		for line := range strings.Lines(succeed(t, env, "watched")) {
			if strings.HasPrefix(line, table+" ") {
				return regexp.MustCompile(`  +`).ReplaceAllString(strings.TrimSpace(line), "  ")
			}
		}
		return ""
	}
	if out := succeed(t, env, "watched"); strings.Count(out, "\n") != 1 {
		t.Errorf("in a database without tidings, watched says %q", out)
	}
	if ask[bool](t, address, `select to_regnamespace('tidings') is not null`) {
		t.Error("watched has changed the database")
	}

	if out := succeed(t, env, "watch", "orders", "--read", "public"); out != "orders is live: channel orders\n" {
		t.Errorf("got %q", out)
	}
	if got, want := listed("orders"), "orders  orders  order_…  id  all  public  -"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	succeed(t, env, "watch", "orders", "--read", "public", "--topic", "sales", "--event", "sale", "--key", "customer_id", "--columns", "id,customer_id,title")
	if got, want := listed("orders"), "orders  sales  sale_…  customer_id  id,customer_id,title  public  -"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if out := succeed(t, env, "watch", "shop.items"); !strings.Contains(out, "channel items") || !strings.Contains(out, "clients bring a token") {
		t.Errorf("got %q", out)
	}
	for _, table := range []string{`Mixed Case`, `"Mixed Case"`, `public."Mixed Case"`} {
		if out := succeed(t, env, "watch", table, "--read", "public", "--topic", "mixed"); !strings.Contains(out, "channel mixed") {
			t.Errorf("got %q", out)
		}
	}
	succeed(t, env, "watch", `quo"ted`)
	if got, want := listed("lines"), ""; got != want {
		t.Errorf("got %q", got)
	}
	succeed(t, env, "watch", "lines")
	if got, want := listed("lines"), "lines  lines  line_…  -  all  signed_in  -"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	p, at := serve(t, env)
	c := dial(t, "ws://"+at+"/ws?channel=sales:7&channel=mixed")
	c.expect("subscribed", "")
	c.expect("subscribed", "")
	sql(t, address, `insert into orders values (1, 7, 'one', 'x')`)
	if f := c.expect("sale_added", "one"); f.Channel != "sales:7" {
		t.Errorf("got %+v", f)
	}
	sql(t, address, `insert into "Mixed Case" values (1, 'two')`)
	c.expect("mixed_added", "two")
	_ = p

	for _, m := range []struct {
		args  []string
		words []string
	}{
		{[]string{"watch", "nothing"}, []string{`there is no table "nothing"`}},
		{[]string{"watch", "shop.nothing"}, []string{`"shop.nothing"`}},
		{[]string{"watch", "nowhere.orders"}, []string{`"nowhere.orders"`}},
		{[]string{"watch", "orders; drop table orders"}, []string{"there is no table"}},
		{[]string{"watch", "a.b.c.d"}, []string{"a.b.c.d"}},
		{[]string{"watch", `"unclosed`}, []string{"unclosed"}},
		{[]string{"watch", ""}, []string{"table"}},
		{[]string{"watch", "orders", "--key", "nothing"}, []string{"no column nothing", "customer_id"}},
		{[]string{"watch", "orders", "--columns", "id,nothing"}, []string{"no column nothing", "customer_id"}},
		{[]string{"watch", "orders", "--read", "owner:nothing"}, []string{"no column nothing"}},
		{[]string{"watch", "orders", "--read", "everybody"}, []string{"everybody", "public"}},
		{[]string{"watch", "orders", "--read", "policy:nothing"}, []string{"no function nothing"}},
		{[]string{"watch", "orders", "--topic", "mixed"}, []string{"'mixed'", "taken"}},
		{[]string{"watch", "orders", "--topic", "a:b"}, []string{"'a:b'"}},
		{[]string{"watch", "orders", "--event", "a b"}, []string{"'a b'"}},
		{[]string{"watch", "orders_view"}, []string{"orders_view", "not a table"}},
		{[]string{"watch", "tidings.log"}, []string{"tidings"}},
		{[]string{"watch", "pg_catalog.pg_class"}, []string{"pg_catalog"}},
		{[]string{"unwatch", "nothing"}, []string{`there is no table "nothing"`}},
		{[]string{"unwatch", "orders_view"}, []string{"orders_view is not watched"}},
	} {
		fail(t, env, m.args, m.words...)
	}
	// What failed has changed nothing.
	if got, want := listed("orders"), "orders  sales  sale_…  customer_id  id,customer_id,title  public  -"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	if out := succeed(t, env, "unwatch", "Mixed Case"); out != "Mixed Case is no longer live\n" {
		t.Errorf("got %q", out)
	}
	if f, err := c.read(); err != nil || f.Type != "error" || f.Channel != "mixed" {
		t.Errorf("got %+v, %v", f, err)
	}
	sql(t, address, `insert into "Mixed Case" values (2, 'not told'); insert into orders values (2, 7, 'told', '')`)
	c.expect("sale_added", "told")
	fail(t, env, []string{"unwatch", "Mixed Case"}, "is not watched")
	succeed(t, env, "unwatch", "shop.items")
	if out := succeed(t, env, "watched"); strings.Contains(out, "Mixed") || strings.Contains(out, "items") {
		t.Errorf("got %s", out)
	}
}

// A table that an open transaction uses is not waited for without end, and who comes after is not held up.
func TestWatchBehindOpenTransaction(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	env := environ("DATABASE_URL=" + address)
	sql(t, address, `create table orders (id int primary key)`)
	succeed(t, env, "migrate", "up", "--only", "live")
	release := hold(t, address, `insert into orders values (1)`)
	fail(t, env, []string{"watch", "orders"}, "in use by a transaction")
	release()
	succeed(t, env, "watch", "orders")
}

// What keeps a table from being told is said at once.
func TestWatchSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	env := environ("DATABASE_URL=" + address)
	succeed(t, env, "migrate", "up", "--only", "live")
	sql(t, address, `create table notes (id int primary key); alter table notes enable row level security; update tidings.settings set reader_role = current_user`)
	if code, _, stderr := run(t, env, "watch", "notes"); code != 0 || !strings.Contains(stderr, "its row security does not hold for role") {
		t.Errorf("it ended with %d, and said %q", code, stderr)
	}
}

func TestUnwatchWithoutSchema(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	sql(t, address, `create table orders (id int primary key)`)
	fail(t, environ("DATABASE_URL="+address), []string{"unwatch", "orders"}, "tidings migrate up --only live")
}
