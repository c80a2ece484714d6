package db

import (
	"context"
	"errors"
	"time"

	"tidings/realtime"
)

// Audit compares, between positions a while apart, the events that were read with those that the log says there are.
type Audit struct {
	Logged  uint64 // events in the log
	Read    uint64 // of these positions, events read
	Missing uint64 // differences between the two, summed up: always 0
	At      time.Time
}

// counted is what was read up to a position.
type counted struct {
	at       realtime.Cursor
	events   uint64
	restarts uint64 // after events that could not be read
}

const auditQuery = `
select tidings.origin(), (select e.last_xid || ' ' || e.ended from tidings.eras e where e.ended is not null order by e.era desc limit 1),
       pg_current_snapshot()::text,
       (select sum(case when rows is null then 1 else data::text::bigint end) from tidings.log
         where (xid >= pg_snapshot_xmax($1::text::pg_snapshot) or xid = any (array(select pg_snapshot_xip($1::text::pg_snapshot))))
           and pg_visible_in_snapshot(xid, $2::text::pg_snapshot) and topic <> $3)`

// audit goes over the books from time to time.
func (r *Reader) audit(ctx context.Context) error {
	var before counted
	for pause(ctx, r.AuditInterval) {
		r.mu.Lock()
		now := r.counted
		r.mu.Unlock()
		if err := r.auditOnce(ctx, before, now); err != nil && ctx.Err() == nil {
			r.Logger.Debug("the log cannot be audited now", "error", err)
		}
		before = now
	}
	return nil // ctx ended
}

// auditOnce compares what was read between two positions with what there is.
func (r *Reader) auditOnce(ctx context.Context, before, now counted) error {
	if before.at.IsZero() || now.at.Origin != before.at.Origin || now.restarts != before.restarts {
		return nil // there is no way from one to the other
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var origin, snapshot string
	var horizon *string
	var logged *uint64
	err := r.DB.Pool.QueryRow(ctx, auditQuery, before.at.Seen.String(), now.at.Seen.String(), realtime.OwnTopic).
		Scan(&origin, &horizon, &snapshot, &logged)
	if err != nil {
		return explain(err)
	}
	current, err := realtime.ParseSnapshot(snapshot)
	if err != nil {
		return err
	}
	if horizon == nil {
		horizon = new(string)
	}
	if logged == nil {
		logged = new(uint64)
	}
	var unserved *realtime.ResetError
	err = servable(before.at, current, *horizon)
	if errors.As(err, &unserved) || origin != now.at.Origin {
		return nil // forgotten meanwhile
	} else if err != nil {
		return err
	}
	read := now.events - before.events
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &r.audited
	a.Logged += *logged
	a.Read += read
	a.At = time.Now()
	if *logged != read {
		a.Missing += max(*logged, read) - min(*logged, read)
		r.Logger.Error("the log and what was read of it differ", "logged", *logged, "read", read, "from", before.at.String(), "to", now.at.String())
	}
	return nil
}
