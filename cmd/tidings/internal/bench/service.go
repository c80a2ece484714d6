package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// readiness is what /readyz says, as far as it matters here.
type readiness struct {
	Ready *bool
	// nil where the service's system doesn't tell.
	Process *struct {
		StartedAt   time.Time `json:"started_at"`
		CPUSeconds  float64   `json:"cpu_seconds"`
		MemoryBytes uint64    `json:"memory_bytes"`
	}
}

// askService asks the service how it is doing.
func askService(ctx context.Context, server *url.URL) (*readiness, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint(server, nil, "readyz").String(), nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be reached: %w", server, unwrapURL(err))
	}
	defer response.Body.Close()
	var r readiness
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil || r.Ready == nil {
		return nil, fmt.Errorf("%s answers %s: is it tidings?", server, response.Status)
	}
	return &r, nil
}

// used is what the service used between two answers; nil if that is not known, as where the second was another process's.
func used(before, after *readiness) *ServiceUsage {
	if before == nil || after == nil || before.Process == nil || after.Process == nil ||
		!before.Process.StartedAt.Equal(after.Process.StartedAt) {
		return nil
	}
	return &ServiceUsage{CPUSeconds: after.Process.CPUSeconds - before.Process.CPUSeconds, MemoryBytes: after.Process.MemoryBytes}
}
