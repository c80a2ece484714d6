package http_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestNpmAudit is the audit of the GraphQL over HTTP specification by the package graphql-http.
func TestNpmAudit(t *testing.T) {
	t.Parallel()
	s := start(t, newDatabase(t).url, options{})
	audited := make(map[string]int)
	passed := make(map[string]int)
	for _, line := range npm(t, "audit.mjs", s.graphURL()).wait() {
		var audit struct {
			ID, Name, Status, Reason string
			Answer                   json.RawMessage
		}
		if err := json.Unmarshal([]byte(line.text), &audit); err != nil {
			t.Fatal(err)
		}
		level, _, _ := strings.Cut(audit.Name, " ")
		audited[level]++
		t.Logf("%s %s: %s", audit.ID, audit.Name, audit.Status)
		switch {
		case audit.Status == "ok":
			passed[level]++
		case level == "MAY":
			t.Logf("%s: %s", audit.Reason, audit.Answer)
		default:
			t.Errorf("%s %s: %s: %s", audit.ID, audit.Name, audit.Reason, audit.Answer)
		}
	}
	t.Logf("passed: %v of %v", passed, audited)
	if audited["MUST"] == 0 || audited["SHOULD"] == 0 {
		t.Errorf("audited is %v", audited)
	}
}

// What the clients ask.
const (
	npmQuery    = `query ($id: ID!) { message(id: $id) { id title author { username } } }`
	npmMutation = `mutation ($title: String!) { createMessage(input: {authorId: 1, title: $title, content: ""}) { message { id author { username } } } }`
	npmAdded    = `subscription ($since: String) { messageAdded(since: $since) { id title author { username } } }`
)

// npmMessage is a message as npmAdded tells it.
func npmMessage(id int64, title string) string {
	return fmt.Sprintf(`{"messageAdded":{"id":"%d","title":%q,"author":{"username":"ada"}}}`, id, title)
}

// liveCursor asks for the position of what can be read now.
func (p *npmScript) liveCursor() string {
	p.t.Helper()
	p.send("live", `{ liveCursor }`, nil)
	line := p.await("its position", func(line npmLine) bool { return line.ID == "live" && !line.Complete })
	var data struct{ LiveCursor string }
	if line.Result == nil || json.Unmarshal(line.Result.Data, &data) != nil || data.LiveCursor == "" {
		p.t.Fatalf("got %s, want a cursor", line)
	}
	return data.LiveCursor
}

// TestNpmGraphQLWS is the package graphql-ws.
func TestNpmGraphQLWS(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	c := npm(t, "graphql-ws.mjs", s.graphWSURL())

	first := d.message("first")
	c.send("query", npmQuery, map[string]any{"id": first})
	c.awaitConnected(false)
	c.expect("query", fmt.Sprintf(`{"message":{"id":"%d","title":"first","author":{"username":"ada"}}}`, first))
	c.expectComplete("query")

	// Whoever writes, subscribers hear of it.
	c.send("sub", npmAdded, map[string]any{"since": c.liveCursor()})
	s.awaitSubscriptionsTo("messages", 1)
	c.send("mutation", npmMutation, map[string]any{"title": "by mutation"})
	c.expect("mutation", fmt.Sprintf(`{"createMessage":{"message":{"id":"%d","author":{"username":"ada"}}}}`, first+1))
	c.expectComplete("mutation")
	cursor := c.expect("sub", npmMessage(first+1, "by mutation")).Extensions.Cursor
	bySQL := d.message("by SQL")
	c.expect("sub", npmMessage(bySQL, "by SQL"))

	// Since then, by another operation of the same connection.
	c.send("since", npmAdded, map[string]any{"since": cursor})
	c.expect("since", npmMessage(bySQL, "by SQL"))
	c.stop("since")
	c.expectComplete("since")
	s.awaitSubscriptionsTo("messages", 1)

	// Errors before anything is executed end the operation; others are in its result.
	c.send("unknown", `{ nothing }`, nil)
	c.expectFailed("unknown", "GRAPHQL_VALIDATION_FAILED")
	c.send("unparsed", `{`, nil)
	c.expectFailed("unparsed", "GRAPHQL_PARSE_FAILED")
	c.send("nowhere", `subscription { commentAdded(messageId: 404) { id } }`, nil)
	c.expectFailed("nowhere", "NOT_FOUND")
	c.send("input", `{ user { id } }`, nil)
	if line := c.of("input"); line.Result == nil || line.Result.Errors.codes() != "BAD_USER_INPUT" || string(line.Result.Data) != `{"user":null}` {
		t.Errorf("got %s, want data and an error", line)
	}
	c.expectComplete("input")

	// All of that has left the subscription alone.
	last := d.message("last")
	c.expect("sub", npmMessage(last, "last"))
	c.stop("sub")
	c.expectComplete("sub")
	s.awaitSubscriptionsTo("messages", 0)
}

