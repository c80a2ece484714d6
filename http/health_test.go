package http_test

import (
	"encoding/json"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	if a := s.get("/healthz"); a.status != http.StatusOK || a.body != "alive\n" {
		t.Errorf("/healthz is %d %q", a.status, a.body)
	}
	eventually(t, "the service is ready", s.ready)

	c := s.dial("messages", "messages:1", "comments:7")
	other := s.dial("comments")
	for range 3 {
		d.message("counted")
	}
	for range 3 {
		c.expectRow("message_added", "counted")
	}
	eventually(t, "what was written has been counted", func() bool {
		_, body := s.readyz()
		return body.Events == counts{Read: 6, Routed: 3, Delivered: 3} // each message is an activity as well
	})
	a := s.get("/readyz")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d, %v", a.status, a.header)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(a.body), &fields); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"audit", "beating", "connections", "events", "graphql", "lag_seconds", "last_read", "listening", "live", "process",
		"ready", "recent_bytes", "redis", "refused", "stopping", "subscriptions"}; !slices.Equal(names, want) {
		t.Errorf("got the fields %q, want %q", names, want)
	}
	_, body := s.readyz()
	if !body.Ready || !body.Live || !body.Listening || !body.Beating || body.Stopping || body.Connections != 2 ||
		*body.RecentBytes == 0 || body.LagSeconds != nil && (*body.LagSeconds <= 0 || *body.LagSeconds > 10) || time.Since(*body.LastRead) > 10*time.Second {
		t.Errorf("got %s", a.body)
	}
	if want := `{"comments":2,"messages":2}`; mustJSON(t, body.Subscriptions) != want {
		t.Errorf("got the subscriptions %v, want %s", body.Subscriptions, want)
	}

	if used := body.Process; runtime.GOOS == "linux" && (used == nil || time.Since(used.StartedAt) > time.Hour || used.CPUSeconds <= 0 || used.MemoryBytes < 1<<20 || used.MemoryBytes > 16<<30) {
		t.Errorf("of the process it says %+v", used)
	}

	_ = other.ws.Close()
	_ = c.ws.Close()
	s.awaitConnections(0)
	if _, body := s.readyz(); len(body.Subscriptions) != 0 {
		t.Errorf("with nobody there the subscriptions are %v", body.Subscriptions)
	}
}
