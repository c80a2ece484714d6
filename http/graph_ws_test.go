package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
	"tidings/http/graph"
	"tidings/realtime"
)

const (
	added          = `subscription { messageAdded { id title content author { username } createdAt } }`
	addedSince     = `subscription ($since: String) { messageAdded(since: $since) { id title author { username } } }`
	transportWS    = "graphql-transport-ws"
	legacyWS       = "graphql-ws"
	subscriptionID = "1"
)

// graphFrame is a message of GraphQL's WebSocket protocols.
type graphFrame struct {
	Type    string          `json:"type"`
	ID      string          `json:"id"`
	Payload json.RawMessage `json:"payload"`

	text string
}

// graphClient is a client of them. Its methods fail the test.
type graphClient struct {
	client
}

func (s *service) graphSocket(protocols ...string) *graphClient {
	s.t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: patience, Subprotocols: protocols, TLSClientConfig: s.tls.Clone()}
	ws, _, err := dialer.DialContext(s.t.Context(), s.url("ws", "/graphql"), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = ws.Close() })
	return &graphClient{client{t: s.t, ws: ws}}
}

// graphInit opens a connection that has begun.
func (s *service) graphInit() *graphClient {
	s.t.Helper()
	c := s.graphSocket(transportWS)
	c.send(`{"type":"connection_init"}`)
	c.expect("connection_ack")
	return c
}

func (c *graphClient) read() (graphFrame, error) {
	f, err := readFrame(c.ws)
	g := graphFrame{text: f.text}
	if err != nil {
		return g, err
	}
	return g, json.Unmarshal([]byte(f.text), &g)
}

// expect reads the next message, which must be of the type.
func (c *graphClient) expect(typ string) graphFrame {
	c.t.Helper()
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("want %s: %v", typ, err)
		}
		if f.Type == "ping" && typ != "ping" {
			continue // says where a quiet subscription is
		}
		if f.Type != typ {
			c.t.Fatalf("got %.1000s, want %s", f.text, typ)
		}
		return f
	}
}

// begin sends a subscription, or another operation.
func (c *graphClient) begin(id, document string, variables map[string]any) {
	c.t.Helper()
	payload, err := json.Marshal(graphRequest{Query: document, Variables: variables})
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(fmt.Sprintf(`{"type":"subscribe","id":%q,"payload":%s}`, id, payload))
}

// result reads the next message, which must be a result of the operation.
func (c *graphClient) result(id string) graphAnswer {
	c.t.Helper()
	f := c.expect("next")
	if f.ID != id {
		c.t.Fatalf("got %s, want a result of %s", f.text, id)
	}
	var a graphAnswer
	if err := json.Unmarshal(f.Payload, &a); err != nil {
		c.t.Fatal(err)
	}
	return a
}

// expectResult reads the next message, which must be the result.
func (c *graphClient) expectResult(id, data string) graphAnswer {
	c.t.Helper()
	a := c.result(id)
	if len(a.Errors) > 0 || !sameJSON(c.t, string(a.Data), data) {
		c.t.Fatalf("got %s %v, want %s", a.Data, a.Errors, data)
	}
	return a
}

// expectFailure reads the next message, which must be the operation's end with the error.
func (c *graphClient) expectFailure(id, code string) graphError {
	c.t.Helper()
	f := c.expect("error")
	var errs []graphError
	if err := json.Unmarshal(f.Payload, &errs); err != nil || f.ID != id || len(errs) != 1 || errs[0].code() != code {
		c.t.Fatalf("got %s, want the error %s of %s (%v)", f.text, code, id, err)
	}
	return errs[0]
}

// follow subscribes from a moment before, so that nothing depends on when the server comes to it.
func (c *graphClient) follow(s *service, id, document string) {
	c.t.Helper()
	c.begin(id, document, map[string]any{"since": s.liveCursor()})
}

func (s *service) liveCursor() string {
	s.t.Helper()
	var data struct{ LiveCursor string }
	if err := json.Unmarshal(s.ask(graphRequest{Query: `{ liveCursor }`}, nil).Data, &data); err != nil || data.LiveCursor == "" {
		s.t.Fatal("there is no live cursor", err)
	}
	return data.LiveCursor
}

