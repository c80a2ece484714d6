package http_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// cutter is a network between clients and a service, which fails when it is told to.
type cutter struct {
	addr     string
	target   string
	listener net.Listener
	group    sync.WaitGroup

	mu      sync.Mutex
	lines   map[*line]struct{}
	refuses bool
	ended   bool
	cuts    map[string]int // how many connections failed, and how
}

// line is a connection through it.
type line struct {
	client, server *net.TCPConn
	left           atomic.Int64  // bytes to the client before it is cut; -1: it is not to be
	stalled        atomic.Bool   // nothing comes through any more, and nobody is told
	ended          chan struct{} // closed with it
	end            func()
}

func newCutter(t testing.TB, target string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{addr: listener.Addr().String(), target: target, listener: listener, lines: make(map[*line]struct{}), cuts: make(map[string]int)}
	c.group.Go(c.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		c.mu.Lock()
		c.ended = true
		c.mu.Unlock()
		c.cutAll()
		c.group.Wait()
	})
	return c
}

func (c *cutter) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.group.Go(func() { c.serve(client.(*net.TCPConn)) })
	}
}

func (c *cutter) serve(client *net.TCPConn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	l := &line{client: client, server: server.(*net.TCPConn), ended: make(chan struct{})}
	l.left.Store(-1)
	l.end = sync.OnceFunc(func() {
		close(l.ended)
		_ = l.client.SetLinger(0) // what is on its way is lost
		_ = l.client.Close()
		_ = l.server.Close()
	})
	defer l.end()
	c.mu.Lock()
	if c.ended || c.refuses {
		c.mu.Unlock()
		return
	}
	c.lines[l] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.lines, l)
		c.mu.Unlock()
	}()
	var up sync.WaitGroup
	up.Go(func() { l.copy(l.server, l.client, nil) })
	l.copy(l.client, l.server, &l.left)
	up.Wait()
}

// copy passes on what comes, until an end of the connection ends.
func (l *line) copy(to, from *net.TCPConn, left *atomic.Int64) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if l.stalled.Load() {
			<-l.ended
			return
		}
		if left != nil && n > 0 {
			if limit := left.Load(); limit >= 0 && int64(n) >= limit {
				_, _ = to.Write(buffer[:limit])
				l.cut()
				return
			} else if limit >= 0 {
				left.Add(-int64(n))
			}
		}
		if n > 0 {
			if _, werr := to.Write(buffer[:n]); werr != nil {
				l.end()
				return
			}
		}
		if errors.Is(err, io.EOF) {
			_ = to.CloseWrite() // the other direction goes on
			return
		}
		if err != nil {
			l.end()
			return
		}
	}
}

// cut ends the connection, without a goodbye, but so that what was written arrives.
func (l *line) cut() {
	_ = l.client.CloseWrite()
	_ = l.server.Close()
	_ = l.client.CloseRead()
}

func (c *cutter) all() (lines []*line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.lines {
		lines = append(lines, l)
	}
	return lines
}

// cutAll ends all connections.
func (c *cutter) cutAll() {
	for _, l := range c.all() {
		l.end()
	}
}

// refuse has no connections come through, or again.
func (c *cutter) refuse(refuses bool) {
	c.mu.Lock()
	c.refuses = refuses
	c.mu.Unlock()
	if refuses {
		c.cutAll()
	}
}

// stallAll has all connections go silent.
func (c *cutter) stallAll() {
	for _, l := range c.all() {
		l.stalled.Store(true)
	}
}

// harm does something to each connection, perhaps.
func (c *cutter) harm(random *rand.Rand) {
	for _, l := range c.all() {
		how := ""
		switch random.IntN(6) {
		case 0, 1:
			how = "cut"
			l.end()
		case 2:
			how = "stalled"
			l.stalled.Store(true)
		case 3, 4:
			how = "cut in the middle"
			l.left.Store(int64(1 + random.IntN(2000)))
		}
		if how != "" {
			c.mu.Lock()
			c.cuts[how]++
			c.mu.Unlock()
		}
	}
}
