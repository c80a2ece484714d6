package http_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	tidingshttp "tidings/http"
)

// Whatever is answered has the headers that keep browsers from doing with it what nobody meant.
func TestSecureHeaders(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
	for _, path := range []string{
		"/", "/page/app.js", "/page/none.js", "/healthz", "/readyz", "/channels/messages", "/channels/nothing", "/events", "/ws", "/nothing",
		"/graphql", "/graphql?query=%7B__typename%7D", "/graphql/schema.graphql", "/graphql/files/none/none.js",
	} {
		accept := http.Header{}
		page := path == "/"
		if path == "/graphql" {
			accept.Set("Accept", "text/html")
			page = true
		}
		a := s.request("GET", path, accept)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Strict-Transport-Security": "",
		} {
			if got := a.header[name]; want != "" && (len(got) != 1 || got[0] != want) || want == "" && got != nil {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		policy := a.header["Content-Security-Policy"]
		if len(policy) != 1 || !strings.HasPrefix(policy[0], "default-src 'none'; ") || !strings.Contains(policy[0], "frame-ancestors 'none'") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
		if got := a.header.Get("Permissions-Policy"); page != strings.Contains(got, "camera=()") {
			t.Errorf("%s: the permissions are %q", path, got)
		}
		// Behind a proxy that ends TLS, it is as with TLS.
		accept.Set("X-Forwarded-Proto", "https")
		a = s.request("GET", path, accept)
		if a.header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: Strict-Transport-Security is missing", path)
		}
		if page && !strings.Contains(a.header.Get("Content-Security-Policy"), " wss://") {
			t.Errorf("%s: the policy is %q", path, a.header["Content-Security-Policy"])
		}
	}
	stranger := start(t, d.url, options{})
	if a := stranger.request("GET", "/", http.Header{"X-Forwarded-Proto": {"https"}}); a.header.Get("Strict-Transport-Security") != "" {
		t.Error("anybody may say that he has come by TLS")
	}
}

// What is in a query, a token perhaps, is in no line of the log, whatever is wrong with the request.
func TestQueryIsNotLogged(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	log := new(logged)
	s := start(t, d.url, options{logger: log.logger(), server: tidingshttp.Options{MaxConnectionsPerAddress: 1, MaxCommandsPerSecond: 1, CommandBurst: 1}})
	const marker = "eyJhbGciOiJub25lIn0"
	held := s.dialQuery(url.Values{"channel": {"messages", marker}, "since": {marker}}.Encode())
	held.send(`{"type":"ping"}`)
	held.send(`{"type":"subscribe","channel":"` + marker + `"}`)
	foreign := http.Header{"Origin": {"https://evil.example.com"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	for _, path := range []string{
		"/", "/ws", "/ws/events", "/events", "/channels/messages", "/graphql", "/healthz", "/readyz", "/nothing", "/page/none",
		"/graphql/schema.graphql",
	} {
		for _, query := range []string{
			"?token=" + marker, "?channel=messages&token=" + marker, "?query=" + marker, "?id=" + marker, "?after=" + marker, "?a;b=" + marker, "?" + marker + "%zz",
		} {
			for _, header := range []http.Header{nil, handshake, foreign, {"Accept": {"text/event-stream"}}} {
				s.request("GET", path+query, header)
			}
		}
	}
	for _, line := range []string{
		"GET /?" + marker + " HTTP/9.9", "GET /?" + marker, "GET /%zz?" + marker + " HTTP/1.1", "BAD METHOD /?" + marker + " HTTP/1.1",
		"GET /ws?" + marker + " HTTP/1.1\r\nHost: a\r\nHost: b", "GET /ws?" + marker + " HTTP/1.1\r\nContent-Length: -1",
		"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + marker, "\x16\x03\x01" + marker,
	} {
		sendLine(t, s, line)
	}
	s.end()
	if strings.Contains(log.String(), marker) {
		t.Errorf("it is in the log:\n%s", log)
	}
	if !strings.Contains(log.String(), "code=origin_not_allowed") || !strings.Contains(log.String(), "code=rate_limited") {
		t.Errorf("the refusals are not in the log:\n%s", log)
	}
}

// sendLine sends what is hardly a request, and waits until it was answered, or not.
func sendLine(t *testing.T, s *service, line string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(line + "\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite() // it may be cut
	_, _ = io.Copy(io.Discard, conn)
}

// Who announces a body and does not send it is not waited for, whatever he asks for.
func TestBodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	for _, path := range []string{"/nothing", "/graphql", "/channels/messages"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			_, err = conn.Write([]byte("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("it is waited for: %v", err)
			}
		})
	}
}