// awaitSubscriptions waits until so many are there.
func (s *service) awaitSubscriptions(n int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("there are %d subscriptions", n), func() bool {
		sum := 0
		for _, subscriptions := range s.hub.Stats().Subscriptions {
			sum += subscriptions
		}
		return sum == n
	})
}

// The examples of whoever comes here first, fed by a mutation and by SQL.
func TestGraphSubscriptions(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.message("zero")
	s := start(t, d.url, options{})
	c := s.graphInit()
	c.begin("m", added, nil)
	c.begin("c", `subscription { commentAdded(messageId: 1) { id content author { username } createdAt } }`, nil)
	s.awaitSubscriptions(2)
	s.graph(`mutation { createMessage(input: {authorId: 1, title: "one", content: "text"}) { message { id } } }`, `{"createMessage":{"message":{"id":"2"}}}`)
	var told struct {
		MessageAdded struct {
			ID, Title, Content, CreatedAt string
			Author                        struct{ Username string }
		}
	}
	a := c.result("m")
	if err := json.Unmarshal(a.Data, &told); err != nil {
		t.Fatal(err)
	}
	if m := told.MessageAdded; m.ID != "2" || m.Title != "one" || m.Content != "text" || m.Author.Username != "ada" || !strings.HasSuffix(m.CreatedAt, "Z") {
		t.Errorf("got %s", a.Data)
	}
	d.message("two")
	if a := c.result("m"); !strings.Contains(string(a.Data), `"title":"two"`) || a.Extensions.Cursor == "" {
		t.Errorf("got %s with the cursor %q", a.Data, a.Extensions.Cursor)
	}
	d.comment(2, "on another message")
	d.comment(1, "by SQL")
	if a := c.result("c"); !strings.Contains(string(a.Data), `"content":"by SQL","author":{"username":"ada"}`) {
		t.Errorf("got %s", a.Data)
	}
	c.send(`{"type":"complete","id":"m"}`)
	s.awaitSubscriptions(1)
	d.message("three")
	d.comment(1, "more")
	if a := c.result("c"); !strings.Contains(string(a.Data), "more") {
		t.Errorf("got %s", a.Data)
	}
}

