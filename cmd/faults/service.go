package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// service is one instance of tidings, in a process of its own.
type service struct {
	workshop *workshop
	database *wire
	url      string // of the database, over the wire
	redis    *wire  // nil: there is none
	flags    []string
	address  string
	log      string
	process  *process
	way      *wire // of its clients
	paused   bool
}

// newService makes one that reaches the database, and Redis if there is one, by wires of its own.
func (w *workshop) newService(dir string, database *cluster, redis *redisServer, flags []string) (*service, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &service{workshop: w, flags: flags, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		log: filepath.Join(dir, fmt.Sprintf("tidings-%d.log", port))}
	if s.database, err = newWire(database.address()); err != nil {
		return nil, err
	}
	s.url = database.urlAt(s.database.address)
	if redis != nil {
		if s.redis, err = newWire(redis.address()); err != nil {
			return nil, err
		}
	}
	s.way, err = newWire(s.address)
	return s, err
}

// start starts the program, and does not wait until it is ready.
func (s *service) start() error {
	// Clients and server look at each other often, so that silence is found out within the time that a fault has; and so is who is gone.
	args := append([]string{"serve", "--listen=" + s.address, "--ping-interval=1s", "--pong-timeout=2s", "--presence-grace=" + grace.String()}, s.flags...)
	cmd := exec.Command(s.workshop.tidings, args...)
	cmd.Env = append(plainEnviron(), "DATABASE_URL="+s.url, "TIDINGS_SECRET="+s.workshop.secret)
	if s.redis != nil {
		cmd.Env = append(cmd.Env, "TIDINGS_REDIS_URL=redis://"+s.redis.address)
	}
	var err error
	s.process, err = begin(cmd, s.log, nil)
	return err
}

// awaitReady returns when events are provably delivered.
func (s *service) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("tidings was not ready within %s", patience))
	defer cancel()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/readyz", nil)
		if err != nil {
			return err
		}
		if response, err := client.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.process.ended:
			return fmt.Errorf("tidings ended: %s", s.process.tail(5))
		default:
		}
		if !pause(ctx, 20*time.Millisecond) {
			return fmt.Errorf("%w: %s", context.Cause(ctx), s.process.tail(5))
		}
	}
}

// kill kills the program.
func (s *service) kill() error { return s.process.end(syscall.SIGKILL, patience) }

// pause has the program do nothing, while its connections stay open, until goOn.
func (s *service) pause() {
	s.paused = true
	s.process.signal(syscall.SIGSTOP)
}

func (s *service) goOn() {
	s.paused = false
	s.process.signal(syscall.SIGCONT)
}

// stop asks the program to end.
func (s *service) stop() error { return s.process.end(syscall.SIGTERM, 30*time.Second) }

func (s *service) close() error {
	s.way.close()
	var err error
	if s.process != nil && s.process.running() {
		err = s.stop()
	}
	s.database.close()
	if s.redis != nil {
		s.redis.close()
	}
	return err
}
