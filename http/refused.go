package http

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"tidings/http/graph"
	"tidings/realtime"
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
	last   refused
}

// refused is who was refused something, and where.
type refused struct {
	address netip.Addr
	path    string
}

// refusalEvery is how often there is a line of a code, at most.
const refusalEvery = 10 * time.Second

// suspicious are the codes that whoever runs the service may want to look into; others are of requests that make no sense.
var suspicious = map[string]bool{
	"unauthenticated": true, "forbidden": true, "origin_not_allowed": true, "revoked": true,
	codeRateLimited: true, "too_many_attempts": true, "too_many_connections": true, tooManyFromAddress.code: true,
	string(codeFrameTooLarge): true, "bad_frames": true, "body_too_large": true,
}

// codeRateLimited says that a client has said too much in too short a time.
const codeRateLimited = "rate_limited"

// refused counts what a WebSocket was refused.
func (c *wsConn) refused(code string) { c.server.refused(code, c.seat.address, c.dialect.path) }

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
	last := refused{address, path}
	count.last = last
	var times uint64
	if now := time.Now(); now.Sub(count.logged) >= refusalEvery {
		times = count.told(now)
	}
	s.refusals.mu.Unlock()
	if times > 0 {
		s.tellOfRefused(code, times, last)
	}
}

// told is how often it was since the last line: now there is one.
func (c *refusalCount) told(now time.Time) uint64 {
	times := c.silent
	c.silent, c.logged = 0, now
	return times
}

// tellOfRefusals says until ctx ends what was refused since the last line of the same code, where none has come after it that says so: a
// flood that is over in a moment would be one refusal in the log.
func (s *Server) tellOfRefusals(ctx context.Context) {
	tick := time.NewTicker(refusalEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.tellOfSilent(now)
		}
	}
}

func (s *Server) tellOfSilent(now time.Time) {
	type line struct {
		code  string
		times uint64
		last  refused
	}
	var lines []line
	s.refusals.mu.Lock()
	for code, count := range s.refusals.byCode {
		if count.silent > 0 && now.Sub(count.logged) >= refusalEvery {
			lines = append(lines, line{code, count.told(now), count.last})
		}
	}
	s.refusals.mu.Unlock()
	for _, l := range lines {
		s.tellOfRefused(l.code, l.times, l.last)
	}
}

func (s *Server) tellOfRefused(code string, times uint64, last refused) {
	log := s.Logger.Warn
	switch {
	case code == notReady.code: // as it is at each start and end
		log = s.Logger.Info
	case !suspicious[code]:
		log = s.Logger.Debug
	}
	log("refused", "code", code, "times", times, "address", last.address.String(), "path", last.path)
}

// refusedGraph counts what an answer of GraphQL refuses.
func (s *Server) refusedGraph(r *graph.Response, address netip.Addr) {
	for _, code := range r.Codes {
		s.refused(strings.ToLower(code), address, graphDialect.path)
	}
}

// totals are the refusals by code since the start, with those of channels, which the hub has counted.
func (r *refusals) totals(ofChannels map[realtime.Code]uint64) map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	totals := make(map[string]uint64, len(r.byCode))
	for code, count := range r.byCode {
		totals[code] = count.total
	}
	for code, n := range ofChannels {
		totals[string(code)] += n
	}
	return totals
}
