package main

import "context"

var killServer = fault{
	name: "kill-server", title: "service killed (-9)", about: "the service is killed with -9 and started again, again and again",
	short: true,
	cause: func(ctx context.Context, s *stage) error {
		one := s.services[0]
		err := every(ctx, s.load.duration/5, func() error {
			if err := one.kill(); err != nil {
				return err
			}
			return one.start()
		})
		s.remark("killed %d times", one.killed)
		return err
	},
}
