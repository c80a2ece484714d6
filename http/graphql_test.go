package http_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tidings/http/graph"
)

// graphRequest is a GraphQL request.
type graphRequest struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName,omitempty"`
	Variables     map[string]any `json:"variables,omitempty"`
	Extensions    map[string]any `json:"extensions,omitempty"`
}

// graphError is one of an answer's errors.
type graphError struct {
	Message    string         `json:"message"`
	Path       []any          `json:"path"`
	Extensions map[string]any `json:"extensions"`
}

func (e graphError) code() string {
	code, _ := e.Extensions["code"].(string)
	return code
}

// graphAnswer is the answer to a request, or a subscription's result.
type graphAnswer struct {
	Data       json.RawMessage `json:"data"`
	Errors     []graphError    `json:"errors"`
	Extensions struct {
		Cursor string `json:"cursor"`
	} `json:"extensions"`
}

// post sends a body to /graphql, as JSON where the header does not say otherwise.
func (s *service) post(body []byte, header http.Header) answer {
	s.t.Helper()
	all := http.Header{"Content-Type": {"application/json"}}
	maps.Copy(all, header)
	return s.send("POST", "/graphql", bytes.NewReader(body), all)
}

// ask sends a request.
func (s *service) ask(r graphRequest, header http.Header) graphAnswer {
	s.t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		s.t.Fatal(err)
	}
	response := s.post(body, header)
	var a graphAnswer
	if err := json.Unmarshal([]byte(response.body), &a); err != nil {
		s.t.Fatalf("%v: %s", err, response.body)
	}
	return a
}

// graph executes a document, whose answer must be the JSON.
func (s *service) graph(document, want string) {
	s.t.Helper()
	s.graphAs("", document, want)
}

func (s *service) graphAs(token, document, want string) {
	s.t.Helper()
	a := s.ask(graphRequest{Query: document}, authorization(token))
	if len(a.Errors) > 0 || !sameJSON(s.t, string(a.Data), want) {
		s.t.Errorf("%s: got %s %v, want %s", document, a.Data, a.Errors, want)
	}
}

// graphFails executes a document, whose answer must have the error.
func (s *service) graphFails(token, document, code, message string) graphError {
	s.t.Helper()
	a := s.ask(graphRequest{Query: document}, authorization(token))
	if len(a.Errors) != 1 || a.Errors[0].code() != code || !strings.Contains(a.Errors[0].Message, message) {
		s.t.Fatalf("%.200s: got %.1000v, want one error with the code %s and %q", document, a.Errors, code, message)
	}
	return a.Errors[0]
}

func authorization(token string) http.Header {
	if token == "" {
		return nil
	}
	return http.Header{"Authorization": {"Bearer " + token}}
}

func sameJSON(t testing.TB, got, want string) bool {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("%v: %s", err, want)
	}
	return reflect.DeepEqual(a, b)
}

const secret = "a secret that nobody else in the world knows"

// token is a token of a user.
func token(t testing.TB, user string, expires time.Duration) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: user, ExpiresAt: jwt.NewNumericDate(time.Now().Add(expires)),
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// conversation writes three users, three messages and some comments.
func (d *database) conversation() {
	d.t.Helper()
	d.exec(`insert into users (username, display_name) values ('Boris', 'Борис'), ('chloe', 'Chloé')`)
	d.exec(`insert into messages (author_id, title, content, created_at) values
		(1, 'One', 'first', '2026-01-01 10:00Z'), (2, 'Two', 'second 100%', '2026-01-01 11:00Z'), (1, 'Three', 'third', '2026-01-01 12:00:00.123456Z')`)
	d.exec(`insert into comments (message_id, author_id, content, created_at) values
		(1, 2, 'a', '2026-01-02Z'), (1, 3, 'b', '2026-01-03Z'), (3, 1, 'c', '2026-01-04Z')`)
}

