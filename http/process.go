package http

import "time"

// process is what this process has used: what a service costs can be seen from outside, and counted by who puts load on it.
type process struct {
	StartedAt   time.Time `json:"started_at"`   // tells one process from the next on the same address
	CPUSeconds  float64   `json:"cpu_seconds"`  // since then, in the program and, for it, in the system
	MemoryBytes uint64    `json:"memory_bytes"` // resident now
}

var startedAt = time.Now().UTC()
