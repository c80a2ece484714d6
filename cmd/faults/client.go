package main

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// client is one that comes and goes with nothing but the last cursor that it was told.
type client struct {
	number   int
	crowd    *crowd
	channels []string
	graphQL  bool   // follows by /graphql, not /ws
	user     int64  // who has signed in; 0: nobody
	guest    *guest // nil: follows no presence; under mu
	pace     *pace

	cursor    string // of its own goroutine alone
	beginning bool   // the next subscribed begins a segment

	mu          sync.Mutex
	record      record
	subscribed  bool // once
	connections int
	moves       int
	last        *service
	leave       func() // ends the connection; nil: there is none
}

// silenceLimit is after how long without even a ping a client takes its connection for dead. The service pings every
// second.
const silenceLimit = 4 * time.Second

// at notes where the client connects.
func (c *client) at(one *service) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil && c.last != one {
		c.moves++
	}
	c.last = one
}

func (c *client) run(ctx context.Context) {
	failures := 0
	for c.crowd.admitted(ctx, c) {
		heard := c.visit(ctx)
		if heard {
			failures = 0
		}
		failures++
		if c.guest != nil && c.crowd.restless.Load() {
			pause(ctx, absence())
		}
		limit := min(20*time.Millisecond<<min(failures, 6), time.Second)
		pause(ctx, limit/2+rand.N(limit))
	}
}

// visit is one connection, from its beginning to its end. It returns whether anything was heard.
func (c *client) visit(ctx context.Context) (heard bool) {
	query := url.Values{"channel": c.channels}
	if c.cursor != "" {
		query.Set("since", c.cursor)
	}
	if c.guest != nil {
		query.Set("snapshot", "true") // so that a reset is followed by all there is
		c.mu.Lock()
		clear(c.guest.rows) // those of a connection that was cut among them
		c.mu.Unlock()
	}
	u := url.URL{Scheme: "ws", Host: c.crowd.stage.entrance(c), Path: "/ws", RawQuery: query.Encode()}
	var subprotocols []string
	if c.graphQL {
		u.Path, u.RawQuery, subprotocols = "/graphql", "", []string{"graphql-transport-ws"}
	}
	var conn *fickleConn
	dialer := websocket.Dialer{
		ReadBufferSize: 4 << 10, WriteBufferSize: 512, HandshakeTimeout: silenceLimit, Subprotocols: subprotocols,
		NetDialContext: func(dialing context.Context, network, address string) (net.Conn, error) {
			tcp, err := (&net.Dialer{Timeout: silenceLimit}).DialContext(dialing, network, address)
			if err != nil {
				return nil, err
			}
			conn = newFickleConn(ctx, tcp, c.pace)
			return conn, nil
		},
	}
	ws, response, err := dialer.DialContext(ctx, u.String(), c.crowd.stage.workshop.header(c))
	if err != nil {
		if response != nil && response.StatusCode != http.StatusServiceUnavailable {
			c.crowd.strange("a connection was answered with %s", response.Status)
		}
		return false
	}
	defer ws.Close()
	stop := context.AfterFunc(ctx, func() { _ = ws.Close() })
	defer stop()
	life := time.AfterFunc(c.crowd.lifetime(), func() {
		if c.crowd.restless.Load() {
			c.depart(ws, conn)
		}
	})
	defer life.Stop()
	c.mu.Lock()
	c.connections++
	c.leave = func() { c.depart(ws, conn) }
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.leave = nil
		c.mu.Unlock()
	}()

	patience := silenceLimit
	if c.pace != nil {
		patience = time.Minute
	}
	ws.SetPingHandler(func(data string) error {
		ws.SetReadDeadline(time.Now().Add(patience))
		_ = ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second)) // reading tells
		return nil
	})
	if c.graphQL && ws.WriteJSON(graphQLMessage{Type: "connection_init"}) != nil {
		return false
	}
	for {
		ws.SetReadDeadline(time.Now().Add(patience))
		_, text, err := ws.ReadMessage()
		if err != nil {
			var closed *websocket.CloseError
			if errors.As(err, &closed) {
				c.crowd.goodbye(closed.Code)
			}
			return heard
		}
		if c.graphQL {
			if !c.takeGraphQL(ws, text) {
				return heard
			}
			heard = true
			continue
		}
		heard = true
		c.take(text)
	}
}

// depart ends a connection in one of the ways in which connections end.
func (c *client) depart(ws *websocket.Conn, conn *fickleConn) {
	switch rand.IntN(4) {
	case 0: // as one should; what comes until the answer counts
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
		time.AfterFunc(time.Second, func() { _ = ws.Close() })
	case 1: // without a word
		conn.abort()
	case 2: // while a frame is being read
		conn.endAfter(1 + rand.IntN(300))
	case 3: // while a frame is being written
		_, _ = conn.Write([]byte{0x81, 0xFE, 0x10})
		_ = ws.Close()
	}
}

// frame is what the service says.
type frame struct {
	Type    string
	Cursor  string
	Reason  string
	Code    string
	Message string
	Data    struct {
		Writer int
		Op     int64
		User   string // of presence
	}
}

func (c *client) take(text []byte) {
	var f frame
	if err := json.Unmarshal(text, &f); err != nil {
		c.crowd.strange("a frame is no JSON: %s", err)
		return
	}
	if c.hear(f) || c.guest != nil && c.hearPresence(f) {
		return
	}
	switch f.Type {
	case "subscribed":
		c.begin(f.Cursor)
		c.cursor = f.Cursor
	case "cursor": // a position where nothing has happened
		c.cursor = f.Cursor
	case "reset":
		c.startOver(f.Reason)
	default:
		c.crowd.strange("%s %s %s", f.Type, f.Code, f.Message)
	}
}

// hear notes an event, and returns false if it is none.
func (c *client) hear(f frame) bool {
	at := c.crowd.stage.now()
	id, is := f.event()
	if !is {
		return false
	}
	c.mu.Lock()
	s := &c.record.segments[len(c.record.segments)-1]
	s.arrivals = append(s.arrivals, arrival{id, at})
	c.mu.Unlock()
	c.cursor = f.Cursor
	c.crowd.told.Add(1)
	return true
}

// startOver notes that the cursor cannot be served.
func (c *client) startOver(reason string) {
	c.crowd.reset(reason)
	if !c.beginning {
		c.beginning = true
		c.mu.Lock()
		c.record.resets++
		c.mu.Unlock()
	}
	c.cursor = "" // it is worth nothing: who comes back before the new one comes, comes without
}

// begin notes that the stream is live, and after a reset from where on it is complete.
func (c *client) begin(cursor string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.beginning {
		from, err := position(cursor)
		if err != nil {
			c.crowd.strange("%s", err)
		}
		c.record.segments = append(c.record.segments, segment{from: from})
		c.beginning = false
	}
	if !c.subscribed {
		c.subscribed = true
		c.crowd.arrived.Done()
	}
}

func (f *frame) event() (eventID, bool) {
	name, what, _ := strings.Cut(f.Type, "_")
	t := table(slices.Index(topics[:], name+"s"))
	isTable := t < tables
	k, isKind := map[string]kind{"added": added, "updated": updated, "deleted": deleted}[what]
	return newEventID(t, k, f.Data.Writer, f.Data.Op), isTable && isKind
}

// told returns a copy of what the client was told so far.
func (c *client) told() *record {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.record
	r.segments = append([]segment(nil), c.record.segments...)
	return &r
}