// A client that is killed while much is written, and started again with the last cursor it has told, misses nothing and is told
// nothing twice.
func TestNpmGraphQLWSResume(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	before := query[string](d, `select tidings.cursor()`)

	// Each writer writes some before the second client is here, and some while it is.
	const writers, transactions = 3, 120
	resumed, resume := context.WithCancel(t.Context())
	defer resume()
	var writing errgroup.Group
	write := func(writer, n int) error {
		_, err := d.pool.Exec(t.Context(), `insert into messages (author_id, title, content)
			select 1, $1, '' from generate_series(1, $2)`, fmt.Sprintf("%d.%d", writer, n), 1+n%3)
		return err
	}
	for writer := range writers {
		writing.Go(func() error {
			for n := range transactions {
				if n == transactions*3/4 {
					<-resumed.Done()
				}
				if err := write(writer, n); err != nil {
					return err
				}
			}
			return nil
		})
	}

	var told []string
	var cursor string
	tell := func(line npmLine) {
		var data struct{ MessageAdded struct{ ID string } }
		switch {
		case line.Connected:
			return
		case line.Result == nil || len(line.Result.Errors) > 0:
			t.Fatalf("got %s, want a message", line)
		}
		if err := json.Unmarshal(line.Result.Data, &data); err != nil {
			t.Fatal(err)
		}
		told, cursor = append(told, data.MessageAdded.ID), line.Result.Extensions.Cursor
	}
	killed := npm(t, "graphql-ws.mjs", s.graphWSURL())
	killed.send("sub", npmAdded, map[string]any{"since": before})
	for range 100 {
		tell(killed.of("sub"))
	}
	for _, line := range killed.kill() {
		tell(line)
	}
	t.Logf("killed after %d messages", len(told))

	c := npm(t, "graphql-ws.mjs", s.graphWSURL())
	c.send("sub", npmAdded, map[string]any{"since": cursor})
	tell(c.of("sub"))
	resume()
	if err := writing.Wait(); err != nil {
		t.Fatal(err)
	}
	all := query[[]string](d, `select array_agg(id::text order by id) from messages`)
	for len(told) < len(all) {
		tell(c.of("sub"))
	}
	// Nothing comes behind the last one but what is written now.
	last := d.message("last")
	c.expect("sub", npmMessage(last, "last"))

	// The order is that of the commits: another client's that has been here for all of them.
	witness := s.dialQuery("channel=messages&since=" + before)
	for i := range told {
		if id := fmt.Sprint(witness.expect("message_added").row(t).ID); told[i] != id {
			t.Fatalf("message %d of %d is %s, want %s", i, len(told), told[i], id)
		}
	}
	slices.SortFunc(told, compareNumbers)
	if !slices.Equal(told, all) {
		t.Errorf("told of %v, want %v", told, all)
	}
}

