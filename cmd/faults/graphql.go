package main

import (
	"encoding/json"

	"github.com/gorilla/websocket"
)

// overGraphQL reports whether the nth client follows by GraphQL: a third of them, on channels of all kinds.
func overGraphQL(n int) bool { return n/8%3 == 2 }

// graphQLMessage is what is said on /graphql.
type graphQLMessage struct {
	Type    string          `json:"type"`
	ID      string          `json:"id,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// graphQLResult is the result of a query for a cursor, or of the subscription.
type graphQLResult struct {
	Data struct {
		LiveCursor string
		Events     *frame
	}
	Errors     json.RawMessage
	Extensions struct{ Cursor string }
}

// The ids of a client's two operations.
const (
	cursorQuery    = "cursor"
	eventsFollowed = "events"
)

// takeGraphQL does what a message asks for. It returns false where the client had better come back later.
func (c *client) takeGraphQL(ws *websocket.Conn, text []byte) bool {
	var m graphQLMessage
	if err := json.Unmarshal(text, &m); err != nil {
		c.crowd.strange("a message is no JSON: %s", err)
		return false
	}
	switch m.Type {
	case "connection_ack":
		if c.cursor == "" {
			return c.operate(ws, cursorQuery, `{ liveCursor }`, nil)
		}
		return c.followGraphQL(ws)
	case "next":
		var r graphQLResult
		if err := json.Unmarshal(m.Payload, &r); err != nil {
			c.crowd.strange("a result cannot be read: %s: %s", err, m.Payload)
			return false
		}
		switch {
		case m.ID == cursorQuery && r.Errors != nil: // the database does not answer
			return false
		case m.ID == cursorQuery:
			c.cursor = r.Data.LiveCursor
			c.begin(c.cursor)
			return c.followGraphQL(ws)
		case r.Data.Events == nil || r.Extensions.Cursor != r.Data.Events.Cursor:
			c.crowd.strange("the result %s", m.Payload)
		default:
			c.hear(*r.Data.Events)
		}
	case "error":
		var errs []struct {
			Message    string
			Extensions struct{ Code, Reason string }
		}
		if err := json.Unmarshal(m.Payload, &errs); err != nil || len(errs) != 1 || errs[0].Extensions.Code != "RESET" {
			c.crowd.strange("%s %s", m.Type, m.Payload)
			return false
		}
		c.startOver(errs[0].Extensions.Reason)
		return c.operate(ws, cursorQuery, `{ liveCursor }`, nil)
	case "ping":
		var told struct{ Cursors map[string]string }
		if json.Unmarshal(m.Payload, &told) == nil && told.Cursors[eventsFollowed] != "" {
			c.cursor = told.Cursors[eventsFollowed] // a position where nothing has happened
		}
		return ws.WriteJSON(graphQLMessage{Type: "pong"}) == nil
	case "complete":
	default:
		c.crowd.strange("the message %s", text)
	}
	return true
}

// followGraphQL subscribes behind the cursor.
func (c *client) followGraphQL(ws *websocket.Conn) bool {
	return c.operate(ws, eventsFollowed, `subscription ($channels: [String!]!, $since: String!) {
		events(channels: $channels, since: $since) { type cursor data }
	}`, map[string]any{"channels": c.channels, "since": c.cursor})
}

func (c *client) operate(ws *websocket.Conn, id, query string, variables map[string]any) bool {
	payload, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	return err == nil && ws.WriteJSON(graphQLMessage{Type: "subscribe", ID: id, Payload: payload}) == nil
}
