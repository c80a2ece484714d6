package checks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// postgres is a PostgreSQL as its image has one: a superuser with a password, and scripts that are run once.
type postgres struct {
	dir, bin string
	port     int
	as       *syscall.Credential
	password string
}

func postgresPrograms(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && executable(filepath.Join(filepath.Dir(path), "initdb")) {
			return filepath.Dir(path)
		}
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/lib/postgresql*/bin", "/usr/libexec/postgresql*", "/opt/homebrew/opt/postgresql@*/bin"} {
		found, _ := filepath.Glob(pattern)
		for _, dir := range found {
			if executable(filepath.Join(dir, "initdb")) {
				return dir
			}
		}
	}
	t.Fatal("there is no PostgreSQL: deploy/install-postgres.sh installs it")
	return ""
}

// startPostgres makes a data directory, starts the server on it, and runs the scripts.
func startPostgres(t *testing.T, port int, password string, scripts ...string) *postgres {
	t.Helper()
	p := &postgres{dir: directory(t), bin: postgresPrograms(t), port: port, password: password}
	p.as, _ = unprivileged(t)
	data := filepath.Join(p.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := writeFile(t, filepath.Join(p.dir, "password"), password+"\n")
	if p.as != nil {
		if err := os.Chown(data, int(p.as.Uid), int(p.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	output(t, p.command("initdb", "--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres", "--pwfile="+secret,
		"--auth-local=trust", "--auth-host=scram-sha-256", "-D", data))
	server := start(t, p.command("postgres", "-D", data, "-p", fmt.Sprint(port), "-k", data,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=150"))
	t.Cleanup(func() { server.end(syscall.SIGQUIT) })
	eventually(t, "PostgreSQL answers", func() (bool, string) {
		err := p.command("pg_isready", "-q", "-h", "127.0.0.1", "-p", fmt.Sprint(port)).Run()
		return err == nil, fmt.Sprint(err)
	})
	for _, script := range scripts {
		output(t, p.psql(p.url("postgres", "postgres", password), "-f", script))
	}
	return p
}

// command is one of PostgreSQL's programs, as a user that it runs as.
func (p *postgres) command(name string, args ...string) *exec.Cmd {
	path := filepath.Join(p.bin, name)
	if !executable(path) {
		path = name // of the PATH
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = p.dir, environ()
	if p.as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	}
	return cmd
}

func (p *postgres) psql(url string, args ...string) *exec.Cmd {
	return p.command("psql", append([]string{"--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=" + url}, args...)...)
}

// sql runs statements, each by itself.
func (p *postgres) sql(t *testing.T, url string, statements ...string) string {
	t.Helper()
	args := []string{"--tuples-only", "--no-align"}
	for _, s := range statements {
		args = append(args, "--command="+s)
	}
	return strings.TrimSpace(output(t, p.psql(url, args...)))
}

func (p *postgres) url(role, database, password string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", role, password, p.port, database)
}

// database makes one with the role that owns it, and returns its URL.
func (p *postgres) database(t *testing.T, name string) string {
	t.Helper()
	p.sql(t, p.url("postgres", "postgres", p.password), "create role "+name+" login password 'owner'", "create database "+name+" owner "+name)
	return p.url(name, name, "owner")
}
