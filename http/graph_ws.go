package http

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2/ast"

	"tidings/http/graph"
	"tidings/realtime"
)

// The two protocols of GraphQL over WebSocket, by the names that clients ask for: that of the npm package graphql-ws, and the older
// one of subscriptions-transport-ws, whose name is that of the newer one's package.
const (
	transportWS = "graphql-transport-ws"
	legacyWS    = "graphql-ws"
)

var graphUpgrader = websocket.Upgrader{
	ReadBufferSize:  upgrader.ReadBufferSize,
	WriteBufferSize: upgrader.WriteBufferSize,
	WriteBufferPool: upgrader.WriteBufferPool,
	CheckOrigin:     upgrader.CheckOrigin,
	Subprotocols:    []string{transportWS, legacyWS},
}

var graphDialect = &dialect{
	path: "/graphql", transport: TransportGraphWS, item: appendOperation,
	goodbye: func(b []byte, g goodbye) []byte {
		switch g.code {
		case goodbyeExpired.code, goodbyeRevoked.code, goodbyeDisconnected.code, goodbyeToken.code:
			g.code = goodbyeForbidden.code // clients take others for mistakes of their own
		}
		return appendClose(b, g)
	},
	// A ping's payload is for whoever wants to look at it.
	word: func(b []byte, word, _ string, expires time.Time) []byte {
		if word != wordExpiring {
			return b
		}
		return appendFrame(b, opText, func(b []byte) []byte {
			return append(appendWord(append(b, `{"type":"ping","payload":`...), "type", word, "", expires), '}')
		})
	},
}

// The goodbyes of graphql-transport-ws.
var (
	goodbyeBadMessage   = goodbye{4400, ""} // the reason is the mistake
	goodbyeNotInit      = goodbye{4401, "Unauthorized"}
	goodbyeForbidden    = goodbye{4403, "Forbidden"}
	goodbyeSubprotocol  = goodbye{4406, "Subprotocol not acceptable"}
	goodbyeInitTimeout  = goodbye{4408, "Connection initialisation timeout"}
	goodbyeInitTwice    = goodbye{4429, "Too many initialisation requests"}
	goodbyeLegacyFailed = goodbye{1011, "the connection was refused"}
)

// serveGraphWS has a connection speak GraphQL.
func (s *Server) serveGraphWS(w http.ResponseWriter, r *http.Request) {
	token, named, address := s.tokenOf(r), named(r), s.address(r).String()
	s.upgrade(w, r, &graphUpgrader, graphDialect, func(c *wsConn) {
		ops := s.newOperations(c.kick)
		c.feed, c.protocol = ops, &graphWS{conn: c, ops: ops, token: token, named: named, address: address}
	})
}

// graphWS is the protocol on one connection.
type graphWS struct {
	conn   *wsConn
	ops    *operations
	named  bool // as Viewer
	legacy bool

	address string

	// Of the reader alone.
	initialised bool

	renewing sync.Mutex // held while the connection becomes somebody's

	mu     sync.Mutex
	token  string // that the request has brought, or came later; the connection is of whose it is
	timers []*time.Timer
}

// identify says whose the connection is from now on, by which token.
func (g *graphWS) identify(id *realtime.Identity, token string) *refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	refused := g.conn.identify(id)
	if refused == nil {
		g.token = token
	}
	return refused
}

// asker is who asks now, and by which token.
func (g *graphWS) asker() (asker, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ops.asker(g.conn.Identity), g.token
}

func (g *graphWS) limit() int { return g.conn.server.options.MaxBody }

func (g *graphWS) begin(_, subprotocol string) {
	switch subprotocol {
	case transportWS:
	case legacyWS:
		g.legacy = true
	default:
		g.conn.leave(goodbyeSubprotocol)
		return
	}
	g.after(g.conn.server.options.InitTimeout, goodbyeInitTimeout)
}

// after says goodbye after a time, unless calm is called before.
func (g *graphWS) after(d time.Duration, bye goodbye) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timers = append(g.timers, time.AfterFunc(d, func() { g.conn.leave(bye) }))
}

func (g *graphWS) calm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.timers {
		t.Stop()
	}
	g.timers = nil
}

// end is called when the connection has ended.
func (g *graphWS) end() {
	g.calm()
	g.ops.Close()
	g.ops.await()
}

func (g *graphWS) mistake(err *realtime.Error) error {
	g.conn.refused(string(err.Code))
	return badMessage("Invalid message received: %s", err.Message)
}

