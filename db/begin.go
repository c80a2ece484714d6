package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"tidings/realtime"
)

// begin makes sure that the position means something in this database, and sets it at the start.
func (r *Reader) begin(ctx context.Context, conn querier, position *realtime.Cursor) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var settled, origin, snapshot string
	err := conn.QueryRow(ctx, `select tidings.settle()`).Scan(&settled)
	if err == nil {
		err = conn.QueryRow(ctx, `select tidings.origin(), tidings.position()::text`).Scan(&origin, &snapshot)
	}
	if err != nil {
		return fmt.Errorf("begin at the log: %w", explain(err))
	}
	now, err := realtime.ParseSnapshot(snapshot)
	if err != nil {
		return fmt.Errorf("begin at the log: %w", err)
	}
	lineage, err := loadLineage(ctx, conn)
	if err != nil {
		return err
	}
	r.Sink.SetLineage(lineage)
	switch settled {
	case "copied":
		r.Logger.Warn("this database is a copy of another: its log was emptied, and cursors of the other are answered with reset")
	case "promoted":
		r.Logger.Warn("this database is on a new timeline: a standby was promoted, or a backup restored; cursors of what was lost are answered with reset")
	}
	switch adopted, reason := lineage.Adopt(*position, origin); {
	case position.IsZero():
		*position = realtime.Cursor{Origin: origin, Seen: now}
		if err := r.beginEarlier(ctx, conn, position); err != nil {
			return err
		}
		r.Sink.Start(*position)
	case reason != "":
		r.startOver(position, realtime.Cursor{Origin: origin, Seen: now}, reason)
	case position.Origin != origin:
		*position = adopted
		r.Sink.Continue(*position)
	}
	return r.loadTopics(ctx, conn)
}

// beginEarlier moves the start of the first read a little back, so that the clients of an instance that was restarted
// find what they lack in memory.
func (r *Reader) beginEarlier(ctx context.Context, conn querier, position *realtime.Cursor) error {
	var snapshot string
	err := conn.QueryRow(ctx, `
		select p.seen::text from tidings.positions p
		 where p.at > clock_timestamp() - interval '1 minute'
		   and pg_snapshot_xmin(p.seen) > coalesce(tidings.horizon(), '0') order by p.at limit 1`).Scan(&snapshot)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("begin at the log: %w", explain(err))
	}
	position.Seen, err = realtime.ParseSnapshot(snapshot)
	return err
}

// loadLineage reads which cursors of earlier timelines are good.
func loadLineage(ctx context.Context, conn querier) (realtime.Lineage, error) {
	rows, err := conn.Query(ctx, `select origin, seen::text from tidings.ancestors`)
	if err != nil {
		return nil, fmt.Errorf("read ancestors: %w", explain(err))
	}
	type ancestor struct{ origin, seen string }
	ancestors, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a ancestor, err error) {
		err = row.Scan(&a.origin, &a.seen)
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("read ancestors: %w", explain(err))
	}
	lineage := make(realtime.Lineage)
	for _, a := range ancestors {
		if lineage[a.origin], err = realtime.ParseSnapshot(a.seen); err != nil {
			return nil, fmt.Errorf("read ancestors: %w", err)
		}
	}
	return lineage, nil
}

// restart goes on from now, where what came since the position cannot be read any more.
func (r *Reader) restart(ctx context.Context, conn querier, position *realtime.Cursor, reason realtime.Reset) error {
	var snapshot string
	if err := conn.QueryRow(ctx, `select tidings.position()::text`).Scan(&snapshot); err != nil {
		return fmt.Errorf("restart at the log: %w", explain(err))
	}
	now, err := realtime.ParseSnapshot(snapshot)
	if err != nil {
		return fmt.Errorf("restart at the log: %w", err)
	}
	r.Logger.Warn("events since the last read are gone; every client is told to load afresh", "reason", reason)
	r.startOver(position, realtime.Cursor{Origin: position.Origin, Seen: now}, reason)
	r.mu.Lock()
	r.counted.restarts++
	r.mu.Unlock()
	return r.loadTopics(ctx, conn)
}

// startOver goes on from another position. What lies before it is not known: neither what clients nor what servers were to be told.
func (r *Reader) startOver(position *realtime.Cursor, at realtime.Cursor, reason realtime.Reset) {
	*position = at
	r.Sink.Restart(at, reason)
	r.Sink.Recheck()
	if r.Missed != nil {
		r.Missed()
	}
}
