package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/cmd/tidings/programtest"

	"github.com/golang-jwt/jwt/v5"
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
	frames := begin(t, env, "tail", "messages", "--json", "--all")
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
		// What was missed comes before the word that nothing is: a service that ends in between makes one outage of two.
		for _, tail := range []*program{readable, frames} {
			tail.await(&tail.stderr, `(?s)(back after .*){`+strconv.Itoa(i+1)+`}`)
		}
	}
	for _, tail := range []*program{readable, frames} {
		if log := tail.stderr.String(); strings.Count(log, "coming back") != 2 || strings.Count(log, "nothing was missed") != 2 || strings.Count(log, "following messages") != 1 {
			t.Errorf("of two outages it says %s", log)
		}
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
	fail(t, env, []string{"tail", "private"}, "not public", "--token-file")
	some := begin(t, env, "tail", "messages", "private")
	some.await(&some.stderr, `(?s)"private" is not public.*following messages`)
	fail(t, append(env, "TIDINGS_TOKEN=nonsense"), []string{"tail", "messages"}, "401", "token")
	fail(t, env, []string{"tail", "messages:"}, "key")
	fail(t, environ(), []string{"tail", "messages", "--server", "http://127.0.0.1:1"}, "http://127.0.0.1:1", "refused")

	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	fail(t, environ(), []string{"tail", "messages", "--server", other.URL}, other.URL, "404", "is it tidings?")

	dial(t, "ws://"+at+"/ws") // some has the other
	fail(t, env, []string{"tail", "messages"}, "503", "2 connections")
}

// place is the cursor at which a channel is.
func place(t testing.TB, at, channel string) string {
	t.Helper()
	status, body := get(t, "http://"+at+"/channels/"+channel)
	var page struct{ Cursor string }
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != 200 {
		t.Fatalf("channel %s is %d: %s", channel, status, body)
	}
	return page.Cursor
}

