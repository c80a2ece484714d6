package http

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

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

// serveWS upgrades a request to a connection that speaks the dialect. It lives on in a goroutine of its own: the
// handler's and its buffers are let go.
func (s *Server) serveWS(plain *dialect) http.HandlerFunc {
	deflating := plain.deflating(s.options.CompressMinBytes)
	return func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) {
			w.Header().Set("Upgrade", "websocket")
			writeError(w, http.StatusUpgradeRequired, "not_a_websocket",
				fmt.Sprintf("this is a WebSocket endpoint: new WebSocket('ws://%s%s?channel=messages')", r.Host, r.URL.Path))
			return
		}
		if refused := s.admit(r); refused != nil {
			refused.answer(w)
			return
		}
		d := plain
		if s.negotiate(r.Header) {
			d = deflating
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			s.connections.Add(-1)
			return // Upgrade has answered
		}
		ctx, cancel := context.WithCancel(context.Background()) // not the request's, which would be kept with all it has
		c := &wsConn{conn: conn{server: s, dialect: d, ctx: ctx, cancel: cancel}, net: ws.NetConn()}
		c.reader = bufio.NewReaderSize(c.net, readBuffer)
		c.wire, c.socket = c, socketOf(c.net)
		c.sub = s.Hub.NewSubscriber(c.kick)
		if !s.add(&c.conn) {
			c.close()
			s.connections.Add(-1)
			return
		}
		c.begin(r.URL.RawQuery)
		go func() {
			defer s.connections.Add(-1)
			defer s.remove(&c.conn)
			c.run()
		}()
	}
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
	net    net.Conn
	reader *bufio.Reader

	last atomic.Int64 // when something was heard, since clockStart
	// Of the wheel alone.
	slot, place int
	nextPing    time.Duration // as last
}

// begin subscribes to what the URL asks for. It is no part of run, whose goroutine stays as long as the connection and needs the
// less memory the less it has done.
func (c *wsConn) begin(query string) {
	c.heard()
	c.nextPing = time.Since(clockStart) + c.server.options.PingInterval
	c.server.wheel.add(c, c.server.options.PingInterval)

	want := parseQuery(query)
	for _, err := range want.errs {
		c.sub.Tell(err, realtime.Channel{})
	}
	if len(want.channels) > 0 {
		c.sub.Subscribe(c.ctx, want.channels, want.options)
	}
}

// run reads from the connection until it ends.
func (c *wsConn) run() {
	defer c.close()
	defer c.server.wheel.remove(c)
	bad := 0
	for {
		err := c.readCommand()
		var refused *realtime.Error
		switch {
		case err == nil:
			bad = 0
		case errors.As(err, &refused):
			if bad++; bad < maxBadFrames {
				c.sub.Tell(refused, realtime.Channel{})
			}
		default:
			c.end(err)
			return
		}
		if bad >= maxBadFrames {
			c.leave(goodbyeBadCommand)
			c.pumps.Wait()
			return
		}
		if c.sub.Unread() {
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
		c.sub.Refresh()
	}
	gone := time.Duration(c.last.Load()) + o.PingInterval + o.PongTimeout
	if now >= gone {
		c.leave(goodbyeSilent)
		return o.PingInterval
	}
	return min(c.nextPing, gone) - now
}

var pingFrame = appendControl(nil, opPing, nil)

// readCommand reads one frame and does what it says. A *realtime.Error is the client's mistake, and the connection goes
// on.
func (c *wsConn) readCommand() error {
	limit := c.server.options.MaxFrame
	op, text, size, err := c.readMessage(limit)
	if err != nil {
		return err
	}
	c.heard()
	if size > uint64(limit) {
		return realtime.Errorf(codeFrameTooLarge, "a command has at most %d bytes, not %d", limit, size)
	}
	if op != opClientText {
		return realtime.Errorf(codeBadFrame, "a command is a text frame, not a binary one")
	}
	cmd, channel, bad := parseCommand(text)
	if bad != nil {
		return bad
	}
	switch cmd.Type {
	case "subscribe":
		c.sub.Subscribe(c.ctx, []realtime.Channel{channel}, cmd.options())
	case "unsubscribe":
		c.sub.Unsubscribe(channel)
	case "switch":
		c.sub.Switch(c.ctx, channel, cmd.options())
	case "ping":
		c.sub.Pong()
	}
	return nil
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
		c.leave(goodbyeTooLarge)
	default:
		return // the network's end, or nothing came behind our own goodbye
	}
	c.pumps.Wait()
}

// write writes part by part: a client that reads slowly, but reads, is not cut off in a large event.
func (c *wsConn) write(frames []byte, written int) error {
	rest := frames[written:]
	if len(rest) == 0 {
		return nil
	}
	moved, patience := time.Now(), slowWrite
	for len(rest) > 0 {
		if err := c.net.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		n, err := c.net.Write(rest[:min(len(rest), writeSlice)])
		rest = rest[n:]
		if n > 0 {
			moved = time.Now()
		}
		var timeout net.Error
		switch {
		case err == nil && len(rest) == 0 && patience == slowWrite:
		case err == nil:
			c.heard() // a ping stands behind this, and who reads it is there
		case !errors.As(err, &timeout) || !timeout.Timeout():
			return err
		case time.Since(moved) < c.server.options.StallTimeout:
			c.heard() // a ping stands behind this, and cannot be answered yet
			patience = min(time.Second, c.server.options.StallTimeout)
		default:
			return c.giveUp(frames, len(frames)-len(rest))
		}
	}
	return c.net.SetWriteDeadline(time.Time{}) // the next may be written without waiting
}

// giveUp tells a client that reads nothing so: if it ever reads on, it finds the rest of the frame and a goodbye, for
// which the kernel gets a little more room.
func (c *wsConn) giveUp(frames []byte, written int) error {
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

// said waits a moment for the other side's close, which ends the reader.
func (c *wsConn) said() {
	_ = c.net.SetReadDeadline(time.Now().Add(lingerTime)) // a closed connection says so when it is read
}

// abort ends the connection at once.
func (c *wsConn) abort() {
	c.cancel()
	_ = c.net.Close() // there is nobody to tell
}

// close is run's end.
func (c *wsConn) close() {
	if c.gone() {
		c.linger()
	}
	c.abort()
	c.pumps.Wait()
}

// linger lets a goodbye arrive: a connection that is closed while something that the client sent is unread takes back
// what the client has not read yet.
func (c *wsConn) linger() {
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
