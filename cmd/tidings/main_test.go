package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"tidings/cmd/tidings/programtest"
	"tidings/db/dbtest"
)

// tidings is the program, built for these tests.
var tidings string

func TestMain(m *testing.M) {
	var err error
	if tidings, err = programtest.New("v1.2.3"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dbtest.Main(m)
}

// patience is how long anything may take, on a machine that is busy with other tests.
const patience = time.Minute

// ownSecret is the secret of the services of these tests.
const ownSecret = "by which the tests' services sign!"

// environ is an environment in which nothing is configured but the service's own secret, and what is given.
func environ(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "TIDINGS_") && !strings.HasPrefix(name, "PG") && name != "DATABASE_URL" {
			env = append(env, v)
		}
	}
	env = append(env, "GORACE=atexit_sleep_ms=10") // the race detector waits a second, unless it is told not to
	// A test's client reads, and so answers pings, when something is to come: it is not to be taken for dead meanwhile.
	env = append(env, "TIDINGS_PING_INTERVAL=1h")
	return append(append(env, "TIDINGS_SECRET="+ownSecret), more...)
}

// program is a run of tidings.
type program struct {
	t              testing.TB
	cmd            *exec.Cmd
	stdout, stderr programtest.Output
	ended          chan struct{}
}

// begin starts tidings. It is killed when the test ends, unless it has ended before.
func begin(t testing.TB, env []string, args ...string) *program {
	t.Helper()
	return beginProgram(t, tidings, env, args...)
}

// beginProgram starts tidings as of another version.
func beginProgram(t testing.TB, path string, env []string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in p.cmd.ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.ended
		if t.Failed() {
			t.Logf("tidings %s wrote:\n%s%s", strings.Join(args, " "), &p.stdout, &p.stderr)
		}
	})
	return p
}

// signal sends a signal, if the program still runs.
func (p *program) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// wait returns the program's exit code, -1 if a signal ended it.
func (p *program) wait() int {
	p.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		p.t.Fatalf("tidings %s does not end", p.cmd.Args[1:])
	}
	code := p.cmd.ProcessState.ExitCode()
	if code == 66 || strings.Contains(p.stderr.String(), "DATA RACE") {
		p.t.Errorf("a data race in tidings %s", p.cmd.Args[1:])
	}
	return code
}

// await waits until the program has written something that matches, and returns the match and its groups.
func (p *program) await(o *programtest.Output, pattern string) []string {
	p.t.Helper()
	expression := regexp.MustCompile(pattern)
	var match []string
	eventually(p.t, fmt.Sprintf("tidings %s writes %q", p.cmd.Args[1:], pattern), func() bool {
		match = expression.FindStringSubmatch(o.String())
		if match == nil {
			select {
			case <-p.ended:
				if match = expression.FindStringSubmatch(o.String()); match == nil {
					p.t.Fatalf("tidings %s ended without writing %q", p.cmd.Args[1:], pattern)
				}
			default:
			}
		}
		return match != nil
	})
	return match
}

// run runs tidings to its end.
func run(t testing.TB, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := begin(t, env, args...)
	code = p.wait()
	return code, p.stdout.String(), p.stderr.String()
}

// succeed runs tidings, which must succeed, and returns what it wrote.
func succeed(t testing.TB, env []string, args ...string) string {
	t.Helper()
	code, stdout, stderr := run(t, env, args...)
	if code != 0 {
		t.Fatalf("tidings %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// fail runs tidings, which must fail, or find that the command line makes no sense, with one line that has all of the words in it.
func fail(t testing.TB, env []string, args []string, words ...string) string {
	t.Helper()
	code, stdout, stderr := run(t, env, args...)
	if code != 1 && code != 2 {
		t.Errorf("tidings %s: exit code %d, want 1 or 2", strings.Join(args, " "), code)
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	last := lines[len(lines)-1]
	if !strings.Contains(stderr, "tidings: ") {
		t.Errorf("tidings %s: there is no sentence in %q", strings.Join(args, " "), stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("tidings %s: got %q, want %q in it", strings.Join(args, " "), stderr, word)
		}
	}
	for _, trace := range []string{"panic", "goroutine ", "SQLSTATE", "secret"} {
		if strings.Contains(stdout+stderr, trace) {
			t.Errorf("tidings %s: %q is in %q", strings.Join(args, " "), trace, stdout+stderr)
		}
	}
	return last
}

// serve starts the service on any port and returns its address when it is live.
func serve(t testing.TB, env []string, args ...string) (p *program, address string) {
	t.Helper()
	p = begin(t, env, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	return p, p.await(&p.stderr, `msg=live address=(\S+)`)[1]
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("after %s it is still not so that %s", patience, what)
		case <-tick.C:
		}
	}
}

// frame is what the service says to a client.
type frame struct {
	Type    string
	Channel string
	ID      string
	Cursor  string
	Reason  string
	Data    struct {
		ID      int64
		Title   string
		Content string
		User    string // of presence
	}
}

// client is a WebSocket client.
type client struct {
	t  testing.TB
	ws *websocket.Conn
}

func dial(t testing.TB, address string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.DefaultDialer.DialContext(ctx, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return &client{t, ws}
}

func (c *client) read() (frame, error) {
	if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return frame{}, err
	}
	var f frame
	err := c.ws.ReadJSON(&f)
	return f, err
}

func (c *client) expect(typ, title string) frame {
	c.t.Helper()
	f, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	if f.Type != typ || f.Data.Title != title {
		c.t.Fatalf("got %+v, want %s %q", f, typ, title)
	}
	return f
}

func (c *client) expectGoodbye(code int) {
	c.t.Helper()
	f, err := c.read()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code {
		c.t.Fatalf("got %+v, %v; want the goodbye %d", f, err, code)
	}
}

// get returns the status and the body of a page.
func get(t testing.TB, address string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body.String()
}

// readyz returns the status of /readyz.
func readyz(t testing.TB, address string) int {
	t.Helper()
	status, body := get(t, "http://"+address+"/readyz")
	if !json.Valid([]byte(body)) {
		t.Fatalf("/readyz is %q", body)
	}
	return status
}

// sql runs a statement.
func sql(t testing.TB, address, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// ask returns the one value that a query has.
func ask[T any](t testing.TB, address, query string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var value T
	if err := conn.QueryRow(ctx, query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// channel is a database with the application's tables and a user.
func channelDatabase(t testing.TB) string {
	t.Helper()
	address := dbtest.Database(t)
	succeed(t, environ(), "migrate", "up", "--public", "--database-url", address)
	sql(t, address, `insert into users (username, display_name) values ('ada', 'Ada')`)
	return address
}

// listensAt is the address on which a process listens that does not say so yet.
func listensAt(t testing.TB, pid int) string {
	t.Helper()
	sockets := make(map[string]bool)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Skip("this system does not tell: ", err)
	}
	for _, e := range entries {
		if link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name())); err == nil {
			sockets[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
		}
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skip("this system does not tell: ", err)
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[3] == "0A" && sockets[fields[9]] { // it listens
			var port int
			if _, err := fmt.Sscanf(fields[1], "0100007F:%X", &port); err == nil {
				return fmt.Sprintf("127.0.0.1:%d", port)
			}
		}
	}
	t.Fatalf("process %d does not listen", pid)
	return ""
}
