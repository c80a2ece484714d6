package http

import (
	"context"
	"time"
)

// slowEvery is how often there is a line about slow clients, at most.
const slowEvery = time.Minute

// tellOfSlow says from time to time, until ctx ends, that clients were too slow for what is written, if some were.
func (s *Server) tellOfSlow(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for before := s.Hub.Stats().Overflows; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		stats := s.Hub.Stats()
		if stats.Overflows > before {
			s.Logger.Warn("clients were too slow for what is written, and are fed from memory and the log", "times", stats.Overflows-before,
				"behind", stats.Behind, "waiting", stats.Waiting, "subscribers", stats.Subscribers)
		}
		before = stats.Overflows
	}
}
