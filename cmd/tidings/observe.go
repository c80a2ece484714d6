package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	tidingshttp "tidings/http"
	"tidings/metrics"
	"tidings/realtime"
	"tidings/traces"
)

// observation is what is told of the service: metrics, to whoever asks at --admin-listen, and traces, where a collector is configured.
type observation struct {
	metrics  *metrics.Metrics
	traces   *traces.Traces // nil: there is no collector
	listener net.Listener   // of --admin-listen; nil: there is none
}

func (c *serveCmd) observe(ctx context.Context, logger *slog.Logger) (_ *observation, err error) {
	o := &observation{}
	if c.AdminListen != "" {
		if o.listener, err = listenAt(ctx, "--admin-listen", c.AdminListen); err != nil {
			return nil, err
		}
		o.metrics = metrics.New(version)
	}
	if o.traces, err = traces.Open(ctx, version, logger); err != nil {
		return nil, errors.Join(err, o.stopListening())
	}
	return o, nil
}

// followers is who is told how each batch comes to its clients; nil: nobody.
func (o *observation) followers() func(realtime.Batch) realtime.Trail {
	switch {
	case o.metrics != nil && o.traces != nil:
		return func(b realtime.Batch) realtime.Trail {
			measured, traced := o.metrics.Follow(b), o.traces.Follow(b)
			if measured == nil {
				return traced
			}
			if traced == nil {
				return measured
			}
			return bothTrails{measured, traced}
		}
	case o.metrics != nil:
		return o.metrics.Follow
	case o.traces != nil:
		return o.traces.Follow
	}
	return nil
}

// bothTrails are told the same.
type bothTrails [2]realtime.Trail

func (b bothTrails) Routed(subscribers int) {
	for _, t := range b {
		t.Routed(subscribers)
	}
}

func (b bothTrails) Written(events int) {
	for _, t := range b {
		t.Written(events)
	}
}

// requests are who is told of requests.
func (o *observation) requests() (observers []tidingshttp.Observer) {
	if o.traces != nil {
		observers = append(observers, o.traces.Request)
	}
	if o.metrics != nil {
		observers = append(observers, o.metrics.Request)
	}
	return observers
}

// operations is who is told of GraphQL's operations; nil: nobody.
func (o *observation) operations() func(ctx context.Context, kind, name string) (context.Context, func([]string)) {
	switch {
	case o.metrics != nil && o.traces != nil:
		return func(ctx context.Context, kind, name string) (context.Context, func([]string)) {
			ctx, measured := o.metrics.Operation(ctx, kind, name)
			ctx, traced := o.traces.Operation(ctx, kind, name)
			return ctx, func(codes []string) {
				traced(codes)
				measured(codes)
			}
		}
	case o.metrics != nil:
		return o.metrics.Operation
	case o.traces != nil:
		return o.traces.Operation
	}
	return nil
}

// heartbeats is who is told what heartbeats took; nil: nobody.
func (o *observation) heartbeats() func(time.Duration) {
	if o.metrics == nil {
		return nil
	}
	return o.metrics.Heartbeat
}

// watch says of what it is.
func (o *observation) watch(s metrics.Service) {
	if o.metrics != nil {
		o.metrics.Collect(s)
	}
	if o.traces != nil {
		o.traces.Ahead = func() time.Duration { return s.Log.Last().Ahead }
	}
}

// serve answers at --admin-listen until ctx ends.
func (o *observation) serve(ctx context.Context, s metrics.Service, logger *slog.Logger) error {
	if o.metrics == nil {
		return nil
	}
	logger.Info("metrics, profiles and health, without sign-in", "address", o.listener.Addr().String())
	operator := &tidingshttp.Operator{Server: s.Server, Metrics: o.metrics.Handler(), Logger: logger}
	return operator.Serve(ctx, o.listener)
}

func (o *observation) stopListening() error {
	if o.listener == nil {
		return nil
	}
	return o.listener.Close()
}

// close ends what serve has not, and sends the last traces.
func (o *observation) close(logger *slog.Logger) {
	_ = o.stopListening() // serve may have closed it
	if o.traces == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := o.traces.Close(ctx); err != nil {
		logger.Warn("traces cannot be sent", "error", fmt.Errorf("at the end: %w", err))
	}
}
