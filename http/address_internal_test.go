package http

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
)

// Whom a request comes from is what trusted proxies say, and nobody else.
func TestAddress(t *testing.T) {
	t.Parallel()
	trusted := []string{"10.0.0.0/8", "::1", "2001:db8:f::/48"}
	for _, c := range []struct {
		peer      string
		forwarded []string // a line each
		want      string
	}{
		{"192.0.2.1:1000", nil, "192.0.2.1"},
		{"[2001:db8::1]:1000", nil, "2001:db8::1"},
		{"[fe80::1%eth0]:1000", nil, "fe80::1"},
		{"[::ffff:192.0.2.1]:1000", nil, "192.0.2.1"},
		{"192.0.2.1:1000", []string{"198.51.100.7"}, "192.0.2.1"}, // anybody may say so
		{"10.0.0.1:1000", []string{"198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:1000", []string{"198.51.100.7:4711"}, "198.51.100.7"},
		{"10.0.0.1:1000", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{"10.0.0.1:1000", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"10.0.0.1:1000", []string{"2001:db8::7"}, "2001:db8::7"},
		{"10.0.0.1:1000", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:1000", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"}, // what is on the left he has invented
		{"10.0.0.1:1000", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:1000", []string{"203.0.113.9,198.51.100.7,10.2.3.4"}, "198.51.100.7"},
		{"10.0.0.1:1000", []string{"198.51.100.7", "2001:db8:f::1, ::1"}, "198.51.100.7"},
		{"[2001:db8:f::1]:1000", []string{"198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:1000", []string{"10.1.1.1, 10.2.2.2"}, "10.1.1.1"}, // one of the proxies' own network
		{"10.0.0.1:1000", nil, "10.0.0.1"},
		{"10.0.0.1:1000", []string{""}, "10.0.0.1"},
		{"10.0.0.1:1000", []string{"unknown"}, "10.0.0.1"},
		{"10.0.0.1:1000", []string{"198.51.100.7, unknown"}, "10.0.0.1"},
		{"10.0.0.1:1000", []string{"198.51.100.7, unknown, 10.5.5.5"}, "10.5.5.5"},
		{"10.0.0.1:1000", []string{"198.51.100.7,"}, "10.0.0.1"},
		{"10.0.0.1:1000", []string{",,,,"}, "10.0.0.1"},
		{"@", []string{"198.51.100.7"}, "invalid IP"},
	} {
		t.Run(fmt.Sprintf("%s %q", c.peer, c.forwarded), func(t *testing.T) {
			t.Parallel()
			s := new(Server)
			for _, text := range trusted {
				proxy, err := ParseProxy(text)
				if err != nil {
					t.Fatal(err)
				}
				s.options.TrustedProxies = append(s.options.TrustedProxies, proxy)
			}
			r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": c.forwarded}}
			if got := s.address(r).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	for _, text := range []string{"", "proxy.example.com", "10.0.0.0/33", "10.0.0.1:80", "fe80::1%eth0", "*"} {
		if got, err := ParseProxy(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}

// Seats are counted for each address, those of an IPv6 network together, and nothing is kept of addresses that have gone.
func TestSeats(t *testing.T) {
	t.Parallel()
	take := func(s *seats, address string, n int) (taken []*seat) {
		for range n {
			if at := s.take(netip.MustParseAddr(address)); at != nil {
				taken = append(taken, at)
			}
		}
		return taken
	}
	for _, c := range []struct {
		limit     int
		addresses []string // one after another
		want      int      // seats of 2,000 for each
	}{
		{0, []string{"192.0.2.1"}, 1000},
		{0, []string{"192.0.2.1", "192.0.2.2"}, 2000},
		{0, []string{"127.0.0.1"}, 2000},
		{0, []string{"::1"}, 2000},
		{7, []string{"127.0.0.1"}, 7},
		{7, []string{"2001:db8::1", "2001:db8::ffff:1:2:3"}, 7},
		{7, []string{"2001:db8::1", "2001:db8:0:1::1"}, 14},
	} {
		s := &seats{limit: c.limit}
		var taken []*seat
		for _, address := range c.addresses {
			taken = append(taken, take(s, address, 2000)...)
		}
		if len(taken) != c.want {
			t.Errorf("%d, %v: got %d seats, want %d", c.limit, c.addresses, len(taken), c.want)
		}
		for _, at := range taken {
			s.give(at)
		}
		if len(s.taken) != 0 {
			t.Errorf("%d, %v: %d addresses are kept", c.limit, c.addresses, len(s.taken))
		}
	}
}
