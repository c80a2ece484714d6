package http

import (
	"cmp"
	"net/netip"
	"sync"
)

// defaultPerAddress is how many connections an address may have where nothing else was said.
const defaultPerAddress = 1000

// seats counts the connections of each address that has some.
type seats struct {
	limit int // of an address; 0: defaultPerAddress, and none for this machine

	mu    sync.Mutex
	taken map[netip.Addr]*seat
}

// seat is what the connections of one address share. Each holds it until it is given back.
type seat struct {
	address netip.Addr
	n       int // of seats.mu
}

// take takes a seat for a connection; nil: the address has all it may have.
func (s *seats) take(address netip.Addr) *seat {
	free := s.limit == 0 && (!address.IsValid() || address.IsLoopback())
	limit := cmp.Or(s.limit, defaultPerAddress)
	address = subscriberLine(address)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == nil {
		s.taken = make(map[netip.Addr]*seat)
	}
	at := s.taken[address]
	if at == nil {
		at = &seat{address: address}
		s.taken[address] = at
	}
	if !free && at.n >= limit {
		return nil
	}
	at.n++
	return at
}

// give gives a seat back.
func (s *seats) give(at *seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.n--; at.n == 0 {
		delete(s.taken, at.address)
	}
}

// subscriberLine is what counts as one address: of IPv6, who has one has 2^64 of them.
func subscriberLine(address netip.Addr) netip.Addr {
	if !address.Is6() || address.IsLoopback() {
		return address
	}
	return netip.PrefixFrom(address, 64).Masked().Addr()
}
