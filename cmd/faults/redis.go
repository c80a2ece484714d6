package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// redisServer is a Redis that keeps nothing on a disk: who restarts it finds it empty.
type redisServer struct {
	dir     string
	port    int
	process *process
}

func haveRedis() bool {
	_, err := exec.LookPath("redis-server")
	return err == nil
}

// startRedis returns when it answers.
func startRedis(ctx context.Context, dir string) (*redisServer, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &redisServer{dir: dir, port: port}
	return r, r.start(ctx)
}

func (r *redisServer) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

func (r *redisServer) start(ctx context.Context) (err error) {
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "no")
	cmd.Args[0] = filepath.Join(r.dir, "redis-server") // all that stays of its command line, by which it is swept up
	cmd.Env = plainEnviron()
	if r.process, err = begin(cmd, filepath.Join(r.dir, "log"), nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("Redis did not answer within %s", patience)) //nolint:staticcheck // a name
	defer cancel()
	for {
		if err = r.do(ctx, "PING"); err == nil {
			return nil
		}
		select {
		case <-r.process.ended:
			return fmt.Errorf("redis-server ended: %s", r.process.tail(5))
		default:
		}
		if !pause(ctx, 10*time.Millisecond) {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// do has it carry out a command whose answer is one line.
func (r *redisServer) do(ctx context.Context, command string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", r.address())
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second)) // on a TCP connection it can be set
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(answer, "+") {
		err = fmt.Errorf("%s", strings.TrimSpace(answer))
	}
	if err != nil {
		return fmt.Errorf("redis-server: %s: %w", command, err)
	}
	return nil
}

func (r *redisServer) kill() error { return r.process.end(syscall.SIGKILL, patience) }

func (r *redisServer) close() error {
	if r.process == nil || !r.process.running() {
		return nil
	}
	return r.kill()
}
