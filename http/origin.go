package http

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// originPolicy decides whose pages may open a connection. A browser sends along what it knows of the user to any
// server, so a page of somebody else's must not be able to use it.
type originPolicy struct {
	any     bool
	allowed map[string]bool
}

func newOriginPolicy(origins []string) originPolicy {
	p := originPolicy{allowed: make(map[string]bool)}
	for _, o := range origins {
		if o == "*" {
			p.any = true
		}
		p.allowed[strings.ToLower(strings.TrimSuffix(o, "/"))] = true
	}
	return p
}

// allows reports whether the request may open a connection. One without an Origin is not from a browser's page.
func (p originPolicy) allows(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || p.any || p.allowed[strings.ToLower(origin)] {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	// A page on this machine and a server on this machine, whatever their ports: what one develops with. A foreign
	// page that has a name of its own point here has that name in its Origin.
	return isLoopback(u.Host) && isLoopback(r.Host)
}

// trusts reports whether the request's cookies may count: a page of another origin that may connect is not one that may act for the user,
// unless it is allowed by its name.
func (p originPolicy) trusts(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		site := r.Header.Get("Sec-Fetch-Site") // browsers say it with requests that have no Origin
		return site == "" || site == "same-origin" || site == "none"
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) || p.allowed[strings.ToLower(origin)]
}

// isLoopback reports whether a host, with or without a port, is a name of this machine that nobody else can give.
func isLoopback(hostport string) bool {
	addr, ok := addressOf(hostport)
	return ok && addr.IsLoopback()
}

// isAddress reports whether a host, with or without a port, is a name that nobody can point elsewhere: an address, or localhost.
func isAddress(hostport string) bool {
	_, ok := addressOf(hostport)
	return ok
}

func addressOf(hostport string) (netip.Addr, bool) {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return netip.IPv6Loopback(), true
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil
}

// allowOrigin lets a page of another origin that may connect read the answer, as CORS has it.
func (s *Server) allowOrigin(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && s.origins.allows(r) {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		if s.origins.trusts(r) {
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
	}
}

// servePreflight answers what a browser asks before it lets a page send headers of its own.
func (s *Server) servePreflight(w http.ResponseWriter, r *http.Request) {
	s.preflight(w, r, "GET", "Authorization, Last-Event-ID, Cache-Control")
}

func (s *Server) serveGraphPreflight(w http.ResponseWriter, r *http.Request) {
	s.preflight(w, r, "GET, POST", "Authorization, Content-Type, Last-Event-ID, Cache-Control")
}

func (s *Server) preflight(w http.ResponseWriter, r *http.Request, methods, headers string) {
	s.allowOrigin(w, r)
	w.Header().Set("Access-Control-Allow-Methods", methods)
	w.Header().Set("Access-Control-Allow-Headers", headers)
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}
