package main_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wayTo is a way to a database, with faults that can be switched on.
type wayTo struct {
	url   string
	deaf  atomic.Bool  // the listener's connection does not come about
	delay atomic.Int64 // of what the service says, nanoseconds

	listener net.Listener
	target   string
	ended    chan struct{}
	group    sync.WaitGroup

	mu        sync.Mutex
	listeners []net.Conn
	conns     []net.Conn
}

func newWayTo(t testing.TB, address string) *wayTo {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	w := &wayTo{target: u.Host, ended: make(chan struct{})}
	if w.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	u.Host = w.listener.Addr().String()
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	w.url = u.String()
	w.group.Go(w.accept)
	t.Cleanup(func() {
		close(w.ended)
		_ = w.listener.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.group.Wait()
	})
	return w
}

// beDeaf ends the listener's connection, and lets no other come about; or lets it.
func (w *wayTo) beDeaf(deaf bool) {
	w.deaf.Store(deaf)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.listeners {
		_ = c.Close()
	}
	w.listeners = nil
}

func (w *wayTo) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		w.conns = append(w.conns, near)
		w.mu.Unlock()
		w.group.Go(func() { w.carry(near) })
	}
}

// carry carries a connection. Its first message says whose it is.
func (w *wayTo) carry(near net.Conn) {
	defer near.Close()
	var size [4]byte
	if _, err := io.ReadFull(near, size[:]); err != nil {
		return
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 8 || n > 10_000 {
		return
	}
	startup := make([]byte, n-4)
	if _, err := io.ReadFull(near, startup); err != nil {
		return
	}
	if bytes.Contains(startup, []byte("tidings listener")) {
		if w.deaf.Load() {
			return
		}
		w.mu.Lock()
		w.listeners = append(w.listeners, near)
		w.mu.Unlock()
	}
	far, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer far.Close()
	if _, err := far.Write(append(size[:], startup...)); err != nil {
		return
	}
	w.group.Go(func() {
		_, _ = io.Copy(near, far)
		_ = near.Close()
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := near.Read(buffer)
		if err != nil {
			return
		}
		if d := time.Duration(w.delay.Load()); d > 0 {
			select {
			case <-time.After(d):
			case <-w.ended:
				return
			}
		}
		if _, err := far.Write(buffer[:n]); err != nil {
			return
		}
	}
}
