package main

import "context"

var killPostgres = fault{
	name: "kill-postgres", title: "PostgreSQL killed (-9)", about: "all of PostgreSQL's processes are killed with -9, and it is started again",
	short: true, fleets: []fleet{alone, two, four, twoBy, fourBy},
	cause: func(ctx context.Context, s *stage) error {
		return s.restartAgainAndAgain(ctx, func() error { return s.primary().kill() })
	},
}

var restartPostgres = fault{
	name: "restart-postgres", title: "PostgreSQL restarted (fast)", about: "PostgreSQL is stopped, which ends all connections, and started again",
	short: true, fleets: []fleet{alone, twoBy},
	cause: func(ctx context.Context, s *stage) error {
		return s.restartAgainAndAgain(ctx, func() error { return s.primary().stop() })
	},
}

func (s *stage) restartAgainAndAgain(ctx context.Context, end func() error) error {
	times := 0
	err := every(ctx, s.load.duration/4, func() error {
		times++
		if err := end(); err != nil {
			return err
		}
		return s.primary().start(context.WithoutCancel(ctx))
	})
	s.did(times)
	return err
}
