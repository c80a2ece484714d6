package http

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// usedByProcess reads what this process has used; nil where the system doesn't tell, as without /proc.
func usedByProcess() *process {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return nil
	}
	sizes, err := os.ReadFile("/proc/self/statm") // in pages: the whole size, and what of it is resident
	if err != nil {
		return nil
	}
	fields := bytes.Fields(sizes)
	if len(fields) < 2 {
		return nil
	}
	resident, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return nil
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return &process{StartedAt: startedAt, CPUSeconds: cpu.Seconds(), MemoryBytes: resident * uint64(os.Getpagesize())}
}
