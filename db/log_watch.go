package db

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// LogWatch looks from time to time how the log stands, for metrics, and says so where it has become too large.
type LogWatch struct {
	DB     *DB
	Logger *slog.Logger // nil: none
	// Interval is how often it looks; 15 s.
	Interval time.Duration
	// Timeout is how long the database may take for it; 5 s.
	Timeout time.Duration

	mu   sync.Mutex
	last LogReading
}

// LogReading is what was found, and when.
type LogReading struct {
	LogState
	At        time.Time     // by the service's clock; zero: never
	Problems  int           // watches with which something is wrong
	Instances int           // that run, of those that use this database
	Ahead     time.Duration // by how much the database's clock is ahead of the service's, give or take half of Trip
	Trip      time.Duration // to the database and back
}

// tooLarge is how many times max_bytes the log may have: it is more than that by a partition now and then, and by whatever an open
// transaction keeps.
const tooLarge = 1.5

const logReadingQuery = `
select s.max_bytes, s.retention, (select l.at from tidings.log l order by l.id limit 1), p.names, p.started, p.bytes, p.current,
       (select count(*) from tidings.watched w where w.problem is not null), (select count(*) from tidings.running)
  from tidings.settings s,
       lateral (select array_agg(x.partition) as names, array_agg(x.started_at) as started, array_agg(x.bytes) as bytes,
                       array_agg(coalesce(x.current, false)) as current from tidings.log_partitions x) as p`

// Last is what was found last.
func (w *LogWatch) Last() LogReading {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// Every is how often it looks.
func (w *LogWatch) Every() time.Duration {
	if w.Interval == 0 {
		return 15 * time.Second
	}
	return w.Interval
}

// Run looks until ctx ends.
func (w *LogWatch) Run(ctx context.Context) error {
	logger := w.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	complained, large := false, false
	for {
		found, err := w.read(ctx)
		switch {
		case err == nil:
			w.mu.Lock()
			w.last = found
			w.mu.Unlock()
			is := float64(found.Bytes) > tooLarge*float64(found.MaxBytes)
			if is && !large {
				logger.Warn("the log is much larger than it may be", "bytes", found.Bytes, "max_bytes", found.MaxBytes)
			} else if large && !is {
				logger.Info("the log is as large as it may be again", "bytes", found.Bytes, "max_bytes", found.MaxBytes)
			}
			large = is
		case ctx.Err() == nil && !complained:
			logger.Warn("how the log stands cannot be read", "error", err)
		}
		complained = err != nil
		if !pause(ctx, w.Every()) {
			return nil // ctx ended
		}
	}
}

func (w *LogWatch) read(ctx context.Context) (r LogReading, err error) {
	timeout := w.Timeout
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var names []string
	var started []*time.Time
	var bytes []int64
	var current []bool
	err = w.DB.Pool.QueryRow(ctx, logReadingQuery).
		Scan(&r.MaxBytes, &r.Retention, &r.Oldest, &names, &started, &bytes, &current, &r.Problems, &r.Instances)
	if err != nil {
		return r, fmt.Errorf("read how the log stands: %w", explain(err))
	}
	for i, name := range names {
		r.Partitions = append(r.Partitions, LogPartition{Name: name, StartedAt: started[i], Bytes: bytes[i], Current: current[i]})
		r.Bytes += bytes[i]
	}
	r.At = time.Now()
	return r, w.readClock(ctx, &r)
}

// readClock compares the clocks, by the fastest of some answers: it says the most.
func (w *LogWatch) readClock(ctx context.Context, r *LogReading) error {
	for try := range 3 {
		var theirs time.Time
		asked := time.Now()
		if err := w.DB.Pool.QueryRow(ctx, `select clock_timestamp()`).Scan(&theirs); err != nil {
			return fmt.Errorf("read the database's clock: %w", explain(err))
		}
		if trip := time.Since(asked); try == 0 || trip < r.Trip {
			r.Trip, r.Ahead = trip, theirs.Sub(asked.Add(trip/2).Round(0))
		}
	}
	return nil
}

// PoolStats are the pool's figures: those of the moment, and what was counted since the start.
type PoolStats struct {
	Max, InUse, Idle, Opening int

	Acquired uint64        // connections that were taken
	Waited   uint64        // times that none was free
	Waiting  time.Duration // for those
	Given    uint64        // times that nobody waited any more when there was one
	Opened   uint64
}

// PoolStats returns the pool's figures.
func (d *DB) PoolStats() PoolStats {
	s := d.Pool.Stat()
	return PoolStats{
		Max: int(s.MaxConns()), InUse: int(s.AcquiredConns()), Idle: int(s.IdleConns()), Opening: int(s.ConstructingConns()),
		Acquired: uint64(s.AcquireCount()), Waited: uint64(s.EmptyAcquireCount()), Waiting: s.EmptyAcquireWaitTime(),
		Given: uint64(s.CanceledAcquireCount()), Opened: uint64(s.NewConnsCount()),
	}
}
