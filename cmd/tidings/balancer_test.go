package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// balancer is a load balancer as simple as can be: it hands each connection on to the next instance that says it is ready.
type balancer struct {
	t         testing.TB
	listener  net.Listener
	ctx       context.Context // of all that it does
	group     sync.WaitGroup
	mu        sync.Mutex
	instances []string
	ready     map[string]bool
	turn      int
	slowest   time.Duration // from a look at an instance to the next
}

func balance(t testing.TB, instances ...string) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	b := &balancer{t: t, listener: listener, ctx: ctx, ready: make(map[string]bool)}
	for _, at := range instances {
		b.add(at)
	}
	b.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b.group.Go(func() { b.pass(conn.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		b.group.Wait()
	})
	return b
}

// add has it hand connections on to one more instance.
func (b *balancer) add(at string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.instances = append(b.instances, at)
	b.group.Go(func() { b.look(at) })
}

func (b *balancer) at() string { return b.listener.Addr().String() }

// look asks an instance again and again whether it is ready.
func (b *balancer) look(at string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for last := time.Now(); b.ctx.Err() == nil; {
		request, err := http.NewRequestWithContext(b.ctx, "GET", "http://"+at+"/readyz", nil)
		if err != nil {
			panic(err) // it is one
		}
		response, err := client.Do(request)
		ready := err == nil && response.StatusCode == http.StatusOK
		if err == nil {
			_ = response.Body.Close()
		}
		b.mu.Lock()
		b.ready[at] = ready
		b.slowest = max(b.slowest, time.Since(last))
		last = time.Now()
		b.mu.Unlock()
		select {
		case <-tick.C:
		case <-b.ctx.Done():
		}
	}
}

// awaitReady waits until so many are ready.
func (b *balancer) awaitReady(n int) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("%d instances are ready", n), func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		ready := 0
		for _, is := range b.ready {
			if is {
				ready++
			}
		}
		return ready == n
	})
}

// late reports whether it may have handed connections on to an instance that had not been ready for so long.
func (b *balancer) late(by time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slowest > by
}

// choose is the instance whose turn it is; "": none is ready.
func (b *balancer) choose() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.instances {
		b.turn++
		if at := b.instances[b.turn%len(b.instances)]; b.ready[at] {
			return at
		}
	}
	return ""
}

// pass hands a connection on, and each side's end.
func (b *balancer) pass(client *net.TCPConn) {
	defer client.Close()
	conn, err := new(net.Dialer).DialContext(b.ctx, "tcp", b.choose())
	if err != nil {
		return
	}
	instance := conn.(*net.TCPConn)
	defer instance.Close()
	stop := context.AfterFunc(b.ctx, func() {
		_ = client.Close()
		_ = instance.Close()
	})
	defer stop()
	var group sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{client, instance}, {instance, client}} {
		group.Go(func() {
			from, to := way[0], way[1]
			if _, err := io.Copy(to, from); err != nil && !errors.Is(err, net.ErrClosed) {
				_ = from.Close() // it was broken off
			}
			_ = to.CloseWrite()
		})
	}
	group.Wait()
}
