package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// pace is how a slow client reads.
type pace struct {
	bytesPerSecond int           // 0: as fast as it can
	stallEvery     time.Duration // it stops reading, about so often; 0: never
	stall          time.Duration // for so long
}

// fickleConn is a connection that can end in the middle of what is read, and that may be read slowly.
type fickleConn struct {
	net.Conn
	ctx  context.Context
	pace *pace

	mu     sync.Mutex
	ending bool
	left   int // bytes, once it is ending
	next   time.Time
}

var errLeft = errors.New("the client has left")

func newFickleConn(ctx context.Context, conn net.Conn, p *pace) *fickleConn {
	f := &fickleConn{Conn: conn, ctx: ctx, pace: p}
	if p != nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(128 << 10) // less than a packet of the loopback interface would be a fault of its own
		}
		f.next = time.Now().Add(rand.N(p.stallEvery + 1))
	}
	return f
}

func (f *fickleConn) Read(b []byte) (int, error) {
	if p := f.pace; p != nil {
		b = b[:min(len(b), 1<<10)]
		if p.stallEvery > 0 && time.Now().After(f.next) {
			pause(f.ctx, p.stall)
			f.next = time.Now().Add(p.stallEvery/2 + rand.N(p.stallEvery))
		}
	}
	n, err := f.Conn.Read(b)
	if p := f.pace; p != nil && p.bytesPerSecond > 0 {
		pause(f.ctx, time.Duration(n)*time.Second/time.Duration(p.bytesPerSecond))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ending {
		if n >= f.left {
			_ = f.Conn.Close()
			return f.left, errLeft
		}
		f.left -= n
	}
	return n, err
}

// endAfter ends the connection once so many more bytes were read.
func (f *fickleConn) endAfter(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ending, f.left = true, n
}

// abort ends the connection with a reset.
func (f *fickleConn) abort() {
	if tcp, ok := f.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = f.Conn.Close()
}
