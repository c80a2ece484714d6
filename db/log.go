package db

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"tidings/realtime"
)

// readNear and readFar return what is new since a snapshot: first a row with the snapshot that the statement itself
// sees, with the highest transaction id of what is new, what has been forgotten (the highest transaction id, and which had
// ended then), and then the entries in order. What is new is what has an id from the snapshot's xmax on, and what was
// still running then. Where all that were are among the latest, one look from the xmin on finds both, and passes over the
// few that are seen; where one has been open for long, what it wrote is looked up by itself. That id stands in an
// expression keeps the planner away from the index on it.
//
// $1 the snapshot; $2 another, beyond which nothing is wanted, or null; $3 the entry from which to go on; $4 the backend
// whose origin is known.
const (
	readNear = `
with new as materialized (` + readEntries + `
     where xid >= pg_snapshot_xmin($1::pg_snapshot) and not pg_visible_in_snapshot(xid, $1::pg_snapshot)` + readWithin + `)` + readNew
	readFar = `
with new as materialized (` + readEntries + `
     where xid >= pg_snapshot_xmax($1::pg_snapshot)` + readWithin + `
    union all` + readEntries + `
     where xid = any (array(select pg_snapshot_xip($1::pg_snapshot)))` + readWithin + `)` + readNew
	readEntries = `
    select id, xid, at, topic, type, key, old_key, data, rows, acl from tidings.log`
	readWithin = `
       and id + 0 >= $3 and ` + readBound
	readBound = `($2::pg_snapshot is null or pg_visible_in_snapshot(xid, $2::pg_snapshot))`
	readNew   = `
select 0::bigint as id, (select xid from new order by xid desc limit 1), ` + readState + ` as origin, null::text, null::json, null::text[], null::text[]
union all
select id, xid, at, topic, type, key, old_key, data, rows, acl from new
 order by 1`
	readState = `null::timestamptz, pg_current_snapshot()::text,
       (select e.last_xid || ' ' || e.ended from tidings.eras e where e.ended is not null order by e.era desc limit 1),
       case when $4 <> ` + thisBackend + ` then tidings.origin() end`
)

// nearXids is how many transactions may lie between a snapshot's xmin and its xmax for readNear.
const nearXids = 1000

// readPage is such a read's first entries of some topics, at most $6. They are found in their order, by the index on
// ids, so that a page costs no more where much is left behind it. Where the first of them stands is looked up once, among
// all that is new; from then on, $3 tells. $5 the topics, or null.
const readPage = `
select 0::bigint as id, (select xid from tidings.log where xid >= pg_snapshot_xmax($1::pg_snapshot) order by xid desc limit 1), ` + readState + ` as origin,
       null::text, null::json, null::text[], null::text[]
union all
(` + readEntries + `
  where id >= case when $3::bigint > 0 then $3::bigint else
              (select min(new.id + 0) from (select id from tidings.log where xid >= pg_snapshot_xmax($1::pg_snapshot)
                                            union all
                                            select id from tidings.log where xid = any (array(select pg_snapshot_xip($1::pg_snapshot)))) as new) end
    and not pg_visible_in_snapshot(xid, $1::pg_snapshot)
    and ` + readBound + ` and ($5::text[] is null or topic = any ($5))
  order by id limit $6)
 order by 1`

// thisBackend names the backend that serves a statement. Its origin stays the same while it lives, and is costly to ask
// for; behind a pooler, the next statement may have another.
const thisBackend = `(pg_backend_pid() || ' ' || pg_postmaster_start_time())`

// querier is a connection, a transaction or a pool.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// errMoved says that the database is not the one of the cursor, or not on its timeline: the reader will find out what
// became of it.
var errMoved = errors.New("another database answers than before, or another timeline of it")

// errStop ends a read early, and is no error.
var errStop = errors.New("stop")

// logScan is what a read of the log is to bring.
type logScan struct {
	upto     realtime.Snapshot       // what is not in it is not wanted; zero: everything is
	limit    int                     // a page of so many entries at most; zero: everything
	topics   []string                // that are wanted in a page; nil: all
	backend  string                  // the one whose origin is that of the cursor, if known
	progress func()                  // is called for each row that arrives, if not nil
	saw      func(realtime.Snapshot) // is called with the snapshot that the statement has, if not nil
}

