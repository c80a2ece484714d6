package db

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// embeddedDir is the data directory of an embedded server: absolute, and free of symbolic links, so that one directory has
// one name.
type embeddedDir string

// DefaultDataDir is where the embedded server keeps its data unless told otherwise: XDG_DATA_HOME/tidings or
// ~/.local/share/tidings, on macOS ~/Library/Application Support/tidings, and /var/lib/tidings for root.
func DefaultDataDir() string {
	const system = "/var/lib/tidings"
	if os.Geteuid() == 0 {
		return system
	}
	home, err := os.UserHomeDir()
	switch data := os.Getenv("XDG_DATA_HOME"); {
	case runtime.GOOS != "darwin" && filepath.IsAbs(data):
		return filepath.Join(data, "tidings")
	case err != nil:
		return system
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Application Support", "tidings")
	}
	return filepath.Join(home, ".local", "share", "tidings")
}

// makeEmbeddedDir makes the directory if it is missing.
func makeEmbeddedDir(path string, owner *pgOwner) (embeddedDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	mode := fs.FileMode(0o700)
	if owner != nil {
		mode = 0o711 // the other user passes through it, and sees nothing
	}
	var missing []string
	for at := path; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, at)
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return "", err
	}
	for _, made := range missing {
		if err := os.Chmod(made, mode); err != nil { // whatever the umask took away
			return "", err
		}
	}
	return openEmbeddedDir(path)
}

func openEmbeddedDir(path string) (embeddedDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	path, err = filepath.EvalSymlinks(path)
	return embeddedDir(path), err
}

func (d embeddedDir) pgdata() string       { return filepath.Join(string(d), "postgres") }
func (d embeddedDir) runDir() string       { return filepath.Join(string(d), "run") }
func (d embeddedDir) logFile() string      { return filepath.Join(string(d), "postgres.log") }
func (d embeddedDir) passwordFile() string { return filepath.Join(string(d), "password") }
func (d embeddedDir) secretFile() string   { return filepath.Join(string(d), "secret") }
func (d embeddedDir) portFile() string     { return filepath.Join(string(d), "port") }
func (d embeddedDir) lockFile() string     { return filepath.Join(string(d), "lock") }

// clusterName tells this directory's server from all others, in ps for instance.
func (d embeddedDir) clusterName() string {
	sum := sha256.Sum256([]byte(d))
	return "tidings-" + hex.EncodeToString(sum[:6])
}

// major is the major version of the PostgreSQL that made the database, 0 if there is no database yet.
func (d embeddedDir) major() (int, error) {
	text, err := os.ReadFile(filepath.Join(d.pgdata(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(d.pgdata()); err == nil {
			return 0, fmt.Errorf("%s is there but isn't a PostgreSQL database: it has no file PG_VERSION", d.pgdata())
		}
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Join(d.pgdata(), "PG_VERSION"), err)
	}
	return major, nil
}

// acquire makes this process the only one that looks after the directory's server, until release.
func (d embeddedDir) acquire() (*os.File, error) {
	file, err := os.OpenFile(d.lockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(file); err != nil {
		defer file.Close()
		if !errors.Is(err, errLocked) {
			return nil, fmt.Errorf("lock %s: %w", d.lockFile(), err)
		}
		pid, _ := io.ReadAll(file)
		return nil, fmt.Errorf("%s is in use by another process, pid %s", d, strings.TrimSpace(string(pid)))
	}
	err = file.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(file, os.Getpid())
	}
	if err != nil {
		release(file)
		return nil, err
	}
	return file, nil
}

// release says that the lock ends before it closes the file: a child that another goroutine is just starting has the file
// open too, and would hold the lock for a moment longer.
func release(lock *os.File) {
	_ = unlockFile(lock)
	_ = lock.Close()
}

// replaceFile writes a file, readable for its owner alone, that is there completely or not at all.
func replaceFile(path, text string) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
