package http

import (
	"net/netip"
	"sync"
	"time"
)

// refusals counts what was refused, by code, and says so from time to time: a flood of requests is not to be a flood of lines.
type refusals struct {
	mu     sync.Mutex
	byCode map[string]*refusalCount
}

type refusalCount struct {
	total  uint64
	silent uint64 // since the last line
	logged time.Time
}

// refusalEvery is how often there is a line of a code, at most.
const refusalEvery = 10 * time.Second

// codeRateLimited says that a client has said too much in too short a time.
const codeRateLimited = "rate_limited"

// refused counts a refusal. The code is one of ours, and the path has no query.
func (s *Server) refused(code string, address netip.Addr, path string) {
	s.refusals.mu.Lock()
	if s.refusals.byCode == nil {
		s.refusals.byCode = make(map[string]*refusalCount)
	}
	count := s.refusals.byCode[code]
	if count == nil {
		count = new(refusalCount)
		s.refusals.byCode[code] = count
	}
	count.total++
	count.silent++
	n := count.silent
	now := time.Now()
	say := count.logged.IsZero() || now.Sub(count.logged) >= refusalEvery
	if say {
		count.silent, count.logged = 0, now
	}
	s.refusals.mu.Unlock()
	if !say {
		return
	}
	log := s.Logger.Warn
	if code == notReady.code { // as it is at each start and end
		log = s.Logger.Info
	}
	log("refused", "code", code, "times", n, "address", address.String(), "path", path)
}

// totals are the refusals by code since the start.
func (r *refusals) totals() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	totals := make(map[string]uint64, len(r.byCode))
	for code, count := range r.byCode {
		totals[code] = count.total
	}
	return totals
}
