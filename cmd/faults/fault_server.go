package main

import "context"

var killServer = fault{
	name: "kill-server", title: "service killed (-9)", about: "the service, with all its instances, is killed with -9 and started again, again and again",
	short: true, fleets: []fleet{alone, twoBy},
	cause: func(ctx context.Context, s *stage) error {
		times := 0
		err := every(ctx, s.load.duration/5, func() error {
			times++
			for _, one := range s.services {
				if err := one.kill(); err != nil {
					return err
				}
			}
			for _, one := range s.services {
				if err := one.start(); err != nil {
					return err
				}
			}
			return nil
		})
		s.did(times)
		return err
	},
}