// Each subscription tells of what it is for.
func TestGraphKindsOfSubscriptions(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.conversation()
	s := start(t, d.url, options{})
	since := s.liveCursor()
	c := s.graphInit()
	follow := func(id, field string) {
		c.begin(id, `subscription ($since: String!) { `+field+` }`, map[string]any{"since": since})
	}
	d.exec(`update messages set title = 'Uno' where id = 1`)
	d.exec(`update messages set title = 'Due' where id = 2`)
	d.exec(`update comments set content = 'A' where id = 1`)
	d.exec(`delete from comments where id = 2`)
	d.exec(`delete from messages where id = 3`) // and its comment
	d.exec(`delete from users where username = 'chloe'`)
	d.exec(`insert into comments (message_id, author_id, content) values (1, 1, 'new')`)
	for i, tt := range []struct {
		field string
		want  []string
	}{
		{`messageUpdated(since: $since) { id title }`, []string{`{"messageUpdated":{"id":"1","title":"Uno"}}`, `{"messageUpdated":{"id":"2","title":"Due"}}`}},
		{`messageUpdated(messageId: 2, since: $since) { id title author { username } }`, []string{`{"messageUpdated":{"id":"2","title":"Due","author":{"username":"Boris"}}}`}},
		{`messageDeleted(since: $since) { id title author { username } }`, []string{`{"messageDeleted":{"id":"3","title":"Three","author":{"username":"ada"}}}`}},
		{`x: messageDeleted(messageId: "3", since: $since) { id }`, []string{`{"x":{"id":"3"}}`}},
		{`commentUpdated(since: $since) { content message { title } }`, []string{`{"commentUpdated":{"content":"A","message":{"title":"Uno"}}}`}},
		{`commentDeleted(messageId: 1, since: $since) { content author { username } }`, []string{`{"commentDeleted":{"content":"b","author":null}}`}},
		{`commentDeleted(messageId: 3, since: $since) { content message { id } }`, []string{`{"commentDeleted":{"content":"c","message":null}}`}},
		{`commentAdded(since: $since) { content }`, []string{`{"commentAdded":{"content":"new"}}`}},
		{`events(channels: ["comments:3", "messages:3"], since: $since) { type channel data omitted movedFrom }`, []string{
			`{"events":{"type":"message_deleted","channel":"messages:3","omitted":false,"movedFrom":null,"data":{"id":3,"author_id":1,"title":"Three","content":"third","created_at":"2026-01-01T12:00:00.123456+00:00","updated_at":"UPDATED"}}}`,
			`{"events":{"type":"comment_deleted","channel":"comments:3","omitted":false,"movedFrom":null,"data":{"id":3,"message_id":3,"author_id":1,"content":"c","created_at":"2026-01-04T00:00:00+00:00","updated_at":"UPDATED"}}}`,
		}},
	} {
		id := fmt.Sprint(i)
		follow(id, tt.field)
		for _, want := range tt.want {
			a := c.result(id)
			if strings.Contains(want, "UPDATED") {
				var e struct {
					Events struct {
						Data struct {
							UpdatedAt string `json:"updated_at"`
						}
					}
				}
				if err := json.Unmarshal(a.Data, &e); err != nil {
					t.Fatal(err)
				}
				want = strings.Replace(want, "UPDATED", e.Events.Data.UpdatedAt, 1)
			}
			if len(a.Errors) > 0 || !sameJSON(t, string(a.Data), want) {
				t.Errorf("%s: got %s %v, want %s", tt.field, a.Data, a.Errors, want)
			}
		}
	}
	d.exec(`truncate messages, comments`)
	truncated := map[string]bool{}
	for range 4 { // messageDeleted twice, commentDeleted twice; then the events' own
		a := c.result0(t)
		for _, e := range a.Errors {
			truncated[e.code()] = true
		}
	}
	if !truncated[graph.CodeTruncated] {
		t.Errorf("that all rows were deleted at once was not told")
	}
}