// graphMessage is what client and server say.
type graphMessage struct {
	Type    string          `json:"type"`
	ID      *string         `json:"id"`
	Payload json.RawMessage `json:"payload"`
}

func badMessage(format string, args ...any) error {
	return goodbyef(goodbyeBadMessage.code, format, args...)
}

// goodbyef makes a goodbye whose reason quotes the client: what does not fit into a control frame is cut off, between two characters.
func goodbyef(code int, format string, args ...any) goodbye {
	reason := fmt.Sprintf(format, args...)
	for len(reason) > maxPayload-2 || !utf8.ValidString(reason) { // behind the code
		reason = reason[:min(len(reason), maxPayload-1)-1]
	}
	return goodbye{code, reason}
}

func (g *graphWS) command(op byte, text []byte) error {
	if op != opClientText || !utf8.Valid(text) {
		return badMessage("Invalid message received: it is not text")
	}
	var m graphMessage
	if err := json.Unmarshal(text, &m); err != nil {
		return badMessage("Invalid message received: %s", err)
	}
	switch m.Type {
	case "connection_init":
		return g.init(m.Payload)
	case "connection_terminate":
		if g.legacy {
			return goodbyeNormal
		}
	case "ping":
		if !g.legacy {
			g.conn.answer(g.frame(`{"type":"pong"`, m.Payload))
			return nil
		}
	case "pong":
		if !g.legacy {
			return nil
		}
	case "subscribe", "start":
		if (m.Type == "start") == g.legacy {
			return g.subscribe(m)
		}
	case "complete", "stop":
		if (m.Type == "stop") == g.legacy {
			if m.ID == nil {
				return badMessage("Invalid message received: %s has no id", m.Type)
			}
			g.ops.stop(*m.ID)
			return nil
		}
	}
	return badMessage("Invalid message received: there is no type %q", m.Type)
}

// frame is a message that ends with a payload, if there is one.
func (g *graphWS) frame(begin string, payload []byte) []byte {
	return appendFrame(nil, opText, func(b []byte) []byte {
		b = append(b, begin...)
		if payload != nil {
			b = append(append(b, `,"payload":`...), payload...)
		}
		return append(b, '}')
	})
}

// init answers the client's first message.
func (g *graphWS) init(payload json.RawMessage) error {
	if g.initialised {
		return goodbyeInitTwice
	}
	given, err := initToken(payload)
	if err != nil {
		return badMessage("Invalid message received: %s", err)
	}
	if given == "" {
		_, given = g.asker()
	}
	id, refused := g.conn.server.identifyToken(g.conn.ctx, given)
	if refused != nil {
		g.conn.refused(refused.code)
		if g.legacy {
			g.conn.answer(g.frame(`{"type":"connection_error"`, graphRefusal(refused).Body))
			return goodbyeLegacyFailed
		}
		return goodbyeForbidden
	}
	if refused = g.identify(id, given); refused != nil {
		g.conn.refused(refused.code)
		return refused.goodbye()
	}
	g.calm()
	g.initialised = true
	g.conn.server.reassure(&g.conn.conn)
	g.conn.answer(g.frame(`{"type":"connection_ack"`, nil))
	if g.legacy {
		g.conn.answer(g.frame(`{"type":"ka"`, nil))
	}
	return nil
}

// renew says whose the connection is from now on; its subscriptions go on, as far as they are for him.
func (g *graphWS) renew(ctx context.Context, token string) (*realtime.Identity, error) {
	g.renewing.Lock() // so that it is nobody's in part
	defer g.renewing.Unlock()
	id, refused := g.conn.server.identifyToken(ctx, token)
	if refused != nil { // which is counted as the operation's
		return nil, realtime.Errorf(realtime.Code(refused.code), "%s", refused.message)
	}
	if refused = g.identify(id, token); refused != nil {
		g.conn.refused(refused.code)
		return nil, realtime.Errorf(realtime.Code(refused.code), "%s", refused.message)
	}
	g.conn.server.reassure(&g.conn.conn)
	g.ops.identify(ctx, id)
	return id, nil
}

// initToken is the token in the payload of connection_init: as a header would have it, or by itself. Null is none: clients that have no
// token yet say so.
func initToken(payload json.RawMessage) (string, error) {
	if len(payload) == 0 {
		return "", nil
	}
	var fields map[string]any
	if err := json.Unmarshal(payload, &fields); err != nil {
		return "", fmt.Errorf("the payload of connection_init is an object")
	}
	for _, known := range []string{"authorization", "token"} {
		for name, value := range fields {
			if !strings.EqualFold(name, known) || value == nil {
				continue
			}
			text, ok := value.(string)
			if !ok {
				return "", fmt.Errorf("%s in the payload of connection_init is a text", name)
			}
			return bearer(text), nil
		}
	}
	return "", nil
}

