package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"tidings/realtime"
)

// Small buffers: what a client says is short, and what it is told does not pass through gorilla's writer.
var upgrader = websocket.Upgrader{
	ReadBufferSize:  512,
	WriteBufferSize: 512,
	WriteBufferPool: &sync.Pool{},
	CheckOrigin:     func(*http.Request) bool { return true }, // originPolicy has decided
}

// serveWS upgrades a request to a connection, which lives on in a goroutine of its own: the handler's and its buffers
// are let go.
func (s *Server) serveWS(w http.ResponseWriter, r *http.Request) {
	switch {
	case !websocket.IsWebSocketUpgrade(r):
		w.Header().Set("Upgrade", "websocket")
		writeError(w, http.StatusUpgradeRequired, "not_a_websocket",
			"this is a WebSocket endpoint: new WebSocket('ws://"+r.Host+"/ws?channel=messages')")
		return
	case !s.origins.allows(r):
		writeError(w, http.StatusForbidden, "origin_not_allowed",
			fmt.Sprintf("pages of %q may not connect: allow them with --allow-origin", r.Header.Get("Origin")))
		return
	case s.stopping.Load(), s.Hub.Position().IsZero():
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusServiceUnavailable, "not_ready", "the service is starting or stopping: come back in a second")
		return
	}
	if s.connections.Add(1) > int64(s.options.MaxConnections) {
		s.connections.Add(-1)
		w.Header().Set("Retry-After", "5")
		writeError(w, http.StatusServiceUnavailable, "too_many_connections",
			fmt.Sprintf("the server has its %d connections: come back later", s.options.MaxConnections))
		return
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.connections.Add(-1)
		return // Upgrade has answered
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	c := &wsConn{server: s, ws: ws, net: ws.NetConn(), ctx: ctx, cancel: cancel}
	c.sub = s.Hub.NewSubscriber(c.kick)
	if !s.add(c) {
		c.close()
		s.connections.Add(-1)
		return
	}
	if tcp, ok := c.net.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // the system's own will do as well
	}
	query := r.URL.RawQuery
	go func() {
		defer s.connections.Add(-1)
		defer s.remove(c)
		c.run(query)
	}()
}

// maxBadFrames is how many frames in a row may make no sense before a client is sent away.
const maxBadFrames = 100

// writeSlice is how much is written under one deadline: a client that reads slowly, but reads, is not cut off in a
// large event.
const writeSlice = 64 << 10

// sendBuffer bounds what the kernel holds for a client that reads slowly: a ping stands behind it, and must reach the
// client in time to be answered.
const sendBuffer = 256 << 10

// How long, and for how much, a client that was told goodbye is still heard: what the kernel may hold of what it sent.
const (
	lingerTime  = time.Second
	lingerBytes = 8 << 20
)

// slowWrite is how long a write may take before it counts as a sign of life: a client with room for it takes no time.
const slowWrite = 100 * time.Millisecond

// wsConn is one WebSocket connection. Its reader is the goroutine of run; its writer, pump, is started when there is
// something to write and ends when there is nothing: a connection at rest has none.
type wsConn struct {
	server *Server
	ws     *websocket.Conn
	net    net.Conn
	sub    *realtime.Subscriber
	ctx    context.Context
	cancel context.CancelFunc
	pumps  sync.WaitGroup

	mu      sync.Mutex
	pumping bool
	again   bool   // something came while pumping
	control []byte // frames that go before the next event
	leaving *goodbye
	left    bool // the goodbye was written
	ping    *time.Timer
}

// run serves the connection until it ends.
func (c *wsConn) run(query string) {
	defer c.close()
	c.ws.SetPingHandler(func(data string) error {
		c.heard()
		c.say(appendControl(nil, opPong, []byte(data)))
		return nil
	})
	c.ws.SetPongHandler(func(string) error {
		c.heard()
		return nil
	})
	c.ws.SetCloseHandler(func(int, string) error { return nil }) // run answers
	c.heard()
	c.schedulePing()
	defer c.stopPing()

	c.subscribeByQuery(query)
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
		switch {
		case bad >= maxBadFrames:
			c.leave(goodbyeBadCommand)
		case c.sub.Unread():
			c.leave(goodbyeUnread)
		default:
			continue
		}
		c.pumps.Wait()
		return
	}
}

