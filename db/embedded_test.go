//go:build unix

package db_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidings/db"
	"tidings/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestEmbeddedKeepsDataAndPort(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	first := start(t, dir)
	run(t, first.URL(), "create table kept as select 42 as answer")
	first.Stop()
	if _, _, err := db.EmbeddedURL(dir); err == nil {
		t.Error("a stopped server still has an address")
	}

	second := start(t, dir)
	if got := query[int](t, second.URL(), "select answer from kept"); got != 42 {
		t.Errorf("after a restart the table holds %d, want 42", got)
	}
	if got, want := second.URL(), first.URL(); got != want {
		t.Errorf("after a restart the address is %s, want %s", got, want)
	}
	if got, want := second.TCPURL(), first.TCPURL(); got != want {
		t.Errorf("after a restart the TCP address is %s, want %s", got, want)
	}
	socket, tcp, err := db.EmbeddedURL(dir)
	if err != nil || socket != second.URL() || tcp != second.TCPURL() {
		t.Errorf("EmbeddedURL: got %s, %s, %v; want %s, %s", socket, tcp, err, second.URL(), second.TCPURL())
	}
}

func TestEmbeddedTakesAnotherPort(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	first := start(t, dir)
	first.Stop()
	was := portOf(t, first.TCPURL())
	listener, err := net.Listen("tcp4", "127.0.0.1:"+was)
	if err != nil {
		t.Skip("somebody else has the port: ", err)
	}
	defer listener.Close()

	second := start(t, dir)
	if is := portOf(t, second.TCPURL()); is == was {
		t.Errorf("the server is on port %s, which is ours", is)
	}
	run(t, second.TCPURL(), "select 1")
}

func TestEmbeddedRunRestartsKilledServer(t *testing.T) {
	t.Parallel()
	e := start(t, dbtest.DataDir(t))
	stop := supervise(t, e)
	run(t, e.URL(), "create table kept as select 42 as answer")

	for range 2 {
		before := postmasterPID(t, e.DataDir)
		kill(t, before)
		awaitServer(t, e)
		if got := query[int](t, e.URL(), "select answer from kept"); got != 42 {
			t.Errorf("after the restart the table holds %d, want 42", got)
		}
		if after := postmasterPID(t, e.DataDir); after == before {
			t.Errorf("process %d, which was killed, answers", before)
		}
	}
	stop()
	if _, _, err := db.EmbeddedURL(e.DataDir); err == nil {
		t.Error("the server outlived Run")
	}
}

// A backend that is busy with a query doesn't notice the death of its postmaster, and keeps a new one from starting.
func TestEmbeddedRunEndsOrphans(t *testing.T) {
	t.Parallel()
	e := start(t, dbtest.DataDir(t))
	supervise(t, e)

	conn, err := pgx.Connect(t.Context(), e.URL())
	if err != nil {
		t.Fatal(err)
	}
	busy := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		defer close(busy)
		close(started)
		_, err := conn.Exec(t.Context(), "do $$ begin loop end loop; end $$")
		busy <- err
	}()
	<-started
	await(t, "the server", func() bool {
		return query[int](t, e.URL(), "select count(*) from pg_stat_activity where query like 'do %' and state = 'active'") == 1
	})
	kill(t, postmasterPID(t, e.DataDir))
	awaitServer(t, e)
	if err := <-busy; err == nil {
		t.Error("the endless query ended well")
	}
	conn.Close(t.Context())
}

// The process that looks after the server is killed; the server itself lives on.
func TestEmbeddedAfterItsProcessWasKilled(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	helper := exec.Command(os.Args[0], "-test.run=^TestEmbeddedHelper$", "-test.v")
	helper.Env = append(os.Environ(), "TIDINGS_TEST_EMBEDDED_DIR="+dir)
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := helper.StdinPipe() // the helper ends when it closes, if we don't come to kill it
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
		t.Log("helper: ", lines.Text())
	}

	socket, _, err := db.EmbeddedURL(dir)
	if err != nil {
		t.Fatal(err)
	}
	run(t, socket, "create table kept as select 42 as answer")
	before := postmasterPID(t, dir)
	conn, err := pgx.Connect(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())

	second := &db.Embedded{DataDir: dir}
	err = second.Start(t.Context())
	if err == nil {
		second.Stop()
		t.Fatal("a second process got the directory")
	}
	for _, want := range []string{dir, fmt.Sprintf("pid %d", helper.Process.Pid)} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the second process is refused with %q, which doesn't say %q", err, want)
		}
	}

	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait()
	if err := conn.Ping(t.Context()); err != nil {
		t.Errorf("the server died along with its process, so that this test shows nothing: %v", err)
	}
	third := start(t, dir)
	if got := query[int](t, third.URL(), "select answer from kept"); got != 42 {
		t.Errorf("the table holds %d, want 42", got)
	}
	if err := conn.Ping(t.Context()); err == nil || postmasterPID(t, dir) == before {
		t.Error("the earlier server is still there")
	}
	if third.URL() != socket {
		t.Errorf("the address is %s, want %s", third.URL(), socket)
	}
}

