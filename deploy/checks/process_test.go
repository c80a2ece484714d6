package checks

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take, on a machine that is busy with other tests.
const patience = time.Minute

// process is a program that runs beside the test, and no longer than it.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{}

	mu     sync.Mutex
	output bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

func (p *process) wrote() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// start starts a program, which is killed when the test ends.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	cmd.WaitDelay = 5 * time.Second
	dieWithTest(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %s", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		kill(cmd)
		<-p.ended
		if t.Failed() {
			wrote := p.wrote()
			t.Logf("%s wrote:\n%s", strings.Join(cmd.Args, " "), wrote[max(0, len(wrote)-4000):])
		}
	})
	return p
}

// end sends the program a signal, and waits until it has ended.
func (p *process) end(s syscall.Signal) {
	p.t.Helper()
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.cmd.Path)
	}
}

// output runs a program to its end, and returns what it wrote; an error is one of the test.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %s\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// eventually waits until a condition holds. It says what there is instead of it.
func eventually(t *testing.T, what string, holds func() (bool, string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		good, instead := holds()
		if good {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("after %s it is still not so that %s: %s", patience, what, instead)
		case <-tick.C:
		}
	}
}

// need returns the path of a program, or skips the test where it is missing and this is not CI.
func need(t *testing.T, program string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path := filepath.Join(dir, program); executable(path) {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: deploy/install-test-tools.sh installs it", program)
	}
	t.Skipf("%s is missing: deploy/install-test-tools.sh installs it", program)
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// environ is an environment in which nothing is configured but what is given.
func environ(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "TIDINGS_") && !strings.HasPrefix(name, "PG") && !strings.HasPrefix(name, "DATABASE_URL") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// freePort is one that nothing listens on. Each is given once, and from below those that systems give to whoever asks for any.
func freePort(t *testing.T) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		if ports.next++; free(ports.next) {
			return ports.next
		}
	}
	t.Fatal("no port is free")
	return 0
}

func free(port int) bool {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	_ = listener.Close()
	return true
}

var ports = struct {
	sync.Mutex
	next int
}{next: 20000 + os.Getpid()%5000}

// unprivileged is a user for what does not run as root; ok is false where the test itself is not root.
func unprivileged(t *testing.T) (credential *syscall.Credential, ok bool) {
	t.Helper()
	if os.Getuid() != 0 {
		return nil, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ := strconv.Atoi(u.Uid)
			gid, _ := strconv.Atoi(u.Gid)
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, true
		}
	}
	t.Fatal("there is neither a user postgres nor nobody")
	return nil, false
}

// directory is one that all users may enter and read.
func directory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
