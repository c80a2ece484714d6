package http

import (
	"fmt"
	"net/http"
	"net/netip"
)

// admit decides whether a client may connect for events, and counts it in until release; otherwise it says why not.
func (s *Server) admit(r *http.Request) (*seat, *refusal) {
	address := s.address(r)
	at, refused := s.admitFrom(address, r)
	if refused != nil {
		s.refused(refused.code, address, r.URL.Path)
	}
	if refused == tooManyFromAddress && r.Header.Get("X-Forwarded-For") != "" && !s.trusts(address) {
		s.unknownProxy.Do(func() {
			s.Logger.Warn("is this a proxy? All its clients count as one address, unless it is given by --trusted-proxy", "address", address.String())
		})
	}
	return at, refused
}

func (s *Server) admitFrom(address netip.Addr, r *http.Request) (*seat, *refusal) {
	switch {
	case !s.origins.allows(r):
		return nil, originNotAllowed(r)
	case s.draining.Load(), s.Hub.Position().IsZero():
		return nil, notReady
	}
	at := s.seats.take(address)
	if at == nil {
		return nil, tooManyFromAddress
	}
	if s.connections.Add(1) > int64(s.options.MaxConnections) {
		s.release(at)
		return nil, &refusal{status: http.StatusServiceUnavailable, retryAfter: 5, code: "too_many_connections",
			message: fmt.Sprintf("the server has its %d connections: come back later", s.options.MaxConnections)}
	}
	return at, nil
}

// release is the reverse of admit.
func (s *Server) release(at *seat) {
	s.connections.Add(-1)
	s.seats.give(at)
}

var tooManyFromAddress = &refusal{status: http.StatusTooManyRequests, retryAfter: 5, code: "too_many_connections_from_address",
	message: "your address has as many connections as one may have: close some, or come back later"}