// result0 reads the next result, whose ever.
func (c *graphClient) result0(t *testing.T) (a graphAnswer) {
	t.Helper()
	if err := json.Unmarshal(c.expect("next").Payload, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestGraphSubscriptionErrors(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table secrets (id bigint primary key)`)
	d.exec(`select tidings.watch('secrets', read => 'signed_in')`)
	s := start(t, d.url, options{server: tidingshttp.Options{MaxOperations: 2}})
	c := s.graphInit()
	for _, tt := range []struct{ document, code string }{
		{`subscription { commentAdded(messageId: 99) { id } }`, graph.CodeNotFound},
		{`subscription { messageUpdated(messageId: "x") { id } }`, graph.CodeBadInput},
		{`subscription { events(channels: []) { id } }`, graph.CodeBadInput},
		{`subscription { events(channels: [":"]) { id } }`, graph.CodeBadInput},
		{`subscription { events(channels: ["nothing"]) { id } }`, "UNKNOWN_CHANNEL"},
		{`subscription { events(channels: ["messages", "secrets"]) { id } }`, "FORBIDDEN"},
		{`subscription { events(channels: ["messages:` + strings.Join(numbers(101), `", "messages:`) + `"]) { id } }`, "TOO_MANY_CHANNELS"},
		{`subscription { messageAdded(since: "x") { id } }`, graph.CodeReset},
		{`subscription { messageAdded(since: "00000000-1") { id } }`, graph.CodeReset},
		{`subscription { messageAdded { nothing } }`, "GRAPHQL_VALIDATION_FAILED"},
		{`subscription { messageAdded { id } messageDeleted { id } }`, "GRAPHQL_VALIDATION_FAILED"},
		{`subscription { messageAdded @skip(if: true) { id } }`, graph.CodeBadInput},
		{`subscription {`, "GRAPHQL_PARSE_FAILED"},
	} {
		c.begin("e", tt.document, nil)
		c.expectFailure("e", tt.code)
	}
	if n := s.server.Graph.Stats(); n.Subscriptions != 0 || n.Plans != 0 {
		t.Errorf("after subscriptions that could not be there are %+v", n)
	}
	// An operation that is no subscription is answered and done.
	c.begin("q", `{ me { id } }`, nil)
	c.expectResult("q", `{"me":null}`)
	if f := c.expect("complete"); f.ID != "q" {
		t.Errorf("got %s", f.text)
	}
	c.begin("a", added, nil)
	c.begin("b", added, nil)
	c.begin("c", added, nil)
	c.expectFailure("c", graph.CodeTooMany)
	// What cannot be had any more is told.
	d.exec(`select tidings.unwatch('messages')`)
	for range 2 {
		if f := c.expect("error"); !strings.Contains(f.text, "UNKNOWN_CHANNEL") {
			t.Errorf("got %s", f.text)
		}
	}
	c.begin("a", `{ me { id } }`, nil) // the connection goes on
	c.expectResult("a", `{"me":null}`)
}

// numbers are as many, as texts.
func numbers(n int) (texts []string) {
	for i := range n {
		texts = append(texts, fmt.Sprint(i))
	}
	return texts
}

func TestGraphGoodbyes(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{secret: secret, server: tidingshttp.Options{MaxBody: 2000}})
	const begin = `{"type":"connection_init"}`
	subscribe := func(id string) string {
		return `{"type":"subscribe","id":"` + id + `","payload":{"query":"subscription { messageAdded { id } }"}}`
	}
	for _, tt := range []struct {
		name     string
		protocol string
		send     []string
		code     int
		reason   string
	}{
		{"no subprotocol", "", nil, 4406, "Subprotocol not acceptable"},
		{"another subprotocol", "mqtt", nil, 4406, "Subprotocol not acceptable"},
		{"no JSON", transportWS, []string{`x`}, 4400, "Invalid message received"},
		{"no object", transportWS, []string{`[]`}, 4400, "Invalid message received"},
		{"no type", transportWS, []string{`{}`}, 4400, "Invalid message received"},
		{"another type", transportWS, []string{`{"type":"hello"}`}, 4400, "Invalid message received"},
		{"a type of the other protocol", transportWS, []string{begin, `{"type":"start","id":"1","payload":{"query":"{ me { id } }"}}`}, 4400, "Invalid message received"},
		{"a type that the server says", transportWS, []string{begin, `{"type":"next","id":"1","payload":{}}`}, 4400, "Invalid message received"},
		{"twice", transportWS, []string{begin, begin}, 4429, "Too many initialisation requests"},
		{"subscribe first", transportWS, []string{subscribe("1")}, 4401, "Unauthorized"},
		{"the same id", transportWS, []string{begin, subscribe("1"), subscribe("1")}, 4409, "Subscriber for 1 already exists"},
		{"the same id, of long characters", transportWS, []string{begin, subscribe("x" + strings.Repeat("é", 60)), subscribe("x" + strings.Repeat("é", 60))}, 4409, "Subscriber for xé"},
		{"no id", transportWS, []string{begin, `{"type":"subscribe","payload":{"query":"{ me { id } }"}}`}, 4400, "Invalid message received"},
		{"an empty id", transportWS, []string{begin, subscribe("")}, 4400, "Invalid message received"},
		{"no payload", transportWS, []string{begin, `{"type":"subscribe","id":"1"}`}, 4400, "Invalid message received"},
		{"no query", transportWS, []string{begin, `{"type":"subscribe","id":"1","payload":{}}`}, 4400, "Invalid message received"},
		{"a number for a query", transportWS, []string{begin, `{"type":"subscribe","id":"1","payload":{"query":1}}`}, 4400, "Invalid message received"},
		{"a bad token", transportWS, []string{`{"type":"connection_init","payload":{"authorization":"Bearer x"}}`}, 4403, "Forbidden"},
		{"a token of another kind", transportWS, []string{`{"type":"connection_init","payload":{"token":1}}`}, 4400, "Invalid message received"},
		{"a payload of another kind", transportWS, []string{`{"type":"connection_init","payload":[]}`}, 4400, "Invalid message received"},
		{"a long message", transportWS, []string{begin, `{"type":"ping","payload":"` + strings.Repeat("x", 3000) + `"}`}, 4400, "Invalid message received"},
		{"a far too long message", transportWS, []string{begin, strings.Repeat("x", 40_000)}, 1009, "frame_too_large"},
		{"legacy: start first", legacyWS, []string{`{"type":"start","id":"1","payload":{"query":"{ me { id } }"}}`}, 4400, "start comes behind connection_init"},
		{"legacy: terminate", legacyWS, []string{begin, `{"type":"connection_terminate"}`}, 1000, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			var protocols []string
			if tt.protocol != "" {
				protocols = []string{tt.protocol}
			}
			c := s.graphSocket(protocols...)
			for _, text := range tt.send {
				c.send(text)
			}
			for {
				f, err := c.read()
				if err != nil {
					c.checkGoodbye(frame{}, err, tt.code, tt.reason)
					return
				}
				if f.Type == "next" || f.Type == "error" {
					t.Fatalf("got %s", f.text)
				}
			}
		})
	}
	t.Run("says nothing", func(t *testing.T) {
		t.Parallel()
		impatient := start(t, d.url, options{server: tidingshttp.Options{InitTimeout: 5 * time.Second}})
		c := impatient.graphInit()
		impatient.graphSocket(transportWS).expectGoodbye(4408, "Connection initialisation timeout")
		c.begin("1", `{ me { id } }`, nil) // who has begun may take the time
		c.expectResult("1", `{"me":null}`)
	})
	t.Run("a token that expires", func(t *testing.T) {
		t.Parallel()
		c := s.in(t).graphSocket(transportWS)
		c.send(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + token(t, "1", 12*time.Second) + `"}}`)
		c.expect("connection_ack")
		c.begin("1", `{ me { username } }`, nil)
		c.expectResult("1", `{"me":{"username":"ada"}}`)
		c.expect("complete")
		if ping := c.expect("ping"); !strings.Contains(string(ping.Payload), "token_expiring") {
			t.Errorf("got %s", ping.text)
		}
		c.expectGoodbye(4403, "token_expired")
	})
	t.Run("the server stops", func(t *testing.T) {
		t.Parallel()
		stopping := start(t, d.url, options{})
		c := stopping.graphInit()
		c.begin("1", added, nil)
		stopping.awaitSubscriptions(1)
		stopping.tell()
		c.expectGoodbye(1001, "shutdown")
		stopping.end()
	})
}

func TestGraphPings(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{server: tidingshttp.Options{PingInterval: 100 * time.Millisecond}})
	c := s.graphSocket(transportWS)
	c.send(`{"type":"ping"}`) // before anything else, too
	if f := c.expect("pong"); f.Payload != nil {
		t.Errorf("got %s", f.text)
	}
	c.send(`{"type":"connection_init","payload":null}`)
	c.expect("connection_ack")
	c.send(`{"type":"ping","payload":{"a":[1]}}`)
	if f := c.expect("pong"); string(f.Payload) != `{"a":[1]}` {
		t.Errorf("got %s", f.text)
	}
	c.send(`{"type":"pong"}`)
	// A quiet subscription is told where it is, and can go on from there.
	c.begin(`with "quotes"`, `subscription { commentAdded { id } }`, nil)
	s.awaitSubscriptions(1)
	d.message("elsewhere")
	var last string
	for n := 0; n < 3; {
		var told struct{ Cursors map[string]string }
		if err := json.Unmarshal(c.expect("ping").Payload, &told); err != nil {
			t.Fatal(err)
		}
		if cursor := told.Cursors[`with "quotes"`]; cursor != last {
			last = cursor
			n++
			d.message("elsewhere")
		}
	}
	id := d.comment(1, "missed")
	again := s.graphInit()
	again.begin("2", `subscription ($since: String) { commentAdded(since: $since) { id } }`, map[string]any{"since": last})
	again.expectResult("2", fmt.Sprintf(`{"commentAdded":{"id":"%d"}}`, id))
}

