package main

import "context"

var failover = fault{
	name: "failover", title: "failover, standby in step", about: "the primary is killed with -9 and its synchronous standby promoted",
	fleets: []fleet{alone, twoBy}, resets: resetsMay,
	prepare: func(ctx context.Context, s *stage) error {
		if _, err := s.addStandby(ctx); err != nil {
			return err
		}
		primary := s.primary()
		if err := primary.exec(ctx, `alter system set synchronous_standby_names = '*'`); err != nil {
			return err
		}
		if err := primary.exec(ctx, `select pg_reload_conf()`); err != nil {
			return err
		}
		return s.awaitTrue(ctx, primary, `select exists (select from pg_stat_replication where sync_state = 'sync')`)
	},
	cause: func(ctx context.Context, s *stage) error {
		pause(ctx, s.load.duration/2)
		ctx = context.WithoutCancel(ctx)
		standby := s.clusters[1]
		if err := s.primary().kill(); err != nil {
			return err
		}
		if err := s.promote(ctx, standby); err != nil {
			return err
		}
		return s.lead(standby.address())
	},
	check: func(_ *stage, r *row) {
		if r.vanished > 0 {
			r.wrong = append(r.wrong, "the standby was not in step")
		}
	},
}
