package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
)

// What a newcomer does in the first minute: start it, open what it says, paste the line that it prints.
func TestFirstMinute(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	p := begin(t, environ("TIDINGS_DATA_DIR="+dir, "TIDINGS_SHUTDOWN_TIMEOUT=1h"), "serve", "--listen", "127.0.0.1:0") // all go when told
	p.await(&p.stdout, `(?s)tidings is live\..*insert into.*\n`)
	invitation := p.stdout.String()
	page := regexp.MustCompile(`http://\S+`).FindString(invitation)
	socket := regexp.MustCompile(`ws://\S+`).FindString(invitation)
	line := regexp.MustCompile(`psql .*`).FindString(invitation)
	address, _, _ := strings.Cut(strings.TrimPrefix(page, "http://"), "/")

	if status, body := get(t, page); status != 200 || !strings.Contains(body, `{"channel":true,"public":true,"accounts":true,"signUp":true,`) {
		t.Errorf("the page is %d: %s", status, body)
	}
	if status, body := get(t, page+"channels/messages"); status != 200 || !strings.Contains(body, `"title":"Try it"`) {
		t.Errorf("the messages are %d: %s", status, body)
	}
	c := dial(t, socket)
	c.expect("subscribed", "")
	readable := begin(t, environ("TIDINGS_SERVER=http://"+address), "tail", "messages", "comments")
	readable.await(&readable.stderr, `following messages\n(.*\n)*following comments`)
	frames := begin(t, environ(), "tail", "--json", "--all", "messages", "--server", page)
	frames.await(&frames.stdout, `"type":"subscribed"`)

	for i := range 2 {
		command := exec.CommandContext(t.Context(), "sh", "-c", line)
		command.Env = environ("TIDINGS_DATA_DIR=" + dir)
		if out, err := command.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "INSERT 0 1" {
			t.Fatalf("the line %s, the %dth time: %v: %s", line, i+1, err, out)
		}
		if f := c.expect("message_added", "Hello"); f.Data.Content != "World" {
			t.Errorf("got %+v", f)
		}
	}
	readable.await(&readable.stdout, `(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  message_added +messages:\d+ +\{"id":\d+,.*"title":"Hello","content":"World",.*\}$`)
	frames.await(&frames.stdout, `(?m)^\{"type":"message_added","channel":"messages:\d+",.*"title":"Hello","content":"World",.*\}\}$`)

	// The database's own tools find it, over the socket and over TCP.
	for _, args := range [][]string{{"url"}, {"url", "--tcp"}, {"url", "--data-dir", dir}} {
		u := strings.TrimSpace(succeed(t, environ("TIDINGS_DATA_DIR="+dir), args...))
		if n := ask[int](t, u, `select count(*)::int from messages where title = 'Hello'`); n != 2 {
			t.Errorf("by %s there are %d messages", u, n)
		}
	}
	if out := succeed(t, environ("TIDINGS_DATA_DIR="+dir), "watched"); !strings.Contains(out, "messages") || !strings.Contains(out, "message_id") {
		t.Errorf("watched: %s", out)
	}

	if processes := postgresOf(t, dir); len(processes) < 3 {
		t.Errorf("of postgres there is %q: these are too few to be all", processes)
	}
	p.signal(syscall.SIGTERM)
	c.expectGoodbye(1001)
	_ = c.ws.Close()
	if code := p.wait(); code != 0 {
		t.Errorf("SIGTERM ends it with %d", code)
	}
	readable.await(&readable.stderr, `goodbye: shutdown: .* - coming back`)
	for _, tail := range []*program{readable, frames} {
		tail.signal(syscall.SIGINT)
		if code := tail.wait(); code != 0 {
			t.Errorf("SIGINT ends tail with %d", code)
		}
	}
	if processes := postgresOf(t, dir); len(processes) > 0 {
		t.Errorf("of postgres there is left: %q", processes)
	}
	if _, _, err := db.EmbeddedURL(dir); err == nil {
		t.Error("the database still has an address")
	}
	fail(t, environ(), []string{"url", "--data-dir", dir}, "tidings serve", "--database-url")
	fail(t, environ(), []string{"watched", "--data-dir", dir}, "tidings serve", "--database-url")
}

