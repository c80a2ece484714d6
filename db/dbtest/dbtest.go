// Package dbtest gives tests a real PostgreSQL: a database of their own on a server that all tests of a process share, or a whole
// server of their own that they may kill. The servers need nothing but PostgreSQL's programs on the machine, trade
// durability for speed, and are gone when the test process is, however it ends.
//
// A package that uses it says so once:
//
//	func TestMain(m *testing.M) { dbtest.Main(m) }
//
// The programs are those that the service would find by itself, or those in the directory that TIDINGS_TEST_POSTGRES names: so all tests
// can be run with another version of PostgreSQL. Of some versions, npm brings the programs: see Versions.
package dbtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"tidings/db"
)

// patience is how long a server may take for anything, on a machine that is busy with other tests.
const patience = 2 * time.Minute

var shared struct {
	once   sync.Once
	server *server
	err    error
}

// Main runs the tests, stops the shared server, looks for goroutines that the tests left behind, and exits.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	if shared.server != nil {
		shared.server.remove()
	}
	if code == 0 {
		if err := goleak.Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines left behind:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Database returns the address of a fresh, empty database on the shared server. It is dropped when the test ends, along
// with its connections.
func Database(t testing.TB) string { return DatabaseWith(t, "") }

// DatabaseWith is Database with options of CREATE DATABASE.
func DatabaseWith(t testing.TB, options string) string {
	t.Helper()
	shared.once.Do(func() {
		shared.server, shared.err = newServer("", map[string]string{"max_connections": "400"})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	shared.server.exec(t, "create database "+pgx.Identifier{name}.Sanitize()+" "+options)
	t.Cleanup(func() {
		shared.server.exec(t, "drop database "+pgx.Identifier{name}.Sanitize()+" with (force)")
	})
	return shared.server.url(t, name)
}

// DataDir makes a directory for tests that start a db.Embedded themselves. It is reachable for the user that the server runs
// as, which t.TempDir is not, and is removed when the test ends, after a server that is still there.
func DataDir(t testing.TB) string {
	t.Helper()
	dir, err := newDataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.remove)
	return dir.path
}

// Cluster is a server for one test alone. Its methods fail the test if they don't succeed, and are for the test's own goroutine.
// Nobody looks after it: once killed, it is down until the test starts it.
type Cluster struct {
	t      testing.TB
	server *server
}

// StartCluster starts a server, with settings on top of those that all test servers have, and removes it when the test ends.
func StartCluster(t testing.TB, settings map[string]string) *Cluster {
	t.Helper()
	return StartClusterOf(t, "", settings)
}

// StartClusterOf is StartCluster with the programs in a directory; empty: those that all tests run with.
func StartClusterOf(t testing.TB, programs string, settings map[string]string) *Cluster {
	t.Helper()
	server, err := newServer(programs, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.remove)
	return &Cluster{t, server}
}

// URL is the address of the server's database. It stays the same over stops and starts.
func (c *Cluster) URL() string { return c.server.embedded.URL() }

// TCPURL is the same over TCP, for what goes through a proxy.
func (c *Cluster) TCPURL() string { return c.server.embedded.TCPURL() }

// Stop ends all connections and stops the server.
func (c *Cluster) Stop() { c.server.embedded.Stop() }

// Start starts a server that was stopped or killed, on the same port and socket.
func (c *Cluster) Start() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.start(ctx)
}

// Restart stops the server and starts it again.
func (c *Cluster) Restart(ctx context.Context) {
	c.t.Helper()
	c.Stop()
	c.start(ctx)
}

// StartStandby starts a server that was stopped as a standby of one that is gone: it takes no writes until it is promoted.
func (c *Cluster) StartStandby() {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.server.embedded.DataDir, "postgres", "standby.signal"), nil, 0o644); err != nil {
		c.t.Fatal(err)
	}
	c.Start()
}

func (c *Cluster) start(ctx context.Context) {
	c.t.Helper()
	before := c.URL()
	if err := c.server.embedded.Start(ctx); err != nil {
		c.t.Fatal(err)
	}
	if after := c.URL(); after != before {
		c.t.Fatalf("somebody took the server's port: it moved from %s to %s", before, after)
	}
}

// Kill kills the server without giving it a chance to say goodbye, and returns when it is dead.
func (c *Cluster) Kill() {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.server.embedded.DataDir, "postgres", "postmaster.pid"))
	if err != nil {
		c.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		c.t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	c.Stop()
}

// server is a running test server and the directory it lives in.
type server struct {
	embedded *db.Embedded
	dir      *dataDir
}

func newServer(programs string, settings map[string]string) (*server, error) {
	dir, err := newDataDir()
	if err != nil {
		return nil, err
	}
	all := map[string]string{"fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB"}
	maps.Copy(all, settings)
	if programs == "" {
		programs = os.Getenv("TIDINGS_TEST_POSTGRES")
	}
	s := &server{embedded: &db.Embedded{DataDir: dir.path, BinDir: programs, Settings: all}, dir: dir}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.embedded.Start(ctx); err != nil {
		dir.remove()
		return nil, err
	}
	return s, nil
}

func (s *server) remove() {
	s.embedded.Stop()
	s.dir.remove()
}

func (s *server) exec(t testing.TB, statement string) {
	t.Helper()
	// Not the test's context: it has ended when the test cleans up.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url(t, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}

func (s *server) url(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(s.embedded.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}
