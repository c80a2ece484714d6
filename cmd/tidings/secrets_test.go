package main_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tidings/db/dbtest"
)

// without is an environment without a variable.
func without(env []string, name string) []string {
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, name+"=") {
			kept = append(kept, v)
		}
	}
	return kept
}

// commandLine is what ps shows of a process.
func commandLine(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		t.Skip("this system does not tell: ", err)
	}
	return strings.ReplaceAll(string(text), "\x00", " ")
}

func withPassword(t *testing.T, address, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	user := "postgres"
	if u.User != nil {
		user = u.User.Username()
	}
	u.User = url.UserPassword(user, password) // the test's server asks for none
	return u.String()
}

// Secrets that are given as arguments are not there to be read for long, and are used all the same.
func TestSecretsAreNotInArguments(t *testing.T) {
	t.Parallel()
	const jwt, own, password = "sign-tokens-by-these-32-or-so-bytes", "own-secret-of-more-than-32-bytes--", "pass-of-the-database"
	address := withPassword(t, dbtest.Database(t), password)
	p, at := serve(t, without(environ(), "TIDINGS_SECRET"), "--database-url", address, "--jwt-secret="+jwt, "--secret", own, "--max-frame", "4096")
	line := commandLine(t, p.cmd.Process.Pid)
	for _, secret := range []string{jwt, own, password} {
		if strings.Contains(line, secret) {
			t.Errorf("%s is in %s", secret, line)
		}
	}
	if !strings.Contains(line, "serve --listen 127.0.0.1:0 --max-frame 4096") {
		t.Errorf("the arguments are %s", line)
	}
	eventually(t, "the service is ready", func() bool { return readyz(t, at) == 200 })
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("SIGTERM ends it with %d", code)
	}
	for _, secret := range []string{jwt, own, password} {
		if strings.Contains(p.stdout.String()+p.stderr.String(), secret) {
			t.Errorf("%s is in what it wrote", secret)
		}
	}
}

// Secrets may be in files.
func TestSecretsInFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	address := file("url", dbtest.Database(t)+"\n", 0o600)
	own := file("own", strings.Repeat("o", 32)+"\n", 0o600)
	open := file("open", strings.Repeat("j", 32)+"\r\n", 0o644)
	env := without(environ(), "TIDINGS_SECRET")
	p, _ := serve(t, append(env, "TIDINGS_SECRET_FILE="+own), "--database-url-file", address, "--jwt-secret-file", open)
	if log := p.stderr.String(); !strings.Contains(log, "file="+open) || strings.Contains(log, "file="+own) || strings.Contains(log, "jjjj") {
		t.Errorf("of the files it says %s", log)
	}
	succeed(t, append(env, "DATABASE_URL_FILE="+address), "watched")

	for name, c := range map[string]struct {
		args  []string
		words []string
	}{
		"both":        {[]string{"--jwt-secret", strings.Repeat("j", 32), "--jwt-secret-file", open}, []string{"--jwt-secret and --jwt-secret-file"}},
		"none there":  {[]string{"--jwt-secret-file", dir + "/none"}, []string{"--jwt-secret-file", "none"}},
		"empty":       {[]string{"--jwt-secret-file", file("empty", "\n", 0o600)}, []string{"--jwt-secret-file", "is empty"}},
		"a directory": {[]string{"--database-url-file", dir}, []string{"--database-url-file", dir}},
		"no URL":      {[]string{"--database-url-file", open}, []string{"--database-url"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, stderr := run(t, env, append([]string{"serve", "--listen", "127.0.0.1:0"}, c.args...)...)
			for _, word := range c.words {
				if !strings.Contains(stderr, word) || strings.Contains(stderr, "jjjj") {
					t.Errorf("got %q, want %q in it", stderr, word)
				}
			}
		})
	}
	_, _, stderr := run(t, append(env, "TIDINGS_SECRET=short"), "serve", "--listen", "127.0.0.1:0")
	if !strings.Contains(stderr, "--secret: it has 5 bytes") {
		t.Errorf("got %q", stderr)
	}
}

// Without a secret, no database but the embedded one is served, unless nobody signs in.
func TestServeNeedsASecret(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	env := append(without(environ(), "TIDINGS_SECRET"), "DATABASE_URL="+address)
	code, _, stderr := run(t, env, "serve", "--listen", "127.0.0.1:0")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, word := range []string{"--secret", "TIDINGS_SECRET", "openssl rand -base64 32", "--jwt-secret", "--no-sign-in"} {
		if !strings.Contains(stderr, word) {
			t.Errorf("got %q, want %q in it", stderr, word)
		}
	}
	for _, env := range [][]string{
		append(env, "TIDINGS_NO_SIGN_IN=true"), append(env, "TIDINGS_JWT_SECRET="+strings.Repeat("j", 32)), append(env, "TIDINGS_SECRET="+ownSecret),
	} {
		serve(t, env)
	}
	if _, _, stderr := run(t, append(env, "TIDINGS_SECRET="+ownSecret), "serve", "--listen", "127.0.0.1:0", "--no-sign-in"); !strings.Contains(stderr, "--no-sign-in and --secret") {
		t.Errorf("got %q", stderr)
	}
}

// With the embedded database, a secret is made, for its owner alone, and used again; PostgreSQL knows nothing of ours.
func TestEmbeddedSecret(t *testing.T) {
	t.Parallel()
	dir := dbtest.DataDir(t)
	env := append(without(environ(), "TIDINGS_SECRET"), "TIDINGS_DATA_DIR="+dir, "TIDINGS_JWT_SECRET="+strings.Repeat("j", 32))
	path := filepath.Join(dir, "secret")
	var first string
	for i := range 2 {
		p, _ := serve(t, env)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = string(text)
		}
		if string(text) != first || len(strings.TrimSpace(first)) != 44 {
			t.Errorf("start %d: the secret is %d bytes, another than before: %t", i, len(text), string(text) != first)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the secret is %v, %v", info.Mode(), err)
		}
		pid := postmaster(t, dir)
		if environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil && strings.Contains(string(environment), "TIDINGS_") {
			t.Error("PostgreSQL has our settings in its environment")
		}
		password, err := os.ReadFile(filepath.Join(dir, "password"))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{strings.TrimSpace(first), strings.TrimSpace(string(password))} {
			if strings.Contains(commandLine(t, pid)+commandLine(t, p.cmd.Process.Pid)+p.stderr.String()+p.stdout.String(), secret) {
				t.Error("a secret is there to be read")
			}
		}
		p.signal(syscall.SIGTERM)
		if code := p.wait(); code != 0 {
			t.Errorf("SIGTERM ends it with %d", code)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "secret-*")); err != nil || len(left) > 0 {
		t.Errorf("there are left %v, %v", left, err)
	}
	if err := os.WriteFile(path, []byte("cut off\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, stderr := run(t, env, "serve", "--listen", "127.0.0.1:0"); !strings.Contains(stderr, path) || !strings.Contains(stderr, "7 bytes") {
		t.Errorf("got %q", stderr)
	}
}
