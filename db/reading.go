package db

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Reading reads the application's tables. It may be used by many at the same time, and is to be closed.
type Reading struct {
	db *DB

	mu       sync.Mutex
	snapshot bool   // all of it is of one moment
	tx       pgx.Tx // of the snapshot, from the first statement on
	failed   error  // of tx: it answers nothing any more
	count    int    // of statements
	closed   bool
}

// Read begins a reading whose statements each see what is committed when they begin.
func (c *Channel) Read() *Reading { return &Reading{db: c.DB} }

// ReadSnapshot begins a reading that sees one moment, that of its first statement. It takes a connection of the pool from then on.
func (c *Channel) ReadSnapshot() *Reading { return &Reading{db: c.DB, snapshot: true} }

// Close ends the reading.
func (r *Reading) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.tx != nil {
		_ = r.tx.Rollback(context.Background()) // it has only read; a broken connection is not used again
		r.tx = nil
	}
}

// Statements is how many statements were sent, those that begin and end a transaction aside.
func (r *Reading) Statements() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

var errReadingClosed = errors.New("the reading is closed")

// collect reads all rows of a statement.
func collect[T any](ctx context.Context, r *Reading, what, sql string, args []any, scan pgx.RowToFunc[T]) ([]T, error) {
	rows, err := query(ctx, r, sql, args, scan)
	if invalid := unreadable(err); invalid != nil {
		return nil, invalid
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, Unavailable(err))
	}
	return rows, nil
}

func query[T any](ctx context.Context, r *Reading, sql string, args []any, scan pgx.RowToFunc[T]) (found []T, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	if r.closed {
		return nil, errReadingClosed
	}
	var on interface {
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	} = r.db.Pool
	if r.snapshot {
		if r.tx == nil {
			tx, err := r.db.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
			if err != nil {
				return nil, err
			}
			r.tx = tx
		}
		if r.failed != nil {
			return nil, r.failed
		}
		on = r.tx
		defer func() { r.failed = err }()
	}
	rows, err := on.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

// ErrUnavailable says that the database does not answer: what was asked may be asked again.
var ErrUnavailable = errors.New("the database does not answer")

// Unavailable marks an error as ErrUnavailable, unless the database has answered with it for good.
func Unavailable(err error) error {
	var refused *pgconn.PgError
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if errors.As(err, &refused) {
		switch refused.Code[:2] {
		case "08", "40", "53", "55", "57", "58": // connection, rollback, resources, state, intervention, system
		default:
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, explain(err))
}

// Cursor returns the position of what the reading sees.
func (r *Reading) Cursor(ctx context.Context) (string, error) {
	cursors, err := collect(ctx, r, "the live cursor", `select tidings.cursor()`, nil, pgx.RowTo[string])
	if err != nil {
		return "", err
	}
	return cursors[0], nil
}
