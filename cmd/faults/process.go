package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs for a while and writes what it has to say to a file.
type process struct {
	cmd     *exec.Cmd
	log     string
	ended   chan struct{}
	stopped bool // we wanted it to end
}

// ownGroup has a process started in a group of its own, so that Ctrl-C in a terminal reaches us alone, and as another user.
func ownGroup(user *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: user}
}

// ownerOf returns who must run PostgreSQL on a directory, if we are root.
func ownerOf(path string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	stat := info.Sys().(*syscall.Stat_t)
	return &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}, nil
}

func begin(cmd *exec.Cmd, log string, user *syscall.Credential) (*process, error) {
	file, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = ownGroup(user)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(p.ended)
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// signal signals the process, which may have ended.
func (p *process) signal(signal syscall.Signal) { _ = p.cmd.Process.Signal(signal) }

// end signals the process, and waits for its end; one that takes too long is killed.
func (p *process) end(signal syscall.Signal, patience time.Duration) error {
	p.stopped = true
	p.signal(signal)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.ended:
		return nil
	case <-late.C:
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end within %s of signal %s", filepath.Base(p.cmd.Path), patience, signal)
	}
}

// tail is the end of what the process wrote.
func (p *process) tail(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// command runs a program to its end.
func command(ctx context.Context, user *syscall.Credential, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/"
	cmd.Env = append(plainEnviron(), env...)
	cmd.SysProcAttr = ownGroup(user)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, strings.TrimSpace(said.String()))
	}
	return nil
}

// plainEnviron is the environment without what would have programs do other than what they are told.
func plainEnviron() []string {
	env := []string{"LC_ALL=C"}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "PG") && !strings.HasPrefix(name, "LC_") && !strings.HasPrefix(name, "TIDINGS_") && name != "DATABASE_URL" {
			env = append(env, variable)
		}
	}
	return env
}

// pause waits, and returns false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
