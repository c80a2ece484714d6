package main_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// hold opens a transaction with a statement in it, until release is called.
func hold(t *testing.T, address, statement string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), "begin; "+statement); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := conn.Exec(t.Context(), "rollback"); err != nil {
			t.Fatal(err)
		}
	}
}

// tail survives the service: it comes back with its cursor and misses nothing.
func TestTailComesBack(t *testing.T) {
	t.Parallel()
	address := channelDatabase(t)
	write := func(title string) {
		t.Helper()
		sql(t, address, `insert into messages (author_id, title, content) values (1, '`+title+`', '')`)
	}
	p, at := serve(t, environ(), "--database-url", address)
	env := environ("TIDINGS_SERVER=http://" + at + "/")
	readable := begin(t, env, "tail", "messages", "comments:1")
	frames := begin(t, env, "tail", "messages", "--json")
	readable.await(&readable.stderr, `following comments:1`)
	frames.await(&frames.stdout, `"subscribed"`)
	write("one")
	readable.await(&readable.stdout, `"title":"one"`)
	cursor := frames.await(&frames.stdout, `"cursor":"([^"]*)".*"title":"one"`)[1]

	for i, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		p.signal(end)
		p.wait()
		title := []string{"two", "three"}[i]
		write(title)
		p = begin(t, environ(), "serve", "--listen", at, "--database-url", address)
		readable.await(&readable.stdout, `"title":"`+title+`"`)
		frames.await(&frames.stdout, `"title":"`+title+`"`)
	}
	later := begin(t, env, "tail", "messages", "--since", cursor)
	later.await(&later.stdout, `(?s)"title":"two".*"title":"three"`)
	elsewhere := begin(t, env, "tail", "messages", "--since", "nonsense")
	elsewhere.await(&elsewhere.stderr, `events are missing here .*malformed|events are missing here \(what was given as a cursor is none`)
	for _, tail := range []*program{readable, frames, later, elsewhere} {
		tail.signal(syscall.SIGTERM)
		if code := tail.wait(); code != 0 {
			t.Errorf("SIGTERM ends tail with %d", code)
		}
	}
	for _, title := range []string{"one", "two", "three"} {
		for _, tail := range []*program{readable, frames} {
			if n := strings.Count(tail.stdout.String(), `"title":"`+title+`"`); n != 1 {
				t.Errorf("message %s was printed %d times", title, n)
			}
		}
	}
}

func TestTailThatCannot(t *testing.T) {
	t.Parallel()
	address := channelDatabase(t)
	sql(t, address, `create table private (id int primary key); select tidings.watch('private')`)
	_, at := serve(t, environ(), "--database-url", address, "--max-connections", "2")
	env := environ("TIDINGS_SERVER=http://" + at)
	fail(t, env, []string{"tail", "nothing"}, `"nothing"`)
	fail(t, env, []string{"tail", "private"}, "not public")
	fail(t, env, []string{"tail", "messages:"}, "key")
	fail(t, environ(), []string{"tail", "messages", "--server", "http://127.0.0.1:1"}, "http://127.0.0.1:1", "refused")

	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	fail(t, environ(), []string{"tail", "messages", "--server", other.URL}, other.URL, "404", "is it tidings?")

	dial(t, "ws://"+at+"/ws")
	dial(t, "ws://"+at+"/ws")
	fail(t, env, []string{"tail", "messages"}, "503", "2 connections")
}
