//go:build !unix

package http

import (
	"net"
	"syscall"
)

// socketOf returns nil: sockets can only be written to by waiting.
func socketOf(net.Conn) syscall.RawConn { return nil }

type socketWriter struct{}

func (*socketWriter) init() {}

func (*socketWriter) write(syscall.RawConn, []byte) int { return 0 }
