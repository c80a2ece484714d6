package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// The same three evils can befall the network between the service and the database, the one between clients and the service, and the one
// between the service and Redis; and those of one instance alone.

var cutDatabase = fault{
	name: "cut-database", title: "network cut, service – database", about: "all connections between service and database end, and none can be made for up to two seconds",
	short: true,
	cause: func(ctx context.Context, s *stage) error { return cut(ctx, s, always(s.databases())) },
}

var silenceDatabase = fault{
	name: "half-open-database", title: "half-open, service – database", about: "for seven seconds all that is sent is swallowed, and neither end is told",
	cause: func(ctx context.Context, s *stage) error { return silence(ctx, s, always(s.databases())) },
}

var spoilDatabase = fault{
	name: "lossy-database", title: "slow and lossy, service – database", about: "latency, little bandwidth, packets in slices, connections that are reset, one after another; the change ends all connections",
	cause: func(ctx context.Context, s *stage) error { return spoil(ctx, s, always(s.databases())) },
}

var cutClients = fault{
	name: "cut-clients", title: "network cut, clients – service", about: "all connections between clients and service end, and none can be made for up to two seconds",
	short: true,
	cause: func(ctx context.Context, s *stage) error { return cut(ctx, s, always(s.ways())) },
}

var silenceClients = fault{
	name: "half-open-clients", title: "half-open, clients – service", about: "for seven seconds all that is sent is swallowed, and neither end is told",
	cause: func(ctx context.Context, s *stage) error { return silence(ctx, s, always(s.ways())) },
}

var spoilClients = fault{
	name: "lossy-clients", title: "slow and lossy, clients – service", about: "latency, little bandwidth, packets in slices, connections that are reset, one after another; the change ends all connections",
	short: true,
	cause: func(ctx context.Context, s *stage) error { return spoil(ctx, s, always(s.ways())) },
}

var cutOneDatabase = fault{
	name: "cut-one-database", title: "network cut, one instance – database",
	about:  "all connections between one instance and the database end, and none can be made for up to two seconds: of the instance that leads, and of one that follows, in turn",
	fleets: []fleet{two, twoBy, fourBy},
	cause: func(ctx context.Context, s *stage) error {
		return cut(ctx, s, s.ofOne(ctx, func(one *service) *wire { return one.database }))
	},
}

var silenceOneDatabase = fault{
	name: "half-open-one-database", title: "half-open, one instance – database",
	about:  "for seven seconds all that is sent is swallowed, and neither end is told: of the instance that leads, and of one that follows, in turn",
	fleets: byRedis,
	cause: func(ctx context.Context, s *stage) error {
		return silence(ctx, s, s.ofOne(ctx, func(one *service) *wire { return one.database }))
	},
}

var cutRedis = fault{
	name: "cut-redis", title: "network cut, service – Redis", about: "all connections between instances and Redis end, and none can be made for up to two seconds",
	fleets: byRedis,
	cause:  func(ctx context.Context, s *stage) error { return cut(ctx, s, always(s.redises())) },
}

var cutOneRedis = fault{
	name: "cut-one-redis", title: "network cut, one instance – Redis",
	about:  "all connections between one instance and Redis end, and none can be made for up to two seconds: of the instance that leads, and of one that follows, in turn",
	fleets: byRedis,
	cause: func(ctx context.Context, s *stage) error {
		return cut(ctx, s, s.ofOne(ctx, func(one *service) *wire { return one.redis }))
	},
}

var spoilRedis = fault{
	name: "lossy-redis", title: "slow and lossy, service – Redis", about: "latency, little bandwidth, packets in slices, connections that are reset, one after another; the change ends all connections",
	fleets: byRedis,
	cause:  func(ctx context.Context, s *stage) error { return spoil(ctx, s, always(s.redises())) },
}

// ways are the networks between clients and the service, databases those from there to the database, and redises those to Redis.
func (s *stage) ways() []*wire {
	return s.wires(func(one *service) *wire { return one.way })
}

func (s *stage) databases() []*wire {
	return s.wires(func(one *service) *wire { return one.database })
}

func (s *stage) redises() []*wire {
	return s.wires(func(one *service) *wire { return one.redis })
}

func (s *stage) wires(of func(one *service) *wire) (all []*wire) {
	for _, one := range s.services {
		all = append(all, of(one))
	}
	return all
}

// lead has all instances come to another database.
func (s *stage) lead(address string) error {
	for _, w := range s.databases() {
		if err := w.lead(address); err != nil {
			return err
		}
	}
	return nil
}

// choice is which wires are next; none if there is no time left.
type choice func(turn int) ([]*wire, error)

func always(all []*wire) choice {
	return func(int) ([]*wire, error) { return all, nil }
}

func (s *stage) ofOne(ctx context.Context, of func(one *service) *wire) choice {
	return func(turn int) ([]*wire, error) {
		one, err := s.pick(ctx, turn)
		if one == nil {
			return nil, err
		}
		return []*wire{of(one)}, nil
	}
}

func cut(ctx context.Context, s *stage, choose choice) error {
	times := 0
	err := every(ctx, 1500*time.Millisecond, func() error {
		wires, err := choose(times)
		if len(wires) == 0 {
			return err
		}
		times++
		for _, w := range wires {
			w.cut()
		}
		pause(ctx, rand.N(min(2*time.Second, s.load.duration/4)))
		return mend(wires)
	})
	s.did(times)
	return err
}

func silence(ctx context.Context, s *stage, choose choice) error {
	times := 0
	err := every(ctx, 2*time.Second, func() error {
		wires, err := choose(times)
		if len(wires) == 0 {
			return err
		}
		times++
		for _, w := range wires {
			if err := w.silence(); err != nil {
				return err
			}
		}
		// To its end, so that the silence can be noticed, and not only what ends it.
		pause(context.WithoutCancel(ctx), 7*time.Second)
		return mend(wires)
	})
	s.did(times)
	return err
}

func mend(wires []*wire) error {
	for _, w := range wires {
		if err := w.mend(); err != nil {
			return err
		}
	}
	return nil
}

// evils are what spoils a connection, in turn.
var evils = []toxic{
	{"latency", map[string]int{"latency": 100, "jitter": 80}},
	{"reset_peer", map[string]int{"timeout": 300}},
	{"slicer", map[string]int{"average_size": 60, "size_variation": 40, "delay": 300}},
	{"limit_data", map[string]int{"bytes": 6000}},
	{"bandwidth", map[string]int{"rate": 40}},
}

func spoil(ctx context.Context, s *stage, choose choice) error {
	wires, err := choose(0)
	if err != nil {
		return err
	}
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
	return mend(wires)
}
