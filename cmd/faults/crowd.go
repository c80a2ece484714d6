package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is all clients.
type crowd struct {
	stage    *stage
	clients  []*client
	arrived  sync.WaitGroup // until all have been subscribed once
	group    sync.WaitGroup
	end      context.CancelFunc
	restless atomic.Bool // they come and go
	told     atomic.Int64

	mu       sync.Mutex
	away     map[*client]chan struct{} // who must stay away until the channel is closed
	oddities map[string]int            // what nobody should be told, and how often it was
	reasons  map[string]int            // of resets
	goodbyes map[int]int
}

// channelsOf spreads clients over channels of all kinds.
func channelsOf(n int) []string {
	key, other, hot := 1+n/8%commentKeys, 1+(n/8+3)%commentKeys, 1+n/8%hotRows
	return [][]string{
		{"messages"},
		{"comments"},
		{"messages", "comments"},
		{fmt.Sprintf("comments:%d", key)},
		{"messages", fmt.Sprintf("comments:%d", key)},
		{fmt.Sprintf("comments:%d", key), fmt.Sprintf("comments:%d", other)},
		{fmt.Sprintf("comments:%d", key), "comments"},
		{fmt.Sprintf("messages:%d", hot), fmt.Sprintf("comments:%d", key)},
	}[n%8]
}

func newCrowd(s *stage, n int) *crowd {
	c := &crowd{stage: s, away: make(map[*client]chan struct{}), oddities: make(map[string]int),
		reasons: make(map[string]int), goodbyes: make(map[int]int)}
	for i := range n + guestsOf(n) {
		one := &client{number: i, crowd: c, channels: channelsOf(i), graphQL: overGraphQL(i), user: userOf(i)}
		switch {
		case i >= n:
			one.channels, one.graphQL, one.user, one.guest = []string{"presence"}, false, int64(users+1+i-n), newGuest()
		case one.user != 0:
			one.channels = privateChannelsOf(i)
		}
		one.record = record{user: one.user, channels: one.channels, segments: make([]segment, 1)}
		if s.fault.pace != nil {
			one.pace = s.fault.pace(i)
		}
		c.clients = append(c.clients, one)
	}
	return c
}

// start returns when all have been subscribed.
func (c *crowd) start(ctx context.Context) error {
	ctx, c.end = context.WithCancel(ctx)
	c.arrived.Add(len(c.clients))
	for _, one := range c.clients {
		c.group.Go(func() { one.run(ctx) })
	}
	all := make(chan struct{})
	go func() {
		c.arrived.Wait()
		close(all)
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late.C:
		return fmt.Errorf("not all clients were subscribed within %s: %s", patience, strings.Join(c.odd(), "; "))
	}
}

// close ends all clients.
func (c *crowd) close() {
	if c.end == nil {
		return
	}
	c.end()
	c.group.Wait()
}

// lifetime is how long a client stays.
func (c *crowd) lifetime() time.Duration {
	return 100*time.Millisecond + time.Duration(rand.ExpFloat64()*float64(2*time.Second))
}

// admitted waits until the client may come. It returns false if ctx ended.
func (c *crowd) admitted(ctx context.Context, one *client) bool {
	c.mu.Lock()
	back := c.away[one]
	c.mu.Unlock()
	if back != nil {
		select {
		case <-back:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// sendAway has clients leave, and not come back until the function that it returns is called. It returns when they have left.
func (c *crowd) sendAway(ctx context.Context, chosen func(n int) bool) (callBack func()) {
	back := make(chan struct{})
	c.mu.Lock()
	for _, one := range c.clients {
		if chosen(one.number) {
			c.away[one] = back
		}
	}
	c.mu.Unlock()
	for _, one := range c.clients {
		if chosen(one.number) {
			one.mu.Lock()
			if one.leave != nil {
				go one.leave()
			}
			one.mu.Unlock()
		}
	}
	for c.connected(chosen) > 0 && pause(ctx, 20*time.Millisecond) {
	}
	return func() {
		c.mu.Lock()
		clear(c.away)
		c.mu.Unlock()
		close(back)
	}
}

// connected is how many of those chosen have a connection.
func (c *crowd) connected(chosen func(n int) bool) (n int) {
	for _, one := range c.clients {
		one.mu.Lock()
		if chosen(one.number) && one.leave != nil {
			n++
		}
		one.mu.Unlock()
	}
	return n
}

// strange notes what nobody should be told.
func (c *crowd) strange(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.oddities[fmt.Sprintf(format, args...)]++
}

func (c *crowd) reset(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reasons[reason]++
}

func (c *crowd) goodbye(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goodbyes[code]++
}

// odd lists what was strange.
func (c *crowd) odd() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for what, times := range c.oddities {
		all = append(all, fmt.Sprintf("%d times a client was told: %s", times, what))
	}
	return all
}

// moves is how often somebody came to another instance than the one before.
func (c *crowd) moves() (n int) {
	for _, one := range c.clients {
		one.mu.Lock()
		n += one.moves
		one.mu.Unlock()
	}
	return n
}

// connections is how often somebody came.
func (c *crowd) connections() (n int) {
	for _, one := range c.clients {
		one.mu.Lock()
		n += one.connections
		one.mu.Unlock()
	}
	return n
}