func (c *wsConn) schedulePing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ping = time.AfterFunc(c.server.options.PingInterval, func() {
		c.say(appendControl(nil, opPing, nil))
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ping != nil {
			c.ping.Reset(c.server.options.PingInterval)
		}
	})
}

func (c *wsConn) stopPing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ping.Stop()
	c.ping = nil // for one that is just firing
}

// heard puts off the moment at which the client is taken for gone.
func (c *wsConn) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return // only its own goodbye is waited for
	}
	o := &c.server.options
	_ = c.ws.SetReadDeadline(time.Now().Add(o.PingInterval + o.PongTimeout)) // a closed connection says so when it is read
}

func (c *wsConn) subscribeByQuery(query string) {
	var channels []realtime.Channel
	since := ""
	parameters, err := url.ParseQuery(query)
	if err != nil {
		c.sub.Tell(realtime.Errorf(codeBadRequest, "the URL's parameters cannot be read: %s", err), realtime.Channel{})
	}
	for name, values := range parameters {
		switch name {
		case "channel":
			for _, value := range values {
				channel, err := realtime.ParseChannel(value)
				var bad *realtime.Error
				if errors.As(err, &bad) {
					c.sub.Tell(bad, realtime.Channel{})
				} else if !slices.Contains(channels, channel) {
					channels = append(channels, channel)
				}
			}
		case "since":
			since = values[len(values)-1]
		default:
			c.sub.Tell(realtime.Errorf(codeBadRequest, "there is no parameter %q: it is channel or since", name), realtime.Channel{})
		}
	}
	if len(channels) > 0 {
		c.sub.Subscribe(c.ctx, channels, since)
	}
}

var errFarTooLarge = errors.New("a frame is far too large to be read to its end")

// readCommand reads one frame and does what it says. A *realtime.Error is the client's mistake, and the connection goes
// on.
func (c *wsConn) readCommand() error {
	kind, reader, err := c.ws.NextReader()
	if err != nil {
		return err
	}
	limit := c.server.options.MaxFrame
	text, err := io.ReadAll(io.LimitReader(reader, int64(limit)+1))
	if err != nil {
		return err
	}
	if len(text) > limit {
		rest, err := io.CopyN(io.Discard, reader, int64(limit)*15)
		if err == nil {
			return errFarTooLarge
		} else if !errors.Is(err, io.EOF) {
			return err
		}
		return realtime.Errorf(codeFrameTooLarge, "a command has at most %d bytes, not %d", limit, int64(len(text))+rest)
	}
	c.heard()
	if kind != websocket.TextMessage {
		return realtime.Errorf(codeBadFrame, "a command is a text frame, not a binary one")
	}
	cmd, channel, bad := parseCommand(text)
	if bad != nil {
		return bad
	}
	switch cmd.Type {
	case "subscribe":
		c.sub.Subscribe(c.ctx, []realtime.Channel{channel}, cmd.Since)
	case "unsubscribe":
		c.sub.Unsubscribe(channel)
	case "switch":
		c.sub.Switch(c.ctx, channel, cmd.Since)
	case "ping":
		c.sub.Pong()
	}
	return nil
}

// end answers the end of reading: with a goodbye, if there is somebody to hear it.
func (c *wsConn) end(err error) {
	var closed *websocket.CloseError
	var timeout net.Error
	switch {
	case errors.As(err, &closed):
		c.leave(goodbyeNormal)
	case errors.Is(err, errFarTooLarge):
		c.leave(goodbyeTooLarge)
	case errors.As(err, &timeout) && timeout.Timeout():
		c.leave(goodbyeSilent)
	default:
		return // the network's end, or a breach of the protocol, which gorilla has answered
	}
	c.pumps.Wait()
}

