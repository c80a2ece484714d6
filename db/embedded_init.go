package db

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// initDatabase makes the database files. They are made elsewhere and moved to their place when they are complete: an
// interrupted try leaves nothing that a later start would take for a database.
func (e *Embedded) initDatabase(ctx context.Context) error {
	e.log().Info("making a new database", "version", e.bin.major, "dir", e.dir)
	rejects, err := filepath.Glob(e.dir.pgdata() + ".new-*")
	if err != nil {
		return err
	}
	for _, reject := range rejects {
		_ = os.RemoveAll(reject)
	}
	made, err := os.MkdirTemp(string(e.dir), "postgres.new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	if err := e.owner.give(made); err != nil {
		return err
	}
	if err := e.initdb(ctx, made); err != nil {
		return err
	}
	if err := os.Rename(made, e.dir.pgdata()); err != nil {
		return err
	}
	return syncDir(string(e.dir))
}

// initdb tries the locales in which lower() and upper() know more than ASCII, and does without where the system has none.
// Sorting is by code point throughout: it is fast, and no upgrade of the system's library changes it under our indexes.
func (e *Embedded) initdb(ctx context.Context, pgdata string) error {
	var out []byte
	var err error
	for _, ctype := range []string{"C.UTF-8", "en_US.UTF-8", "C"} {
		args := []string{
			"--pgdata=" + pgdata, "--username=" + embeddedName, "--encoding=UTF8", "--locale=C", "--lc-ctype=" + ctype,
			// Who reaches the socket has passed a directory that is closed to others. Nobody gets in over TCP before
			// providePassword has set a password.
			"--auth-local=trust", "--auth-host=scram-sha-256",
		}
		if e.Settings["fsync"] == "off" {
			args = append(args, "--no-sync")
		}
		cmd := exec.CommandContext(ctx, e.bin.path("initdb"), args...)
		cmd.Dir = "/" // ours may be closed to the user that initdb runs as
		cmd.Env = pgEnviron(os.Environ())
		cmd.SysProcAttr = e.owner.childAttr()
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 5 * time.Second
		if out, err = cmd.CombinedOutput(); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("initdb: %w", context.Cause(ctx))
		}
		if !strings.Contains(string(out), "locale") {
			break
		}
	}
	return fmt.Errorf("initdb: %w, and its last words are:\n%s", err, lastLines(string(out)))
}

// providePassword reads the password for TCP connections, or gives the server a new one if there is none. It is written down only
// when the server has it: after a crash in between there is no file, and the next start makes another.
func (e *Embedded) providePassword(ctx context.Context) error {
	password, err := e.dir.readPassword()
	if err == nil {
		e.password = password
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	password = rand.Text()
	conn, err := pgx.Connect(ctx, e.URL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// ALTER ROLE takes no parameters: in this mode pgx puts the quoted text in its place.
	const alter = "alter role " + embeddedName + " password $1"
	if _, err := conn.Exec(ctx, alter, pgx.QueryExecModeSimpleProtocol, password); err != nil {
		return fmt.Errorf("set the password: %w", err)
	}
	// The schema of the user's own name is first on the default search path, and it will be tidings' own: what a person
	// makes in psql belongs elsewhere.
	if _, err := conn.Exec(ctx, "alter role "+embeddedName+" set search_path = public"); err != nil {
		return fmt.Errorf("set the search path: %w", err)
	}
	e.password = password
	return replaceFile(e.dir.passwordFile(), password+"\n")
}

func (d embeddedDir) readPassword() (string, error) {
	text, err := os.ReadFile(d.passwordFile())
	return strings.TrimSpace(string(text)), err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
