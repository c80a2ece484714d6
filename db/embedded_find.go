package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoPostgres says that the machine has no PostgreSQL that the embedded server could be run from.
var ErrNoPostgres = errors.New("this machine has no PostgreSQL 14 or newer")

// oldestPostgres is the oldest major version that the embedded server works with.
const oldestPostgres = 14

// pgBinaries are the programs of one installed PostgreSQL.
type pgBinaries struct {
	dir   string
	major int
}

func (b pgBinaries) path(program string) string { return filepath.Join(b.dir, program) }

// pgPlaces are the directories, as patterns, where systems put the programs without putting them on the PATH.
var pgPlaces = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // Fedora, RHEL, with the packages of the PostgreSQL project
	"/usr/lib/postgresql*/bin",  // openSUSE
	"/usr/libexec/postgresql*",  // Alpine
	"/usr/bin",                  // Fedora, RHEL, Arch
	"/usr/local/bin",
	"/usr/local/pgsql/bin", // compiled without further ado
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/Library/PostgreSQL/*/bin",
	"/opt/local/lib/postgresql*/bin", // MacPorts
}

// findPostgres returns the programs in binDir, or if that is empty the newest that the machine has. If major isn't 0, it
// must be that major version: the files of a database are understood by no other.
func findPostgres(ctx context.Context, binDir string, major int) (pgBinaries, error) {
	dirs := []string{binDir}
	if binDir == "" {
		dirs = pgDirs(ctx)
	}
	var found []pgBinaries
	for _, dir := range dirs {
		if n, ok := pgMajor(ctx, dir); ok {
			found = append(found, pgBinaries{dir, n})
		}
	}
	if err := ctx.Err(); err != nil {
		return pgBinaries{}, err
	}
	if len(found) == 0 && binDir != "" {
		return pgBinaries{}, fmt.Errorf("%w in %s: postgres and initdb must be there", ErrNoPostgres, binDir)
	}
	return choosePostgres(found, major)
}

func choosePostgres(found []pgBinaries, major int) (pgBinaries, error) {
	var best pgBinaries
	var versions []string
	for _, b := range found {
		versions = append(versions, fmt.Sprintf("%d in %s", b.major, b.dir))
		if b.major > best.major && (major == 0 || b.major == major) {
			best = b
		}
	}
	has := strings.Join(versions, ", ")
	switch {
	case major != 0 && best.major == 0 && len(found) > 0:
		return best, fmt.Errorf("the database was made by PostgreSQL %d, but this machine has only %s: install that version, or give another --data-dir", major, has)
	case best.major == 0:
		return best, fmt.Errorf("%w; %s", ErrNoPostgres, installHint(exec.LookPath, os.Geteuid() == 0))
	case best.major < oldestPostgres:
		return best, fmt.Errorf("%w, only %s; %s", ErrNoPostgres, has, installHint(exec.LookPath, os.Geteuid() == 0))
	}
	return best, nil
}

// pgDirs lists the directories that have a program named postgres, those on the PATH first.
func pgDirs(ctx context.Context) []string {
	var dirs []string
	add := func(dir string) {
		if !filepath.IsAbs(dir) || !isProgram(filepath.Join(dir, "postgres")) {
			return
		}
		// The postgres on the PATH may be a link that stands alone, without its initdb.
		if target, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil {
			if home := filepath.Dir(target); isProgram(filepath.Join(home, "initdb")) {
				dir = home
			}
		}
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		add(dir)
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		add(strings.TrimSpace(string(out)))
	}
	for _, pattern := range pgPlaces {
		matches, _ := filepath.Glob(pattern)
		for _, dir := range matches {
			add(dir)
		}
	}
	return dirs
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

var pgVersionText = regexp.MustCompile(`\) (\d+)`)

// pgMajor asks the postgres in dir for its major version.
func pgMajor(ctx context.Context, dir string) (major int, ok bool) {
	if !isProgram(filepath.Join(dir, "postgres")) || !isProgram(filepath.Join(dir, "initdb")) {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0, false
	}
	match := pgVersionText.FindSubmatch(out) // postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)
	if match == nil {
		return 0, false
	}
	major, err = strconv.Atoi(string(match[1]))
	return major, err == nil
}

// installHint says what to type on this system to have PostgreSQL.
func installHint(lookPath func(string) (string, error), root bool) string {
	for _, manager := range []struct{ program, command string }{
		{"apt-get", "apt-get install postgresql"},
		{"dnf", "dnf install postgresql-server"},
		{"yum", "yum install postgresql-server"},
		{"zypper", "zypper install postgresql-server"},
		{"apk", "apk add postgresql"},
		{"pacman", "pacman -S postgresql"},
		{"brew", "brew install postgresql@17"},
	} {
		if _, err := lookPath(manager.program); err != nil {
			continue
		}
		command := manager.command
		if !root && manager.program != "brew" {
			command = "sudo " + command
		}
		return "install it with: " + command
	}
	return "install it from https://www.postgresql.org/download/"
}
