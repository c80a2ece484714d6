package db

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEmbeddedChoice(t *testing.T) {
	t.Parallel()
	old, middle, newest := pgBinaries{"/old", 13}, pgBinaries{"/middle", 15}, pgBinaries{"/newest", 17}
	twin := pgBinaries{"/twin", 17}
	for _, test := range []struct {
		name  string
		found []pgBinaries
		major int
		want  pgBinaries
		err   string // what it says; empty: none
	}{
		{"the newest", []pgBinaries{middle, newest, old}, 0, newest, ""},
		{"the first of two equals", []pgBinaries{newest, twin}, 0, newest, ""},
		{"the one that made the database", []pgBinaries{middle, newest, old}, 15, middle, ""},
		{"not the one that made the database", []pgBinaries{middle, newest}, 16, pgBinaries{},
			"the database was made by PostgreSQL 16, but this machine has only 15 in /middle, 17 in /newest"},
		{"too old", []pgBinaries{old}, 0, pgBinaries{}, "no PostgreSQL 14 or newer, only 13 in /old; install it"},
		{"none", nil, 0, pgBinaries{}, "no PostgreSQL 14 or newer; install it"},
		{"none for the database", nil, 16, pgBinaries{}, "no PostgreSQL 14 or newer; install it"},
	} {
		got, err := choosePostgres(test.found, test.major)
		if test.err == "" {
			if got != test.want || err != nil {
				t.Errorf("%s: got %v, %v; want %v", test.name, got, err, test.want)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got error %v, want %s", test.name, err, test.err)
		}
		if strings.Contains(test.err, "install") && !errors.Is(err, ErrNoPostgres) {
			t.Errorf("%s: %v is not ErrNoPostgres", test.name, err)
		}
	}
}

func TestEmbeddedInstallHint(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		programs string
		root     bool
		want     string
	}{
		{"apt-get", false, "install it with: sudo apt-get install postgresql"},
		{"apt-get brew", true, "install it with: apt-get install postgresql"},
		{"dnf yum", true, "install it with: dnf install postgresql-server"},
		{"apk", true, "install it with: apk add postgresql"},
		{"pacman", false, "install it with: sudo pacman -S postgresql"},
		{"brew", false, "install it with: brew install postgresql@17"},
		{"", false, "install it from https://www.postgresql.org/download/"},
	} {
		lookPath := func(program string) (string, error) {
			if slices.Contains(strings.Fields(test.programs), program) {
				return "/bin/" + program, nil
			}
			return "", exec.ErrNotFound
		}
		if got := installHint(lookPath, test.root); got != test.want {
			t.Errorf("with %q, root %t: got %q, want %q", test.programs, test.root, got, test.want)
		}
	}
}

func TestEmbeddedServerProcesses(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]bool{
		"/usr/lib/postgresql/15/bin/postgres -D /d/postgres -c fsync=off -c cluster_name=tidings-1 -c port=5 ": true,
		"postgres: tidings-1: checkpointer ":                                 true,
		"postgres: tidings-1: tidings tidings [local] idle":                  true,
		"postgres: tidings-12: checkpointer ":                                false,
		"/bin/postgres -D /d/postgres -c cluster_name=tidings-12 -c port=5 ": false,
		"psql postgres:///tidings?host=/tmp/tidings-1&port=5 ":               false,
		"tail -f /tmp/tidings-1/postgres.log ":                               false,
		"":                                                                   false,
	} {
		if got := isServerProcess(command, "tidings-1"); got != want {
			t.Errorf("%q: got %t, want %t", command, got, want)
		}
	}
}

func TestEmbeddedRestartDelay(t *testing.T) {
	t.Parallel()
	if got := restartDelay(0); got != 0 {
		t.Errorf("the first restart waits %v", got)
	}
	for _, test := range []struct {
		failures int
		most     time.Duration
	}{{1, 100 * time.Millisecond}, {2, 200 * time.Millisecond}, {8, 10 * time.Second}, {1000, 10 * time.Second}} {
		for range 100 {
			if got := restartDelay(test.failures); got > test.most || got < test.most/2 {
				t.Errorf("after %d failures: got %v, want %v or down to a half of it", test.failures, got, test.most)
			}
		}
	}
}

func TestEmbeddedLogStaysSmall(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "postgres.log")
	server, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := server.Truncate(3 * maxLog); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"old words\n", "new words\n"} {
		if _, err := server.WriteString(line); err != nil {
			t.Fatal(err)
		}
		if err := shortenLog(path); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := readLog(path, 3*maxLog), "new words\n"; got != want {
		t.Errorf("the log says %q, want %q", got, want)
	}
	info, err := os.Stat(path + ".1")
	if err != nil || info.Size() != maxLog {
		t.Errorf("the older log: %v, %v; want %d bytes", info, err, maxLog)
	}
	if got := readLog(path+".1", 0); !strings.HasSuffix(got, "old words\n") {
		t.Errorf("the older log ends with %q", got[max(0, len(got)-20):])
	}
}

func TestEmbeddedEnvironment(t *testing.T) {
	t.Parallel()
	got := pgEnviron([]string{"PATH=/bin", "PGDATA=/x", "PGPORT=1", "LC_CTYPE=tlh", "LANG=tlh", "NOTIFY_SOCKET=/y", "HOME=/z"})
	if want := []string{"LC_ALL=C", "PATH=/bin", "HOME=/z"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
