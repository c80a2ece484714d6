package db

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// BenchTable is a table that one run of tidings bench has made for itself, watched by its own name, and removes when it ends.
type BenchTable struct {
	Name string // also its topic
	db   *DB
}

// BenchEvent is the type of the event that tells of a row written to a BenchTable.
const BenchEvent = "bench_added"

// BenchRow is what is written to a BenchTable, and what an event has of it: rows of one channel are numbered without a gap,
// so that who follows it knows of each row that it lacks.
type BenchRow struct {
	Channel  int64  `json:"channel"`
	Sequence int64  `json:"sequence"` // in its channel, from 0
	Settled  int64  `json:"settled"`  // rows of all channels, counted from the first without a gap, that were committed before this one was begun
	SentAt   int64  `json:"sent_at"`  // nanoseconds from the run's beginning until the row was due
	Content  string `json:"content"`
}

const benchColumns = ` (
    id       bigint generated always as identity primary key,
    channel  bigint not null, -- the watch's key
    sequence bigint not null, -- in the channel, from 0, without a gap
    settled  bigint not null, -- rows of all channels, counted from the first without a gap, that were committed before this one was begun
    sent_at  bigint not null, -- nanoseconds from the run's beginning until the row was due
    content  text   not null
)`

// CreateBenchTable makes a table that no other run has, and makes it live. If that fails, it leaves nothing behind.
func (d *DB) CreateBenchTable(ctx context.Context) (*BenchTable, error) {
	t := &BenchTable{Name: "tidings_bench_" + strings.ToLower(rand.Text()[:12]), db: d}
	err := pgx.BeginFunc(ctx, d.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `create table `+t.identifier()+benchColumns); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `select tidings.watch($1::text::regclass, topic => $1, event => $2, key => 'channel', read => 'public')`,
			t.Name, strings.TrimSuffix(BenchEvent, "_added"))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make table %s: %w", t.Name, sentence(err))
	}
	return t, nil
}

// Drop ends the table's events and removes it; what the log has of it is forgotten in its time.
func (t *BenchTable) Drop(ctx context.Context) error {
	err := t.db.withTable(ctx, t.Name, func(tx pgx.Tx, table string) error {
		if _, err := tx.Exec(ctx, `select tidings.unwatch($1::text::regclass)`, table); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `drop table `+t.identifier())
		return err
	})
	if err != nil {
		return fmt.Errorf("remove table %s: %w", t.Name, err)
	}
	return nil
}

// identifier is the table's name for SQL that takes no parameter there.
func (t *BenchTable) identifier() string { return pgx.Identifier{t.Name}.Sanitize() }

// BenchWriter writes rows over a connection of its own, as an application would: each a transaction, by a prepared
// statement. It is for one goroutine.
type BenchWriter struct {
	conn   *pgx.Conn
	insert string
}

// Writer connects a writer.
func (t *BenchTable) Writer(ctx context.Context) (*BenchWriter, error) {
	conn, err := t.db.dial(ctx, "bench", nil)
	if err != nil {
		return nil, err
	}
	insert := `insert into ` + t.identifier() + ` (channel, sequence, settled, sent_at, content) values ($1, $2, $3, $4, $5)`
	return &BenchWriter{conn, insert}, nil
}

// Write returns when the row is committed. After an error the row may be committed or not.
func (w *BenchWriter) Write(ctx context.Context, row BenchRow) error {
	if _, err := w.conn.Exec(ctx, w.insert, row.Channel, row.Sequence, row.Settled, row.SentAt, row.Content); err != nil {
		return sentence(err)
	}
	return nil
}

// Close closes the connection.
func (w *BenchWriter) Close(ctx context.Context) { _ = w.conn.Close(ctx) } // the other side may have closed it
