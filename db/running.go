package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/realtime"
)

// Reporter says in the database how this instance is doing: to the others, of which one answers an operator, and in psql
// (select * from tidings.running). It is one statement each Interval, on a row of its own in a table that writes nothing through; by it the
// instance hears of the others, too, and says in its log when one is gone without a word.
type Reporter struct {
	DB     *DB
	Reader *Reader                  // whose name is the instance's
	Status func() realtime.Instance // how it is doing
	Logger *slog.Logger             // nil: none
	Schema MigrationSet             // schema tidings as this program knows it

	// TooOld is called, once, where the database has a version of schema tidings of which this program does not know enough: it is to stop. It
	// goes on being reported, until it has. nil: nobody asks.
	TooOld func(error)

	// Interval is how often it is said; 2 s. Who is silent for 10 s (goneAfter) is taken for gone.
	Interval time.Duration
	// Timeout is how long the database may take for it; 5 s.
	Timeout time.Duration

	others others
}

// Run reports until ctx ends; then it says that the instance is gone.
func (r *Reporter) Run(ctx context.Context) error {
	interval, timeout, logger := r.Interval, r.Timeout, r.Logger
	if interval == 0 {
		interval = 2 * time.Second
	}
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	level, err := r.Schema.latest()
	if err != nil {
		return err
	}
	complained, newer, told := false, false, false
	for {
		version, err := r.report(ctx, timeout, level, logger)
		switch {
		case errors.Is(err, errTooOld):
			if !told && r.TooOld != nil {
				r.TooOld(err)
			}
			told, err = true, nil
		case err != nil && ctx.Err() == nil && !complained && r.Reader.Status().Live: // otherwise it has been said that the database cannot be read
			logger.Warn("the others cannot be told how this instance is doing", "error", err)
			complained = true
		case version > level && !newer:
			logger.Info("the database has a newer version of schema tidings, with which this program goes on", "version", version, "known", level)
			newer = true
		}
		complained = complained && err != nil
		if !pause(ctx, interval) {
			break
		}
	}
	// The reader says so, too, and may have done before the last report.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	_, _ = r.DB.Pool.Exec(ctx, `select tidings.leave($1)`, r.Reader.Name()) // otherwise the others find out
	return nil                                                              // ctx ended
}

func (r *Reporter) report(ctx context.Context, timeout time.Duration, level uint, logger *slog.Logger) (version uint, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	instance := r.Status()
	instance.Schema = level
	status, err := json.Marshal(instance)
	if err != nil {
		return 0, fmt.Errorf("the instance's status: %w", err)
	}
	rows, _ := r.DB.Pool.Query(ctx, `select name, coalesce(host, ''), coalesce(address, ''), stopping, silent_for from tidings.report($1, $2)`, r.Reader.Name(), status)
	others, err := pgx.CollectRows(rows, pgx.RowToStructByPos[otherInstance])
	if err != nil {
		return 0, fmt.Errorf("report the instance's status: %w", explain(err))
	}
	r.others.heard(others, time.Now(), logger)
	return r.DB.newest(ctx, r.Schema, level)
}

// Alone reports that no other instance runs which could take this one's clients. It is false where that is not known.
func (r *Reporter) Alone() bool { return r.others.none(time.Now()) }

// Overview is what the database knows of the service.
type Overview struct {
	Instances []RunningInstance
	Online    int // users
	Log       LogState
}

// RunningInstance is an instance as it last reported itself.
type RunningInstance struct {
	realtime.Instance
	SilentFor time.Duration
}

// LogState is how the log stands.
type LogState struct {
	Bytes      int64
	MaxBytes   int64         // beyond which the oldest entries are forgotten early
	Entries    int64         // about: ids that were given out, of which some may have been rolled back
	Oldest     *time.Time    // when the oldest entry was written; nil: there is none
	Newest     *time.Time    // the same of the newest
	Retention  time.Duration // how long entries are kept, at least
	Partitions []LogPartition
}

// LogPartition is a part of the log, which is emptied as a whole.
type LogPartition struct {
	Name      string
	StartedAt *time.Time // nil: it is empty
	Bytes     int64
	Current   bool // it is the one that is written
}

const (
	runningQuery = `select r.name, r.silent_for, i.status from tidings.running r join tidings.instances i using (name)`
	onlineQuery  = `select count(*) from tidings.presence p where p.online`
	// Both ends are found by the index on id.
	logQuery = `
select s.max_bytes, s.retention, o.at, n.at, coalesce(n.id - o.id + 1, 0)
  from tidings.settings s
  left join lateral (select l.id, l.at from tidings.log l order by l.id limit 1) as o on true
  left join lateral (select l.id, l.at from tidings.log l order by l.id desc limit 1) as n on true`
	partitionsQuery = `select p.partition, p.started_at, p.bytes, coalesce(p.current, false) from tidings.log_partitions p`
)

// Overview reads it, in one round trip.
func (d *DB) Overview(ctx context.Context) (o Overview, err error) {
	batch := &pgx.Batch{}
	batch.Queue(runningQuery).Query(func(rows pgx.Rows) (err error) {
		o.Instances, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i RunningInstance, err error) {
			var status []byte
			if err := row.Scan(&i.Name, &i.SilentFor, &status); err != nil {
				return i, err
			}
			_ = json.Unmarshal(status, &i.Instance) // another version may know other figures: those that both know are there
			return i, nil
		})
		return err
	})
	batch.Queue(onlineQuery).QueryRow(func(row pgx.Row) error { return row.Scan(&o.Online) })
	batch.Queue(logQuery).QueryRow(func(row pgx.Row) error {
		return row.Scan(&o.Log.MaxBytes, &o.Log.Retention, &o.Log.Oldest, &o.Log.Newest, &o.Log.Entries)
	})
	batch.Queue(partitionsQuery).Query(func(rows pgx.Rows) (err error) {
		o.Log.Partitions, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p LogPartition, err error) {
			err = row.Scan(&p.Name, &p.StartedAt, &p.Bytes, &p.Current)
			return p, err
		})
		return err
	})
	if err := d.Pool.SendBatch(ctx, batch).Close(); err != nil {
		return o, fmt.Errorf("read how the service is doing: %w", Unavailable(err))
	}
	for _, p := range o.Log.Partitions {
		o.Log.Bytes += p.Bytes
	}
	return o, nil
}