// subscribe begins an operation.
func (g *graphWS) subscribe(m graphMessage) error {
	switch {
	case !g.initialised && !g.legacy:
		return goodbyeNotInit
	case !g.initialised:
		return badMessage("start comes behind connection_init")
	case m.ID == nil || *m.ID == "" || len(*m.ID) > maxOperationID:
		return badMessage("Invalid message received: the id of %s has 1 to %d bytes", m.Type, maxOperationID)
	case len(m.Payload) == 0:
		return badMessage("Invalid message received: %s has no payload", m.Type)
	}
	request, err := parseGraph(m.Payload)
	if err != nil {
		return badMessage("Invalid message received: %s", err)
	}
	op, ctx, tooMany := g.ops.begin(g.conn.ctx, *m.ID, g)
	switch {
	case tooMany:
		refused := graph.Refusal(graph.CodeTooMany, "a connection has at most %d operations at a time", g.ops.max)
		g.conn.server.refusedGraph(refused, g.conn.seat.address)
		g.conn.answer(g.failed(nil, *m.ID, refused.Errors))
		return nil
	case op == nil:
		return goodbyef(4409, "Subscriber for %.80s already exists", *m.ID)
	}
	if wait := g.conn.tooSoon(); wait > 0 && op.end() {
		refused := graph.TooSoon("too many operations in too short a time: try again", inMilliseconds(wait))
		g.conn.answer(g.failed(nil, op.id, refused.Errors))
		return nil
	}
	who, token := g.asker()
	ctx = graph.WithClient(ctx, graph.Client{Address: g.address, AccessToken: token})
	op.execute(func() { g.execute(ctx, op, who, request) })
	return nil
}

// maxOperationID is the length in bytes of an operation's id.
const maxOperationID = 128

// execute executes an operation.
func (g *graphWS) execute(ctx context.Context, op *operation, who asker, request graph.Request) {
	ctx = graph.WithRenewal(ctx, g.renew)
	prepared, refused := g.conn.server.Graph.Prepare(ctx, graph.Viewer{Identity: who.identity, Named: g.named}, request)
	switch {
	case refused != nil:
	case prepared.Kind() != ast.Subscription:
		response := prepared.Do(ctx)
		g.conn.server.refusedGraph(response, g.conn.seat.address)
		if op.end() {
			g.conn.answer(g.complete(g.next(nil, op.prefix, response.Body, nil), op.id))
		}
		return
	default:
		var s *graph.Subscription
		if s, refused = prepared.Subscribe(ctx, ""); s != nil {
			op.subscribe(g.conn.ctx, who, s)
			return
		}
	}
	g.conn.server.refusedGraph(refused, g.conn.seat.address)
	if op.end() {
		g.conn.answer(g.failed(nil, op.id, refused.Errors))
	}
}

// prefix is part of voice.
func (g *graphWS) prefix(id string) []byte {
	kind := "next"
	if g.legacy {
		kind = "data"
	}
	return append(appendString([]byte(`{"id":`), id), `,"type":"`+kind+`","payload":`...)
}

func (g *graphWS) next(b, prefix, payload, _ []byte) []byte {
	b = appendHeader(b, opText, len(prefix)+len(payload)+1)
	return append(append(append(b, prefix...), payload...), '}')
}

func (g *graphWS) failed(b []byte, id string, errs []byte) []byte {
	if g.legacy { // whose errors are single, and end nothing
		b = g.next(b, g.prefix(id), append(append([]byte(`{"data":null,"errors":`), errs...), '}'), nil)
		return g.complete(b, id)
	}
	return append(b, g.frame(string(appendString([]byte(`{"type":"error","id":`), id)), errs)...)
}

func (g *graphWS) complete(b []byte, id string) []byte {
	return append(b, g.frame(string(appendString([]byte(`{"type":"complete","id":`), id)), nil)...)
}

// position tells it in the payload of a ping, which clients answer and may look at.
func (g *graphWS) position(b []byte, id, cursor string) []byte {
	if g.legacy {
		return append(b, g.frame(`{"type":"ka"`, nil)...)
	}
	payload := appendString(append(appendString([]byte(`{"cursors":{`), id), ':'), cursor)
	return append(b, g.frame(`{"type":"ping"`, append(payload, "}}"...))...)
}
