package http_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// asking is what a client asks for, over whatever transport.
type asking struct {
	token, channel, since string
	snapshot              bool
}

func (a asking) query() string {
	q := url.Values{"channel": {a.channel}}
	for name, value := range map[string]string{"token": a.token, "since": a.since} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if a.snapshot {
		q.Set("snapshot", "true")
	}
	return q.Encode()
}

// heard is what a client is told, whatever the transport.
type heard struct {
	Type, Code, Channel, Cursor string
	Data                        struct{ Body, Of string }
	text                        string
}

// hearing is a client of any transport. What it is told is asked for with next, which returns io.EOF, or the goodbye, at the end.
type hearing struct {
	t       testing.TB
	next    func() (heard, error)
	refused string // the code of why there is nothing to hear
}

// transports are those by which channels are followed. A client that has been refused has the code in lower case.
var transports = map[string]func(s *service, a asking) *hearing{
	"/ws":         func(s *service, a asking) *hearing { return s.hearSocket("/ws", a) },
	"/ws/events":  func(s *service, a asking) *hearing { return s.hearSocket("/ws/events", a) },
	"/events":     (*service).hearEvents,
	"GraphQL WS":  (*service).hearGraphSocket,
	"GraphQL SSE": (*service).hearGraphEvents,
}

// codeIn is the code in a refusal's body, be it GraphQL's.
func codeIn(body string) string {
	var r struct {
		Error  struct{ Code string }
		Errors []graphError
	}
	_ = json.Unmarshal([]byte(body), &r) // without a code it is none
	if len(r.Errors) > 0 {
		return strings.ToLower(r.Errors[0].code())
	}
	return r.Error.Code
}

// statuses are those that codes go with.
var statuses = map[string]int{"forbidden": http.StatusForbidden, "unauthenticated": http.StatusUnauthorized, "unknown_channel": http.StatusNotFound}

func (s *service) refusedWith(status int, body string) *hearing {
	s.t.Helper()
	code := codeIn(body)
	if statuses[code] != status {
		s.t.Errorf("got the status %d with %s", status, body)
	}
	return &hearing{t: s.t, refused: code}
}

func (s *service) hearSocket(path string, a asking) *hearing {
	s.t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: patience}
	ws, response, err := dialer.DialContext(s.t.Context(), "ws://"+s.addr+path+"?"+a.query(), nil)
	if err != nil {
		if response == nil {
			s.t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body) // what there is
		return s.refusedWith(response.StatusCode, string(body))
	}
	s.t.Cleanup(func() { _ = ws.Close() })
	return &hearing{t: s.t, next: func() (h heard, err error) {
		f, err := readFrame(ws)
		if err != nil {
			return h, err
		}
		if path == "/ws/events" {
			var envelope struct{ Event string }
			_ = json.Unmarshal([]byte(f.text), &envelope) // it was JSON
			f.Type = envelope.Event
		}
		return hear(f.Type, f.text)
	}}
}

func hear(typ, text string) (h heard, err error) {
	h.text = text
	err = json.Unmarshal([]byte(text), &h)
	h.Type = typ
	return h, err
}

// stream sends a request whose answer is a stream, and returns a reader of its messages: fields by name.
func (s *service) stream(method, path string, body io.Reader, header http.Header) (next func() (map[string]string, error), refused *hearing) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	s.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header = header
	transport := &http.Transport{DisableKeepAlives: true}
	timer := time.AfterFunc(patience, cancel)
	response, err := transport.RoundTrip(request)
	timer.Stop()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body) // what there is
		return nil, s.refusedWith(response.StatusCode, string(text))
	}
	lines := bufio.NewReaderSize(response.Body, 64<<10)
	return func() (map[string]string, error) {
		timer := time.AfterFunc(patience, cancel)
		defer timer.Stop()
		fields := make(map[string]string)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return nil, err
			}
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			if name != "" {
				fields[name] = value
			} else if _, has := fields["data"]; has {
				return fields, nil
			}
		}
	}, nil
}

func (s *service) hearEvents(a asking) *hearing {
	s.t.Helper()
	next, refused := s.stream("GET", "/events?"+a.query(), nil, http.Header{})
	if refused != nil {
		return refused
	}
	return &hearing{t: s.t, next: func() (heard, error) {
		fields, err := next()
		if err != nil {
			return heard{}, err
		}
		var f frame
		if err := json.Unmarshal([]byte(fields["data"]), &f); err != nil {
			return heard{}, err
		}
		return hear(f.Type, fields["data"])
	}}
}

