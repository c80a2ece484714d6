package http

import (
	"net"
	"net/http"
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

// writeAnswer writes an answer's body part by part: for a client that takes nothing of it for too long, no more is done.
func (s *Server) writeAnswer(w http.ResponseWriter, body []byte) {
	control := http.NewResponseController(w)
	for len(body) > 0 {
		part := body[:min(len(body), writeSlice)]
		body = body[len(part):]
		_ = control.SetWriteDeadline(time.Now().Add(s.options.StallTimeout)) // where that cannot be, nothing hangs either
		if _, err := w.Write(part); err != nil {
			return // the client is gone
		}
	}
}

// setSendBuffer sets how much the kernel may hold.
func setSendBuffer(c net.Conn, bytes int) {
	if below := belowTLS(c); below != nil {
		c = below.Conn
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(bytes) // the system's own will do as well
	}
}
