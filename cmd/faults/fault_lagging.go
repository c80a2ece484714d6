package main

import (
	"context"
	"time"
)

// What the standby had not got yet is gone, and the ids of those transactions are given to others. A cursor that stands
// behind them is worth nothing, and looks as if it were once as many have been written: so service and clients come to the
// promoted standby only then.
var laggingFailover = fault{
	name: "failover-lagged", title: "failover, standby that lagged",
	about:  "the standby gets nothing any more, the primary is killed with -9 and the standby promoted; half of the clients, and the service's way to it, come back when more was written there than was lost",
	fleets: []fleet{alone, twoBy}, resets: resetsAlways,
	prepare: func(ctx context.Context, s *stage) error {
		_, err := s.addStandby(ctx)
		return err
	},
	cause: func(ctx context.Context, s *stage) error {
		half := func(n int) bool { return n/8%2 == 0 }
		standby := s.clusters[1]
		pause(ctx, s.load.duration/4)
		ctx = context.WithoutCancel(ctx)
		if err := standby.exec(ctx, `alter system set primary_conninfo = ''`); err != nil {
			return err
		}
		if err := standby.exec(ctx, `select pg_reload_conf()`); err != nil {
			return err
		}
		if err := s.awaitTrue(ctx, s.primary(), `select not exists (select from pg_stat_replication)`); err != nil {
			return err
		}
		pause(ctx, s.load.duration/4)

		// Everybody knows what will be lost.
		s.writers.rest()
		last, err := s.fall(ctx, half, standby)
		s.writers.goOn()
		if err != nil {
			return err
		}
		s.workshop.say("the last id was %s", last)
		if err := s.awaitTrue(ctx, standby, `select pg_snapshot_xmin(pg_current_snapshot()) > ($1::text::bigint + 20)::text::xid8`, last); err != nil {
			return err
		}
		if err := s.lead(standby.address()); err != nil {
			return err
		}
		pause(ctx, 2*time.Second)
		s.callBack()
		return nil
	},
	check: func(_ *stage, r *row) {
		if r.vanished == 0 {
			r.wrong = append(r.wrong, "the standby did not lag")
		}
	},
}

// fall waits until all is told, sends clients away, and has the standby take the primary's place. It returns the last
// transaction id of the primary.
func (s *stage) fall(ctx context.Context, away func(n int) bool, standby *cluster) (last string, err error) {
	t, err := learnTruth(ctx, s.primary(), s.writers.histories())
	if err != nil {
		return "", err
	}
	if err := s.awaitTold(ctx, t); err != nil {
		return "", err
	}
	s.callBack = s.crowd.sendAway(ctx, away)
	if last, err = s.primary().value(ctx, `select pg_snapshot_xmax(pg_current_snapshot())::text`); err != nil {
		return "", err
	}
	for _, w := range s.databases() {
		w.cut()
	}
	if err := s.primary().kill(); err != nil {
		return "", err
	}
	return last, s.promote(ctx, standby)
}
