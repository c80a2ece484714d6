package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// service is a running tidings, in a process of its own.
type service struct {
	cmd     *exec.Cmd
	address string // host:port
	ended   chan struct{}

	mu         sync.Mutex
	complaints []string // warnings and errors that it logged
}

// startService starts the program on the database and a free port, and returns when it is live.
func (b *bench) startService(ctx context.Context, flags ...string) (*service, error) {
	return b.startServiceOn(ctx, b.postgres, flags...)
}

// startServiceOn starts it on another database.
func (b *bench) startServiceOn(ctx context.Context, p *postgres, flags ...string) (*service, error) {
	return b.startServiceWith(ctx, p, "TIDINGS_NO_SIGN_IN=true", flags...)
}

// startServiceWith starts it with an environment variable that says who signs in.
func (b *bench) startServiceWith(ctx context.Context, p *postgres, signIn string, flags ...string) (*service, error) {
	args := append([]string{"serve", "--listen=127.0.0.1:0", "--log-format=json"}, flags...)
	cmd := exec.CommandContext(ctx, b.binary, args...)
	cmd.Env = append(withoutSettings(os.Environ()), "DATABASE_URL="+p.url, signIn)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the service: %w", err)
	}
	s := &service{cmd: cmd, ended: make(chan struct{})}
	live := make(chan string, 1)
	go func() {
		defer close(s.ended)
		s.read(log, live)
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	select {
	case s.address = <-live:
		return s, nil
	case <-s.ended:
		err = fmt.Errorf("it ended: %s", cmd.ProcessState)
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-late.C:
		err = errors.New("it did not become live in time")
	}
	b.stopService(s)
	return nil, fmt.Errorf("start the service: %w", err)
}

// withoutSettings leaves out what would have the service do other than the default.
func withoutSettings(environ []string) []string {
	var kept []string
	for _, variable := range environ {
		if !strings.HasPrefix(variable, "TIDINGS_") && !strings.HasPrefix(variable, "DATABASE_URL=") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// read follows the service's log to its end.
func (s *service) read(log io.Reader, live chan<- string) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var entry struct{ Level, Msg, Address string }
		switch err := json.Unmarshal(lines.Bytes(), &entry); {
		case err != nil, entry.Level == "WARN", entry.Level == "ERROR":
			s.mu.Lock()
			s.complaints = append(s.complaints, lines.Text())
			s.mu.Unlock()
		case entry.Msg == "live":
			live <- entry.Address
		}
	}
	_, _ = io.Copy(io.Discard, log) // a line too long for the scanner must not block the service
}

// channel is the address of a channel's stream.
func (s *service) channel(name string) string {
	u := url.URL{Scheme: "ws", Host: s.address, Path: "/ws", RawQuery: url.Values{"channel": {name}}.Encode()}
	return u.String()
}

// stopService ends the service, waits for it, and notes what it complained of.
func (b *bench) stopService(s *service) {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.problem("the service could not be asked to stop: %s", err)
	}
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	select {
	case <-s.ended:
	case <-late.C:
		b.problem("the service did not stop")
		_ = s.cmd.Process.Kill() // it may have ended just now
		<-s.ended
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, complaint := range s.complaints {
		b.problem("the service logged %s", complaint)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		b.problem("the service ended with: %s", s.cmd.ProcessState)
	}
}
