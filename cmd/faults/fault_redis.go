package main

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"
)

var killRedis = fault{
	name: "kill-redis", title: "Redis killed (-9)", about: "Redis is killed with -9 and, up to two seconds later, started again; it is empty then",
	fleets: byRedis,
	cause: func(ctx context.Context, s *stage) error {
		return s.breakRedis(ctx, func() error {
			if err := s.redis.kill(); err != nil {
				return err
			}
			pause(ctx, rand.N(min(2*time.Second, s.load.duration/4)))
			return s.redis.start(context.WithoutCancel(ctx))
		})
	},
}

var hangRedis = fault{
	name: "hang-redis", title: "Redis hangs", about: "Redis is stopped (SIGSTOP) for up to five seconds, and then does all that it was asked to in between",
	fleets: byRedis,
	cause: func(ctx context.Context, s *stage) error {
		return s.breakRedis(ctx, func() error {
			s.redis.process.signal(syscall.SIGSTOP)
			pause(context.WithoutCancel(ctx), time.Second+rand.N(4*time.Second))
			s.redis.process.signal(syscall.SIGCONT)
			return nil
		})
	},
}

var emptyRedis = fault{
	name: "empty-redis", title: "Redis emptied", about: "all that Redis has is deleted (FLUSHALL): the lease, and the stream",
	fleets: byRedis,
	cause: func(ctx context.Context, s *stage) error {
		return s.breakRedis(ctx, func() error { return s.redis.do(context.WithoutCancel(ctx), "FLUSHALL") })
	},
}

var fullRedis = fault{
	name: "full-redis", title: "Redis's memory full", about: "for up to three seconds Redis takes nothing that needs memory (maxmemory, noeviction)",
	fleets: byRedis,
	cause: func(ctx context.Context, s *stage) error {
		return s.breakRedis(ctx, func() error {
			ctx := context.WithoutCancel(ctx)
			if err := s.redis.do(ctx, "CONFIG SET maxmemory 1"); err != nil {
				return err
			}
			pause(ctx, rand.N(3*time.Second))
			return s.redis.do(ctx, "CONFIG SET maxmemory 0")
		})
	},
}

func (s *stage) breakRedis(ctx context.Context, f func() error) error {
	times := 0
	err := every(ctx, s.load.duration/5, func() error {
		times++
		return f()
	})
	s.did(times)
	return err
}
