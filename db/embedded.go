package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Embedded is a private PostgreSQL: a server run from the PostgreSQL programs that the machine has, on a data directory of
// its own, for whoever has no database yet. Nothing else on the machine can reach it but over a socket in a directory closed
// to other users, or over 127.0.0.1 with a random password.
//
// DataDir holds
//
//	postgres/     the database itself (PGDATA)
//	postgres.log  what the server says; its older part is in postgres.log.1
//	secret        the service's own, once it was asked for
//	password      for TCP connections; over the socket none is asked
//	port          the TCP port, kept from one start to the next while it is free
//	run/          the socket, unless its path would be too long: then it is in a private directory under os.TempDir
//	lock          held while a process looks after the server; a second one is refused
//
// Start brings the server up, Run keeps it up until its context ends. If our own process is killed, the server goes on by
// itself, and the next Start on the same DataDir stops it and starts afresh: nothing that was committed is lost.
// Started by root, who may not run PostgreSQL, the server runs as the user who owns an existing database, or else as
// postgres, or else as nobody.
//
// The methods are for one goroutine, except URL and TCPURL, which any may call once Start has returned.
type Embedded struct {
	DataDir  string            // required; made if missing
	BinDir   string            // where the programs postgres and initdb are; empty: searched for
	Logger   *slog.Logger      // nil: discards
	Settings map[string]string // further settings of postgresql.conf, given at every start

	dir       embeddedDir
	owner     *pgOwner // nil: ourselves
	bin       pgBinaries
	lock      *os.File
	socketDir string
	port      int
	password  string
	server    *pgServer // nil: not started
}

// Start returns once the server accepts connections and the database exists. The first start on a directory makes both. It
// takes as long as ctx lets it: after a crash, a large database needs its time. If it returns an error nothing is left running.
// Where the machine has no PostgreSQL, the error is ErrNoPostgres and its text says how to install it.
func (e *Embedded) Start(ctx context.Context) error {
	if e.server != nil {
		return errors.New("start postgres: it is started already")
	}
	if err := e.start(ctx); err != nil {
		e.Stop()
		return fmt.Errorf("start postgres: %w", err)
	}
	return nil
}

func (e *Embedded) start(ctx context.Context) error {
	begun := time.Now()
	if e.DataDir == "" {
		return errors.New("DataDir is empty")
	}
	var err error
	if e.owner, err = findOwner(e.DataDir); err != nil {
		return err
	}
	if e.dir, err = makeEmbeddedDir(e.DataDir, e.owner); err != nil {
		return err
	}
	if e.lock, err = e.dir.acquire(); err != nil {
		return err
	}
	major, err := e.dir.major()
	if err != nil {
		return err
	}
	if e.bin, err = findPostgres(ctx, e.BinDir, major); err != nil {
		return err
	}
	if err := e.owner.checkReach(ctx, e.bin, string(e.dir)); err != nil {
		return err
	}
	if major == 0 {
		if err := e.initDatabase(ctx); err != nil {
			return err
		}
	}
	if e.socketDir, err = e.dir.makeSocketDir(e.owner); err != nil {
		return err
	}
	if e.socketDir != e.dir.runDir() {
		if err := e.owner.checkReach(ctx, e.bin, e.socketDir); err != nil {
			return err
		}
	}
	if err := e.launchOnFreePort(ctx); err != nil {
		return err
	}
	if err := e.providePassword(ctx); err != nil {
		return err
	}
	e.log().Info("postgres started",
		"version", e.bin.major, "port", e.port, "dir", e.dir, "took", time.Since(begun).Round(time.Millisecond))
	return nil
}

// launchOnFreePort starts the server on last time's port, or on another if that one is taken by now.
func (e *Embedded) launchOnFreePort(ctx context.Context) error {
	const tries = 10
	if err := e.clearLeftovers(ctx); err != nil { // they may be what has the port
		return err
	}
	if e.port = e.dir.lastPort(); e.port == 0 || !portIsFree(e.port) {
		e.port = newPort()
	}
	for try := 1; ; try++ {
		err := e.launch(ctx)
		if err == nil {
			return e.dir.rememberPort(e.port)
		}
		// Somebody may have taken the port between our look and the server's.
		if !errors.Is(err, errPortTaken) || try == tries {
			return err
		}
		e.port = newPort()
	}
}

// Run looks after the started server: when it dies, Run starts it again, on the same socket and port, so that every URL stays
// good. When ctx ends, Run stops the server and returns nil.
func (e *Embedded) Run(ctx context.Context) error {
	if e.server == nil {
		return errors.New("run postgres: it is not started")
	}
	defer e.Stop()

	logCheck := time.NewTicker(time.Minute)
	defer logCheck.Stop()
	failures, started := 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-logCheck.C:
			if err := shortenLog(e.dir.logFile()); err != nil {
				e.log().Warn("shorten the log of postgres", "error", err)
			}
			continue
		case <-e.server.done:
		}

		if time.Since(started) > time.Minute {
			failures = 0
		}
		e.log().Warn("postgres died, starting it again", "exit", e.server.exit())
		for {
			delay := time.NewTimer(restartDelay(failures))
			select {
			case <-ctx.Done():
				delay.Stop()
				return nil
			case <-delay.C:
			}
			failures++
			err := e.launch(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return nil
			}
			e.log().Error("start postgres again", "error", err, "failures", failures)
		}
		started = time.Now()
		e.log().Info("postgres is back", "port", e.port)
	}
}

// Stop stops a started server and frees its directory for others. It is for those who do not call Run, which does the same
// at its end. Open transactions are rolled back; a server that doesn't end within seconds is made to, and recovers at the
// next start.
func (e *Embedded) Stop() {
	if e.server != nil {
		if how := e.server.stop(); how != "" {
			e.log().Warn("postgres did not stop when asked", "used", how)
		}
		e.server = nil
		if e.socketDir != e.dir.runDir() {
			// Nobody would clean up after us in the directory for temporary files. It isn't empty if postgres was killed.
			_ = os.Remove(e.socketDir)
		}
	}
	if e.lock != nil {
		release(e.lock)
		e.lock = nil
	}
}

func (e *Embedded) log() *slog.Logger {
	if e.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return e.Logger
}