func TestGraphLegacyProtocol(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	c := s.graphSocket(legacyWS)
	c.send(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + token(t, "1", time.Hour) + `"}}`)
	c.expect("connection_ack")
	c.expect("ka")
	c.send(`{"type":"start","id":"1","payload":{"query":"subscription { messageAdded { title } }"}}`)
	c.send(`{"type":"start","id":"2","payload":{"query":"mutation { createMessage(input: {title: \"new\", content: \"\"}) { message { title } } }"}}`)
	seen := map[string]string{}
	for len(seen) < 2 {
		f, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == "data" {
			seen[f.ID] = string(f.Payload)
		}
		if f.ID == "2" && f.Type == "complete" && seen["1"] == "" {
			d.message("new") // the mutation may have been faster than the subscription
		}
	}
	if !strings.Contains(seen["1"], `"messageAdded":{"title":"new"}`) || !strings.Contains(seen["2"], `"createMessage":{"message":{"title":"new"}}`) {
		t.Errorf("got %v", seen)
	}
	c.send(`{"type":"stop","id":"1"}`)
	s.awaitSubscriptions(0)
	c.send(`{"type":"start","id":"3","payload":{"query":"subscription { commentAdded(messageId: 99) { id } }"}}`)
	for {
		f, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if f.ID == "3" && f.Type == "data" {
			if !strings.Contains(string(f.Payload), graph.CodeNotFound) {
				t.Errorf("got %s", f.text)
			}
			break
		}
	}
	c.expect("complete")

	refused := s.graphSocket(legacyWS)
	refused.send(`{"type":"connection_init","payload":{"Authorization":"Bearer x"}}`)
	if f := refused.expect("connection_error"); !strings.Contains(f.text, "token is not valid") {
		t.Errorf("got %s", f.text)
	}
	refused.expectGoodbye(1011, "")
}

