//go:build unix

package http

import (
	"net"
	"syscall"
)

// socketOf returns what a socketWriter can write to; nil: nothing.
func socketOf(c net.Conn) syscall.RawConn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil // TLS, say
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// socketWriter writes to sockets without waiting for them.
type socketWriter struct {
	frames []byte
	n      int
	once   func(fd uintptr) // made once: a closure for each write would have to be allocated
}

func (w *socketWriter) init() {
	w.once = func(fd uintptr) {
		for {
			// Not write(2), which goes by way of the file system's part of the kernel first.
			n, err := syscall.SendmsgN(int(fd), w.frames, nil, nil, 0)
			if err == syscall.EINTR {
				continue
			}
			w.n = max(0, n)
			return
		}
	}
}

// write returns how much it could write. Whether that is because of the client or of an error, the next write will say.
func (w *socketWriter) write(socket syscall.RawConn, frames []byte) int {
	if len(frames) == 0 {
		return 0
	}
	w.frames, w.n = frames, 0
	// Control and not Write, which would prepare to wait. Nobody else writes meanwhile.
	_ = socket.Control(w.once) // it has been closed: n is 0
	w.frames = nil
	return w.n
}
