// Package traces tells an OpenTelemetry collector of the way that events take, and of requests. It is configured by OpenTelemetry's own
// environment variables, and is not there where they name no collector.
package traces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Traces makes spans and sends them. Its methods are for one service.
type Traces struct {
	// Ahead is by how much the database's clock is ahead of this one's; nil: not at all.
	Ahead func() time.Duration

	provider *trace.TracerProvider
	tracer   oteltrace.Tracer

	mu     sync.Mutex
	trails map[*trail]struct{} // that have not ended
	closed bool
}

// configured reports whether the environment names a collector.
func configured() bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// Check says what is wrong with the environment, as far as OpenTelemetry itself would pass over it. It goes before Open.
func Check() error {
	if !configured() {
		return nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := os.Getenv(name); protocol != "" && protocol != "http/protobuf" {
			return fmt.Errorf("%s: %q is not spoken here: http/protobuf is, mostly at port 4318", name, protocol)
		}
	}
	if exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter != "" && exporter != "otlp" {
		return fmt.Errorf("OTEL_TRACES_EXPORTER: %q is not known here: otlp and none are", exporter)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if url := os.Getenv(name); url != "" && !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
			return fmt.Errorf("%s: it has to begin with http:// or https://, as http://localhost:4318", name)
		}
	}
	return checkSampler()
}

// samplers are OpenTelemetry's, and whether each takes a share. Of others, and of shares that are none, it says so and takes all.
var samplers = map[string]bool{
	"always_on": false, "always_off": false, "traceidratio": true,
	"parentbased_always_on": false, "parentbased_always_off": false, "parentbased_traceidratio": true,
}

func checkSampler() error {
	sampler, share := os.Getenv("OTEL_TRACES_SAMPLER"), strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER_ARG"))
	if sampler == "" {
		return nil
	}
	takes, known := samplers[strings.ToLower(strings.TrimSpace(sampler))]
	if !known {
		return fmt.Errorf("OTEL_TRACES_SAMPLER: %q is not known here: %s are", sampler, strings.Join(slices.Sorted(maps.Keys(samplers)), ", "))
	}
	if !takes || share == "" {
		return nil
	}
	if ratio, err := strconv.ParseFloat(share, 64); err != nil || !(0 <= ratio && ratio <= 1) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: %q is not a share from 0 to 1, such as 0.01", share)
	}
	return nil
}

// complainEvery is how often there is a line about a collector that takes no spans, at most.
const complainEvery = time.Minute

// Open begins to send spans to the collector that the environment names; nil: it names none. What is opened is to be closed.
func Open(ctx context.Context, version string, logger *slog.Logger) (*Traces, error) {
	if !configured() {
		return nil, nil //nolint:nilnil // there is nothing, and nothing wrong
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	// What the environment says has the last word.
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "tidings"), attribute.String("service.version", version)),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, errors.Join(fmt.Errorf("traces: %w", err), exporter.Shutdown(ctx))
	}
	otel.SetErrorHandler(&complaints{logger: logger})
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(about)) // the sampler is the environment's
	return &Traces{provider: provider, tracer: provider.Tracer("tidings", oteltrace.WithInstrumentationVersion(version)), trails: make(map[*trail]struct{})}, nil
}

// Close ends what has not ended, and sends it, as far as that can be done until ctx ends.
func (t *Traces) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	left := t.trails
	t.trails = make(map[*trail]struct{})
	t.mu.Unlock()
	for l := range left {
		l.end()
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// complaints says what OpenTelemetry has to complain about.
type complaints struct {
	logger *slog.Logger

	mu   sync.Mutex
	said time.Time
}

// Handle is otel.ErrorHandler's.
func (c *complaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.said) < complainEvery {
		return
	}
	c.said = time.Now()
	c.logger.Warn("traces cannot be sent", "error", err)
}
