package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"tidings/realtime"
)

// follow reads in one role after another, on one connection after another.
func (r *Reader) follow(ctx context.Context) error {
	reading := &reading{timeout: r.Timeout}
	for {
		failures := reading.failures
		err := r.turn(ctx, reading)
		if ctx.Err() != nil {
			r.setLive(false)
			return nil // ctx ended
		}
		if err == nil {
			continue // in another role
		}
		r.setLive(false)
		if reading.failures == 0 {
			r.Logger.Error("the log cannot be read; trying again", "error", err)
		} else {
			r.Logger.Debug("the log cannot be read yet", "error", err, "attempts", failures)
		}
		reading.failures++
		if !pause(ctx, backoff(reading.failures)) {
			return nil
		}
	}
}

// backoff is the time before the nth attempt: from 50 ms to 2 s, and up to half of it less, so that instances do not
// come back in step.
func backoff(n int) time.Duration {
	d := min(50*time.Millisecond<<min(n, 10), 2*time.Second)
	return d - rand.N(d/2)
}

// pause waits, and returns false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// followLog reads the log until ctx ends, or something fails; if it is to be the log of one origin, until it is another's.
func (r *Reader) followLog(ctx context.Context, reading *reading, origin string) error {
	conn, err := r.DB.connect(ctx, "reader")
	if err != nil {
		return err
	}
	defer closeConn(conn)
	var backend string
	asking, cancel := context.WithTimeout(ctx, r.Timeout)
	err = conn.QueryRow(asking, `select `+thisBackend).Scan(&backend)
	cancel()
	if err != nil {
		return fmt.Errorf("begin at the log: %w", explain(err))
	}
	if err := r.begin(ctx, conn, &reading.position); err != nil {
		return err
	}
	if origin != "" && reading.position.Origin != origin {
		return errMoved
	}
	var attention attention
	if err := r.say(ctx, conn, &attention, true); err != nil {
		return err
	}
	poll := time.NewTimer(r.PollInterval)
	defer poll.Stop()
	for {
		begun := time.Now()
		transactions, err := r.readOnce(ctx, conn, logScan{backend: backend, saw: attention.saw}, &reading.position, reading.timeout)
		if err != nil {
			if errors.Is(err, errSilent) {
				reading.timeout = min(2*reading.timeout, time.Minute)
				r.DB.Pool.Reset() // what has become of this connection may have become of others
			}
			return err
		}
		reading.timeout = r.Timeout
		attention.took = time.Since(begun)
		r.hasRead(reading, time.Now())
		if r.Relay != nil {
			r.Relay.Proven(reading.position)
		}
		if err := r.attend(ctx, conn, &attention, transactions); err != nil {
			return err
		}
		if err := r.ping(ctx, conn); err != nil {
			return err
		}

		bell := r.bell
		if !attention.asleep {
			bell = nil // it is rung for others
		}
		poll.Reset(r.wait(&attention))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-bell:
		case <-poll.C:
		}
	}
}

// readOnce publishes all that is new, or all up to the scan's bound, and returns about how many transactions that were.
func (r *Reader) readOnce(ctx context.Context, conn querier, scan logScan, position *realtime.Cursor, timeout time.Duration) (transactions int, err error) {
	ctx, progress, stop := watched(ctx, timeout)
	defer stop()
	scan.progress = progress
	in := intake{reader: r, position: position, began: time.Now()}
	for end := false; !end; {
		var to realtime.Cursor
		err = r.DB.readLog(ctx, conn, func(q querier) (err error) {
			to, end, err = scan.run(ctx, q, *position, func(e *realtime.Event) error { return in.add(ctx, e) })
			return err
		})
		var unserved *realtime.ResetError
		switch {
		case errors.As(err, &unserved):
			return 0, r.restart(ctx, conn, position, unserved.Reason)
		case err != nil:
			return 0, silent(ctx, err, timeout)
		}
		if err := in.end(ctx, to); err != nil {
			return 0, err
		}
	}
	return in.transactions, nil
}
