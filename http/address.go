package http

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ParseProxy reads an address, or a range of them as 10.0.0.0/8, of proxies that say truly whom they speak for.
func ParseProxy(text string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Masked(), nil
	}
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a range of them, such as 10.0.0.0/8", text)
	}
	address = address.Unmap()
	return netip.PrefixFrom(address, address.BitLen()), nil
}

// remoteAddress is where the request's connection comes from; zero: not from a network.
func remoteAddress(r *http.Request) netip.Addr {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap().WithZone("")
}

// address is whose request it is: where its connection comes from or, if that is a trusted proxy, whom it speaks for. Each proxy appends
// to X-Forwarded-For where it has the request from, so what stands left of an address that is not trusted may be invented.
func (s *Server) address(r *http.Request) netip.Addr {
	client := remoteAddress(r)
	if !s.trusts(client) {
		return client
	}
	for _, line := range slices.Backward(r.Header.Values("X-Forwarded-For")) {
		for line != "" {
			comma := strings.LastIndexByte(line, ',')
			said, ok := forwardedAddress(line[comma+1:])
			if !ok {
				return client
			}
			if client = said; !s.trusts(client) {
				return client
			}
			line = line[:max(comma, 0)]
		}
	}
	return client
}

// forwardedAddress reads an address as proxies write it, some with a port.
func forwardedAddress(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	address, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}, false
		}
		address = withPort.Addr()
	}
	return address.Unmap().WithZone(""), true
}

// trusts reports whether an address is a trusted proxy's.
func (s *Server) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(s.options.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(address) })
}

// secure reports whether the client has come by TLS, to us or to a trusted proxy.
func (s *Server) secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") && s.trusts(remoteAddress(r))
}
