package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"tidings/redis/redistest"
)

// fleet is some instances, which read by Redis or each for itself.
type fleet struct {
	instances int // 0: nobody reads
	redis     bool
}

func (f fleet) String() string {
	if f.instances == 0 {
		return "no instance"
	}
	return plural(f.instances, "instance") + map[bool]string{true: " with Redis", false: ""}[f.redis]
}

// fleetRun is a fleet that runs.
type fleetRun struct {
	bench    *bench
	database *postgres
	redis    *redistest.Server // nil: each instance reads for itself
	services []*service
}

// startFleet starts a fleet, and returns when all of it is live and has found who reads. Redis, if it reads by that, is emptied before.
func (b *bench) startFleet(ctx context.Context, database *postgres, relay *redistest.Server, f fleet) (_ *fleetRun, err error) {
	run := &fleetRun{bench: b, database: database, services: make([]*service, f.instances)}
	defer func() {
		if err != nil {
			run.stop()
		}
	}()
	var flags []string
	readers := int64(f.instances)
	if f.redis {
		if _, err := relay.Do("FLUSHALL"); err != nil {
			return nil, err
		}
		run.redis, flags, readers = relay, []string{"--redis-url=" + relay.URL()}, min(readers, 1)
	}
	group, starting := errgroup.WithContext(ctx)
	for i := range run.services {
		group.Go(func() (err error) {
			run.services[i], err = b.startServiceOn(context.WithoutCancel(starting), database, flags...)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var reading, listening int64
	err = awaitProgress(ctx, func() (int64, bool) {
		var err error
		_, reading, listening, err = database.connected(ctx)
		return 0, err == nil && reading == readers && listening == readers
	})
	if err == nil && (reading != readers || listening != readers) {
		err = fmt.Errorf("%d connections read the log and %d listen, not %d", reading, listening, readers)
	}
	return run, err
}

// stop ends what was started of it.
func (r *fleetRun) stop() {
	for _, s := range r.services {
		if s != nil {
			r.bench.stopService(s)
		}
	}
}

// strain is what was done so far, without what PostgreSQL counts.
func (r *fleetRun) strain() (s strain, err error) {
	s.at = time.Now()
	if s.postgres, err = familyCPU(r.database.postmaster); err != nil {
		return s, err
	}
	for _, service := range r.services {
		used, err := usageOf(service.cmd.Process.Pid)
		if err != nil {
			return s, err
		}
		s.instances = append(s.instances, used.cpu)
	}
	if r.redis != nil {
		s.redis, err = redisStrainOf(r.redis)
	}
	return s, err
}
