package db

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidings/realtime"
)

// Relay carries what one reader reads to all the others, so that the log is read once. It may lose what it has and stop at any time: what is
// read by it is compared with the position. Its errors say that it cannot be used.
type Relay interface {
	// Lead calls do if nobody else leads, and has its ctx end when somebody else may. It returns whether it did.
	Lead(ctx context.Context, origin string, do func(ctx context.Context) error) (led bool, err error)
	// Publish, Signal and Proven are called while this reader leads: with each batch that was published, with each signal, and when all up to
	// a position was published. They do not block.
	Publish(b realtime.Batch)
	Signal(s realtime.Signal)
	Proven(at realtime.Cursor)
	// Follow calls batch and signal with what the one that leads gave to Publish and Signal and, some times a second, proven: with a position that
	// it gave to Proven, and when that was asked for, once all that it published before was given to batch; with the zero time where there is
	// no such news. It returns nil when nobody leads.
	Follow(ctx context.Context, origin string, at realtime.Cursor, batch func(ctx context.Context, b realtime.Batch) error,
		signal func(s realtime.Signal), proven func(ctx context.Context, at realtime.Cursor, asked time.Time) error) error
	// Read is realtime.Log's, as far as the relay reaches back: false says that it does not tell.
	Read(ctx context.Context, from realtime.Cursor, upto realtime.Snapshot, topics []string, maxBytes int) (realtime.LogPage, bool)
	// Nudge asks the one that leads to read now. It does not block.
	Nudge()
	// Ping reports whether it can be used for a log.
	Ping(ctx context.Context, origin string) error
}

// Role is a reader's part where there is a relay.
type Role string

// The roles.
const (
	RoleNone      Role = ""          // there is no relay
	RoleLeading   Role = "leading"   // it reads the log, for all
	RoleFollowing Role = "following" // it reads what another has read
	RoleAlone     Role = "alone"     // the relay cannot be used: it reads the log, for itself
)

// reading is how far a reader has come, in whatever role.
type reading struct {
	position realtime.Cursor
	timeout  time.Duration // of a read of the log
	failures int           // attempts to read since the last that succeeded
	lost     error         // why the relay could not be used at the last attempt
	losses   int           // how often that was so, one after another
}

// turn reads in one role, until that ends. An error says that nothing can be read.
func (r *Reader) turn(ctx context.Context, reading *reading) error {
	switch {
	case r.Relay == nil:
		return r.followLog(ctx, reading, "")
	case reading.lost != nil:
		return r.readAlone(ctx, reading)
	}
	if err := r.pastPooler(ctx, func(conn sessions) error { return r.begin(ctx, conn, &reading.position) }); err != nil {
		return err
	}
	begun := time.Now()
	origin := reading.position.Origin
	var failed error
	led, lost := r.Relay.Lead(ctx, origin, func(leading context.Context) error {
		r.setRole(RoleLeading)
		err := r.followLog(leading, reading, origin)
		if leading.Err() == nil {
			failed = err
		}
		return err
	})
	switch {
	case failed != nil:
		return failed
	case !led && lost == nil:
		var err error
		if err, lost = r.followRelay(ctx, reading, origin); err != nil {
			return err
		}
	}
	if ctx.Err() == nil && lost != nil {
		if time.Since(begun) > lossesForgotten {
			reading.losses = 0
		}
		reading.lost = lost
		reading.losses++
	}
	return nil
}

// lossesForgotten is after what time of use the relay is asked at once again when it cannot be used.
const lossesForgotten = 10 * time.Second

// readAlone reads the log until the relay can be used again.
func (r *Reader) readAlone(ctx context.Context, reading *reading) error {
	if r.setRole(RoleAlone) {
		r.Logger.Warn("Redis cannot be used; reading PostgreSQL until it can", "error", reading.lost)
	}
	alone, end := context.WithCancel(ctx)
	back, origin := false, reading.position.Origin
	var asking sync.WaitGroup
	asking.Go(func() {
		for n := reading.losses; pause(alone, backoff(n)); n++ {
			if r.Relay.Ping(alone, origin) == nil {
				back = true
				end()
			}
		}
	})
	err := r.followLog(alone, reading, "")
	end()
	asking.Wait()
	if back {
		reading.lost = nil
		return nil
	}
	return err
}

