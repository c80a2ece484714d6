package http

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

// crowd notices when many clients have come, and gives back to the system what their handshakes needed and their connections
// do not: the runtime would keep it for a long time.
type crowd struct {
	came atomic.Int64
	last atomic.Int64 // when one did, since clockStart
}

const (
	// crowdSize is how many must have come, and crowdCalm how long ago the last one.
	crowdSize = 1000
	crowdCalm = 3 * time.Second
)

func (c *crowd) add() {
	c.came.Add(1)
	c.last.Store(int64(time.Since(clockStart)))
}

// settle is to be called from time to time.
func (c *crowd) settle() {
	if n := c.came.Load(); n >= crowdSize && time.Since(clockStart)-time.Duration(c.last.Load()) > crowdCalm {
		c.came.Add(-n)
		debug.FreeOSMemory()
	}
}
