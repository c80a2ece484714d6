//go:build !linux

package http

// usedByProcess is not known here: other systems tell of the peak of a process's memory only, or of nothing.
func usedByProcess() *process { return nil }
