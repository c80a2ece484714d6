package http_test

import (
	"net/http"
	"strings"
	"testing"

	tidingshttp "tidings/http"
)

// A page of another origin may read what it may connect to, and nothing else.
func TestCORS(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{AllowedOrigins: []string{"https://app.example.com", "null"}}})
	open := start(t, d.url, options{server: tidingshttp.Options{AllowedOrigins: []string{"*"}}})
	for _, c := range []struct {
		service *service
		origin  string
		allowed bool
	}{
		{s, "https://app.example.com", true}, {s, "null", true}, {s, "http://localhost:3000", true}, {s, "http://" + s.addr, true},
		{s, "https://app.example.com.evil.example", false}, {s, "https://evil.example", false}, {s, "http://app.example.com", false}, {s, "", true},
		{open, "https://evil.example", true}, {open, "null", true},
	} {
		header := http.Header{}
		if c.origin != "" {
			header.Set("Origin", c.origin)
		}
		check := func(what string, got http.Header) {
			t.Helper()
			want := c.origin
			if !c.allowed {
				want = ""
			}
			if allow := got.Get("Access-Control-Allow-Origin"); allow != want || !strings.Contains(strings.Join(got.Values("Vary"), ","), "Origin") {
				t.Errorf("%s from %q: got %q, Vary %q; want %q", what, c.origin, allow, got.Values("Vary"), want)
			}
		}
		status := http.StatusOK
		if !c.allowed {
			status = http.StatusForbidden
		}
		a := c.service.request("GET", "/channels/messages", header)
		check("GET /channels", a.header)
		if a.status != status || !c.allowed && !strings.Contains(a.body, "origin_not_allowed") {
			t.Errorf("from %q: got %d, %s", c.origin, a.status, a.body)
		}
		// Its program may read what went wrong, too.
		check("GET /channels/nothing", c.service.request("GET", "/channels/nothing", header).header)
		check("GET /events?channel=nothing", c.service.request("GET", "/events?channel=nothing", header).header)
		e, err := c.service.openEvents("HTTP/1.1", "/events?channel=messages", header)
		if err != nil {
			t.Fatal(err)
		}
		check("GET /events", e.header)
		if e.status != status {
			t.Errorf("GET /events from %q: got %d", c.origin, e.status)
		}
		e.close()

		header.Set("Access-Control-Request-Method", "GET")
		header.Set("Access-Control-Request-Headers", "last-event-id")
		for _, path := range []string{"/events", "/channels/messages", "/channels/messages:5"} {
			a := c.service.request("OPTIONS", path, header)
			check("OPTIONS "+path, a.header)
			if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Methods") != "GET" ||
				!strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Last-Event-ID") || a.header.Get("Access-Control-Max-Age") == "" {
				t.Errorf("OPTIONS %s from %q: got %d, %v", path, c.origin, a.status, a.header)
			}
		}
	}
	if a := s.request("GET", "/events?channel=messages", http.Header{"Origin": {"https://evil.example"}, "Accept": {"text/event-stream"}}); a.status != http.StatusForbidden {
		t.Errorf("got %d, %s", a.status, a.body)
	}
}
