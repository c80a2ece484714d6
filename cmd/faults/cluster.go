package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tidings/db"
)

// patience is how long anything may take that is expected to come, on a machine that is busy.
const patience = 2 * time.Minute

// cluster is a PostgreSQL server on a data directory of its own.
type cluster struct {
	workshop *workshop
	home     string // holds the data directory, the socket and the log
	port     int
	settings map[string]string
	env      []string
	server   *process // nil: not running
	db       *db.DB   // for us and the writers, past every proxy
}

func readPassword(home string) (string, error) {
	text, err := os.ReadFile(filepath.Join(home, "password"))
	return strings.TrimSpace(string(text)), err
}

// newCluster makes a cluster in home, a copy of the data directory.
func (w *workshop) newCluster(ctx context.Context, home, data string, settings map[string]string) (*cluster, error) {
	c := &cluster{workshop: w, home: home, settings: settings}
	if err := c.makeHome(); err != nil {
		return nil, err
	}
	if err := command(ctx, nil, nil, "cp", "-a", data, c.data()); err != nil {
		return nil, err
	}
	return c, c.open(ctx)
}

func (c *cluster) makeHome() error {
	if err := os.Mkdir(c.home, 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(c.socket(), 0o700); err != nil {
		return err
	}
	if owner := c.workshop.owner; owner != nil {
		return os.Chown(c.socket(), int(owner.Uid), int(owner.Gid))
	}
	return nil
}

// open chooses the port, and so the address.
func (c *cluster) open(ctx context.Context) (err error) {
	if c.port, err = freePort(); err != nil {
		return err
	}
	u, err := url.Parse(c.url())
	if err != nil {
		return err
	}
	query := u.Query()
	query.Set("pool_max_conns", "60")
	query.Set("application_name", "faults")
	u.RawQuery = query.Encode()
	c.db, err = db.Open(ctx, u.String())
	return err
}

func (c *cluster) data() string    { return filepath.Join(c.home, "data") }
func (c *cluster) socket() string  { return filepath.Join(c.home, "s") }
func (c *cluster) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

func (c *cluster) program(name string) string { return filepath.Join(c.workshop.bin, name) }

func (c *cluster) url() string { return c.urlAt(c.address()) }

// urlAt is the address of the database by another way.
func (c *cluster) urlAt(address string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("tidings", c.workshop.password), Host: address, Path: "/tidings",
		RawQuery: "sslmode=disable"}
	return u.String()
}

// freePort finds a port outside of the range from which the system takes those of connections: it must be free later too.
func freePort() (int, error) {
	for port := range slices.Values(randomPorts()) {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port was found")
}

// start returns when the server takes connections.
func (c *cluster) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("PostgreSQL did not start within %s", patience))
	defer cancel()
	for {
		if err := c.spawn(); err != nil {
			return err
		}
		err := c.await(ctx)
		// A process of the killed server can hold its shared memory for a moment longer.
		if err == nil || ctx.Err() != nil || !strings.Contains(c.server.tail(3), "pre-existing shared memory") {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func (c *cluster) spawn() error {
	all := map[string]string{
		"listen_addresses": "127.0.0.1", "port": strconv.Itoa(c.port), "unix_socket_directories": c.socket(),
		"max_connections": "100", "shared_buffers": "32MB", "logging_collector": "off", "log_destination": "stderr",
		// The machine does not lose its power here: what is written is there.
		"fsync": "off", "full_page_writes": "off",
	}
	maps.Copy(all, c.settings)
	args := []string{"-D", c.data()}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args = append(args, "-c", name+"="+all[name])
	}
	cmd := exec.Command(c.program("postgres"), args...)
	cmd.Env = append(plainEnviron(), c.env...)
	var err error
	c.server, err = begin(cmd, filepath.Join(c.home, "log"), c.workshop.owner)
	return err
}

func (c *cluster) await(ctx context.Context) error {
	for {
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := c.db.Pool.Ping(once)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-c.server.ended:
			return fmt.Errorf("PostgreSQL ended: %s", c.server.tail(10))
		default:
		}
		if !pause(ctx, 20*time.Millisecond) {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// stop ends all connections, and the server.
func (c *cluster) stop() error {
	if c.server == nil {
		return nil
	}
	err := c.server.end(syscall.SIGINT, patience)
	c.server = nil
	return err
}

// kill kills the server and all its processes, none of which can say or write anything any more.
func (c *cluster) kill() error {
	c.server.stopped = true
	pid := strconv.Itoa(c.server.cmd.Process.Pid)
	children, err := exec.Command("pgrep", "-P", pid).Output()
	if err != nil {
		return fmt.Errorf("pgrep: %w", err)
	}
	_ = c.server.cmd.Process.Kill() // first: it would report the others' end to the clients
	for _, child := range strings.Fields(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL) // it may have ended
		}
	}
	<-c.server.ended
	c.server = nil
	return nil
}

// close stops the server for good.
func (c *cluster) close() error {
	if c.db != nil {
		c.db.Close()
	}
	return c.stop()
}

// exec runs a statement.
func (c *cluster) exec(ctx context.Context, statement string, args ...any) error {
	if _, err := c.db.Pool.Exec(ctx, statement, args...); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// value asks for a text.
func (c *cluster) value(ctx context.Context, query string, args ...any) (value string, err error) {
	if err := c.db.Pool.QueryRow(ctx, query, args...).Scan(&value); err != nil {
		return "", fmt.Errorf("%s: %w", query, err)
	}
	return value, nil
}