// compareNumbers compares numbers without leading zeros.
func compareNumbers(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// A client that was there when the service was restarted goes on where it was, by itself.
func TestNpmGraphQLWSRestart(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	c := npm(t, "graphql-ws.mjs", s.graphWSURL())
	c.send("sub", npmAdded, map[string]any{})
	c.awaitConnected(false)
	testNpmRestart(t, d, s, c)
	closed := *c.await("a close", func(line npmLine) bool { return line.Closed != nil }).Closed
	if closed.Code != 1001 || !strings.HasPrefix(closed.Reason, "shutdown") {
		t.Errorf("the connection was closed with %+v", closed)
	}
}

// testNpmRestart restarts the service while a client is subscribed as "sub".
func testNpmRestart(t *testing.T, d *database, s *service, c *npmScript) {
	t.Helper()
	s.awaitSubscriptionsTo("messages", 1)
	c.expect("sub", npmMessage(d.message("before"), "before"))
	s.end()
	meanwhile := d.message("meanwhile")
	s = start(t, d.url, options{listen: s.addr})
	c.awaitConnected(true)
	c.expect("sub", npmMessage(meanwhile, "meanwhile"))
	c.expect("sub", npmMessage(d.message("after"), "after"))
	c.stop("sub")
	c.expectComplete("sub")
	s.awaitSubscriptionsTo("messages", 0)
	c.end() // before the service does
}

// TestNpmGraphQLSSE is the package graphql-sse, in its distinct connections mode.
func TestNpmGraphQLSSE(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	c := npm(t, "graphql-sse.mjs", s.graphURL())

	first := d.message("first")
	c.send("query", npmQuery, map[string]any{"id": first})
	c.expect("query", fmt.Sprintf(`{"message":{"id":"%d","title":"first","author":{"username":"ada"}}}`, first))
	c.expectComplete("query")
	c.send("mutation", npmMutation, map[string]any{"title": "by mutation"})
	c.expect("mutation", fmt.Sprintf(`{"createMessage":{"message":{"id":"%d","author":{"username":"ada"}}}}`, first+1))
	c.expectComplete("mutation")

	// On this protocol all errors are in results.
	for query, code := range map[string]string{
		`{ nothing }`: "GRAPHQL_VALIDATION_FAILED",
		`subscription { commentAdded(messageId: 404) { id } }`: "NOT_FOUND",
	} {
		c.send(query, query, nil)
		if line := c.of(query); line.Result == nil || line.Result.Errors.codes() != code || line.Result.Data != nil {
			t.Errorf("got %s, want the error %s", line, code)
		}
		c.expectComplete(query)
	}

	c.send("sub", npmAdded, map[string]any{"since": c.liveCursor()})
	testNpmRestart(t, d, s, c)
}

// TestNpmLegacy is the package subscriptions-transport-ws.
func TestNpmLegacy(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	c := npm(t, "subscriptions-transport-ws.mjs", s.graphWSURL())
	c.awaitConnected(false)
	c.send("sub", npmAdded, map[string]any{})
	s.awaitSubscriptionsTo("messages", 1)
	first := d.message("first")
	cursor := c.expect("sub", npmMessage(first, "first")).Extensions.Cursor
	second := d.message("second")
	c.expect("sub", npmMessage(second, "second"))
	c.send("since", npmAdded, map[string]any{"since": cursor})
	c.expect("since", npmMessage(second, "second"))

	c.send("query", npmQuery, map[string]any{"id": first})
	c.expect("query", fmt.Sprintf(`{"message":{"id":"%d","title":"first","author":{"username":"ada"}}}`, first))
	c.expectComplete("query")
	c.send("unknown", `{ nothing }`, map[string]any{})
	if line := c.of("unknown"); line.Result == nil || line.Result.Errors.codes() != "GRAPHQL_VALIDATION_FAILED" {
		t.Errorf("got %s, want an error", line)
	}
	c.expectComplete("unknown")

	c.stop("since")
	s.awaitSubscriptionsTo("messages", 1)
	c.stop("sub")
	s.awaitSubscriptionsTo("messages", 0)
}

// TestNpmApollo is Apollo Client.
func TestNpmApollo(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	c := npm(t, "apollo.mjs", s.graphURL(), s.graphWSURL())
	http := func() npmHTTP {
		t.Helper()
		return *c.await("a request", func(line npmLine) bool { return line.HTTP != nil }).HTTP
	}

	// A query is first sent by its hash, which the service does not know; then with its text; from then on the hash will do.
	first, second := d.message("first"), d.message("second")
	expect := func(id string, message int64, title string) {
		t.Helper()
		c.send(id, npmQuery, map[string]any{"id": message})
		c.expect(id, fmt.Sprintf(`{"message":{"id":"%d","title":%q,"author":{"username":"ada","__typename":"User"},"__typename":"Message"}}`, message, title))
	}
	expect("first", first, "first")
	byHash := http()
	if byHash.Query != "" || byHash.Hash == "" || byHash.Answer.Errors.codes() != "PERSISTED_QUERY_NOT_FOUND" ||
		byHash.Answer.Errors[0].Message != "PersistedQueryNotFound" {

		t.Errorf("the first request is %+v, want the hash, and that it is not known", byHash)
	}
	if sent := http(); sent.Query == "" || sent.Hash != byHash.Hash || sent.Status != 200 {
		t.Errorf("the second request is %+v, want query and hash", sent)
	}
	expect("second", second, "second")
	if sent := http(); sent.Query != "" || sent.Hash != byHash.Hash || sent.Status != 200 {
		t.Errorf("the third request is %+v, want the hash alone", sent)
	}

	c.send("sub", npmAdded, map[string]any{"since": c.liveCursor()})
	s.awaitSubscriptionsTo("messages", 1)
	c.send("mutation", npmMutation, map[string]any{"title": "by mutation"})
	c.expect("mutation", fmt.Sprintf(`{"createMessage":{"message":{"id":"%d","author":{"username":"ada","__typename":"User"},`+
		`"__typename":"Message"},"__typename":"CreateMessagePayload"}}`, second+1))
	added := func(id int64, title string) string {
		return fmt.Sprintf(`{"messageAdded":{"id":"%d","title":%q,"author":{"username":"ada","__typename":"User"},"__typename":"Message"}}`, id, title)
	}
	c.expect("sub", added(second+1, "by mutation"))
	bySQL := d.message("by SQL")
	c.expect("sub", added(bySQL, "by SQL"))
	c.stop("sub")
	s.awaitSubscriptionsTo("messages", 0)

	c.send("unknown", `{ nothing }`, map[string]any{})
	c.expectFailed("unknown", "GRAPHQL_VALIDATION_FAILED")
}
