package main

import "context"

var twoInstances = fault{
	name: "two-instances", title: "two instances", about: "clients come back to one or the other of two instances, as it falls out",
	short: true, instances: 2,
}

var rollingRestart = fault{
	name: "rolling-restart", title: "rolling restart of two instances", about: "one instance is stopped (SIGTERM) and started again, then the other, again and again",
	short: true, instances: 2,
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
		s.remark("%d restarts", times)
		return err
	},
}
