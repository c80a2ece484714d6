package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
)

// load is how much goes on.
type load struct {
	clients  int
	writers  int
	duration time.Duration
}

// rest is the mean time between two transactions of a writer: about a hundred transactions a second in all, so that the
// machine is not what is tested.
func (l load) rest() time.Duration { return time.Duration(l.writers) * 10 * time.Millisecond }

// stage is where one fault happens: a cluster, the service, Redis if it is to be there, writers and clients.
type stage struct {
	workshop *workshop
	fault    *fault
	fleet    fleet
	load     load
	dir      string
	epoch    time.Time
	main     atomic.Pointer[cluster] // that writers write to
	clusters []*cluster
	redis    *redisServer // nil: there is none
	services []*service
	writers  *writers
	crowd    *crowd
	ending   []func() error
	remarks  []string
	times    *int   // how often something was broken; nil: it does not count
	callBack func() // clients that were sent away
}

// now is the time on the stage's clock, which no fault changes.
func (s *stage) now() time.Duration { return time.Since(s.epoch) }

func (s *stage) primary() *cluster { return s.main.Load() }

// entrance is where a client connects: whichever instance, at every time anew. A slow one connects to the service itself: the
// proxy in between would take more than the client does.
func (s *stage) entrance(c *client) string {
	one := s.services[rand.IntN(len(s.services))]
	c.at(one)
	if c.pace != nil {
		return one.address
	}
	return one.way.address
}

// atEnd has something done when all is over.
func (s *stage) atEnd(f func() error) { s.ending = append(s.ending, f) }

// remark is said of the row.
func (s *stage) remark(format string, args ...any) {
	s.remarks = append(s.remarks, fmt.Sprintf(format, args...))
}

// did says of the row how often something was broken, which has to be more than never.
func (s *stage) did(times int) { s.times = &times }

func (w *workshop) newStage(ctx context.Context, t trial, l load) (*stage, error) {
	s := &stage{workshop: w, fault: t.fault, fleet: t.fleet, load: l, epoch: time.Now()}
	return s, s.build(ctx)
}

func (s *stage) build(ctx context.Context) error {
	var err error
	if s.dir, err = s.workshop.newDir(); err != nil {
		return err
	}
	c, err := s.workshop.newCluster(ctx, filepath.Join(s.dir, "a"), s.workshop.data, s.fault.settings)
	if err != nil {
		return err
	}
	s.clusters = append(s.clusters, c)
	s.main.Store(c)
	if s.fault.prepare != nil {
		if err := s.fault.prepare(ctx, s); err != nil {
			return err
		}
	}
	if c.server == nil {
		if err := c.start(ctx); err != nil {
			return err
		}
	}
	if s.fleet.redis {
		if s.redis, err = startRedis(ctx, filepath.Join(s.dir, "redis")); err != nil {
			return err
		}
	}
	for range s.fleet.size() {
		one, err := s.workshop.newService(s.dir, c, s.redis, s.fault.flags)
		if err != nil {
			return err
		}
		s.services = append(s.services, one)
		if err := one.start(); err != nil {
			return err
		}
	}
	for _, one := range s.services {
		if err := one.awaitReady(ctx); err != nil {
			return err
		}
	}
	s.writers = newWriters(s, s.load.writers)
	s.crowd = newCrowd(s, s.load.clients)
	return s.crowd.start(ctx)
}

// close ends everything, in the order in which nobody complains.
func (s *stage) close() error {
	var all []error
	if s.crowd != nil {
		s.crowd.close()
	}
	for _, one := range s.services {
		all = append(all, one.close())
	}
	if s.redis != nil {
		all = append(all, s.redis.close())
	}
	for _, c := range s.clusters {
		all = append(all, c.close())
	}
	for _, f := range slices.Backward(s.ending) {
		all = append(all, f())
	}
	return errors.Join(all...)
}

// quietLimit is how long nobody may be told anything, though something is due, before it is taken for lost.
const quietLimit = 30 * time.Second

// awaitTold returns when every client was told all that it had to be told, or nobody is told anything any more.
func (s *stage) awaitTold(ctx context.Context, t *truth) error {
	waiting := slices.Clone(s.crowd.clients)
	told, since := int64(-1), time.Now()
	for {
		waiting = slices.DeleteFunc(waiting, func(c *client) bool { return t.count(c.told()).lost == 0 })
		if len(waiting) == 0 {
			return nil
		}
		if now := s.crowd.told.Load(); now != told {
			told, since = now, time.Now()
		}
		if time.Since(since) > quietLimit {
			return nil
		}
		if !pause(ctx, 100*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// sign has one more writer write to every channel, when all else was told: who is told something twice is told before.
func (s *stage) sign(ctx context.Context) error {
	last := s.writers.hire()
	defer last.disconnect()
	for last.session == nil && !last.connect(ctx) {
		last.disconnect()
		if !pause(ctx, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	ok := last.write(func() error {
		for hot := range int64(hotRows) {
			if err := last.updateHot(hot + 1); err != nil {
				return err
			}
		}
		for key := range int64(commentKeys) {
			if err := last.insertComments(1, key+1); err != nil {
				return err
			}
		}
		for owner := range int64(users + 1) {
			for _, t := range []table{notes, drafts} {
				if err := last.insertPrivate(t, 1, owner); err != nil {
					return err
				}
			}
		}
		return nil
	}, false)
	if !ok || last.history.all()[0].outcome != committed {
		return errors.New("the last transaction could not be committed")
	}
	return nil
}

// every calls f again and again, about every so often, until ctx ends.
func every(ctx context.Context, d time.Duration, f func() error) error {
	for pause(ctx, d/2+rand.N(d/2)) {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}
