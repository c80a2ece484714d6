package main_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spans is a collector.
type spans struct {
	t      testing.TB
	server *httptest.Server

	mu       sync.Mutex
	all      []*otlp.Span
	services []string
}

func collect(t testing.TB) *spans {
	t.Helper()
	s := &spans{t: t}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		s.t.Errorf("the collector got %s %s: %v", r.URL, r.Header.Get("Content-Type"), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range request.ResourceSpans {
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.name" {
				s.services = append(s.services, a.Value.GetStringValue())
			}
		}
		for _, scope := range resource.ScopeSpans {
			s.all = append(s.all, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// find returns the first span that has the name and, if there is one, the parent.
func (s *spans) find(name string, parent *otlp.Span) *otlp.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.all {
		if span.Name == name && (parent == nil || slices.Equal(span.ParentSpanId, parent.SpanId)) {
			return span
		}
	}
	return nil
}

func attribute(span *otlp.Span, key string) *common.AnyValue {
	for _, a := range span.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return nil
}

// An event's way is one trace, from its writing to the last of its clients; a request is a span of its client's.
func TestTraces(t *testing.T) {
	t.Parallel()
	to := collect(t)
	database := channelDatabase(t)
	p, address := serve(t, environ("OTEL_EXPORTER_OTLP_ENDPOINT="+to.server.URL, "OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_RESOURCE_ATTRIBUTES=service.name=shop"),
		"--database-url", database)
	var clients []*client
	for range 3 {
		c := dial(t, "ws://"+address+"/ws?channel=messages")
		c.expect("subscribed", "")
		clients = append(clients, c)
	}
	sql(t, database, `insert into messages (author_id, title, content) values (1, 'secret title', 'secret content')`)
	for _, c := range clients {
		c.expect("message_added", "secret title")
	}
	var batch *otlp.Span
	eventually(t, "the batch is traced", func() bool {
		batch = to.find("batch", nil)
		return batch != nil
	})
	if n := attribute(batch, "tidings.clients").GetIntValue(); n != 3 {
		t.Errorf("it was written to %d clients, want 3", n)
	}
	if topics := attribute(batch, "tidings.topics").GetArrayValue().GetValues(); len(topics) == 0 || topics[0].GetStringValue() != "messages" {
		t.Errorf("its topics are %v", topics)
	}
	if xid := attribute(batch, "tidings.xid").GetIntValue(); xid == 0 {
		t.Error("its transaction is not told")
	}
	at := batch.StartTimeUnixNano
	for _, name := range []string{"commit", "read", "route", "deliver"} {
		step := to.find(name, batch)
		switch {
		case step == nil:
			t.Fatalf("there is no span %s", name)
		case step.StartTimeUnixNano < at && name != "deliver" || step.EndTimeUnixNano < step.StartTimeUnixNano || step.EndTimeUnixNano > batch.EndTimeUnixNano:
			t.Errorf("%s is from %d to %d, in a batch from %d to %d", name, step.StartTimeUnixNano, step.EndTimeUnixNano, batch.StartTimeUnixNano, batch.EndTimeUnixNano)
		}
		at = step.StartTimeUnixNano
	}
	if deliver := to.find("deliver", batch); len(deliver.Events) != 1 || deliver.Events[0].Name != "first client" {
		t.Errorf("the first client is not told: %v", deliver.Events)
	}

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/graphql?query=query+Titles+%7Bmessages%7Bedges%7Bnode%7Btitle%7D%7D%7D%7D", nil)
	if err != nil {
		t.Fatal(err)
	}
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	request.Header.Set("Traceparent", "00-"+trace+"-"+span+"-01")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	var asked *otlp.Span
	eventually(t, "the request is traced", func() bool {
		asked = to.find("GET /graphql", nil)
		return asked != nil
	})
	if hex(asked.TraceId) != trace || hex(asked.ParentSpanId) != span {
		t.Errorf("the request is of trace %x and span %x, and not its client's", asked.TraceId, asked.ParentSpanId)
	}
	query := to.find("query", asked)
	if query == nil || attribute(query, "graphql.operation.name").GetStringValue() != "Titles" {
		t.Errorf("the query is not told: %v", query)
	}

	p.signal(15)
	p.wait()
	to.mu.Lock()
	defer to.mu.Unlock()
	if len(to.services) == 0 || to.services[0] != "shop" {
		t.Errorf("the service is called %q", to.services)
	}
	for _, span := range to.all {
		text, err := proto.Marshal(span)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("secret")) {
			t.Errorf("rows are told: %v", span)
		}
	}
}

func hex(b []byte) string { return fmt.Sprintf("%x", b) }

// A collector that is gone, or refuses, keeps nobody from anything, and is complained about once.
func TestTracesAreRefused(t *testing.T) {
	t.Parallel()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refuses.Close()
	database := channelDatabase(t)
	p, address := serve(t, environ("OTEL_EXPORTER_OTLP_ENDPOINT="+refuses.URL, "OTEL_BSP_SCHEDULE_DELAY=20"), "--database-url", database)
	c := dial(t, "ws://"+address+"/ws?channel=messages")
	c.expect("subscribed", "")
	for n := range 5 {
		title := fmt.Sprint("number ", n)
		sql(t, database, `insert into messages (author_id, title, content) values (1, '`+title+`', 'more')`)
		c.expect("message_added", title)
	}
	p.await(&p.stderr, `msg="traces cannot be sent"`)
	p.signal(15)
	if code := p.wait(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if n := strings.Count(p.stderr.String(), "traces cannot be sent"); n > 2 { // the second at the end
		t.Errorf("it complains %d times", n)
	}
}
