package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/munnerz/goautoneg"
	"github.com/vektah/gqlparser/v2/ast"

	"tidings/http/graph"
)

// The media types of answers, as the GraphQL-over-HTTP specification has them. The first is for who takes anything.
const (
	mediaJSON   = "application/json"
	mediaGraph  = "application/graphql-response+json"
	mediaEvents = "text/event-stream"
	mediaHTML   = "text/html"
)

// bodyTimeout is how long a request's body may take.
const bodyTimeout = 10 * time.Second

// serveGraphQL answers /graphql: by a WebSocket, a stream, an answer, or with the page to try it.
func (s *Server) serveGraphQL(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") { // others, such as HTTP/2 in the clear, may be offered and need not be taken
		s.serveGraphWS(w, r)
		return
	}
	w.Header().Add("Vary", "Accept")
	w.Header().Set("Cache-Control", "no-store")
	s.allowOrigin(w, r)
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST, OPTIONS")
		s.answerGraph(w, mediaJSON, http.StatusMethodNotAllowed, graph.Refusal(graph.CodeBadRequest, "the method is GET or POST, not %s", r.Method))
		return
	}
	alternatives := []string{mediaJSON, mediaGraph, mediaEvents}
	if r.Method == http.MethodGet && !r.URL.Query().Has("query") && !r.URL.Query().Has("extensions") {
		alternatives = append(alternatives, mediaHTML)
	}
	media := mediaJSON
	if accept := strings.Join(r.Header.Values("Accept"), ","); accept != "" {
		media = goautoneg.Negotiate(accept, alternatives)
	}
	switch {
	case media == "":
		s.answerGraph(w, mediaJSON, http.StatusNotAcceptable, graph.Refusal(graph.CodeBadRequest,
			"an answer is %s, %s or %s", mediaGraph, mediaJSON, mediaEvents))
		return
	case media == mediaHTML:
		s.serveGraphiQL(w, r)
		return
	case !s.origins.allows(r):
		s.refused("origin_not_allowed", s.address(r), r.URL.Path)
		s.answerGraph(w, media, http.StatusForbidden, graph.Refusal(graph.CodeForbidden,
			"pages of %q may not connect: allow them with --allow-origin", r.Header.Get("Origin")))
		return
	case s.Hub.Position().IsZero():
		s.refused(notReady.code, s.address(r), r.URL.Path)
		s.answerLater(w, r, media, notReady)
		return
	}
	id, refused := s.identify(r)
	if refused != nil {
		if refused.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		s.answerGraph(w, media, refused.status, graphRefusal(refused))
		return
	}
	who := graph.Viewer{Identity: id, Named: named(r)}
	requests, batch, bad := s.readGraph(w, r)
	r = r.WithContext(graph.WithClient(r.Context(), s.clientOf(r)))
	switch {
	case bad != nil:
		s.refusedGraph(bad.response, s.address(r))
		s.answerGraph(w, media, bad.status, bad.response)
	case batch && media == mediaEvents:
		s.answerGraph(w, mediaJSON, http.StatusBadRequest, graph.Refusal(graph.CodeBadRequest, "a stream is of one operation"))
	case batch:
		s.answerBatch(w, r, media, who, requests)
	default:
		s.answerOne(w, r, media, who, requests[0])
	}
}

// badGraph is why there is no request.
type badGraph struct {
	status   int
	response *graph.Response
}

func badGraphf(status int, format string, args ...any) *badGraph {
	return &badGraph{status, graph.Refusal(graph.CodeBadRequest, format, args...)}
}

// readGraph reads requests from the URL or the body.
func (s *Server) readGraph(w http.ResponseWriter, r *http.Request) (requests []graph.Request, batch bool, _ *badGraph) {
	if r.Method == http.MethodGet {
		request, bad := graphQuery(r.URL.RawQuery)
		return []graph.Request{request}, false, bad
	}
	if media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != mediaJSON ||
		parameters["charset"] != "" && !strings.EqualFold(parameters["charset"], "utf-8") {

		return nil, false, badGraphf(http.StatusUnsupportedMediaType, "a request's Content-Type is %s, in UTF-8, not %q", mediaJSON, r.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.options.MaxBody)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, false, badGraphf(http.StatusRequestEntityTooLarge, "a request has at most %d bytes", s.options.MaxBody)
	case err != nil:
		return nil, false, badGraphf(http.StatusBadRequest, "the request was not sent to its end")
	}
	if body = bytes.TrimSpace(body); len(body) == 0 || body[0] != '[' {
		request, err := parseGraph(body)
		if err != nil {
			return nil, false, badGraphf(http.StatusBadRequest, "%s", err)
		}
		return []graph.Request{request}, false, nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(body, &parts); err != nil {
		return nil, true, badGraphf(http.StatusBadRequest, "the request is not JSON: %s", err)
	}
	if len(parts) == 0 || len(parts) > s.options.MaxBatch {
		return nil, true, &badGraph{http.StatusBadRequest, graph.Refusal(graph.CodeTooMany, "a batch has 1 to %d operations, not %d", s.options.MaxBatch, len(parts))}
	}
	for i, part := range parts {
		request, err := parseGraph(part)
		if err != nil {
			return nil, true, badGraphf(http.StatusBadRequest, "operation %d: %s", i, err)
		}
		requests = append(requests, request)
	}
	return requests, true, nil
}

// parseGraph reads a request's JSON.
func parseGraph(body []byte) (r graph.Request, err error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&r); err != nil {
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &kind) && kind.Field != "":
			return r, fmt.Errorf("the request's %q cannot be %s", kind.Field, article(kind.Value))
		case errors.As(err, &kind):
			return r, fmt.Errorf("a request is a JSON object, not %s", article(kind.Value))
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return r, errors.New("the request is not JSON: it ends too early")
		}
		return r, fmt.Errorf("the request is not JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("there is something behind the request's JSON object")
	}
	return r, present(r)
}

