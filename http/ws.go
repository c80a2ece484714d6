package http

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"tidings/realtime"
)

// Small buffers: gorilla/websocket does the handshake alone.
var upgrader = websocket.Upgrader{
	ReadBufferSize:  128,
	WriteBufferSize: 512,
	WriteBufferPool: &sync.Pool{},
	CheckOrigin:     func(*http.Request) bool { return true }, // originPolicy has decided

	EnableCompression: true, // where negotiate has left an offer
}

// serveWS has a connection speak the dialect: commands that name channels.
func (s *Server) serveWS(plain *dialect) http.HandlerFunc {
	deflating := plain.deflating(s.options.CompressMinBytes)
	return func(w http.ResponseWriter, r *http.Request) {
		d := plain
		if s.negotiate(r.Header) {
			d = deflating
		}
		id, bad := s.identify(r)
		if bad != nil && r.Header.Get("Origin") == "" {
			bad.answer(w)
			return
		}
		s.upgrade(w, r, &upgrader, d, func(c *wsConn) {
			sub := s.Hub.NewSubscriber(id, c.kick)
			cmds := &commands{conn: c, sub: sub, bad: bad}
			c.feed, c.protocol = sub, cmds
			if refused := c.identify(id); refused != nil {
				c.refused(refused.code)
				cmds.bad = refused
			}
		})
	}
}

// upgrade makes a WebSocket of a request, which prepare completes. It lives on in a goroutine of its own: the handler's and its buffers
// are let go.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, upgrader *websocket.Upgrader, d *dialect, prepare func(c *wsConn)) {
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		writeError(w, http.StatusUpgradeRequired, "not_a_websocket",
			fmt.Sprintf("this is a WebSocket endpoint: new WebSocket('%s%s?channel=messages')", s.webSocketOrigin(r), r.URL.Path))
		return
	}
	at, refused := s.admit(r)
	if refused != nil {
		refused.answer(w)
		return
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.release(at)
		return // Upgrade has answered
	}
	ctx, cancel := context.WithCancel(context.Background()) // not the request's, which would be kept with all it has
	c := &wsConn{conn: conn{server: s, dialect: d, ctx: ctx, cancel: cancel}, net: ws.NetConn(), seat: at}
	c.reader = bufio.NewReaderSize(c.net, readBuffer)
	c.wire, c.socket = c, socketOf(c.net)
	if below := belowTLS(c.net); below != nil {
		below.push = c.push
	}
	prepare(c)
	if !s.add(&c.conn) {
		_, _ = c.net.Write(d.goodbye(nil, goodbyeShutdown)) // it is the first that is written, and has room
		c.endTenure()
		c.close()
		s.release(at)
		return
	}
	c.watch()
	c.protocol.begin(r.URL.RawQuery, ws.Subprotocol())
	go func() {
		defer s.release(at)
		defer s.remove(&c.conn)
		c.run()
	}()
}

// protocol is what a client says over a WebSocket.
type protocol interface {
	// begin is called once, when the connection has been made.
	begin(query, subprotocol string)
	// command does what a message says. A *realtime.Error is a mistake that the client is told of, and the connection goes on; a goodbye
	// ends it.
	command(op byte, text []byte) error
	// mistake tells the client of one, or returns the goodbye that does.
	mistake(err *realtime.Error) error
	// end is called when the connection has ended.
	end()
	// limit is how many bytes a message has at most.
	limit() int
}

// maxBadFrames is how many frames in a row may make no sense before a client is sent away.
const maxBadFrames = 100

// How long, and for how much, a client that was told goodbye is still heard: what the kernel may hold of what it sent.
const (
	lingerTime  = time.Second
	lingerBytes = 8 << 20
)

// wsConn is one WebSocket connection. Its reader is the goroutine of run.
type wsConn struct {
	conn
	net      net.Conn
	reader   *bufio.Reader
	protocol protocol
	seat     *seat
	pace     *rate.Limiter // of the reader alone; nil: nothing was said yet

	last atomic.Int64 // when something was heard, since clockStart
	// Of the wheel alone.
	slot, place int32
	nextPing    time.Duration // as last
}

// watch has the wheel visit the connection. It is no part of run, whose goroutine stays as long as the connection and needs the less
// memory the less it has done.
func (c *wsConn) watch() {
	c.heard()
	c.nextPing = time.Since(clockStart) + c.server.options.PingInterval
	c.server.wheel.add(c, c.server.options.PingInterval)
}

