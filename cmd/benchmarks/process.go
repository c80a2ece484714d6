package main

import "time"

// usage is what a process has used, since its start.
type usage struct {
	cpu      time.Duration
	resident int64 // bytes of memory now
	peak     int64 // and at most so far
}