// run calls yield with each event after the cursor, in order, and returns the position behind the last one that
// yield was called with. end says whether there was nothing more to the read: from a cursor in the middle of a read, a
// read goes to that one's end; otherwise to upto or, if that is zero, to what is committed now.
//
// yield may return errStop. A cursor that cannot be served is a *realtime.ResetError.
func (s *logScan) run(ctx context.Context, q querier, from realtime.Cursor, yield func(*realtime.Event) error) (
	to realtime.Cursor, end bool, err error) {

	bound := s.upto
	if from.Midway() {
		bound = from.Upto
	}
	var boundText *string
	if bound.Xmax != 0 {
		text := bound.String()
		boundText = &text
	}
	query, args := readNear, []any{pgx.QueryResultFormats{pgx.BinaryFormatCode}, from.Seen.String(), boundText, from.Last.Entry, s.backend}
	switch {
	case s.limit > 0:
		query, args = readPage, append(args, s.topics, s.limit)
	case from.Seen.Xmax-from.Seen.Xmin > nearXids:
		query = readFar
	}
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return from, false, fmt.Errorf("read log: %w", explain(err))
	}
	defer rows.Close()

	var entry entry
	at := realtime.Cursor{Origin: from.Origin, Seen: from.Seen, Last: from.Last}
	entries := 0
	var held *realtime.Event // the last event: only what follows tells whether the read ends behind it
	for first := true; rows.Next(); first = false {
		if s.progress != nil {
			s.progress()
		}
		if err := entry.decode(rows.RawValues()); err != nil {
			return from, false, fmt.Errorf("read log: %w", err)
		}
		if first {
			now, err := realtime.ParseSnapshot(entry.topic)
			if err != nil {
				return from, false, fmt.Errorf("read log: %w", err)
			}
			if entry.first.key != nil && string(entry.first.key) != from.Origin {
				return from, false, errMoved
			}
			if err := servable(from, now, entry.typ); err != nil {
				return from, false, err
			}
			if s.saw != nil {
				s.saw(now)
			}
			// The position is one of the log's transactions alone: an id that has ended without a trace is handed out again
			// after a crash of PostgreSQL's, and what is written under it then has not been seen.
			at.Upto = now.Below(max(from.Seen.Xmax, entry.xid+1))
			if bound.Xmax != 0 {
				at.Upto = bound
			}
			continue
		}
		entries++
		for i := range entry.len() {
			id := realtime.ID{Entry: entry.id, Row: i}
			if from.Midway() && (id.Entry == from.Last.Entry && id.Row <= from.Last.Row) {
				continue
			}
			if held != nil {
				if err := yield(held); err != nil {
					return held.Cursor, false, ignoreStop(err)
				}
			}
			held = entry.event(i)
			held.Cursor = at
			held.Cursor.Last = id
		}
	}
	if err := rows.Err(); err != nil {
		return from, false, fmt.Errorf("read log: %w", explain(err))
	}
	if s.limit > 0 && entries == s.limit && held != nil {
		return held.Cursor, false, ignoreStop(yield(held))
	}
	to = realtime.Cursor{Origin: from.Origin, Seen: at.Upto}
	if held != nil {
		held.Cursor = to
		if err := yield(held); err != nil && !errors.Is(err, errStop) {
			return to, false, err
		}
	}
	end = s.upto.Xmax == 0 && !from.Midway() || s.upto.Xmax != 0 && to.Seen.Includes(s.upto)
	return to, end, nil
}

func ignoreStop(err error) error {
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// servable reports why the events after the cursor cannot all be given.
func servable(from realtime.Cursor, now realtime.Snapshot, horizon string) error {
	last := from.Seen
	if from.Midway() {
		last = from.Upto
	}
	if last.Xmax > now.Xmax {
		return &realtime.ResetError{Reason: realtime.ResetFuture}
	}
	if horizon == "" {
		return nil
	}
	lastText, endedText, _ := strings.Cut(horizon, " ")
	forgotten, err := strconv.ParseUint(lastText, 10, 64)
	if err != nil {
		return fmt.Errorf("horizon %q: %w", horizon, err)
	}
	ended, err := realtime.ParseSnapshot(endedText)
	if err != nil {
		return fmt.Errorf("horizon %q: %w", horizon, err)
	}
	// Of what is forgotten, the cursor must have seen all. Who was still open when it was forgotten had no part in it.
	if from.Seen.Xmax <= forgotten {
		return &realtime.ResetError{Reason: realtime.ResetExpired}
	}
	for _, xid := range from.Seen.Xip {
		if xid <= forgotten && ended.Sees(xid) {
			return &realtime.ResetError{Reason: realtime.ResetExpired}
		}
	}
	return nil
}
