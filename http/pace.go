package http

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// newPace limits what one client says, or one user by all of his connections.
func (s *Server) newPace() *rate.Limiter {
	return rate.NewLimiter(rate.Limit(s.options.MaxCommandsPerSecond), s.options.CommandBurst)
}

// tooSoon is after how long the client may say the next thing; 0: now, and it has. It is for the reader alone.
func (c *wsConn) tooSoon() time.Duration {
	pace := c.pace
	if p := c.person(); p != nil {
		pace = p.pace
	} else if pace == nil { // most say nothing at all
		pace = c.server.newPace()
		c.pace = pace
	}
	now := time.Now()
	turn := pace.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait > 0 {
		turn.CancelAt(now) // it is not done later either
		c.refused(codeRateLimited)
	}
	return wait
}

// inMilliseconds rounds up: who comes back then is not too early again.
func inMilliseconds(d time.Duration) int64 {
	return int64(math.Ceil(float64(d) / float64(time.Millisecond)))
}