// postgresOf lists the processes of the server in dir, its children included, and those that make a database there.
func postgresOf(t *testing.T, dir string) []string {
	t.Helper()
	cluster := "no cluster yet"
	if text, err := os.ReadFile(filepath.Join(dir, "postgres", "postmaster.opts")); err == nil {
		if match := regexp.MustCompile(`cluster_name=([^" ]+)`).FindSubmatch(text); match != nil {
			cluster = "postgres: " + string(match[1]) + ": "
		}
	}
	out, err := exec.CommandContext(t.Context(), "ps", "-eo", "args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, cluster) || strings.Contains(line, "-D "+dir) || strings.Contains(line, "--pgdata="+dir) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// postmaster is the process id of the server in dir.
func postmaster(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "postgres", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// Whatever is killed, what was committed is there afterwards, and clients go on where they were.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	env := environ("TIDINGS_DATA_DIR=" + dir)
	const insert = `insert into messages (author_id, title, content) values (1, '%', '')`
	write := func(title string) {
		t.Helper()
		u := strings.TrimSpace(succeed(t, env, "url"))
		sql(t, u, strings.Replace(insert, "%", title, 1))
	}
	p, address := serve(t, env)
	c := dial(t, "ws://"+address+"/ws?channel=messages")
	c.expect("subscribed", "")

	t.Log("postgres is killed")
	server, err := os.FindProcess(postmaster(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	p.await(&p.stderr, `postgres is back`)
	eventually(t, "the service is ready", func() bool { return readyz(t, address) == 200 })
	write("after postgres was killed")
	c.expect("message_added", "after postgres was killed")

	t.Log("another on the same directory, and on the same port")
	fail(t, env, []string{"serve", "--listen", "127.0.0.1:0"}, dir)
	fail(t, environ(), []string{"serve", "--listen", address, "--database-url", dbtest.Database(t)}, "--listen", address, "in use")
	write("all the same")
	last := c.expect("message_added", "all the same")

	t.Log("the service is killed")
	p.signal(syscall.SIGKILL)
	p.wait()
	write("while nobody served") // postgres is still there
	p, address = serve(t, env, "--no-demo")
	c = dial(t, "ws://"+address+"/ws?channel=messages&since="+last.Cursor)
	c.expect("message_added", "while nobody served")
	c.expect("subscribed", "")
	write("served again")
	c.expect("message_added", "served again")
	u := strings.TrimSpace(succeed(t, env, "url"))
	if n := ask[int](t, u, `select count(*)::int from messages where content = ''`); n != 4 {
		t.Errorf("there are %d messages, want 4", n)
	}
	if n := ask[int](t, u, `select count(*)::int from users`); n != 3 {
		t.Errorf("there are %d users, want the 3 of the demonstration", n)
	}

	t.Log("a signal while postgres is down")
	if server, err = os.FindProcess(postmaster(t, dir)); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGINT)
	c.expectGoodbye(1001)
	_ = c.ws.Close()
	if code := p.wait(); code != 0 {
		t.Errorf("SIGINT ends it with %d", code)
	}
	eventually(t, "nothing is left of postgres", func() bool { return len(postgresOf(t, dir)) == 0 })
}

// A signal ends it, also while postgres is being made and started.
func TestSignalAtTheStart(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	env := environ("TIDINGS_DATA_DIR=" + dir)
	p := begin(t, env, "serve", "--listen", "127.0.0.1:0")
	p.await(&p.stderr, `making a new database`)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("SIGTERM ends it with %d", code)
	}
	if strings.Contains(p.stderr.String(), "tidings: ") {
		t.Errorf("it complains: %s", &p.stderr)
	}
	eventually(t, "nothing is left of postgres", func() bool { return len(postgresOf(t, dir)) == 0 })

	// Nothing is in the way of another try.
	p, address := serve(t, env)
	if _, port, err := net.SplitHostPort(address); err != nil || port == "0" {
		t.Errorf("it listens on %q", address)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("SIGTERM ends it with %d", code)
	}
}

func TestDataDirThatWillNotDo(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fail(t, environ(), []string{"serve", "--listen", "127.0.0.1:0", "--data-dir", file}, file)
}
