package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// connecting is how many connections are being opened at a time.
const connecting = 64

// crowd is all subscribers.
type crowd struct {
	clock       clock
	opener      opener
	channels    int64
	subscribers []*subscriber
	latencies   latencies
	ledger      atomic.Pointer[ledger] // nil until the first row is due
	incidents   incidents
	reconnects  atomic.Int64

	slots    chan struct{} // has a place for each connection that is being opened
	joined   atomic.Int64
	ready    chan struct{} // closed when all are subscribed
	draining atomic.Bool   // all rows are written
}

func newCrowd(o *Options, clock clock, topic string) *crowd {
	c := &crowd{
		clock: clock, opener: newOpener(o.Server, o.Transport), channels: int64(o.Channels),
		subscribers: make([]*subscriber, o.Subscribers), latencies: newLatencies(),
		slots: make(chan struct{}, connecting), ready: make(chan struct{}),
	}
	for i := range c.subscribers {
		channel := int64(i % o.Channels)
		c.subscribers[i] = &subscriber{
			crowd: c, channel: channel, name: fmt.Sprintf("%s:%d", topic, channel),
			batch: batch{shard: c.latencies[i%len(c.latencies)]},
		}
	}
	return c
}

// follow connects all, so many a second, and returns when ctx has ended or one could not be connected.
func (c *crowd) follow(ctx context.Context, perSecond float64) error {
	group, ctx := errgroup.WithContext(ctx)
	begun := c.clock.now()
	for i, s := range c.subscribers {
		if perSecond > 0 && !c.clock.until(ctx, begun+int64(float64(i)*float64(time.Second)/perSecond)) {
			break
		}
		group.Go(func() error { return s.follow(ctx) })
	}
	return group.Wait()
}

// open opens a subscriber's connection when it is its turn.
func (c *crowd) open(ctx context.Context, s *subscriber) (stream, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.slots }()
	return c.opener.open(ctx, s.name, s.cursor)
}

func (c *crowd) join() {
	if c.joined.Add(1) == int64(len(c.subscribers)) {
		close(c.ready)
	}
}

// received is how many different rows have come to each subscriber, summed up.
func (c *crowd) received() (sum int64) {
	for _, s := range c.subscribers {
		sum += s.distinct.Load()
	}
	return sum
}

// drain waits until all subscribers have what they should, or until nothing has come for a while. It returns whether rows
// were still coming when it gave up, after ten times that while.
func (c *crowd) drain(ctx context.Context, rows int64, while time.Duration) (coming bool) {
	want := int64(0)
	for _, s := range c.subscribers {
		want += c.ledger.Load().of(s.channel, rows)
	}
	end := time.Now().Add(10 * while)
	before, since := c.received(), time.Now()
	for {
		got := c.received()
		if got > before {
			before, since = got, time.Now()
		}
		switch {
		case got >= want:
			pause(ctx, 200*time.Millisecond) // what comes twice would come now
			return false
		case time.Since(since) >= while:
			return false
		case time.Now().After(end):
			return true
		}
		if !pause(ctx, 20*time.Millisecond) {
			return false
		}
	}
}
