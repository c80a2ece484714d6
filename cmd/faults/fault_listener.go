package main

import (
	"context"
	"time"
)

var killListener = fault{
	name: "kill-listener", title: "listener's connection ended", about: "the backend that the service listens on is terminated, four times a second",
	short: true,
	cause: func(ctx context.Context, s *stage) error {
		times := 0
		err := every(ctx, 250*time.Millisecond, func() error {
			var ended int
			err := s.primary().db.Pool.QueryRow(context.WithoutCancel(ctx), `select count(*) filter (where pg_terminate_backend(pid))
				from pg_stat_activity where application_name = 'tidings listener'`).Scan(&ended)
			times += ended
			return err
		})
		s.remark("ended %d times", times)
		return err
	},
}
