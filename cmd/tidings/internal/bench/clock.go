package bench

import (
	"context"
	"time"
)

// clock counts nanoseconds from the run's beginning, which is what rows carry and latencies are differences of.
type clock struct{ epoch time.Time }

func (c clock) now() int64 { return int64(time.Since(c.epoch)) }

// until returns true at the moment given, false if ctx ends before.
func (c clock) until(ctx context.Context, at int64) bool {
	return pause(ctx, time.Duration(at-c.now()))
}

// pause returns true after a time, false if ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
