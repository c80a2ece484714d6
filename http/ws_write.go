package http

import (
	"errors"
	"net"
	"slices"
	"time"
)

// write writes frames, of which the first bytes may have been written.
func (c *wsConn) write(frames []byte, written int) error {
	rest := frames[written:]
	if len(rest) == 0 {
		return nil
	}
	n, err := c.writeAll(rest)
	if errors.Is(err, errStalled) {
		return c.giveUp(frames, written+n)
	}
	return err
}

// writeAll returns errStalled, and how much was written, of a client that reads nothing.
func (c *wsConn) writeAll(frames []byte) (n int, err error) {
	if below := belowTLS(c.net); below != nil {
		return below.writeRecords(c.net, frames, c.heard)
	}
	return c.push(c.net, frames)
}

// push writes part by part: a client that reads slowly, but reads, is not cut off in a large event.
func (c *wsConn) push(to net.Conn, b []byte) (n int, err error) {
	moved, patience := time.Now(), slowWrite
	for n < len(b) {
		if err := to.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			return n, err
		}
		m, err := to.Write(b[n:min(len(b), n+writeSlice)])
		n += m
		if m > 0 {
			moved = time.Now()
		}
		var timeout net.Error
		switch {
		case err == nil && n == len(b) && patience == slowWrite:
		case err == nil:
			c.heard() // a ping stands behind this, and who reads it is there
		case !errors.As(err, &timeout) || !timeout.Timeout():
			return n, err
		case time.Since(moved) < c.server.options.StallTimeout:
			c.heard() // a ping stands behind this, and cannot be answered yet
			patience = min(time.Second, c.server.options.StallTimeout)
		default:
			return n, errStalled
		}
	}
	return n, to.SetWriteDeadline(time.Time{}) // the next may be written without waiting
}

// giveUp tells a client that reads nothing so: if it ever reads on, it finds the rest of the frame and a goodbye, for
// which the kernel gets a little more room.
func (c *wsConn) giveUp(frames []byte, written int) error {
	c.server.traffic.goodbye(goodbyeStalled)
	farewell := c.dialect.goodbye(slices.Clone(frames[written:frameEnd(frames, written)]), goodbyeStalled)
	setSendBuffer(c.net, sendBuffer+farewellBuffer)
	if err := c.net.SetWriteDeadline(time.Now().Add(lingerTime)); err != nil {
		return err
	}
	if _, err := c.net.Write(farewell); err != nil {
		return err
	}
	return errStalled
}