// One execution and one encoding serve all who subscribe to the same, whatever else they follow, and since when.
func TestGraphExecutedOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	var clients []*graphClient
	since := s.liveCursor()
	for i := range 60 {
		c := s.graphInit()
		clients = append(clients, c)
		switch i % 3 {
		case 0:
			c.begin(subscriptionID, addedSince, nil)
		case 1:
			c.begin(subscriptionID, addedSince, map[string]any{"since": since, "unused": i})
		case 2: // with another beside it
			c.begin(subscriptionID, addedSince, map[string]any{"since": s.liveCursor()})
			c.begin("2", `subscription { commentAdded { id } }`, nil)
		}
	}
	s.awaitSubscriptions(80)
	if n := s.server.Graph.Stats(); n.Plans != 2 || n.Subscriptions != 80 {
		t.Errorf("there are %+v, want 2 plans of 80 subscriptions", n)
	}
	const rows = 50
	before := s.server.Graph.Stats().Statements // of the cursors that were asked for
	for range rows {
		d.message("x")
	}
	for _, c := range clients {
		for n := range rows {
			c.expectResult(subscriptionID, fmt.Sprintf(`{"messageAdded":{"id":"%d","title":"x","author":{"username":"ada"}}}`, n+1))
		}
	}
	if n := s.server.Graph.Stats(); n.Executions != rows {
		t.Errorf("%d executions for %d rows and %d subscribers, want one a row", n.Executions, rows, len(clients))
	}
	if n := s.server.Graph.Stats(); n.Statements-before > rows {
		t.Errorf("%d statements for %d rows, want one a row at most", n.Statements-before, rows)
	}
	for _, c := range clients {
		c.send(`{"type":"complete","id":"1"}`)
		c.send(`{"type":"complete","id":"2"}`)
	}
	s.awaitSubscriptions(0)
	eventually(t, "no plan is kept", func() bool {
		return s.server.Graph.Stats() == graph.Stats{Executions: rows, Statements: s.server.Graph.Stats().Statements}
	})
}

