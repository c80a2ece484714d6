package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// postmaster is what the file postmaster.pid says of a running server.
type postmaster struct {
	pid       int
	port      int
	socketDir string // empty: not made yet
}

func (d embeddedDir) pidFile() string { return filepath.Join(d.pgdata(), "postmaster.pid") }

// postmaster returns the server that runs in the directory; it is an error if none does.
func (d embeddedDir) postmaster() (postmaster, error) {
	text, err := os.ReadFile(d.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return postmaster{}, fmt.Errorf("no server runs in %s", d)
	}
	if err != nil {
		return postmaster{}, err
	}
	// Its lines: process id, data directory, time of start, port, socket directory, and more.
	lines := strings.Split(string(text), "\n")
	if len(lines) < 6 {
		return postmaster{}, fmt.Errorf("no server runs in %s, or it has just begun to start", d)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(lines[0]))
	port, _ := strconv.Atoi(strings.TrimSpace(lines[3]))
	// A server that was killed leaves its file, and its process id may be another's by now.
	alive, err := serverProcesses(d.clusterName())
	if err != nil {
		return postmaster{}, err
	}
	if !slices.Contains(alive, pid) {
		return postmaster{}, fmt.Errorf("no server runs in %s", d)
	}
	return postmaster{pid: pid, port: port, socketDir: lines[4]}, nil
}

// clearLeftovers ends what an earlier server left running in the directory, and returns when there is none of it. It may be
// a complete server, whose tidings was killed; or single processes of a server that was killed itself. Those notice and end
// by themselves, unless they are busy. Until then no new server can start: PostgreSQL sees to that.
func (e *Embedded) clearLeftovers(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var begun time.Time
	var patience time.Duration
	for used := syscall.Signal(0); ; {
		left, err := serverProcesses(e.dir.clusterName())
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return e.clearLockFiles()
		}
		waited := time.Since(begun)
		switch {
		case begun.IsZero():
			begun, patience = time.Now(), 2*time.Second
			if running, err := e.dir.postmaster(); err == nil {
				e.log().Warn("stopping the postgres of an earlier process that was killed", "pid", running.pid)
				signalAll([]int{running.pid}, syscall.SIGINT)
				patience = 15 * time.Second
			}
		case used == 0 && waited > patience:
			used = syscall.SIGQUIT
			signalAll(left, used)
		case used == syscall.SIGQUIT && waited > patience+5*time.Second:
			used = syscall.SIGKILL
			signalAll(left, used)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of an earlier server: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func signalAll(pids []int, signal syscall.Signal) {
	for _, pid := range pids {
		if process, err := os.FindProcess(pid); err == nil {
			_ = process.Signal(signal) // it may have ended
			_ = process.Release()
		}
	}
}

// clearLockFiles takes care that the lock files of a dead server do not keep a new one from starting. PostgreSQL sees that
// they are stale, but not if their process id has since been given to another process, as is common in containers.
func (e *Embedded) clearLockFiles() error {
	sockets, err := filepath.Glob(filepath.Join(e.socketDir, ".s.PGSQL.*"))
	if err != nil {
		return err
	}
	for _, socket := range sockets {
		if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}

	text, err := os.ReadFile(e.dir.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, rest, complete := strings.Cut(string(text), "\n")
	if !complete {
		return os.Remove(e.dir.pidFile()) // the machine crashed while it was written
	}
	// Without the file, PostgreSQL could not look for processes that still use the old server's memory. A file that names
	// the parent of the new server it takes for stale, and does look.
	if err := replaceFile(e.dir.pidFile(), strconv.Itoa(os.Getpid())+"\n"+rest); err != nil {
		return err
	}
	return e.owner.give(e.dir.pidFile())
}

// serverProcesses returns the ids of all processes that belong to the server of this cluster name. The name is what tells
// them from the processes of other servers: it is among the arguments of the first one, and in the titles of its children.
func serverProcesses(cluster string) ([]int, error) {
	commands, err := processCommands()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for pid, command := range commands {
		if isServerProcess(command, cluster) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func isServerProcess(command, cluster string) bool {
	return strings.HasPrefix(command, "postgres: "+cluster+": ") ||
		strings.Contains(command, "/postgres -D ") && strings.Contains(command, " -c cluster_name="+cluster+" ")
}

// processCommands maps the ids of the running processes to their command lines.
func processCommands() (map[int]string, error) {
	commands := make(map[int]string)
	if runtime.GOOS != "linux" {
		out, err := exec.Command("ps", "-axww", "-o", "pid=,command=").Output()
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(out)) {
			number, command, _ := strings.Cut(strings.TrimSpace(line), " ")
			if pid, err := strconv.Atoi(number); err == nil {
				commands[pid] = strings.TrimSpace(command)
			}
		}
		return commands, nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if command, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline")); err == nil { // else it has ended
			commands[pid] = strings.ReplaceAll(string(command), "\x00", " ")
		}
	}
	return commands, nil
}
