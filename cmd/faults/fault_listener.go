package main

import (
	"context"
	"time"
)

var killListener = fault{
	name: "kill-listener", title: "listener's connection ended", about: "the backend that the service listens on is terminated, four times a second",
	short: true,
	cause: func(ctx context.Context, s *stage) error {
		return s.terminate(ctx, 250*time.Millisecond, "application_name = 'tidings listener'")
	},
}

var killConnections = fault{
	name: "kill-connections", title: "all of the service's connections ended", about: "all backends that serve an instance are terminated, every second or two",
	fleets: []fleet{two, four, twoBy, fourBy},
	cause: func(ctx context.Context, s *stage) error {
		return s.terminate(ctx, 2*time.Second, "datname = current_database() and application_name like 'tidings%'")
	},
}

// terminate terminates backends, again and again.
func (s *stage) terminate(ctx context.Context, pause time.Duration, which string) error {
	times := 0
	err := every(ctx, pause, func() error {
		var ended int
		err := s.primary().db.Pool.QueryRow(context.WithoutCancel(ctx), `select count(*) filter (where pg_terminate_backend(pid))
			from pg_stat_activity where `+which).Scan(&ended)
		times += ended
		return err
	})
	s.did(times)
	return err
}
