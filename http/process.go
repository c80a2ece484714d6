package http

// process is what this process has used: what a service costs can be seen from outside, and counted by who puts load on it.
type process struct {
	CPUSeconds  float64 `json:"cpu_seconds"`  // since its start, in the program and, for it, in the system
	MemoryBytes uint64  `json:"memory_bytes"` // resident now
}