// Clients that come and go, on two instances, with queues that overflow, miss and repeat nothing; and neither does one that
// loads with a query and follows from there.
func TestGraphExactlyOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	o := options{hub: realtime.Options{QueueBytes: 8 << 10, RecentBytes: 64 << 10}}
	instances := []*service{start(t, d.url, o), start(t, d.url, o)}
	const writers, rows = 4, 250
	begin := instances[0].liveCursor()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var writing, reading sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for i := range rows {
				if _, err := d.pool.Exec(ctx, `insert into messages (author_id, title, content) select 1, 'm', repeat('x', 200) from generate_series(1, $1::int)`, 1+i%3); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	const perWriter = rows/3*6 + 1 // 1 + 2 + 3 again and again
	const total = writers * perWriter
	for n := range 8 {
		reading.Go(func() {
			seen := make(map[string]bool)
			cursor, broken := begin, 0
			if n%2 == 1 { // loads first
				var data struct {
					LiveCursor string
					Messages   struct{ Nodes []struct{ ID string } }
				}
				a, err := instances[0].tryAsk(ctx, `{ messages(first: 100) { nodes { id } } liveCursor }`)
				if err != nil || json.Unmarshal(a.Data, &data) != nil {
					t.Errorf("load: %v %v", err, a.Errors)
					return
				}
				if len(data.Messages.Nodes) < 100 { // all there were
					for _, m := range data.Messages.Nodes {
						seen[m.ID] = true
					}
					cursor = data.LiveCursor
				}
			}
			for len(seen) < total && ctx.Err() == nil {
				err := instances[(n+broken)%2].followMessages(ctx, cursor, 50+37*n, func(id, at string) error {
					if seen[id] {
						return fmt.Errorf("message %s came twice", id)
					}
					seen[id] = true
					cursor = at
					if len(seen) == total {
						return errEnough
					}
					return nil
				})
				if broken++; err != nil && !errors.Is(err, errEnough) {
					t.Errorf("client %d: %v", n, err)
					return
				}
			}
			if len(seen) != total {
				t.Errorf("client %d has %d messages, want %d", n, len(seen), total)
			}
		})
	}
	writing.Wait()
	reading.Wait()
}

var errEnough = errors.New("that is enough")

// tryAsk sends a query, from any goroutine.
func (s *service) tryAsk(ctx context.Context, document string) (a graphAnswer, err error) {
	body, err := json.Marshal(graphRequest{Query: document})
	if err != nil {
		return a, err
	}
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+s.addr+"/graphql", strings.NewReader(string(body)))
	if err != nil {
		return a, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := plain.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	return a, json.NewDecoder(response.Body).Decode(&a)
}

// followMessages subscribes, and takes so many results before it vanishes.
func (s *service) followMessages(ctx context.Context, since string, results int, told func(id, cursor string) error) error {
	dialer := websocket.Dialer{HandshakeTimeout: patience, Subprotocols: []string{transportWS}}
	ws, _, err := dialer.DialContext(ctx, "ws://"+s.addr+"/graphql", nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	payload, err := json.Marshal(graphRequest{Query: addedSince, Variables: map[string]any{"since": since}})
	if err != nil {
		return err
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"connection_init"}`)); err != nil {
		return err
	}
	if _, err := readFrame(ws); err != nil {
		return err
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"subscribe","id":"1","payload":`+string(payload)+`}`)); err != nil {
		return err
	}
	for n := 0; n < results; {
		f, err := readFrame(ws)
		if err != nil {
			return err
		}
		var next struct {
			Type    string
			Payload struct {
				Data struct {
					MessageAdded *struct{ ID string }
				}
				Extensions struct{ Cursor string }
			}
		}
		if err := json.Unmarshal([]byte(f.text), &next); err != nil {
			return fmt.Errorf("%w: %s", err, f.text)
		}
		if next.Type == "ping" {
			continue
		}
		if next.Type != "next" || next.Payload.Data.MessageAdded == nil {
			return fmt.Errorf("got %s", f.text)
		}
		if err := told(next.Payload.Data.MessageAdded.ID, next.Payload.Extensions.Cursor); err != nil {
			return err
		}
		n++
	}
	return nil
}