// TestEmbeddedHelper is not a test but the process that the one above kills.
func TestEmbeddedHelper(t *testing.T) {
	dir := os.Getenv("TIDINGS_TEST_EMBEDDED_DIR")
	if dir == "" {
		t.Skip("only for a subprocess of another test")
	}
	start(t, dir)
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestEmbeddedPassword(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	e := start(t, dir)
	run(t, e.TCPURL(), "select 1")
	tcp, err := url.Parse(e.TCPURL())
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []*url.Userinfo{url.User("tidings"), url.UserPassword("tidings", "guess")} {
		tcp.User = user
		conn, err := pgx.Connect(t.Context(), tcp.String())
		if err == nil {
			conn.Close(t.Context())
		}
		if refusal, ok := errors.AsType[*pgconn.PgError](err); !ok || refusal.Code != "28P01" {
			t.Errorf("connecting over TCP as %s gives %v, want a refusal for the password", user, err)
		}
	}
	for file, want := range map[string]os.FileMode{"password": 0o600, "postgres.log": 0o600, "run": 0o700, "postgres": 0o700} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", file, got, want)
		}
	}

	e.Stop()
	if err := os.Remove(filepath.Join(dir, "password")); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir)
	if again.TCPURL() == e.TCPURL() {
		t.Error("a lost password was not replaced")
	}
	run(t, again.TCPURL(), "select 1")
}

func TestEmbeddedLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(dbtest.DataDir(t), strings.Repeat("long/", 25), "a b")
	e := start(t, dir)
	run(t, e.URL(), "select 1")
	u, err := url.Parse(e.URL())
	if err != nil {
		t.Fatal(err)
	}
	socketDir := u.Query().Get("host")
	if strings.HasPrefix(socketDir, dir) {
		t.Fatalf("the socket is in %s, whose path is too long", socketDir)
	}
	if info, err := os.Stat(socketDir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory: %v, %v; want mode 0700", info, err)
	}
	e.Stop()
	if _, err := os.Stat(socketDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's directory is still there: %v", err)
	}

	if err := os.Mkdir(socketDir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(socketDir)
	if err := e.Start(t.Context()); err == nil || !strings.Contains(err.Error(), socketDir) {
		t.Errorf("with a directory there that all may read, Start gives %v", err)
	}
}

func TestEmbeddedFoldsCase(t *testing.T) {
	t.Parallel()
	e := start(t, dbtest.DataDir(t))
	if query[string](t, e.URL(), "select datctype::text from pg_database where datname = 'tidings'") == "C" {
		t.Skip("the system has no locale that knows more than ASCII")
	}
	if got, want := query[string](t, e.URL(), "select lower('ÄЖ')"), "äж"; got != want {
		t.Errorf("lower('ÄЖ') is %s, want %s", got, want)
	}
	if got, want := query[string](t, e.URL(), "select string_agg(x, '' order by x) from unnest('{ä,b,Z,a}'::text[]) x"), "Zabä"; got != want {
		t.Errorf("sorted: %s, want %s", got, want)
	}
}

func TestEmbeddedWithoutPostgres(t *testing.T) {
	t.Parallel()
	e := &db.Embedded{DataDir: dbtest.DataDir(t), BinDir: t.TempDir()}
	err := e.Start(t.Context())
	if !errors.Is(err, db.ErrNoPostgres) || !strings.Contains(err.Error(), e.BinDir) {
		t.Errorf("without PostgreSQL, Start gives %v", err)
	}
}

func TestEmbeddedOtherVersion(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	if err := os.Mkdir(filepath.Join(dir, "postgres"), 0o700); err != nil {
		t.Fatal(err)
	}
	e := &db.Embedded{DataDir: dir}
	if err := e.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "PG_VERSION") {
		t.Errorf("with a directory that is no database, Start gives %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "postgres", "PG_VERSION"), []byte("7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := e.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "PostgreSQL 7, but this machine has only ") {
		t.Errorf("with a database of PostgreSQL 7, Start gives %v", err)
	}
}

