//go:build unix

package main

import "syscall"

// filesAllowed is how many files this process may have open; 0: it is not known.
func filesAllowed() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // signed on some systems
}
