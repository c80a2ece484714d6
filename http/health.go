package http

import (
	"encoding/json"
	"net/http"
	"time"
)

// Health is how the feeding of the hub is doing, as far as it can be proved now.
type Health struct {
	Live      bool          // the log is being read
	Listening bool          // the doorbell is heard
	LastRead  time.Time     // zero: never
	Lag       time.Duration // of the newest event
	Events    uint64        // read since the start
}

// serveHealthz says that the process is alive.
func (s *Server) serveHealthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("alive\n"))
}

// serveReadyz says whether clients get what is committed: 200 or, as soon as that is not certain, 503.
func (s *Server) serveReadyz(w http.ResponseWriter, _ *http.Request) {
	h := s.Health()
	stats := s.Hub.Stats()
	stopping := s.stopping.Load()
	body := struct {
		Ready         bool           `json:"ready"`
		Live          bool           `json:"live"`
		Listening     bool           `json:"listening"`
		Stopping      bool           `json:"stopping"`
		LastRead      *time.Time     `json:"last_read"`
		LagSeconds    float64        `json:"lag_seconds"`
		EventsRead    uint64         `json:"events_read"`
		Connections   int64          `json:"connections"`
		Subscriptions map[string]int `json:"subscriptions"`
		RecentBytes   int            `json:"recent_bytes"`
	}{
		Ready: h.Live && h.Listening && !stopping, Live: h.Live, Listening: h.Listening, Stopping: stopping,
		LagSeconds: h.Lag.Seconds(), EventsRead: h.Events,
		Connections: s.connections.Load(), Subscriptions: stats.Subscriptions, RecentBytes: stats.Recent,
	}
	if !h.LastRead.IsZero() {
		body.LastRead = &h.LastRead
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !body.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