func TestEmbeddedInterruptedInit(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	half := filepath.Join(dir, "postgres.new-half")
	if err := os.Mkdir(half, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	e := &db.Embedded{DataDir: dir, Settings: map[string]string{"fsync": "off"}}
	go func() { ended <- e.Start(ctx) }()
	await(t, "the server", func() bool {
		begun, _ := filepath.Glob(filepath.Join(dir, "postgres.new-*", "PG_VERSION"))
		return len(begun) > 0
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted, Start gives %v", err)
	}
	start(t, dir)
	if left, _ := filepath.Glob(filepath.Join(dir, "postgres.new-*")); len(left) > 0 {
		t.Errorf("half-made databases are left: %v", left)
	}
}

// A process id of a killed server may be given to another process, which must neither be killed nor keep the server from starting.
func TestEmbeddedStaleProcessID(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	e := start(t, dir)
	pidFile := filepath.Join(dir, "postgres", "postmaster.pid")
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	e.Stop()

	bystander := exec.Command("cat")
	in, err := bystander.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	if os.Geteuid() == 0 {
		// PostgreSQL only minds processes of its own user.
		bystander.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}}
	}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(bystander.Process.Pid)+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(pidFile, int(stat.Uid), int(stat.Gid)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.EmbeddedURL(dir); err == nil {
		t.Error("EmbeddedURL took another process for the server")
	}
	start(t, dir).Stop()

	if err := os.WriteFile(pidFile, nil, 0o600); err != nil { // as a crash of the machine leaves it
		t.Fatal(err)
	}
	start(t, dir)
	in.Close()
	if err := bystander.Wait(); err != nil {
		t.Errorf("the bystander was not left alone: %v", err)
	}
}

func TestEmbeddedUnreachableDirectory(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another user")
	}
	closed := filepath.Join(dbtest.DataDir(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	e := &db.Embedded{DataDir: filepath.Join(closed, "data")}
	err := e.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "cannot enter "+closed+":") {
		t.Errorf("below a closed directory, Start gives %v", err)
	}
}

func TestEmbeddedBadSetting(t *testing.T) {
	t.Parallel()
	e := &db.Embedded{DataDir: dbtest.DataDir(t), Settings: map[string]string{"fsync": "off", "max_connections": "many"}}
	err := e.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "max_connections": "many"`) {
		t.Errorf("with a bad setting, Start gives %v", err)
	}
}

func TestEmbeddedCluster(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, map[string]string{"max_connections": "17"})
	if got := query[string](t, cluster.URL(), "show max_connections"); got != "17" {
		t.Errorf("max_connections is %s, want 17", got)
	}
	run(t, cluster.URL(), "create table kept as select 42 as answer")
	for name, interrupt := range map[string]func(){
		"kill":    func() { cluster.Kill(); cluster.Start() },
		"stop":    func() { cluster.Stop(); cluster.Start() },
		"restart": func() { cluster.Restart(t.Context()) },
	} {
		interrupt()
		if got := query[int](t, cluster.URL(), "select answer from kept"); got != 42 {
			t.Errorf("after %s the table holds %d, want 42", name, got)
		}
	}
}

func TestEmbeddedSharedDatabases(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			url := dbtest.Database(t)
			run(t, url, "create table only_here ()")
			// Left open: the end of the test drops the database all the same.
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close(context.Background()) })
		})
	}
}

func start(t *testing.T, dir string) *db.Embedded {
	t.Helper()
	e := &db.Embedded{DataDir: dir, Settings: map[string]string{"fsync": "off", "shared_buffers": "16MB"}}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

// supervise calls Run until the test ends or calls the function it returns.
func supervise(t *testing.T, e *db.Embedded) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- e.Run(ctx)
	}()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run gives %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func run(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func query[T any](t *testing.T, url, question string) (answer T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), question).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// awaitServer returns when the server accepts connections, with those killed before it gone.
func awaitServer(t *testing.T, e *db.Embedded) {
	t.Helper()
	await(t, "the server", func() bool {
		conn, err := pgx.Connect(t.Context(), e.URL())
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil
	})
}

func postmasterPID(t *testing.T, dir string) int {
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

// kill kills the process, and waits until nobody listens in its place.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the server", func() bool { return syscall.Kill(pid, 0) != nil })
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}
