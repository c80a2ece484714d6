package http

import (
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
	switch {
	case code == notReady.code: // as it is at each start and end
		log = s.Logger.Info
	case !suspicious[code]:
		log = s.Logger.Debug
	}
	log("refused", "code", code, "times", n, "address", address.String(), "path", path)
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
