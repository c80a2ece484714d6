package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// The same three evils can befall the network between the service and the database, and the one between clients and the service.

var cutDatabase = fault{
	name: "cut-database", title: "network cut, service – database", about: "all connections between service and database end, and none can be made for up to two seconds",
	short: true,
	cause: func(ctx context.Context, s *stage) error { return cut(ctx, s, []*wire{s.wire}) },
}

var silenceDatabase = fault{
	name: "half-open-database", title: "half-open, service – database", about: "for seven seconds all that is sent is swallowed, and neither end is told",
	cause: func(ctx context.Context, s *stage) error { return silence(ctx, s, []*wire{s.wire}) },
}

var spoilDatabase = fault{
	name: "lossy-database", title: "slow and lossy, service – database", about: "latency, little bandwidth, packets in slices, connections that are reset, one after another; the change ends all connections",
	cause: func(ctx context.Context, s *stage) error { return spoil(ctx, s, []*wire{s.wire}) },
}

var cutClients = fault{
	name: "cut-clients", title: "network cut, clients – service", about: "all connections between clients and service end, and none can be made for up to two seconds",
	short: true,
	cause: func(ctx context.Context, s *stage) error { return cut(ctx, s, s.ways()) },
}

var silenceClients = fault{
	name: "half-open-clients", title: "half-open, clients – service", about: "for seven seconds all that is sent is swallowed, and neither end is told",
	cause: func(ctx context.Context, s *stage) error { return silence(ctx, s, s.ways()) },
}

var spoilClients = fault{
	name: "lossy-clients", title: "slow and lossy, clients – service", about: "latency, little bandwidth, packets in slices, connections that are reset, one after another; the change ends all connections",
	short: true,
	cause: func(ctx context.Context, s *stage) error { return spoil(ctx, s, s.ways()) },
}

// ways are the networks between clients and the service.
func (s *stage) ways() (all []*wire) {
	for _, one := range s.services {
		all = append(all, one.way)
	}
	return all
}

func cut(ctx context.Context, s *stage, wires []*wire) error {
	times := 0
	err := every(ctx, 1500*time.Millisecond, func() error {
		times++
		for _, w := range wires {
			w.cut()
		}
		pause(ctx, rand.N(min(2*time.Second, s.load.duration/4)))
		for _, w := range wires {
			if err := w.mend(); err != nil {
				return err
			}
		}
		return nil
	})
	s.remark("cut %d times", times)
	return err
}

func silence(ctx context.Context, s *stage, wires []*wire) error {
	times := 0
	err := every(ctx, 2*time.Second, func() error {
		times++
		for _, w := range wires {
			if err := w.silence(); err != nil {
				return err
			}
		}
		// To its end, so that the silence can be noticed, and not only what ends it.
		pause(context.WithoutCancel(ctx), 7*time.Second)
		for _, w := range wires {
			if err := w.mend(); err != nil {
				return err
			}
		}
		return nil
	})
	s.remark("silent %d times", times)
	return err
}

// evils are what spoils a connection, in turn.
var evils = []toxic{
	{"latency", map[string]int{"latency": 100, "jitter": 80}},
	{"reset_peer", map[string]int{"timeout": 300}},
	{"slicer", map[string]int{"average_size": 60, "size_variation": 40, "delay": 300}},
	{"limit_data", map[string]int{"bytes": 6000}},
	{"bandwidth", map[string]int{"rate": 40}},
}

func spoil(ctx context.Context, s *stage, wires []*wire) error {
	for n := 0; ctx.Err() == nil; n++ {
		evil := evils[n%len(evils)]
		s.workshop.say("%s", evil.kind)
		for _, w := range wires {
			if err := w.spoil(evil); err != nil {
				return err
			}
		}
		pause(ctx, min(1500*time.Millisecond, s.load.duration/5))
	}
	for _, w := range wires {
		if err := w.mend(); err != nil {
			return err
		}
	}
	return nil
}
