package main_test

import (
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"tidings/db/dbtest"
)

// A database of one's own: nothing is in it but what was there and schema tidings.
func TestServeOwnDatabase(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	sql(t, address, `create table orders (id int primary key, customer_id int, title text); create table users (name text)`)
	p, at := serve(t, environ(), "--database-url", address)
	eventually(t, "the service is ready", func() bool { return readyz(t, at) == 200 })
	if got := ask[string](t, address, `select string_agg(tablename, ' ' order by tablename) from pg_tables where schemaname = 'public'`); got != "orders users" {
		t.Errorf("its tables are %s", got)
	}
	if strings.Contains(p.stdout.String(), "psql") {
		t.Errorf("it is invited to write a message: %s", &p.stdout)
	}
	if status, body := get(t, "http://"+at+"/"); status != 200 || !strings.Contains(body, `"channel":false`) {
		t.Errorf("the page is %d: %s", status, body)
	}

	// A table is made live from psql, and the service, which runs already, has it at once.
	sql(t, address, `select tidings.watch('orders', key => 'customer_id', read => 'public')`)
	c := dial(t, "ws://"+at+"/ws?channel=orders&channel=orders:7")
	c.expect("subscribed", "")
	c.expect("subscribed", "")
	sql(t, address, `insert into orders values (1, 7, 'one')`)
	if f := c.expect("order_added", "one"); f.Channel != "orders:7" {
		t.Errorf("got %+v", f)
	}
	p.signal(syscall.SIGINT)
	c.expectGoodbye(1001)
	_ = c.ws.Close()
	if code := p.wait(); code != 0 {
		t.Errorf("SIGINT ends it with %d", code)
	}
}

// Compression is taken where it is offered, once it is configured.
func TestServeCompressed(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	dialer := websocket.Dialer{EnableCompression: true, HandshakeTimeout: patience}
	for _, c := range []struct {
		env  []string
		want bool
	}{{nil, false}, {[]string{"TIDINGS_COMPRESS_MIN_BYTES=100"}, true}} {
		_, at := serve(t, environ(c.env...), "--database-url", address)
		ws, response, err := dialer.DialContext(t.Context(), "ws://"+at+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = ws.Close()
		if got := response.Header.Get("Sec-WebSocket-Extensions") != ""; got != c.want {
			t.Errorf("%v: compression is agreed on: %t, want %t", c.env, got, c.want)
		}
	}
}

// The service comes up without its database, says so, and is ready when the database is.
func TestDatabaseDownAtTheStart(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	address := cluster.URL()
	cluster.Stop()

	p := begin(t, environ(), "serve", "--listen", "127.0.0.1:0", "--database-url", address, "--log-format", "json")
	p.await(&p.stderr, `the database is not ready`)
	at := listensAt(t, p.cmd.Process.Pid)
	if status, body := get(t, "http://"+at+"/healthz"); status != 200 || body != "alive\n" {
		t.Errorf("/healthz is %d %q", status, body)
	}
	if status := readyz(t, at); status != 503 {
		t.Errorf("/readyz is %d", status)
	}
	// It has tried some times more.
	for range 50 {
		readyz(t, at)
	}
	if lines := strings.Count(strings.TrimSpace(p.stderr.String()), "\n") + 1; lines > 2 {
		t.Errorf("it has said %d lines, want one of the database and one of where it listens: %s", lines, &p.stderr)
	}

	cluster.Start()
	p.await(&p.stderr, `"msg":"live"`)
	eventually(t, "the service is ready", func() bool { return readyz(t, at) == 200 })
	sql(t, address, `create table orders (id int primary key, title text); select tidings.watch('orders', read => 'public')`)
	c := dial(t, "ws://"+at+"/ws?channel=orders")
	c.expect("subscribed", "")
	sql(t, address, `insert into orders values (1, 'one')`)
	c.expect("order_added", "one")
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("SIGTERM ends it with %d", code)
	}
}

// A signal ends it, also while it waits for its database.
func TestSignalWithoutDatabase(t *testing.T) {
	t.Parallel()
	p := begin(t, environ(), "serve", "--listen", "127.0.0.1:0", "--database-url", "postgres://ada:secret@127.0.0.1:1/db")
	p.await(&p.stderr, `the database is not ready.*127\.0\.0\.1, port 1`)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("SIGTERM ends it with %d", code)
	}
	if strings.Contains(p.stderr.String(), "secret") {
		t.Errorf("the password is in %s", &p.stderr)
	}
}