// maxControl bounds what a client can have us answer while it reads nothing.
const maxControl = 16 << 10

// say writes frames before the next event.
func (c *wsConn) say(frames []byte) {
	c.mu.Lock()
	if len(c.control)+len(frames) <= maxControl {
		c.control = append(c.control, frames...)
	}
	c.mu.Unlock()
	c.kick()
}

// leave says goodbye once what is queued has been written, and ends the connection.
func (c *wsConn) leave(g goodbye) {
	c.mu.Lock()
	if c.leaving == nil {
		c.leaving = &g
	}
	c.mu.Unlock()
	c.kick()
}

// abort ends the connection at once.
func (c *wsConn) abort() {
	c.cancel()
	_ = c.net.Close() // there is nobody to tell
}

// close is run's end.
func (c *wsConn) close() {
	c.sub.Close()
	c.linger()
	c.abort()
	c.pumps.Wait()
}

// linger lets a goodbye arrive: a connection that is closed while something that the client sent is unread takes back
// what the client has not read yet.
func (c *wsConn) linger() {
	c.mu.Lock()
	left := c.left
	c.mu.Unlock()
	half, ok := c.net.(interface{ CloseWrite() error })
	if !left || !ok || half.CloseWrite() != nil || c.net.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c.net, lingerBytes)) // its end, or the deadline
}

// kick has pump look for something to write. It does not block.
func (c *wsConn) kick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pumping {
		c.again = true
		return
	}
	if c.left || c.ctx.Err() != nil {
		return
	}
	c.pumping = true
	c.pumps.Go(c.pump)
}

// pump writes until there is nothing to write.
func (c *wsConn) pump() {
	for {
		c.mu.Lock()
		c.again = false
		control, leaving := c.control, c.leaving
		c.control = nil
		c.mu.Unlock()

		err := c.write(control)
		var items []realtime.Item
		if err == nil {
			items, err = c.sub.Next(c.ctx)
		}
		if err == nil {
			err = c.writeItems(items)
		}
		said := false
		if err == nil && leaving != nil {
			err = c.write(appendClose(nil, *leaving))
			said = err == nil
		}
		if err != nil {
			c.abort()
		}

		c.mu.Lock()
		c.left = c.left || said
		if err != nil || said || len(items) == 0 && !c.again {
			c.pumping = false
			c.mu.Unlock()
			if said {
				// The other side's close ends the reader; one that does not come is not waited for.
				_ = c.ws.SetReadDeadline(time.Now().Add(time.Second))
			}
			return
		}
		c.mu.Unlock()
	}
}

// writeItems writes runs as they are and notices one by one, several of them at a time.
func (c *wsConn) writeItems(items []realtime.Item) error {
	var batch []byte
	for _, item := range items {
		if item.Run != nil {
			if err := c.write(batch); err != nil {
				return err
			}
			batch = batch[:0]
			if err := c.write(item.Run.Encode(wsFormat)); err != nil {
				return err
			}
			continue
		}
		batch = appendFrame(batch, opText, func(b []byte) []byte { return appendNotice(b, item.Notice) })
	}
	return c.write(batch)
}

// write writes whole frames, each part of them under a deadline of its own.
func (c *wsConn) write(frames []byte) error {
	for len(frames) > 0 {
		part := frames[:min(len(frames), writeSlice)]
		begun := time.Now()
		if err := c.net.SetWriteDeadline(begun.Add(c.server.options.WriteTimeout)); err != nil {
			return err
		}
		n, err := c.net.Write(part)
		if err != nil {
			return err
		}
		if frames = frames[n:]; len(frames) > 0 || time.Since(begun) > slowWrite {
			c.heard() // pings wait behind this, and who reads it is there
		}
	}
	return nil
}
