package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// relay is the bare loop as the measurements see it: a process of its own (see bareloop.go) that is told of rows through
// its standard input, so that what it uses can be told from what the clients use.
type relay struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	address string // host:port
}

// startRelay returns when the loop listens.
func startRelay(ctx context.Context) (*relay, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("bare loop: %w", err)
	}
	r := &relay{cmd: exec.CommandContext(ctx, program, bareLoopArgument)}
	r.cmd.Stderr = os.Stderr
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("bare loop: %w", err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("bare loop: %w", err)
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bare loop: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		r.close()
		return nil, fmt.Errorf("bare loop: it did not say where it listens: %w", err)
	}
	r.address = strings.TrimSpace(line)
	return r, nil
}

func (r *relay) url() string { return "ws://" + r.address + "/" }

func (r *relay) process() int { return r.cmd.Process.Pid }

// imitate has it take the form of its frames from an event as tidings sent it.
func (r *relay) imitate(sample []byte) error {
	_, err := r.in.Write(appendSample(nil, sample))
	return err
}

// publish tells it of a row, whose id has as many digits as the sample's.
func (r *relay) publish(_ context.Context, id int64) error {
	_, err := r.in.Write(appendRow(nil, id))
	return err
}

// close ends it, and its connections with it.
func (r *relay) close() {
	_ = r.in.Close() // it ends with its input
	_ = r.cmd.Wait() // how it ended does not matter: what it did not send was counted
}