// followRelay reads what another reads of the log, until nobody does. err says that nothing can be read, lost that the relay cannot be used.
func (r *Reader) followRelay(ctx context.Context, reading *reading, origin string) (err, lost error) {
	fail := func(e error) error {
		err = e
		return e
	}
	if err := r.pastPooler(ctx, func(conn sessions) error { return r.attendNot(ctx, conn) }); err != nil {
		return err, nil
	}
	r.setRole(RoleFollowing)
	attending, stop := context.WithCancel(ctx)
	var there sync.WaitGroup
	defer there.Wait()
	defer stop()
	there.Go(func() { // what is relayed does not wait for a database that does not answer
		for pause(attending, attendEvery) {
			if err := r.attendNot(attending, r.DB.Pool); err != nil {
				r.Logger.Debug("the database cannot be told that this instance is there", "error", err)
			}
		}
	})
	began, silent := time.Now(), false // nothing is heard of the one that leads
	lost = r.Relay.Follow(ctx, origin, reading.position,
		func(ctx context.Context, b realtime.Batch) error {
			if reading.position.Includes(b.To) {
				return nil
			}
			rest, follows := b.After(reading.position)
			switch {
			case follows:
				return fail(r.relayed(ctx, reading, rest))
			case b.To.Includes(reading.position) && !b.To.Midway():
				return fail(r.readBeside(ctx, reading, b.To.Seen))
			}
			return nil // one that ends further on will do
		},
		r.Sink.Signal,
		func(ctx context.Context, at realtime.Cursor, asked time.Time) error {
			recent := time.Since(asked) < r.proofLimit() // otherwise there is no news, or this one cannot keep up
			if recent && at.Includes(reading.position) && !reading.position.Includes(at) {
				if err := r.readBeside(ctx, reading, at.Seen); err != nil { // what lies in between is not in the stream
					return fail(err)
				}
			}
			if recent && reading.position.Includes(at) {
				r.hasRead(reading, asked)
				if silent {
					silent = false
					r.Logger.Info("the instance that leads is heard again")
				}
				return nil
			}
			if r.sinceRead() > r.proofLimit() {
				r.setLive(false)
			}
			if limit := r.proofLimit() + r.Timeout; !silent && time.Since(began) > limit && r.sinceRead() > limit {
				silent = true
				r.Logger.Warn("nothing is heard of the instance that leads; reading PostgreSQL until it is", "silent", limit)
			}
			if !silent {
				return nil
			}
			// Whoever has the lease, that is no reason to be told nothing: it may be one that nobody renews, and that does not end.
			now := time.Now()
			if err := r.readBeside(ctx, reading, realtime.Snapshot{}); err != nil {
				return fail(err)
			}
			r.hasRead(reading, now)
			return nil
		})
	if ctx.Err() != nil || err != nil {
		lost = nil
	}
	return err, lost
}

// attendNot says that this instance is there, and that writers need not ring for it.
func (r *Reader) attendNot(ctx context.Context, conn sessions) error {
	// Not to be given up in the middle: the server could finish it after what is said next.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeout)
	defer cancel()
	if _, err := conn.Exec(ctx, `select tidings.attend($1, false)`, r.name); err != nil {
		return fmt.Errorf("attend to the doorbell: %w", explain(err))
	}
	return nil
}

// relayed publishes what another has read.
func (r *Reader) relayed(ctx context.Context, reading *reading, b realtime.Batch) error {
	in := intake{reader: r, position: &reading.position}
	for _, e := range b.Events {
		if err := in.add(ctx, e); err != nil {
			return err
		}
	}
	return in.end(ctx, b.To)
}

// hasRead notes that all that was committed at a time has been published.
func (r *Reader) hasRead(reading *reading, at time.Time) {
	if reading.failures > 0 {
		r.Logger.Info("reading the log again", "attempts", reading.failures)
		reading.failures = 0
	}
	r.mu.Lock()
	r.lastRead = at
	if !reading.position.Midway() { // then it is known which events those are
		r.counted.at, r.counted.events = reading.position, r.events
	}
	r.mu.Unlock()
	r.setLive(true)
}

// readBeside reads the log from the position to another, where what was relayed does not follow; the zero one is where the log ends now.
func (r *Reader) readBeside(ctx context.Context, reading *reading, upto realtime.Snapshot) error {
	return r.pastPooler(ctx, func(conn sessions) error {
		tx, err := conn.BeginTx(ctx, beginRead)
		if err != nil {
			return fmt.Errorf("read log: %w", explain(err))
		}
		defer func() { _ = tx.Rollback(ctx) }() // nothing was written
		_, err = r.readOnce(ctx, tx, logScan{upto: upto}, &reading.position, reading.timeout)
		return err
	})
}

// sessions is the pool, or a connection beside it.
type sessions interface {
	querier
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// pastPooler has do ask by the pool or, where that leads through a pooler that there is a way past, by a connection for just this: what is read
// of the log is not to wait for the pooler.
func (r *Reader) pastPooler(ctx context.Context, do func(conn sessions) error) error {
	if r.DB.direct == r.DB.pooled {
		return do(r.DB.Pool)
	}
	conn, err := r.DB.connect(ctx, "reader")
	if err != nil {
		return err
	}
	defer closeConn(conn)
	return do(conn)
}

// setRole says what this reader's part is, and returns whether it is another than before.
func (r *Reader) setRole(role Role) bool {
	r.mu.Lock()
	before := r.role
	r.role = role
	if (role == RoleFollowing) != (before == RoleFollowing) {
		r.awake = false
		close(r.roleChanged)
		r.roleChanged = make(chan struct{})
	}
	r.mu.Unlock()
	if role == before {
		return false
	}
	switch {
	case role == RoleAlone:
	case before == RoleAlone:
		r.Logger.Info("Redis can be used again", "role", role)
	default:
		r.Logger.Info("reading by Redis", "role", role)
	}
	return true
}

// following reports whether what this reader reads is relayed, and returns what is closed when that may have changed.
func (r *Reader) following() (bool, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.role == RoleFollowing, r.roleChanged
}

// relays reports whether the relay can be asked for what somebody has missed.
func (r *Reader) relays() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.role == RoleFollowing || r.role == RoleLeading
}

// sinceRead is how long ago all that is published was read.
func (r *Reader) sinceRead() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.lastRead)
}

// proofLimit is after what time it is not certain any more that all that was committed is published.
func (r *Reader) proofLimit() time.Duration {
	limit := 2*r.PollInterval + time.Second
	if r.Relay != nil {
		limit += time.Second // it takes as long until others know
	}
	return limit
}
