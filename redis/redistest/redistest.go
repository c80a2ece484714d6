// Package redistest gives tests a real Redis of their own, which they may kill. It needs nothing but the program redis-server.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to start, on a machine that is busy with other tests.
const patience = time.Minute

// Server is a Redis that keeps nothing on a disk: who restarts it finds it empty.
type Server struct {
	Port int
	Dir  string

	args    []string
	program *exec.Cmd
	log     bytes.Buffer
	exited  chan struct{}
}

// Start starts a server, with arguments on top of its own, and stops it when the test ends. Without the program the test is skipped, unless
// the environment says CI.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no redis-server: deploy/install-test-tools.sh installs it")
		}
		t.Skip("there is no redis-server")
	}
	s, err := New(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// StartSentinel starts a Sentinel that looks after a master, under a name: a master that is silent for half a second is replaced.
func StartSentinel(t testing.TB, name string, master *Server) *Server {
	t.Helper()
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]d 1\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 3000\n", name, master.Port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Start(t, config, "--sentinel")
}

// New starts a server whose files are in the directory, for whoever stops it.
func New(dir string, args ...string) (*Server, error) {
	for attempt := 0; ; attempt++ {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		s := &Server{Port: port, Dir: dir, args: args}
		if err = s.Start(); err == nil || attempt == 5 {
			return s, err
		}
	}
}

// freePort is one that nobody has, as yet, and nobody is given by the system: those are higher. So is the one that a cluster's nodes speak
// by, which is 10,000 higher.
func freePort() (int, error) {
	for attempt := 0; ; attempt++ {
		port := 12000 + rand.IntN(10000)
		err := tryPort(port)
		if err == nil {
			err = tryPort(port + 10000)
		}
		if err == nil {
			return port, nil
		}
		if attempt == 100 {
			return 0, err
		}
	}
}

func tryPort(port int) error {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return listener.Close()
}

// Address is where it listens.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// URL is its address as --redis-url takes it.
func (s *Server) URL() string { return "redis://" + s.Address() }

// Start starts a server that was killed, on the same port, and returns when it answers.
func (s *Server) Start() error {
	args := append(slices.Clone(s.args), "--port", strconv.Itoa(s.Port), "--bind", "127.0.0.1", "--dir", s.Dir)
	if !slices.Contains(s.args, "--sentinel") {
		args = append(args, "--save", "", "--appendonly", "no")
	}
	s.program = exec.Command("redis-server", args...)
	s.log.Reset()
	s.program.Stdout, s.program.Stderr = &s.log, &s.log
	endWithParent(s.program)
	if err := s.program.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	exited := make(chan struct{})
	s.exited = exited
	go func() {
		_ = s.program.Wait()
		close(exited)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Address())
		if err == nil {
			_ = conn.Close()
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("redis-server has ended: %s", s.log.String())
		case <-ctx.Done():
			s.Kill()
			return fmt.Errorf("redis-server does not answer: %w", err)
		case <-tick.C:
		}
	}
}

// Kill kills the server, and returns when it is dead.
func (s *Server) Kill() {
	_ = s.program.Process.Kill()
	<-s.exited
}

// Pause stops the server from doing anything, while its connections stay open.
func (s *Server) Pause() { _ = s.program.Process.Signal(syscall.SIGSTOP) }

// Resume ends a pause.
func (s *Server) Resume() { _ = s.program.Process.Signal(syscall.SIGCONT) }

// Do has redis-cli send a command, and returns the answer.
func (s *Server) Do(args ...string) (string, error) {
	out, err := exec.Command("redis-cli", append([]string{"-p", strconv.Itoa(s.Port), "--no-auth-warning"}, args...)...).CombinedOutput()
	text := string(bytes.TrimSpace(out))
	if err != nil {
		return text, fmt.Errorf("redis-cli %v: %w: %s", args, err, text)
	}
	return text, nil
}
