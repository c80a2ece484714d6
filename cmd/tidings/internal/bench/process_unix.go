//go:build unix

package bench

import (
	"fmt"
	"syscall"
	"time"
)

// ownCPU is what this process has used of the processors since its start.
func ownCPU() (used time.Duration, known bool) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, false
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), true
}

// checkFiles says whether so many connections are more than this process may have open. Go has raised the soft limit to the
// hard one already.
func checkFiles(connections int) error {
	const others = 32 // the terminal, the poller, what asks /readyz
	need := connections + others
	var limit syscall.Rlimit
	// A limit that is not told will be shown by the connections.
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && float64(need) > float64(limit.Cur) {
		return fmt.Errorf("--subscribers: they need %d open files, and %d are allowed here: raise ulimit -n, or run it on several machines", need, limit.Cur)
	}
	return nil
}
