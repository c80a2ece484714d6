package http

import (
	"net"
	"net/http"
)

// remoteAddress is the address that a request comes from, without its port.
func remoteAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
