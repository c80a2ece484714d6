package http

import (
	"net/http"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"tidings/http/graph"
	"tidings/realtime"
)

// graphEvents is the voice of a stream of one operation, the "distinct connections mode" of the GraphQL over Server-Sent Events
// protocol. The id of a message is the cursor: so a browser's EventSource, too, goes on where it was.
type graphEvents struct {
	conn *sseConn
}

var graphEventsDialect = &dialect{
	transport: TransportGraphSSE,
	item:      appendOperation,
	goodbye:   func(b []byte, g goodbye) []byte { return append(b, ": "+g.reason+"\n\n"...) },
	word: func(b []byte, word, _ string, expires time.Time) []byte {
		return append(b, ": "+word+" "+expires.UTC().Format(time.RFC3339)+"\n\n"...)
	},
}

// streamGraph answers with a stream: of a subscription's results, or of one answer.
func (s *Server) streamGraph(w http.ResponseWriter, r *http.Request, id *realtime.Identity, prepared *graph.Operation, refused *graph.Response) {
	var subscription *graph.Subscription
	switch {
	case refused != nil:
	case prepared.Kind() == ast.Subscription:
		at, turnedAway := s.admit(r)
		if turnedAway != nil {
			s.answerLater(w, r, mediaEvents, turnedAway) // whose pages may connect has been decided before
			return
		}
		defer s.release(at)
		// Last-Event-ID is newer than what the request says, which stays the same for ever.
		subscription, refused = prepared.Subscribe(r.Context(), r.Header.Get("Last-Event-ID"))
		if refused != nil {
			s.refusedGraph(refused, s.address(r))
		}
	default:
		status, response := s.execute(r, prepared)
		if status != 0 {
			s.answerGraph(w, mediaJSON, status, response)
			return
		}
		refused = response
	}
	if subscription == nil {
		beginEvents(w)
		var g graphEvents
		s.writeAnswer(w, g.complete(g.next(nil, nil, refused.Body, nil), ""))
		return
	}
	begun := false
	s.stream(w, r, id, graphEventsDialect, func(c *sseConn) (start func()) {
		ops := s.newOperations(c.kick)
		c.feed = ops
		return func() {
			begun = true
			op, ctx, _ := ops.begin(c.ctx, "", &graphEvents{c})
			if op == nil {
				subscription.Plan.Release() // the stream has ended
				return
			}
			op.subscribe(ctx, asker{identity: id}, subscription)
		}
	})
	if !begun { // the server is stopping
		subscription.Plan.Release()
	}
}

func (g *graphEvents) prefix(string) []byte { return nil }

func (g *graphEvents) next(b, _, payload, cursor []byte) []byte {
	if len(cursor) > 0 {
		b = append(append(append(b, "id: "...), cursor...), '\n')
	}
	return appendData(append(b, "event: next\n"...), func(b []byte) []byte { return append(b, payload...) })
}

// failed tells the errors as an answer, and ends the stream.
func (g *graphEvents) failed(b []byte, id string, errs []byte) []byte {
	b = g.next(b, nil, append(append([]byte(`{"errors":`), errs...), '}'), nil)
	defer g.conn.leave(goodbyeNormal)
	return g.complete(b, id)
}

func (g *graphEvents) complete(b []byte, _ string) []byte {
	return append(b, "event: complete\ndata: \n\n"...)
}

// position moves the id, and is told to nobody.
func (g *graphEvents) position(b []byte, _, cursor string) []byte {
	return append(append(append(b, "id: "...), cursor...), '\n', '\n')
}
