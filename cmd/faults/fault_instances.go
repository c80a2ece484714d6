package main

import (
	"context"
	"math/rand/v2"
	"time"
)

var rollingRestart = fault{
	name: "rolling-restart", title: "rolling restart", about: "one instance is stopped (SIGTERM) and started again, then the next, again and again",
	short: true, fleets: []fleet{two, four, twoBy, fourBy},
	cause: func(ctx context.Context, s *stage) error {
		times := 0
		err := every(ctx, s.load.duration/8, func() error {
			one := s.services[times%len(s.services)]
			times++
			if err := one.stop(); err != nil {
				return err
			}
			if err := one.start(); err != nil {
				return err
			}
			return one.awaitReady(context.WithoutCancel(ctx))
		})
		s.did(times)
		return err
	},
}

var killInstance = fault{
	name: "kill-instance", title: "one instance killed (-9)", about: "one of the instances is killed with -9 and, up to a second later, started again",
	fleets: []fleet{two, four},
	cause: func(ctx context.Context, s *stage) error {
		return s.killAgainAndAgain(ctx, func() (*service, error) { return s.pick(ctx, 0) })
	},
}

var killLeader = fault{
	name: "kill-leader", title: "the leading instance killed (-9)", about: "the instance that reads for all is killed with -9 and, up to a second later, started again",
	short: true, fleets: byRedis,
	cause: func(ctx context.Context, s *stage) error {
		return s.killAgainAndAgain(ctx, func() (*service, error) { return s.leading(ctx) })
	},
}

var killFollower = fault{
	name: "kill-follower", title: "a following instance killed (-9)", about: "an instance that follows is killed with -9 and, up to a second later, started again",
	fleets: byRedis,
	cause: func(ctx context.Context, s *stage) error {
		return s.killAgainAndAgain(ctx, func() (*service, error) { return s.following(ctx) })
	},
}

func (s *stage) killAgainAndAgain(ctx context.Context, choose func() (*service, error)) error {
	times := 0
	var vacant time.Duration // the longest time in which nobody led
	err := every(ctx, s.load.duration/5, func() error {
		one, err := choose()
		if one == nil {
			return err
		}
		led, begun := one.role(ctx) == "leading", s.now()
		if err := one.kill(); err != nil {
			return err
		}
		times++
		pause(ctx, rand.N(min(time.Second, s.load.duration/5)))
		if err := one.start(); err != nil {
			return err
		}
		if led {
			return s.awaitLeading(context.WithoutCancel(ctx), begun, &vacant)
		}
		return nil
	})
	s.did(times)
	s.sayVacant(vacant)
	return err
}

// awaitLeading returns when an instance leads again, and keeps how long none had, if that is the longest time so far.
func (s *stage) awaitLeading(ctx context.Context, begun time.Duration, longest *time.Duration) error {
	_, err := s.leading(ctx)
	*longest = max(*longest, s.now()-begun)
	return err
}

func (s *stage) sayVacant(longest time.Duration) {
	if longest > 0 {
		s.remark("an instance led again after %.1f s at the longest", longest.Seconds())
	}
}

// An instance that was stopped believes to lead when it goes on: what it was about to write to Redis is written behind what another has
// written since.
var pauseLeader = fault{
	name: "pause-leader", title: "the leading instance hangs", about: "the instance that reads for all is stopped (SIGSTOP) for twice as long as its lease, while another leads, and goes on",
	fleets: byRedis,
	cause: func(ctx context.Context, s *stage) error {
		times := 0
		var vacant time.Duration
		err := every(ctx, s.load.duration/5, func() error {
			one, err := s.leading(ctx)
			if one == nil {
				return err
			}
			times++
			begun := s.now()
			one.pause()
			// To its end, so that the hanging can be noticed, and not only what ends it.
			ctx := context.WithoutCancel(ctx)
			err = s.awaitLeading(ctx, begun, &vacant)
			pause(ctx, begun+2*leaseTime-s.now())
			one.goOn()
			return err
		})
		s.did(times)
		s.sayVacant(vacant)
		return err
	},
}

// leaseTime is the lease of the one that leads, which is the default.
const leaseTime = 2 * time.Second
