package http

import (
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// tlsConn is what is below a connection by TLS. A write that TLS could not finish in time ends the connection, since half a record is none:
// so what has to wait for a slow client, waits here, and TLS sees only writes that were finished, or failed for good.
type tlsConn struct {
	net.Conn
	push func(to net.Conn, b []byte) (int, error) // writes as long as the client takes something; nil: until the deadline
}

// belowTLS is what is below a connection by TLS; nil: it is none.
func belowTLS(c net.Conn) *tlsConn {
	if over, ok := c.(*tls.Conn); ok {
		below, _ := over.NetConn().(*tlsConn)
		return below
	}
	return nil
}

// Write is called by TLS, for one record after another.
func (c *tlsConn) Write(b []byte) (int, error) {
	if c.push == nil {
		return c.Conn.Write(b)
	}
	n, err := c.push(c.Conn, b)
	if !errors.Is(err, errStalled) {
		return n, err
	}
	// The record is finished, so that something can be said behind it, if only the kernel has room.
	c.push = nil
	setSendBuffer(c.Conn, sendBuffer+farewellBuffer)
	if err := c.SetWriteDeadline(time.Now().Add(lingerTime)); err != nil {
		return n, err
	}
	m, err := c.Conn.Write(b[n:])
	return n + m, err
}

// recordSize is how much is given to TLS at a time: what one record holds at most, and a part of writeSlice.
const recordSize = 16 << 10

// writeRecords writes by way of TLS. It returns errStalled, and how much was written, where the client took nothing for too long.
// Where it takes more than a slice, heard is called with each.
func (c *tlsConn) writeRecords(over net.Conn, b []byte, heard func()) (n int, err error) {
	for n < len(b) {
		m, err := over.Write(b[n:min(len(b), n+recordSize)])
		n += m
		if err != nil {
			return n, err
		}
		if c.push == nil {
			return n, errStalled
		}
		if n < len(b) && n%writeSlice == 0 {
			heard()
		}
	}
	return n, nil
}
