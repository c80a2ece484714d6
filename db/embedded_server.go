package db

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	errPortTaken = errors.New("the TCP port is taken")
	errOrphans   = errors.New("processes of an earlier server are still there")
)

// pgServer is one run of the postgres program.
type pgServer struct {
	cmd      *exec.Cmd
	done     chan struct{} // closed when it has ended and been waited for
	logStart int64         // where in the log file its words begin
}

// launch starts the server and returns when it accepts connections. If it returns an error, the server is stopped again.
func (e *Embedded) launch(ctx context.Context) error {
	if err := e.clearLeftovers(ctx); err != nil {
		return err
	}
	patience := time.NewTimer(10 * time.Second)
	defer patience.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := e.spawn(); err != nil {
			return err
		}
		err := e.awaitReady(ctx)
		if err == nil {
			return nil
		}
		e.server.stop()
		// A process that has just ended can hold the shared memory for a moment longer than it is seen.
		if !errors.Is(err, errOrphans) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-patience.C:
			return err
		case <-tick.C:
		}
	}
}

func (e *Embedded) spawn() error {
	if err := shortenLog(e.dir.logFile()); err != nil {
		return err
	}
	logFile, err := os.OpenFile(e.dir.logFile(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	info, err := logFile.Stat()
	if err != nil {
		return err
	}
	cmd := exec.Command(e.bin.path("postgres"), e.args()...)
	cmd.Dir = "/" // it goes to its data directory by itself
	cmd.Env = pgEnviron(os.Environ())
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = e.owner.childAttr()
	if err := cmd.Start(); err != nil {
		return err
	}
	s := &pgServer{cmd: cmd, done: make(chan struct{}), logStart: info.Size()}
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(s.done)
	}()
	e.server = s
	return nil
}

func (e *Embedded) args() []string {
	args := []string{"-D", e.dir.pgdata()}
	set := func(name, value string) { args = append(args, "-c", name+"="+value) }
	for _, name := range slices.Sorted(maps.Keys(e.Settings)) {
		set(name, e.Settings[name])
	}
	// The last word counts, so that none of these can be changed by Settings, nor by postgresql.conf or ALTER SYSTEM.
	set("cluster_name", e.dir.clusterName())
	set("listen_addresses", "127.0.0.1")
	set("port", strconv.Itoa(e.port))
	set("unix_socket_directories", `"`+strings.ReplaceAll(e.socketDir, `"`, `""`)+`"`)
	set("unix_socket_permissions", "0700")
	set("log_destination", "stderr")
	set("logging_collector", "off")
	return args
}

// awaitReady returns when the server has accepted a connection and the database exists.
func (e *Embedded) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	slow := time.NewTimer(5 * time.Second)
	defer slow.Stop()
	for {
		err := e.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; it last said: %w", context.Cause(ctx), err)
		case <-e.server.done:
			return e.earlyExit()
		case <-slow.C:
			e.log().Info("postgres takes its time, as it does after a crash", "last", err, "log", e.dir.logFile())
		case <-tick.C:
		}
	}
}

func (e *Embedded) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, e.URL())
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && refusal.Code == "3D000" { // there is no such database
		return e.createDatabase(ctx)
	}
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "select 1")
	return err
}

func (e *Embedded) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, socketURL("postgres", e.socketDir, e.port))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "create database "+embeddedName)
	return err
}

// earlyExit is the error of a server that ended when it should have become ready.
func (e *Embedded) earlyExit() error {
	words := readLog(e.dir.logFile(), e.server.logStart)
	err := fmt.Errorf("%s, and the end of %s is:\n%s", e.server.exit(), e.dir.logFile(), lastLines(words))
	switch {
	case strings.Contains(words, "could not create any TCP/IP sockets"):
		err = fmt.Errorf("port %d: %w: %w", e.port, errPortTaken, err)
	case strings.Contains(words, "pre-existing shared memory block"):
		err = fmt.Errorf("%w: %w", errOrphans, err)
	}
	return err
}

// exit says how the server ended; it must have.
func (s *pgServer) exit() string { return s.cmd.ProcessState.String() }

// stop stops the server, or returns at once if it has ended. It returns the name of the signal that had to be used if the
// server didn't end when asked.
func (s *pgServer) stop() (how string) {
	for _, step := range []struct {
		signal syscall.Signal
		grace  time.Duration
	}{
		{syscall.SIGINT, 15 * time.Second}, // connections are ended, everything is written down
		{syscall.SIGQUIT, 5 * time.Second}, // all processes end at once, the next start recovers
		{syscall.SIGKILL, time.Minute},
	} {
		if step.signal != syscall.SIGINT {
			how = step.signal.String()
		}
		_ = s.cmd.Process.Signal(step.signal)
		grace := time.NewTimer(step.grace)
		select {
		case <-s.done:
			grace.Stop()
			return how
		case <-grace.C:
		}
	}
	return how
}

// restartDelay is how long to wait before a restart that follows so many others: not at all, then 100 ms, doubled up to
// 10 s, of which up to a half is left away by chance.
func restartDelay(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	delay := min(100*time.Millisecond<<min(failures-1, 10), 10*time.Second)
	return delay - rand.N(delay/2)
}

// pgEnviron is the environment for PostgreSQL's programs: without the variables that would have them connect elsewhere or
// use another directory, in a language that we can read, and silent towards a systemd that means us and not them. Our own settings are
// left out: there are secrets among them, and who may read files by PostgreSQL could read its environment.
func pgEnviron(environ []string) []string {
	clean := []string{"LC_ALL=C"}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case strings.HasPrefix(name, "TIDINGS_"), strings.HasPrefix(name, "DATABASE_URL"), strings.HasPrefix(name, "DIRECT_DATABASE_URL"):
			continue
		case strings.HasPrefix(name, "PG"), strings.HasPrefix(name, "LC_"), name == "LANG", name == "LANGUAGE", name == "NOTIFY_SOCKET":
			continue
		}
		clean = append(clean, variable)
	}
	return clean
}