func present(r graph.Request) error {
	if r.Query == "" && r.Extensions["persistedQuery"] == nil {
		return errors.New(`the request's "query" is missing`)
	}
	return nil
}

// graphQuery reads a request from a URL.
func graphQuery(query string) (r graph.Request, _ *badGraph) {
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return r, badGraphf(http.StatusBadRequest, "the URL's parameters cannot be read: %s", err)
	}
	r.Query, r.OperationName = parameters.Get("query"), parameters.Get("operationName")
	for name, into := range map[string]*map[string]any{"variables": &r.Variables, "extensions": &r.Extensions} {
		text := parameters.Get(name)
		if text == "" {
			continue
		}
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(into); err != nil {
			return r, badGraphf(http.StatusBadRequest, "the parameter %s is a JSON object", name)
		}
	}
	if err := present(r); err != nil {
		return r, badGraphf(http.StatusBadRequest, "%s", err)
	}
	return r, nil
}

// answerOne executes a request, or begins a stream of what it subscribes to.
func (s *Server) answerOne(w http.ResponseWriter, r *http.Request, media string, who graph.Viewer, request graph.Request) {
	op, refused := s.Graph.Prepare(r.Context(), who, request)
	if refused != nil {
		s.refusedGraph(refused, s.address(r))
	}
	switch {
	case media == mediaEvents:
		s.streamGraph(w, r, who.Identity, op, refused)
	case refused != nil:
		s.answerGraph(w, media, statusOf(media, refused), refused)
	default:
		status, response := s.execute(r, op)
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "POST")
		}
		if status == 0 {
			status = statusOf(media, response)
		}
		s.answerGraph(w, media, status, response)
	}
}

// execute executes a query or a mutation. The status is 0, unless it is of HTTP's rules.
func (s *Server) execute(r *http.Request, op *graph.Operation) (status int, _ *graph.Response) {
	switch op.Kind() {
	case ast.Subscription:
		return http.StatusNotAcceptable, graph.Refusal(graph.CodeBadRequest,
			"a subscription is answered with a stream: accept %s, or use a WebSocket", mediaEvents)
	case ast.Mutation:
		if r.Method != http.MethodPost {
			return http.StatusMethodNotAllowed, graph.Refusal(graph.CodeBadRequest, "a mutation is sent by POST")
		}
	}
	response := op.Do(r.Context())
	s.refusedGraph(response, s.address(r))
	return 0, response
}

// statusOf is 200, unless the client can tell what has no data by its status.
func statusOf(media string, r *graph.Response) int {
	if media == mediaGraph && !r.Executed {
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// answerBatch executes requests one after another.
func (s *Server) answerBatch(w http.ResponseWriter, r *http.Request, media string, who graph.Viewer, requests []graph.Request) {
	b := []byte{'['}
	for i, request := range requests {
		if i > 0 {
			b = append(b, ',')
		}
		op, response := s.Graph.Prepare(r.Context(), who, request)
		if response == nil {
			_, response = s.execute(r, op)
		} else {
			s.refusedGraph(response, s.address(r))
		}
		b = append(b, response.Body...)
	}
	s.answerGraph(w, media, http.StatusOK, &graph.Response{Body: append(b, ']')})
}

func (s *Server) answerGraph(w http.ResponseWriter, media string, status int, r *graph.Response) {
	if media == mediaEvents || media == mediaHTML {
		media = mediaJSON
	}
	w.Header().Set("Content-Type", media+"; charset=utf-8")
	w.WriteHeader(status)
	s.writeAnswer(w, append(r.Body, '\n'))
}

// answerLater answers who should come back. A browser's EventSource never does from any status but 200; it is who asks for a stream by
// GET, and is told when in one that ends.
func (s *Server) answerLater(w http.ResponseWriter, r *http.Request, media string, refused *refusal) {
	if media == mediaEvents && r.Method == http.MethodGet {
		beginEvents(w)
		s.writeAnswer(w, retryIn(1000*refused.retryAfter))
		return
	}
	w.Header().Set("Retry-After", strconv.Itoa(refused.retryAfter))
	code := graph.CodeUnavailable
	if refused.status == http.StatusTooManyRequests {
		code = strings.ToUpper(refused.code)
	}
	s.answerGraph(w, media, refused.status, graph.Refusal(code, "%s", refused.message))
}

// bearer is the token of an Authorization header, with its scheme or without. That of another scheme is none of ours: a proxy in front
// may have asked for it.
func bearer(header string) string {
	scheme, token, ok := strings.Cut(header, " ")
	switch {
	case !ok:
		return header
	case strings.EqualFold(scheme, "Bearer"):
		return strings.TrimSpace(token)
	}
	return ""
}

// named reports whether a request was sent by a page that has reached the service by a name: one from anywhere may have pointed its own
// name at this machine, so that it and the service are one origin to the browser.
func named(r *http.Request) bool { return r.Header.Get("Origin") != "" && !isAddress(r.Host) }

// graphRefusal is a refusal as GraphQL has it.
func graphRefusal(f *refusal) *graph.Response {
	return graph.Refusal(strings.ToUpper(f.code), "%s", f.message)
}
