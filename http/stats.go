package http

import (
	"maps"
	"strings"
	"sync"
)

// Transport is a way to be told of events.
type Transport string

// The transports.
const (
	TransportWS       Transport = "ws"          // /ws
	TransportEnvelope Transport = "ws_events"   // /ws/events
	TransportSSE      Transport = "events"      // /events
	TransportGraphWS  Transport = "graphql_ws"  // /graphql, by WebSocket
	TransportGraphSSE Transport = "graphql_sse" // /graphql, by Server-Sent Events
)

// Goodbye is why connections were ended by the server.
type Goodbye struct {
	Code   int // as on a WebSocket
	Reason string
}

// Stats are the server's figures of connections: those of the moment, and what was counted since the start. They are beside those of Status.
type Stats struct {
	Open     map[Transport]int
	Opened   map[Transport]uint64
	Goodbyes map[Goodbye]uint64
}

// traffic counts connections, and how they end.
type traffic struct {
	mu sync.Mutex
	Stats
}

func (t *traffic) opened(by Transport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Open == nil {
		t.Open, t.Opened = make(map[Transport]int), make(map[Transport]uint64)
	}
	t.Open[by]++
	t.Opened[by]++
}

func (t *traffic) closed(by Transport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Open[by]--
}

func (t *traffic) goodbye(g goodbye) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Goodbyes == nil {
		t.Goodbyes = make(map[Goodbye]uint64)
	}
	t.Goodbyes[Goodbye{g.code, g.name()}]++
}

// Stats returns the figures.
func (s *Server) Stats() Stats {
	t := &s.traffic
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{maps.Clone(t.Open), maps.Clone(t.Opened), maps.Clone(t.Goodbyes)}
}

// graphGoodbyes are the names of goodbyes whose reason is not ours to choose, or quotes the client.
var graphGoodbyes = map[int]string{
	goodbyeNormal.code: "normal", goodbyeLegacyFailed.code: "refused", goodbyeBadMessage.code: "bad_message", goodbyeNotInit.code: "not_initialised",
	goodbyeForbidden.code: "forbidden", goodbyeSubprotocol.code: "subprotocol", goodbyeInitTimeout.code: "init_timeout", goodbyeInitTwice.code: "init_twice",
}

// name is the word that stands for the goodbye: one of a few.
func (g goodbye) name() string {
	if name, ok := graphGoodbyes[g.code]; ok {
		return name
	}
	name, _, _ := strings.Cut(g.reason, ":")
	return name
}
