package traces

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// probes are asked all the time, by machines.
var probes = map[string]bool{"/healthz": true, "/readyz": true}

// Request makes a span of a request, until its answer begins: below the client's, if that says in traceparent which that is.
func (t *Traces) Request(r *http.Request) (_ context.Context, answered func(route string, status int)) {
	if probes[r.URL.Path] {
		return r.Context(), func(string, int) {}
	}
	parent := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(parent, "request", oteltrace.WithSpanKind(oteltrace.SpanKindServer))
	return ctx, func(route string, status int) {
		name := methodOf(r)
		if route != "" {
			name += " " + route
			span.SetAttributes(attribute.String("http.route", route))
		}
		span.SetName(name)
		span.SetAttributes(attribute.String("http.request.method", methodOf(r)), attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions:
		return r.Method
	}
	return "_OTHER"
}

// maxName is how much of an operation's name, which clients choose, is told.
const maxName = 64

// Operation makes a span of an operation of GraphQL's.
func (t *Traces) Operation(ctx context.Context, kind, name string) (_ context.Context, done func(codes []string)) {
	ctx, span := t.tracer.Start(ctx, kind, oteltrace.WithAttributes(
		attribute.String("graphql.operation.type", kind), attribute.String("graphql.operation.name", name[:min(len(name), maxName)])))
	return ctx, func(wrong []string) {
		if len(wrong) > 0 {
			span.SetAttributes(attribute.StringSlice("tidings.error_codes", wrong[:min(len(wrong), maxTopics)]))
			span.SetStatus(codes.Error, wrong[0])
		}
		span.End()
	}
}
