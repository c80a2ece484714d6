// Package metrics tells Prometheus how the service is doing.
//
// Nearly all of it is counted anyway, and read when somebody asks: a scrape costs the service about a millisecond, and no client
// waits for it. What is measured for metrics alone is one observation for each batch that is published and, of a few batches a second, one
// for each client that they are written to. docs/metrics.md has a row for each name.
package metrics

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are those of one service. The registry is its own.
type Metrics struct {
	registry *prometheus.Registry

	heartbeatLag, publishLag, deliveryLag prometheus.Histogram
	requests                              *prometheus.CounterVec
	requestDuration                       *prometheus.HistogramVec
	operationDuration                     *prometheus.HistogramVec
	operationErrors                       *prometheus.CounterVec

	sampling sampling
}

// The bounds of what is measured. Lags begin where a loopback's do, and end where a person has long noticed.
var (
	lagBounds      = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	durationBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
)

// New makes the metrics of a service of this version. What it counts itself comes with Collect.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		heartbeatLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidings_heartbeat_lag_seconds", Buckets: lagBounds,
			Help: "What heartbeats took that this instance wrote, from before they were written until they were published: by one clock.",
		}),
		publishLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidings_publish_lag_seconds", Buckets: lagBounds,
			Help: "From the writing of a batch's first row until the batch was published, commit included.",
		}),
		deliveryLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidings_delivery_lag_seconds", Buckets: lagBounds,
			Help: "From the writing of a batch's first row until the batch was written to a client, of some batches, for each client.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_http_requests_total",
			Help: "Requests that were answered, by the pattern of their path.",
		}, []string{"route", "method", "code"}),
		requestDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidings_http_request_duration_seconds", Buckets: durationBounds,
			Help: "How long requests waited for the beginning of their answer.",
		}, []string{"route"}),
		operationDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidings_graphql_operation_duration_seconds", Buckets: durationBounds,
			Help: "How long GraphQL's queries and mutations took, and the beginnings of subscriptions.",
		}, []string{"type"}),
		operationErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_graphql_errors_total",
			Help: "Errors that GraphQL's operations were answered with.",
		}, []string{"type", "code"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tidings_build_info", Help: "Always 1: what runs stands in the labels.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(build, m.heartbeatLag, m.publishLag, m.deliveryLag, m.requests, m.requestDuration, m.operationDuration, m.operationErrors,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, kind := range []string{"query", "mutation", "subscription"} {
		m.operationDuration.WithLabelValues(kind)
		m.operationErrors.WithLabelValues(kind, "INTERNAL")
	}
	return m
}

// Handler answers scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: 10 * time.Second})
}

// Heartbeat takes what a heartbeat took.
func (m *Metrics) Heartbeat(lag time.Duration) { m.heartbeatLag.Observe(lag.Seconds()) }

// Request observes a request to the service.
func (m *Metrics) Request(r *http.Request) (_ context.Context, answered func(route string, status int)) {
	begun, method := time.Now(), methodOf(r)
	return r.Context(), func(route string, status int) {
		if route == "" {
			route = "other"
		}
		m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
		m.requestDuration.WithLabelValues(route).Observe(time.Since(begun).Seconds())
	}
}

// methodOf is one of a few: clients can make up others.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// Operation observes an operation of GraphQL's.
func (m *Metrics) Operation(ctx context.Context, kind, _ string) (_ context.Context, done func(codes []string)) {
	begun := time.Now()
	return ctx, func(codes []string) {
		m.operationDuration.WithLabelValues(kind).Observe(time.Since(begun).Seconds())
		for _, code := range codes {
			m.operationErrors.WithLabelValues(kind, code).Inc()
		}
	}
}
