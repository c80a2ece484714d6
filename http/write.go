package http

import (
	"net"
	"time"
)

// writeSlice is how much is written at a time: a client that reads slowly, but reads, shows it.
const writeSlice = 64 << 10

// slowWrite is how long a write may take before it counts as a sign of life: a client with room for it takes no time.
const slowWrite = 100 * time.Millisecond

// sendBuffer bounds what the kernel holds for a client that reads slowly: a ping stands behind it, and must reach the
// client in time to be answered. farewellBuffer comes on top for the last words to one that has stopped reading.
const (
	sendBuffer     = 96 << 10
	farewellBuffer = 96 << 10
)

// setSendBuffer sets how much the kernel may hold.
func setSendBuffer(c net.Conn, bytes int) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(bytes) // the system's own will do as well
	}
}