func TestGraphQueries(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.conversation()
	s := start(t, d.url, options{})
	s.graph(`{ message(id: 1) { id title content author { id username displayName } createdAt commentCount comments { nodes { content author { username } message { id } } } } }`,
		`{"message":{"id":"1","title":"One","content":"first","author":{"id":"1","username":"ada","displayName":"Ada"},"createdAt":"2026-01-01T10:00:00.000000Z","commentCount":2,
		  "comments":{"nodes":[{"content":"a","author":{"username":"Boris"},"message":{"id":"1"}},{"content":"b","author":{"username":"chloe"},"message":{"id":"1"}}]}}}`)
	s.graph(`{ message(id: "99") { id } comment(id: 99) { id } user(id: 99) { id } me { id } }`, `{"message":null,"comment":null,"user":null,"me":null}`)
	s.graph(`{ a: user(username: "BORIS") { id messageCount } b: user(id: 2) { username } c: user(username: "nobody") { id } }`,
		`{"a":{"id":"2","messageCount":1},"b":{"username":"Boris"},"c":null}`)
	s.graph(`{ messages { nodes { id createdAt } pageInfo { hasNextPage hasPreviousPage } } }`,
		`{"messages":{"nodes":[{"id":"3","createdAt":"2026-01-01T12:00:00.123456Z"},{"id":"2","createdAt":"2026-01-01T11:00:00.000000Z"},{"id":"1","createdAt":"2026-01-01T10:00:00.000000Z"}],
		  "pageInfo":{"hasNextPage":false,"hasPreviousPage":false}}}`)
	s.graph(`{ messages(order: OLDEST_FIRST, first: 2) { nodes { id } pageInfo { hasNextPage hasPreviousPage } } }`,
		`{"messages":{"nodes":[{"id":"1"},{"id":"2"}],"pageInfo":{"hasNextPage":true,"hasPreviousPage":false}}}`)
	s.graph(`{ messages(last: 1) { edges { node { id } } pageInfo { hasNextPage hasPreviousPage } } }`,
		`{"messages":{"edges":[{"node":{"id":"1"}}],"pageInfo":{"hasNextPage":false,"hasPreviousPage":true}}}`)
	s.graph(`{ messages(first: 0) { nodes { id } pageInfo { hasNextPage startCursor } } }`, `{"messages":{"nodes":[],"pageInfo":{"hasNextPage":true,"startCursor":null}}}`)
	s.graph(`{ a: messages(filter: {authorId: 1}) { nodes { id } } b: messages(filter: {text: "100%"}) { nodes { id } } c: messages(filter: {text: "T%"}) { nodes { id } }
		d: messages(filter: {createdFrom: "2026-01-01T11:00:00Z", createdBefore: "2026-01-01T12:00:00Z"}) { nodes { id } } e: messages(filter: {text: "TWO"}) { nodes { id } } }`,
		`{"a":{"nodes":[{"id":"3"},{"id":"1"}]},"b":{"nodes":[{"id":"2"}]},"c":{"nodes":[]},"d":{"nodes":[{"id":"2"}]},"e":{"nodes":[{"id":"2"}]}}`)
	s.graph(`{ users { nodes { username messages(order: OLDEST_FIRST) { nodes { id comments(last: 1) { nodes { id } } } } } } }`,
		`{"users":{"nodes":[{"username":"ada","messages":{"nodes":[{"id":"1","comments":{"nodes":[{"id":"2"}]}},{"id":"3","comments":{"nodes":[{"id":"3"}]}}]}},
		  {"username":"Boris","messages":{"nodes":[{"id":"2","comments":{"nodes":[]}}]}},{"username":"chloe","messages":{"nodes":[]}}]}}`)
	s.graph(`{ users(filter: {text: "борис"}) { nodes { id } } comments(filter: {messageId: 1, authorId: 3}) { nodes { content } } }`,
		`{"users":{"nodes":[{"id":"2"}]},"comments":{"nodes":[{"content":"b"}]}}`)

	for _, tt := range []struct{ document, code, message, field string }{
		{`{ message(id: "x") { id } }`, graph.CodeBadInput, `"x" is not an ID`, ""},
		{`{ user { id } }`, graph.CodeBadInput, "id or username", "id"},
		{`{ messages(first: 101) { nodes { id } } }`, graph.CodeBadInput, "first is a number from 0 to 100, not 101", "first"},
		{`{ messages(last: -1) { nodes { id } } }`, graph.CodeBadInput, "last is a number", "last"},
		{`{ messages(first: 1, last: 1) { nodes { id } } }`, graph.CodeBadInput, "beside first", "last"},
		{`{ messages(after: "x") { nodes { id } } }`, graph.CodeBadInput, "after is an edge's cursor", "after"},
		{`{ messages(filter: {createdFrom: "yesterday"}) { nodes { id } } }`, graph.CodeBadInput, `"yesterday" is not a DateTime`, ""},
		{`{ user(username: "\u0000") { id } }`, graph.CodeBadInput, "NUL", ""},
		{`{ messages(after: "WzAsImdhcmJhZ2UiLDFd") { nodes { id } } }`, graph.CodeBadInput, "no such moment", ""}, // [0,"garbage",1]
		{`{ nothing }`, "GRAPHQL_VALIDATION_FAILED", "nothing", ""},
		{`{ message(id: 1) { id }`, "GRAPHQL_PARSE_FAILED", "", ""},
		{`subscription { messageAdded { id } }`, graph.CodeBadRequest, "answered with a stream", ""},
	} {
		if err := s.graphFails("", tt.document, tt.code, tt.message); tt.field != "" && err.Extensions["field"] != tt.field {
			t.Errorf("%s: got the field %v, want %s", tt.document, err.Extensions["field"], tt.field)
		}
	}
}

