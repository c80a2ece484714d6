package http

import (
	"encoding/json"
	"net/http"
	"time"
)

// Health is how the feeding of the hub is doing, as far as it can be proved now.
type Health struct {
	Relay     string        // this instance's part in reading the log by Redis: leading, following or alone; empty: there is no Redis
	Live      bool          // the log is being read
	Listening bool          // the doorbell is heard
	Beating   bool          // what is written from time to time to be heard is heard
	LastRead  time.Time     // zero: never
	Lag       time.Duration // of the last heartbeat, from before it was written until it was published
	Events    uint64        // read since the start
	Logged    uint64        // events that the log has between two positions
	Audited   uint64        // of these, read
	Missing   uint64        // the difference, summed up without sign
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
	type audit struct {
		Logged  uint64 `json:"logged"`
		Read    uint64 `json:"read"`
		Missing uint64 `json:"missing"`
	}
	type events struct {
		Read              uint64 `json:"read"`
		Routed            uint64 `json:"routed"`
		ResumedFromMemory uint64 `json:"resumed_from_memory"`
		ResumedFromLog    uint64 `json:"resumed_from_log"`
		ResumedFromRedis  uint64 `json:"resumed_from_redis"`
		Loaded            uint64 `json:"loaded"`
		Delivered         uint64 `json:"delivered"`
		Judged            uint64 `json:"judged"`
		Queries           uint64 `json:"queries"`
	}
	type graphQL struct {
		Subscriptions int    `json:"subscriptions"`
		Plans         int    `json:"plans"`
		Executions    uint64 `json:"executions"`
		Statements    uint64 `json:"statements"`
	}
	body := struct {
		Ready         bool              `json:"ready"`
		Live          bool              `json:"live"`
		Listening     bool              `json:"listening"`
		Beating       bool              `json:"beating"`
		Stopping      bool              `json:"stopping"`
		Redis         *string           `json:"redis"` // null where there is none
		LastRead      *time.Time        `json:"last_read"`
		LagSeconds    *float64          `json:"lag_seconds"`
		Events        events            `json:"events"`
		Audit         audit             `json:"audit"`
		Connections   int64             `json:"connections"`
		Subscriptions map[string]int    `json:"subscriptions"`
		GraphQL       *graphQL          `json:"graphql"` // null where there is no /graphql
		RecentBytes   int               `json:"recent_bytes"`
		Refused       map[string]uint64 `json:"refused"` // by code, since the start
		Process       *process          `json:"process"` // null where the system doesn't tell
	}{
		Ready: h.Live && h.Listening && h.Beating && !stopping,
		Live:  h.Live, Listening: h.Listening, Beating: h.Beating, Stopping: stopping,
		Events:      events{h.Events, stats.Routed, stats.ResumedFromMemory, stats.ResumedFromLog, stats.ResumedFromRelay, stats.Loaded, stats.Delivered, stats.Judged, stats.Reads},
		Audit:       audit{h.Logged, h.Audited, h.Missing},
		Connections: s.connections.Load(), Subscriptions: stats.Subscriptions, RecentBytes: stats.Recent,
		Refused: s.refusals.totals(stats.Refused), Process: usedByProcess(),
	}
	if s.Graph != nil {
		g := graphQL(s.Graph.Stats())
		body.GraphQL = &g
	}
	if h.Relay != "" {
		body.Redis = &h.Relay
	}
	if h.Lag > 0 {
		lag := h.Lag.Seconds()
		body.LagSeconds = &lag
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