// What is asked for is printed, and nothing else; --count ends it.
func TestTailChooses(t *testing.T) {
	t.Parallel()
	address := channelDatabase(t)
	sql(t, address, `create table orders (id int primary key, customer int, total numeric, note json); select tidings.watch('orders', key => 'customer', read => 'public');
		insert into orders values (1, 7, 1, null), (2, 8, 2, null)`)
	_, at := serve(t, environ(), "--database-url", address)
	env := environ("TIDINGS_SERVER=http://" + at)
	since := place(t, at, "orders")
	sql(t, address, `insert into orders values (3, 7, 12.50, E'{"a":\n "b"}')`)
	sql(t, address, `update orders set total = 3 where id = 1`)
	sql(t, address, `update orders set customer = 9 where id = 2`)
	sql(t, address, `delete from orders where id = 3`)
	sql(t, address, `truncate orders`)

	for _, c := range []struct {
		args string // separated by spaces
		want string // of each line the type and the data
	}{
		{"-n 2", `order_added {"id":3,"customer":7,"total":12.50,"note":{"a":"b"}}; order_updated {"id":1,"customer":7,"total":3,"note":null}`},
		{"--fields total,id,nothing -n 1", `order_added {"total":12.50,"id":3}`},
		{"--type *_deleted,order_added --fields id -n 2", `order_added {"id":3}; order_deleted {"id":3}`},
		{"--type orders_* --type *_deleted --fields id -n 2", `order_deleted {"id":3}; orders_truncated`},
		{"--where customer=7 --fields id -n 4", `order_added {"id":3}; order_updated {"id":1}; order_deleted {"id":3}; orders_truncated`},
		{"--where customer!=7 --fields id -n 1", `order_updated from orders:8 {"id":2}`},
		{"--where total=12.5 --where id~^[3-5]$ --type order_added --fields id --count 1", `order_added {"id":3}`},
		{"--where note=null --fields id -n 1", `order_updated {"id":1}`},
		{"--rows --fields id -n 1", `order_added {"id":3}`}, // the cursor can be served
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			var got []string
			for line := range strings.Lines(succeed(t, env, slices.Concat([]string{"tail", "orders", "--since", since}, strings.Fields(c.args))...)) {
				words := strings.Fields(line)
				if len(words) < 4 || !strings.HasPrefix(words[3], "orders") {
					t.Fatalf("there is the line %q", line)
				}
				got = append(got, strings.Join(append(words[2:3:3], words[4:]...), " "))
			}
			if got := strings.Join(got, "; "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	frames := strings.Split(strings.TrimSpace(succeed(t, env, "tail", "orders", "--since", since, "--json", "-n", "5")), "\n")
	if len(frames) != 5 || !strings.HasPrefix(frames[0], `{"type":"order_added","channel":"orders:7","id":`) || !strings.HasSuffix(frames[0], `"note":{"a":"b"}}}`) {
		t.Errorf("the frames are %q", frames)
	}

	sql(t, address, `insert into orders values (4, 1, 1, null), (5, 2, 2, null)`)
	rows := begin(t, env, "tail", "orders", "--rows", "--where", "id=5", "--where", "no=thing", "--json")
	rows.await(&rows.stderr, `row has no column "no"; it has customer, id, note, total`)
	rows = begin(t, env, "tail", "orders", "--rows", "--where", "id=5", "--json")
	rows.await(&rows.stdout, `(?m)^\{"type":"row","channel":"orders","data":\{"id":5,"customer":2,"total":2,"note":null\}\}$`)
	if got := rows.stdout.String(); strings.Count(got, "\n") != 1 {
		t.Errorf("of the rows there are %s", got)
	}

	code, stdout, stderr := run(t, env, "tail", "orders", "--since", since, "--count", "100", "--timeout", "300ms")
	if code != 3 || !strings.Contains(stderr, "of 100 events came within 300ms") {
		t.Errorf("after the time it ends with %d: %s%s", code, stdout, stderr)
	}
	succeed(t, env, "tail", "orders", "--timeout", "50ms")
}

// A command line that makes no sense is said to be so, and told apart from a service that refuses.
func TestTailUsage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "notes")
	if err := os.WriteFile(file, []byte("my notes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, word := range map[string]string{
		"messages --where title":                  `"title" is no condition`,
		"messages --where =1":                     "no condition",
		"messages --where title~(":                "--where",
		"messages --type [":                       "--type",
		"messages --count=-1":                     "--count",
		"messages --timeout=-1s":                  "--timeout",
		"messages --all":                          "--json",
		"messages --json --fields id":             "--fields",
		"messages --color pink":                   "--color",
		"messages --since x --cursor-file y":      "--cursor-file",
		"messages --nonsense":                     "--nonsense",
		"messages --token-file " + file + "-none": "--token-file",
		"messages --server http://127.0.0.1:1 --token-file " + file + " --token x": "--token",
		"": "channel",
	} {
		code, _, stderr := run(t, environ(), append([]string{"tail"}, strings.Fields(args)...)...)
		if code != 2 || !strings.Contains(stderr, word) {
			t.Errorf("tail %s ends with %d: %s", args, code, stderr)
		}
	}
	for _, path := range []string{file, filepath.Dir(file), "/nowhere/cursor"} {
		fail(t, environ(), []string{"tail", "messages", "--cursor-file", path}, "--cursor-file")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "my notes\n" {
		t.Errorf("the file has %q, %v", text, err)
	}
}

// A tail that keeps its cursor in a file misses nothing and repeats nothing, however often it is stopped and the service restarted.
func TestTailCursorFile(t *testing.T) {
	t.Parallel()
	address := channelDatabase(t)
	p, at := serve(t, environ(), "--database-url", address)
	file := filepath.Join(t.TempDir(), "cursor")
	args := []string{"tail", "messages", "--json", "--cursor-file", file, "--server", "http://" + at}
	write := func(n int) {
		t.Helper()
		sql(t, address, fmt.Sprintf(`insert into messages (author_id, title, content) values (1, 'n%d', '')`, n))
	}
	first := begin(t, environ(), args...)
	first.await(&first.stderr, `following messages`)
	eventually(t, "there is a cursor", func() bool {
		text, err := os.ReadFile(file)
		return err == nil && len(text) > 1
	})
	first.signal(syscall.SIGTERM)
	first.wait()
	var printed strings.Builder
	n := 0
	for round := range 4 {
		for range 3 {
			write(n)
			n++
		}
		tail := begin(t, environ(), args...)
		tail.await(&tail.stdout, fmt.Sprintf(`"title":"n%d"`, n-1))
		if round == 1 {
			p.signal(syscall.SIGKILL)
			p.wait()
			p = begin(t, environ(), "serve", "--listen", at, "--database-url", address)
		}
		write(n)
		tail.await(&tail.stdout, fmt.Sprintf(`"title":"n%d"`, n))
		n++
		tail.signal(syscall.SIGTERM)
		if code := tail.wait(); code != 0 {
			t.Errorf("it ended with %d", code)
		}
		printed.WriteString(tail.stdout.String())
	}
	printed.WriteString(succeedLater(t, args, func() { write(n) }))
	var titles []string
	for line := range strings.Lines(printed.String()) {
		var f frame
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		titles = append(titles, f.Data.Title)
	}
	var want []string
	for i := range n + 1 {
		want = append(want, fmt.Sprintf("n%d", i))
	}
	if !slices.Equal(titles, want) {
		t.Errorf("printed were %q", titles)
	}
	if left, err := filepath.Glob(file + "?*"); err != nil || len(left) > 0 {
		t.Errorf("there are left %q, %v", left, err)
	}
}

// succeedLater runs tail to the one event that there is after it has begun.
func succeedLater(t testing.TB, args []string, then func()) string {
	t.Helper()
	tail := begin(t, environ(), append(args, "-n", "1")...)
	tail.await(&tail.stderr, `following`)
	then()
	if code := tail.wait(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	return tail.stdout.String()
}

// The token's file is read again when the token runs out, as long as it takes.
func TestTailTokenFile(t *testing.T) {
	t.Parallel()
	address := channelDatabase(t)
	sql(t, address, `create table private (id int primary key); select tidings.watch('private')`)
	const secret = "by which the issuer signs its tokens"
	_, at := serve(t, environ("TIDINGS_JWT_SECRET="+secret), "--database-url", address)
	file := filepath.Join(t.TempDir(), "token")
	give := func(lives time.Duration) {
		t.Helper()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "1", "exp": time.Now().Add(lives).Unix(), "iat": time.Now().Unix() - 1}).SignedString([]byte(secret))
		if err == nil {
			err = os.WriteFile(file+".new", []byte(token+"\n"), 0o600)
		}
		if err == nil {
			err = os.Rename(file+".new", file)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	give(15 * time.Second)
	tail := begin(t, environ("TIDINGS_TOKEN_FILE="+file), "tail", "private", "--server", "http://"+at)
	tail.await(&tail.stderr, `following private`)
	tail.await(&tail.stderr, `another one is waited for`)
	sql(t, address, `insert into private values (1)`)
	tail.await(&tail.stderr, `coming back`) // there was none in time
	sql(t, address, `insert into private values (2)`)
	give(time.Hour)
	tail.await(&tail.stderr, `back after .*: nothing was missed`)
	sql(t, address, `insert into private values (3)`)
	tail.await(&tail.stdout, `(?s)"id":1.*"id":2.*"id":3`)
	if out := tail.stdout.String(); strings.Count(out, "\n") != 3 {
		t.Errorf("printed was %s", out)
	}
	tail.signal(syscall.SIGTERM)
	if code := tail.wait(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	token, err := os.ReadFile(file)
	if err != nil || strings.Contains(tail.stderr.String(), strings.TrimSpace(string(token))) {
		t.Errorf("the token is told, or %v", err)
	}
}

// Who reads no further ends it, and nothing is said.
func TestTailIntoAPipe(t *testing.T) {
	t.Parallel()
	address := channelDatabase(t)
	_, at := serve(t, environ(), "--database-url", address)
	since := place(t, at, "messages")
	sql(t, address, `insert into messages (author_id, title, content) select 1, 'many', repeat('x', 1000) from generate_series(1, 1000)`)
	command := exec.CommandContext(t.Context(), "sh", "-c", `("$0" tail messages --json --since "$1"; echo "it ended with $?" >&2) | head -n 1`, tidings, since)
	command.Env = environ("TIDINGS_SERVER=http://" + at)
	var stdout, stderr programtest.Output
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatal(err)
	}
	if strings.Count(stdout.String(), "\n") != 1 {
		t.Errorf("head has %s", &stdout)
	}
	if got := strings.TrimPrefix(stderr.String(), "following messages\n"); got != "it ended with 0\n" {
		t.Errorf("said was %q", got)
	}
}
