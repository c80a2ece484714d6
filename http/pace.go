package http

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// tooSoon is after how long the client may say the next thing; 0: now, and it has. It is for the reader alone.
func (c *wsConn) tooSoon() time.Duration {
	o := &c.server.options
	if c.pace == nil { // most say nothing at all
		c.pace = rate.NewLimiter(rate.Limit(o.MaxCommandsPerSecond), o.CommandBurst)
	}
	now := time.Now()
	turn := c.pace.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait > 0 {
		turn.CancelAt(now) // it is not done later either
		c.server.refused(codeRateLimited, c.seat.address, c.dialect.path)
	}
	return wait
}

// inMilliseconds rounds up: who comes back then is not too early again.
func inMilliseconds(d time.Duration) int64 {
	return int64(math.Ceil(float64(d) / float64(time.Millisecond)))
}