// Whoever pages through a list sees each row once.
func TestGraphPaging(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into messages (author_id, title, content, created_at) select 1, i, '', '2026-01-01'::timestamptz + i / 4 * interval '1 s' from generate_series(1, 25) i`)
	s := start(t, d.url, options{})
	var got []string
	after := "null"
	for more := true; more; {
		a := s.ask(graphRequest{Query: `{ messages(first: 4, after: ` + after + `, order: OLDEST_FIRST) { edges { cursor node { title } } pageInfo { hasNextPage endCursor } } }`}, nil)
		var page struct {
			Messages struct {
				Edges []struct {
					Cursor string
					Node   struct{ Title string }
				}
				PageInfo struct {
					HasNextPage bool
					EndCursor   string
				}
			}
		}
		if err := json.Unmarshal(a.Data, &page); err != nil {
			t.Fatal(err, a.Errors)
		}
		for _, e := range page.Messages.Edges {
			got = append(got, e.Node.Title)
		}
		more, after = page.Messages.PageInfo.HasNextPage, `"`+page.Messages.PageInfo.EndCursor+`"`
		if n := len(page.Messages.Edges); n == 0 || page.Messages.Edges[n-1].Cursor != page.Messages.PageInfo.EndCursor {
			t.Fatalf("the page ends with %v, and its endCursor is %s", page.Messages.Edges, page.Messages.PageInfo.EndCursor)
		}
	}
	var want []string
	for i := range 25 {
		want = append(want, fmt.Sprint(i+1))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s.graphFails("", `{ messages(after: `+after+`, order: NEWEST_FIRST) { nodes { id } } }`, graph.CodeBadInput, "another order")
}

// A query takes the same number of statements, however many rows it returns.
func TestGraphStatements(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	counts := make(map[string][]uint64)
	for _, rows := range []int{1, 2, 40} {
		d.exec(`truncate users, messages, comments restart identity cascade`)
		d.exec(`insert into users (username, display_name) select 'user' || i, 'User' from generate_series(1, $1::int) i`, rows)
		d.exec(`insert into messages (author_id, title, content) select i, 'x', '' from generate_series(1, $1::int) i`, rows)
		d.exec(`insert into comments (message_id, author_id, content) select 1 + i % $1::int, 1 + i / 3 % $1::int, 'x' from generate_series(1, 3 * $1::int) i`, rows)
		for _, document := range []string{
			`{ messages(first: 100) { nodes { title author { username } comments { nodes { content author { username messageCount } } } commentCount } } }`,
			`{ liveCursor users { nodes { messages(first: 3) { nodes { comments(last: 2) { nodes { message { author { username } } } } } } } } }`,
		} {
			before := s.server.Graph.Stats().Statements
			if a := s.ask(graphRequest{Query: document}, nil); len(a.Errors) > 0 {
				t.Fatal(a.Errors)
			}
			counts[document] = append(counts[document], s.server.Graph.Stats().Statements-before)
		}
	}
	for document, n := range counts {
		t.Logf("%d statements: %s", n[0], document)
		if n[0] == 0 || n[1] != n[0] || n[2] != n[0] {
			t.Errorf("%s: %d statements for 1, 2 and 40 messages, want the same number", document, n)
		}
	}
}

func TestGraphMutations(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.conversation()
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	ada, boris := token(t, "1", time.Hour), token(t, "2", time.Hour)

	s.graphAs(ada, `{ me { username } }`, `{"me":{"username":"ada"}}`)
	s.graphAs(ada, `mutation { createMessage(input: {title: "New", content: "text"}) { message { id title author { username } liveCursor } } }`,
		`{"createMessage":{"message":{"id":"4","title":"New","author":{"username":"ada"},"liveCursor":null}}}`)
	s.graphAs(ada, `mutation { updateMessage(input: {id: 4, content: "other"}) { message { title content } } }`,
		`{"updateMessage":{"message":{"title":"New","content":"other"}}}`)
	s.graphAs(boris, `mutation { createComment(input: {messageId: 4, content: "well"}) { comment { id author { username } message { commentCount } } } }`,
		`{"createComment":{"comment":{"id":"4","author":{"username":"Boris"},"message":{"commentCount":1}}}}`)
	s.graphAs(boris, `mutation { updateComment(input: {id: 4, content: "very well"}) { comment { content } } }`,
		`{"updateComment":{"comment":{"content":"very well"}}}`)
	s.graphFails(ada, `mutation { updateComment(input: {id: 4, content: "mine"}) { comment { id } } }`, graph.CodeForbidden, "it is not yours")
	s.graphFails(ada, `mutation { deleteComment(input: {id: 4}) { id } }`, graph.CodeForbidden, "it is not yours")
	s.graphFails(boris, `mutation { deleteMessage(input: {id: 4}) { id } }`, graph.CodeForbidden, "it is not yours")
	s.graphFails(boris, `mutation { updateMessage(input: {id: 4, title: "mine"}) { message { id } } }`, graph.CodeForbidden, "it is not yours")
	s.graphAs(boris, `mutation { deleteComment(input: {id: 4, clientMutationId: "k"}) { id clientMutationId } }`, `{"deleteComment":{"id":"4","clientMutationId":"k"}}`)
	s.graphAs(boris, `mutation { deleteComment(input: {id: 4, clientMutationId: "k"}) { id clientMutationId } }`, `{"deleteComment":{"id":"4","clientMutationId":"k"}}`)
	s.graphAs(ada, `mutation { deleteMessage(input: {id: 4}) { id } }`, `{"deleteMessage":{"id":"4"}}`)
	s.graphFails(ada, `mutation { deleteMessage(input: {id: 4}) { id } }`, graph.CodeNotFound, "nothing with this id")

	const once = `mutation { createMessage(input: {title: "Once", content: "", clientMutationId: "r1"}) { message { id } clientMutationId } }`
	for range 3 {
		s.graphAs(ada, once, `{"createMessage":{"message":{"id":"5"},"clientMutationId":"r1"}}`)
	}
	s.graphAs(boris, once, `{"createMessage":{"message":{"id":"6"},"clientMutationId":"r1"}}`) // a key is the user's own
	s.graphFails(ada, strings.Replace(once, "Once", "Twice", 1), graph.CodeConflict, "clientMutationId")
	s.graphAs(ada, `mutation { deleteMessage(input: {id: 5}) { id } }`, `{"deleteMessage":{"id":"5"}}`)
	s.graphFails(ada, once, graph.CodeNotFound, "has been deleted since")

	s.graphAs(boris, `mutation { updateUser(input: {displayName: "B."}) { user { id username displayName } } }`,
		`{"updateUser":{"user":{"id":"2","username":"Boris","displayName":"B."}}}`)
	s.graphFails(boris, `mutation { updateUser(input: {id: 1, displayName: "B."}) { user { id } } }`, graph.CodeForbidden, "it is not yours")
	development := start(t, d.url, options{})
	d.exec(`insert into users (username, display_name) values ('dora', 'dora')`)
	for document, field := range map[string]string{
		`mutation { updateUser(input: {id: 4, username: "BORIS"}) { user { id } } }`: "username",
		`mutation { updateUser(input: {id: 4, username: "d d"}) { user { id } } }`:   "username",
		`mutation { updateUser(input: {id: 4, displayName: " "}) { user { id } } }`:  "displayName",
		`mutation { updateUser(input: {id: 4}) { user { id } } }`:                    "username",
		`mutation { updateUser(input: {username: "f"}) { user { id } } }`:            "id",
		`mutation { updateUser(input: {id: 4, username: "ada"}) { user { id } } }`:   "username",
	} {
		if err := development.graphFails("", document, graph.CodeBadInput, ""); err.Extensions["field"] != field {
			t.Errorf("%s: got the field %v, want %s", document, err.Extensions["field"], field)
		}
	}

	long := strings.Repeat("x", 501)
	for _, tt := range []struct{ token, document, code, message, field string }{
		{ada, `mutation { createMessage(input: {title: " ", content: ""}) { message { id } } }`, graph.CodeBadInput, "title", "title"},
		{ada, `mutation { createMessage(input: {title: "` + long + `", content: ""}) { message { id } } }`, graph.CodeBadInput, "title", "title"},
		{ada, `mutation { createMessage(input: {title: "x", content: "\u0000"}) { message { id } } }`, graph.CodeBadInput, "NUL", ""},
		{ada, `mutation { createMessage(input: {authorId: 2, title: "x", content: ""}) { message { id } } }`, graph.CodeForbidden, "cannot write as user 2", ""},
		{ada, `mutation { createMessage(input: {title: "x", content: "", clientMutationId: ""}) { message { id } } }`, graph.CodeBadInput, "clientMutationId", "clientMutationId"},
		{ada, `mutation { updateMessage(input: {id: 1}) { message { id } } }`, graph.CodeBadInput, "title or content", "title"},
		{ada, `mutation { createComment(input: {messageId: 99, content: "x"}) { comment { id } } }`, graph.CodeBadInput, "messageId is of no message", "messageId"},
		{ada, `mutation { createComment(input: {messageId: 1, content: ""}) { comment { id } } }`, graph.CodeBadInput, "content is not empty", "content"},
		{ada, `mutation { createMessage(input: {title: "x"}) { message { id } } }`, "GRAPHQL_VALIDATION_FAILED", "content", ""},
		{"", `mutation { createMessage(input: {authorId: 1, title: "x", content: ""}) { message { id } } }`, graph.CodeUnauthenticated, "send a token", ""},
		{token(t, "99", time.Hour), `mutation { createMessage(input: {title: "x", content: ""}) { message { id } } }`, graph.CodeBadInput, "authorId is of no user", "authorId"},
	} {
		if err := s.graphFails(tt.token, tt.document, tt.code, tt.message); tt.field != "" && err.Extensions["field"] != tt.field {
			t.Errorf("%s: got the field %v, want %s", tt.document, err.Extensions["field"], tt.field)
		}
	}
	if n := query[int](d, `select count(*) from messages`); n != 4 {
		t.Errorf("there are %d messages, want 4", n)
	}
}

// Without a token nobody writes, and with one that is not valid nobody reads.
func TestGraphTokens(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "1", "exp": time.Now().Add(time.Hour).Unix()}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	other, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "1", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte("another secret that has 32 bytes, too"))
	if err != nil {
		t.Fatal(err)
	}
	endless, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "1"}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, token, message string }{
		{"expired", token(t, "1", -time.Minute), "expired"},
		{"without a signature", none, "not signed"},
		{"of another secret", other, "not signed"},
		{"that never expires", endless, "exp"},
		{"of nobody", token(t, "ada", time.Hour), "not the id of a user"},
		{"that is none", "x", "no JSON Web Token"},
	} {
		response := s.post([]byte(`{"query":"{ me { id } }"}`), authorization(tt.token))
		if response.status != http.StatusUnauthorized || !strings.Contains(response.body, tt.message) || response.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("a token %s: got %d %s", tt.name, response.status, response.body)
		}
	}
	s.graph(`{ me { id } }`, `{"me":null}`)
	without := start(t, d.url, options{})
	if response := without.post([]byte(`{"query":"{ me { id } }"}`), authorization(token(t, "1", time.Hour))); response.status != http.StatusUnauthorized {
		t.Errorf("a token where none are taken: got %d %s", response.status, response.body)
	}
	without.graphFails("", `mutation { createMessage(input: {title: "x", content: ""}) { message { id } } }`, graph.CodeBadInput, "authorId says who writes")
}

func TestGraphOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.conversation()
	s := start(t, d.url, options{})
	quote := url.QueryEscape
	get := func(query string, header http.Header) answer { return s.request("GET", "/graphql?"+query, header) }
	accept := func(media string) http.Header { return http.Header{"Accept": {media}} }
	const graphMedia = "application/graphql-response+json"
	for _, tt := range []struct {
		name   string
		answer answer
		status int
		media  string
		body   string
	}{
		{"GET", get("query="+quote(`{ message(id: 1) { title } }`), nil), 200, "application/json", `{"data":{"message":{"title":"One"}}}`},
		{"GET with variables", get("query="+quote(`query ($id: ID!) { message(id: $id) { title } }`)+"&variables="+quote(`{"id":2}`), nil), 200, "application/json", `"Two"`},
		{"GET of an operation", get("query="+quote(`query a { message(id: 1) { title } } query b { message(id: 2) { title } }`)+"&operationName=b", nil), 200, "application/json", `"Two"`},
		{"GET of the newer media type", get("query="+quote(`{ message(id: 1) { title } }`), accept(graphMedia)), 200, graphMedia, `"One"`},
		{"GET of a mutation", get("query="+quote(`mutation { deleteMessage(input: {id: 1}) { id } }`), nil), 405, "application/json", "by POST"},
		{"GET of nothing", get("variables=%7B%7D", nil), 400, "application/json", "missing"},
		{"GET of bad variables", get("query=x&variables=x", nil), 400, "application/json", "variables"},
		{"POST of the older media type, invalid", s.post([]byte(`{"query":"{ nothing }"}`), accept("application/json")), 200, "application/json", "nothing"},
		{"POST of the newer media type, invalid", s.post([]byte(`{"query":"{ nothing }"}`), accept(graphMedia)), 400, graphMedia, "nothing"},
		{"POST of the newer media type, no document", s.post([]byte(`{"query":"{"}`), accept(graphMedia)), 400, graphMedia, "PARSE_FAILED"},
		{"POST of the newer media type, partly failed", s.post([]byte(`{"query":"{ user { id } }"}`), accept(graphMedia)), 200, graphMedia, `"data":{"user":null}`},
		{"an upgrade to something else", s.post([]byte(`{"query":"{ me { id } }"}`), http.Header{"Connection": {"Upgrade, HTTP2-Settings"}, "Upgrade": {"h2c"}, "Http2-Settings": {""}}), 200, "application/json", `"me":null`},
		{"POST of text", s.post([]byte(`{"query":"{ me { id } }"}`), http.Header{"Content-Type": {"text/plain"}}), 415, "application/json", "Content-Type"},
		{"POST of no JSON", s.post([]byte(`{`), nil), 400, "application/json", "ends too early"},
		{"POST of nothing", s.post(nil, nil), 400, "application/json", "ends too early"},
		{"POST of an array of nothing", s.post([]byte(`[]`), nil), 400, "application/json", graph.CodeTooMany},
		{"POST of too many", s.post([]byte(`[`+strings.Repeat(`{"query":"{ me { id } }"},`, 10)+`{"query":"{ me { id } }"}]`), nil), 400, "application/json", graph.CodeTooMany},
		{"POST of two", s.post([]byte(`[{"query":"{ me { id } }"},{"query":"{ nothing }"}]`), nil), 200, "application/json", `[{"data":{"me":null}},{"errors":`},
		{"POST of a number", s.post([]byte(`{"query":1}`), nil), 400, "application/json", `query\" cannot be a number`},
		{"POST of too much", s.post([]byte(`{"query":"`+strings.Repeat("x", 300_000)+`"}`), nil), 413, "application/json", "at most 262144 bytes"},
		{"another method", s.request("PUT", "/graphql", nil), 405, "application/json", "PUT"},
		{"another media type", s.post([]byte(`{"query":"{ me { id } }"}`), accept("image/png")), 406, "application/json", "graphql-response"},
		{"a page of another origin", s.post([]byte(`{"query":"{ me { id } }"}`), http.Header{"Origin": {"https://evil.example"}}), 403, "application/json", "evil.example"},
		{"one operation of two", s.post([]byte(`{"query":"query a { me { id } } query b { me { id } }"}`), nil), 200, "application/json", "not found"},
	} {
		media, _, _ := strings.Cut(tt.answer.header.Get("Content-Type"), ";")
		if tt.answer.status != tt.status || media != tt.media || !strings.Contains(tt.answer.body, tt.body) {
			t.Errorf("%s: got %d %s %s, want %d %s %s", tt.name, tt.answer.status, media, tt.answer.body, tt.status, tt.media, tt.body)
		}
	}
	preflight := s.request("OPTIONS", "/graphql", http.Header{"Origin": {"http://127.0.0.1:3000"}})
	if preflight.status != 204 || preflight.header.Get("Access-Control-Allow-Origin") == "" || !strings.Contains(preflight.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("a preflight is answered with %d %v", preflight.status, preflight.header)
	}
}

// In development, too, a page does not write if it may be anybody's: its name may have been pointed at this machine.
func TestGraphPagesByAnotherName(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{secret: secret})
	_, port, _ := strings.Cut(s.addr, ":")
	const body = `{"query":"mutation { createMessage(input: {authorId: 1, title: \"x\", content: \"\"}) { message { title } } }"}`
	for _, tt := range []struct{ host, origin, token, want string }{
		{"127.0.0.1:" + port, "", "", `{"data":{"createMessage":`},
		{"tidings.internal", "", "", `{"data":{"createMessage":`}, // a program, not a page
		{"127.0.0.1:" + port, "http://127.0.0.1:" + port, "", `{"data":{"createMessage":`},
		{"localhost:" + port, "http://localhost:3000", "", `{"data":{"createMessage":`},
		{"192.168.0.7:" + port, "http://192.168.0.7:" + port, "", `{"data":{"createMessage":`},
		{"evil.example:" + port, "http://evil.example:" + port, "", graph.CodeUnauthenticated},
		{"evil.example:" + port, "http://evil.example:" + port, token(t, "1", time.Hour), `{"data":{"createMessage":`},
	} {
		header := authorization(tt.token)
		if header == nil {
			header = http.Header{}
		}
		header.Set("Host", tt.host)
		if tt.origin != "" {
			header.Set("Origin", tt.origin)
		}
		if response := s.post([]byte(body), header); !strings.Contains(response.body, tt.want) {
			t.Errorf("%s, as %s: got %d %s, want %s", tt.origin, tt.host, response.status, response.body, tt.want)
		}
	}
	if response := s.post([]byte(body), http.Header{"Authorization": {"Basic YTpi"}}); !strings.Contains(response.body, `{"data":{"createMessage":`) {
		t.Errorf("with a proxy's own authorization: got %d %s", response.status, response.body)
	}
}

// What is read for one answer is bounded.
func TestGraphMaxBytes(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into messages (author_id, title, content) select 1, 'x', repeat('y', 10000) from generate_series(1, 20)`)
	s := start(t, d.url, options{graph: &graph.Options{MaxBytes: 100_000}})
	s.graph(`{ messages(first: 2) { nodes { title } } }`, `{"messages":{"nodes":[{"title":"x"},{"title":"x"}]}}`)
	s.graphFails("", `{ messages(first: 20) { nodes { id } } }`, graph.CodeTooComplex, "more than 100000 bytes")
	s.graphFails("", `{ a: messages(first: 6) { nodes { id } } b: messages(first: 6) { nodes { id } } }`, graph.CodeTooComplex, "more than 100000 bytes")
}

// The schema is told in development alone.
func TestGraphIntrospection(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	development := start(t, d.url, options{})
	development.graph(`{ __type(name: "Message") { name } }`, `{"__type":{"name":"Message"}}`)
	if a := development.get("/graphql/schema.graphql"); a.status != 200 || !strings.Contains(a.body, "type Message {") {
		t.Errorf("the schema as text: got %d", a.status)
	}
	production := start(t, d.url, options{graph: &graph.Options{}})
	if a := production.get("/graphql/schema.graphql"); a.status != 404 {
		t.Errorf("the schema as text, in production: got %d", a.status)
	}
	production.graphFails("", `{ __schema { types { name } } }`, graph.CodeIntrospection, "introspection")
	if err := production.graphFails("", `{ messagess { nodes { id } } }`, "GRAPHQL_VALIDATION_FAILED", "messagess"); strings.Contains(err.Message, "Did you mean") {
		t.Errorf("where the schema is not told, an error tells of it: %s", err.Message)
	}
}

// A document that was sent once can be named by its hash.
func TestGraphPersistedQueries(t *testing.T) {
	t.Parallel()
	s := start(t, newDatabase(t).url, options{})
	const hash = "ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38" // of {__typename}
	named := map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hash}}
	if a := s.ask(graphRequest{Extensions: named}, nil); len(a.Errors) != 1 || a.Errors[0].Message != "PersistedQueryNotFound" || a.Errors[0].code() != "PERSISTED_QUERY_NOT_FOUND" {
		t.Errorf("the hash of what was never sent: got %+v", a)
	}
	if a := s.ask(graphRequest{Query: `{__typename }`, Extensions: named}, nil); len(a.Errors) != 1 {
		t.Errorf("the hash of something else: got %+v", a)
	}
	for _, document := range []string{`{__typename}`, ``} {
		if a := s.ask(graphRequest{Query: document, Extensions: named}, nil); string(a.Data) != `{"__typename":"Query"}` {
			t.Errorf("got %s %v", a.Data, a.Errors)
		}
	}
}

// Where the database is another's, without the application's tables, events can be had and nothing else.
func TestGraphWithoutTables(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`select tidings.unwatch('comments'), tidings.unwatch('messages')`)
	s := start(t, d.url, options{})
	s.graphFails("", `{ messages { nodes { id } } }`, "UNKNOWN_CHANNEL", "messages")
	d.exec(`drop table comments, messages, users cascade`)
	s = start(t, d.url, options{})
	if a := s.ask(graphRequest{Query: `{ liveCursor }`}, nil); len(a.Errors) > 0 {
		t.Errorf("the live cursor: got %v", a.Errors)
	}
	s.graphFails("", `{ messages { nodes { id } } }`, graph.CodeNotFound, "are not in this database")
	s.graphFails("", `mutation { createMessage(input: {authorId: 1, title: "x", content: ""}) { message { id } } }`, graph.CodeNotFound, "are not in this database")
}

// What is not for everybody cannot be read either.
func TestGraphReadsWhatCanBeFollowed(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.conversation()
	d.exec(`select tidings.watch('comments', event => 'comment', key => 'message_id', read => 'signed_in')`)
	s := start(t, d.url, options{})
	s.graph(`{ message(id: 1) { title } }`, `{"message":{"title":"One"}}`)
	for _, document := range []string{
		`{ comments { nodes { id } } }`, `{ comment(id: 1) { id } }`, `{ message(id: 1) { commentCount } }`, `{ messages(first: 1) { nodes { comments { nodes { id } } } } }`,
	} {
		s.graphFails("", document, "FORBIDDEN", "not public")
	}
}