const eventsDocument = `subscription ($channels: [String!]!, $since: String) { events(channels: $channels, since: $since) { type channel cursor data } }`

func (a asking) variables() map[string]any {
	variables := map[string]any{"channels": []string{a.channel}}
	if a.since != "" {
		variables["since"] = a.since
	}
	return variables
}

// hearResult reads a result of eventsDocument, or the errors in its place.
func hearResult(payload json.RawMessage) (heard, error) {
	var r struct {
		Data   struct{ Events json.RawMessage }
		Errors []graphError
	}
	if err := json.Unmarshal(payload, &r); err != nil {
		return heard{}, err
	}
	if len(r.Errors) > 0 {
		return heard{Type: "error", Code: strings.ToLower(r.Errors[0].code()), text: string(payload)}, nil
	}
	var f frame
	if err := json.Unmarshal(r.Data.Events, &f); err != nil {
		return heard{}, fmt.Errorf("%w in %s", err, payload)
	}
	return hear(f.Type, string(r.Data.Events))
}

func (s *service) hearGraphSocket(a asking) *hearing {
	s.t.Helper()
	c := s.graphSocket(transportWS)
	init := `{"type":"connection_init"}`
	if a.token != "" {
		init = `{"type":"connection_init","payload":{"token":"` + a.token + `"}}`
	}
	c.send(init)
	if f, err := c.read(); err != nil {
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != 4403 {
			s.t.Errorf("connection_init is answered with %v", err)
		}
		return &hearing{t: s.t, refused: "unauthenticated"}
	} else if f.Type != "connection_ack" {
		s.t.Fatalf("got %s", f.text)
	}
	c.begin("1", eventsDocument, a.variables())
	return &hearing{t: s.t, next: func() (heard, error) {
		for {
			f, err := c.read()
			switch {
			case err != nil:
				return heard{}, err
			case f.Type == "error":
				return hearResult([]byte(`{"errors":` + string(f.Payload) + `}`))
			case f.Type == "next":
				return hearResult(f.Payload)
			case f.Type != "ping":
				return heard{}, fmt.Errorf("got %s", f.text)
			}
		}
	}}
}

func (s *service) hearGraphEvents(a asking) *hearing {
	s.t.Helper()
	body, err := json.Marshal(graphRequest{Query: eventsDocument, Variables: a.variables()})
	if err != nil {
		s.t.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"text/event-stream"}}
	if a.token != "" {
		header.Set("Authorization", "Bearer "+a.token)
	}
	next, refused := s.stream("POST", "/graphql", strings.NewReader(string(body)), header)
	if refused != nil {
		return refused
	}
	return &hearing{t: s.t, next: func() (heard, error) {
		fields, err := next()
		if err != nil || fields["event"] == "complete" {
			return heard{}, errors.Join(err, io.EOF)
		}
		return hearResult([]byte(fields["data"]))
	}}
}

// hear returns what the client is told next, leaving out what says where a quiet stream is.
func (h *hearing) hear() heard {
	h.t.Helper()
	for {
		next, err := h.next()
		if err != nil {
			h.t.Fatal(err)
		}
		if next.Type != "cursor" {
			return next
		}
	}
}

// marked returns what the client is told before its channel's marker, or the code of why it is told nothing more.
func (h *hearing) marked(channel string) string {
	h.t.Helper()
	if h.refused != "" {
		return "!" + h.refused
	}
	var told []string
	for {
		switch e := h.hear(); {
		case e.Type == "error":
			return strings.Join(append(told, e.line()), ", ")
		case e.Type == "marker" && e.Data.Of == channel:
			return strings.Join(told, ", ")
		case e.Type != "subscribed" && e.Type != "marker":
			told = append(told, e.line())
		}
	}
}

// line is what is told, in short.
func (e heard) line() string {
	if e.Type == "error" {
		return "!" + e.Code
	}
	_, what, _ := strings.Cut(e.Type, "_")
	if what == "" {
		what = e.Type
	}
	return strings.TrimSpace(what + " " + e.Data.Body)
}