// run reads from the connection until it ends.
func (c *wsConn) run() {
	defer c.close()
	defer c.server.wheel.remove(c)
	bad := 0
	for {
		err := c.readCommand()
		var refused *realtime.Error
		if !errors.As(err, &refused) {
			bad = 0
		} else if bad++; bad < maxBadFrames {
			err = c.protocol.mistake(refused)
		} else {
			c.refused("bad_frames")
			err = goodbyeBadCommand
		}
		var bye goodbye
		switch {
		case err == nil:
		case errors.As(err, &bye):
			c.leave(bye)
			c.pumps.Wait()
			return
		default:
			c.end(err)
			return
		}
		if c.unread() {
			c.awaitRead()
			c.heard()
		}
	}
}

// heard puts off the moment at which the client is taken for gone.
func (c *wsConn) heard() { c.last.Store(int64(time.Since(clockStart))) }

// clockStart is where the connections' clock begins: it is a monotonic one.
var clockStart = time.Now()

// visit pings the client when it is time, and sends away one of which nothing has been heard for too long. It returns when there
// will be something to do again.
func (c *wsConn) visit() time.Duration {
	o := &c.server.options
	now := time.Since(clockStart)
	if now >= c.nextPing {
		c.nextPing = now + o.PingInterval
		c.say(pingFrame)
		c.feed.Refresh()
	}
	gone := time.Duration(c.last.Load()) + o.PingInterval + o.PongTimeout
	if now >= gone {
		c.leave(goodbyeSilent)
		return o.PingInterval
	}
	return min(c.nextPing, gone) - now
}

var pingFrame = appendControl(nil, opPing, nil)

// readCommand reads one message and does what it says. A *realtime.Error is the client's mistake, and the connection goes on.
func (c *wsConn) readCommand() error {
	limit := c.protocol.limit()
	op, text, size, err := c.readMessage(limit)
	if err != nil {
		return err
	}
	if c.expelled.Load() {
		return nil // it is read for the close that it may send
	}
	c.heard()
	if size > uint64(limit) {
		return realtime.Errorf(codeFrameTooLarge, "a command has at most %d bytes, not %d", limit, size)
	}
	return c.protocol.command(op, text)
}

// end answers the end of reading: with a goodbye, if there is somebody to hear it.
func (c *wsConn) end(err error) {
	switch {
	case errors.Is(err, errClosed):
		c.leave(goodbyeNormal)
	case errors.Is(err, errProtocol):
		c.leave(goodbyeProtocol)
	case errors.Is(err, errCorrupt):
		c.leave(goodbyeCorrupt)
	case errors.Is(err, errFarTooLarge):
		c.refused(string(codeFrameTooLarge))
		c.leave(goodbyeTooLarge)
	default:
		return // the network's end, or nothing came behind our own goodbye
	}
	c.pumps.Wait()
}

// said waits a moment for the other side's close, which ends the reader.
func (c *wsConn) said() {
	_ = c.net.SetReadDeadline(time.Now().Add(lingerTime)) // a closed connection says so when it is read
}

// abort ends the connection at once.
func (c *wsConn) abort() {
	c.cancel()
	if below := belowTLS(c.net); below != nil {
		_ = below.Close() // TLS itself would first say so, and wait for who takes nothing
		return
	}
	_ = c.net.Close() // there is nobody to tell
}

// close is run's end.
func (c *wsConn) close() {
	c.protocol.end()
	if c.gone() {
		c.linger()
	}
	c.abort()
	c.pumps.Wait()
}

// linger lets a goodbye arrive: a connection that is closed while something that the client sent is unread takes back
// what the client has not read yet.
func (c *wsConn) linger() {
	if below := belowTLS(c.net); below != nil {
		below.push = nil // nobody writes any more, and TLS's own last word is not waited for
	}
	half, ok := c.net.(interface{ CloseWrite() error })
	deadline := time.Now().Add(lingerTime)
	if !ok || half.CloseWrite() != nil || c.net.SetReadDeadline(deadline) != nil {
		return
	}
	n, err := io.Copy(io.Discard, io.LimitReader(c.net, lingerBytes))
	if err == nil && n == lingerBytes {
		// It goes on sending. It has the rest of the time to read.
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.ctx.Done():
		}
	}
}
