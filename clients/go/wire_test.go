package tidings_test

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// wire is the network between a client and a service.
type wire struct {
	addr   string
	behind string     // where the service is
	budget func() int // how many bytes the service may say on a connection before it is cut; nil: any number

	mu     sync.Mutex
	conns  map[net.Conn]bool
	frozen chan struct{} // not nil: nothing is passed on until it is closed
	group  sync.WaitGroup
	opened int
}

// newWire begins to forward to a service, until the test ends.
func newWire(t testing.TB, s *service, budget func() int) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: listener.Addr().String(), behind: s.addr, budget: budget, conns: make(map[net.Conn]bool)}
	w.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.group.Go(func() { w.forward(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		w.thaw()
		w.cut()
		w.group.Wait()
	})
	return w
}

// forward passes on what the two say, until one of them ends or the budget is spent.
func (w *wire) forward(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.behind)
	if err != nil {
		return
	}
	defer server.Close()
	w.mu.Lock()
	w.conns[client], w.conns[server] = true, true
	w.opened++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, client)
		delete(w.conns, server)
	}()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
		_ = client.Close()
	})
	both.Go(func() {
		left := -1
		if w.budget != nil {
			left = w.budget()
		}
		w.pass(client, server, left)
		_ = client.(*net.TCPConn).SetLinger(0) // a reset
		_ = server.Close()
		_ = client.Close()
	})
	both.Wait()
}

// pass passes on what the service says, in pieces that have nothing to do with frames; left bytes, if it is not negative.
func (w *wire) pass(client io.Writer, server io.Reader, left int) {
	b := make([]byte, 4096)
	for left != 0 {
		n, err := server.Read(b[:1+rand.IntN(len(b))])
		if err != nil {
			return
		}
		w.mu.Lock()
		frozen := w.frozen
		w.mu.Unlock()
		if frozen != nil {
			<-frozen
			return
		}
		if left > 0 {
			n = min(n, left)
			left -= n
		}
		if _, err := client.Write(b[:n]); err != nil {
			return
		}
	}
}

// cut cuts all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.conns {
		_ = conn.Close()
	}
}

// freeze has connections be there, and nothing come any more.
func (w *wire) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen = make(chan struct{})
}

// thaw ends the connections that were frozen, and passes on what is said on others.
func (w *wire) thaw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen != nil {
		close(w.frozen)
		w.frozen = nil
	}
}
