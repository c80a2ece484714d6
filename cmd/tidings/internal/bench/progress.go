package bench

import (
	"context"
	"fmt"
	"time"
)

// progress writes a line now and then, until ctx ends.
func (c *crowd) progress(ctx context.Context, o *Options) {
	if o.Every <= 0 {
		return
	}
	for before, since := int64(0), c.clock.now(); pause(ctx, o.Every); {
		l := c.ledger.Load()
		if l == nil {
			fmt.Fprintf(o.Progress, "connecting: %s of %s subscribers\n", count(c.joined.Load()), count(int64(len(c.subscribers))))
			continue
		}
		what := "measuring"
		now, got := c.clock.now(), c.received()
		switch {
		case c.draining.Load():
			what = "waiting for what is on its way"
		case now < l.measured:
			what = "warming up"
		}
		fmt.Fprintf(o.Progress, "%s, %s: %s rows, %s deliveries (%s/s), %s reconnects\n",
			what, time.Duration(now-l.begun).Round(time.Second), count(l.settled.Load()), count(got),
			count(int64(perSecond(got-before, now-since))), count(c.reconnects.Load()))
		before, since = got, now
	}
}