// What will not be better by waiting ends it, with a sentence.
func TestDatabaseThatWillNotDo(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	good, err := url.Parse(cluster.TCPURL())
	if err != nil {
		t.Fatal(err)
	}
	change := func(how func(u *url.URL)) string {
		u := *good
		how(&u)
		return u.String()
	}
	for name, c := range map[string]struct {
		url  string
		word string
	}{
		"wrong password":   {change(func(u *url.URL) { u.User = url.UserPassword("tidings", "secret") }), "password"},
		"no such user":     {change(func(u *url.URL) { u.User = url.UserPassword("nobody", "secret") }), "nobody"},
		"no such database": {change(func(u *url.URL) { u.Path = "/nothing" }), `"nothing"`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range [][]string{{"serve", "--listen", "127.0.0.1:0"}, {"watched"}, {"migrate", "status"}, {"migrate", "up"}} {
				fail(t, environ("DATABASE_URL="+c.url), command, c.word)
			}
		})
	}
	t.Run("not up to date, and not to be changed", func(t *testing.T) {
		fail(t, environ("DATABASE_URL="+good.String()), []string{"serve", "--listen", "127.0.0.1:0", "--no-migrate"}, "tidings migrate up")
		succeed(t, environ("DATABASE_URL="+good.String()), "migrate", "up", "--only", "live")
		p, _ := serve(t, environ("DATABASE_URL="+good.String()), "--no-migrate")
		p.signal(syscall.SIGTERM)
		if code := p.wait(); code != 0 {
			t.Errorf("SIGTERM ends it with %d", code)
		}
	})
	t.Run("of a newer version", func(t *testing.T) {
		sql(t, good.String(), `update tidings.migrations_live set version = 999`)
		env := environ("DATABASE_URL=" + good.String())
		p, _ := serve(t, env) // what it does not know of it does not need to
		p.signal(syscall.SIGTERM)
		if code := p.wait(); code != 0 {
			t.Errorf("SIGTERM ends it with %d", code)
		}
		fail(t, env, []string{"migrate", "down"}, "999", "cannot remove")
		sql(t, good.String(), `create or replace function tidings.compatible_from() returns integer language sql immutable as 'select 999'`)
		fail(t, env, []string{"serve", "--listen", "127.0.0.1:0"}, "999", "too old")
	})
	t.Run("nothing listens", func(t *testing.T) {
		for _, command := range [][]string{{"watched"}, {"migrate", "status"}, {"migrate", "up"}, {"watch", "x"}} {
			fail(t, environ("DATABASE_URL=postgres://ada:secret@127.0.0.1:1/db"), command, "127.0.0.1, port 1")
		}
	})
}

// A user who may do nothing but what he needs.
func TestServeWithFewRights(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	sql(t, cluster.URL(), `create role app login password 'x'`)
	sql(t, cluster.URL(), `create database app owner app`)
	u, err := url.Parse(cluster.TCPURL())
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword("app", "x"), "/app"
	env := environ("DATABASE_URL=" + u.String())
	p, at := serve(t, env)
	succeed(t, env, "migrate", "up", "--public")
	sql(t, u.String(), `insert into users (username, display_name) values ('ada', 'Ada')`)
	c := dial(t, "ws://"+at+"/ws?channel=messages")
	c.expect("subscribed", "")
	sql(t, u.String(), `insert into messages (author_id, title, content) values (1, 'one', '')`)
	c.expect("message_added", "one")
	if status := readyz(t, at); status != 200 {
		t.Errorf("/readyz is %d", status)
	}
	if strings.Contains(p.stderr.String(), "level=ERROR") || strings.Contains(p.stderr.String(), "level=WARN") {
		t.Errorf("it complains: %s", &p.stderr)
	}
}

// Two instances on one database tell of the same, and an outage of one is not one of the other.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	address := channelDatabase(t)
	first, firstAt := serve(t, environ(), "--database-url", address)
	_, secondAt := serve(t, environ(), "--database-url", address)
	a := dial(t, "ws://"+firstAt+"/ws?channel=messages")
	b := dial(t, "ws://"+secondAt+"/ws?channel=messages")
	a.expect("subscribed", "")
	b.expect("subscribed", "")
	sql(t, address, `insert into messages (author_id, title, content) values (1, 'one', '')`)
	last := a.expect("message_added", "one")
	b.expect("message_added", "one")

	first.signal(syscall.SIGKILL)
	first.wait()
	sql(t, address, `insert into messages (author_id, title, content) values (1, 'two', '')`)
	b.expect("message_added", "two")
	a = dial(t, "ws://"+secondAt+"/ws?channel=messages&since="+last.Cursor)
	a.expect("message_added", "two")
	a.expect("subscribed", "")
}
