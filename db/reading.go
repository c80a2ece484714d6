package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Reading reads the application's tables. It may be used by many at the same time, and is to be closed.
type Reading struct {
	// MaxBytes is how many bytes of columns are read at most; 0: any number.
	MaxBytes int64

	db    *DB
	bytes atomic.Int64

	mu       sync.Mutex
	snapshot bool   // all of it is of one moment
	tx       pgx.Tx // of the snapshot, from the first statement on
	failed   error  // what has ended the snapshot: all that comes later is answered with it, too
	count    int    // of statements
	closed   bool
}

// Read begins a reading whose statements each see what is committed when they begin.
func (c *Channel) Read() *Reading { return &Reading{db: c.DB} }

// ReadSnapshot begins a reading that sees one moment, that of its first statement. It takes a connection of the pool from then on.
func (c *Channel) ReadSnapshot() *Reading { return &Reading{db: c.DB, snapshot: true} }

// Close ends the reading, when the snapshot's statement that runs has ended. It may be called again.
func (r *Reading) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.tx != nil {
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout) // the server may have vanished
		defer cancel()
		_ = r.tx.Rollback(ctx) // it has only read; a broken connection is not used again
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
	if invalid := refusal(err); invalid != nil {
		return nil, fmt.Errorf("read %s: %w", what, invalid)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, Unavailable(err))
	}
	return rows, nil
}

func query[T any](ctx context.Context, r *Reading, sql string, args []any, scan pgx.RowToFunc[T]) (found []T, err error) {
	on, release, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { release(err) }()
	rows, err := on.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (value T, err error) {
		size := int64(0)
		for _, column := range row.RawValues() {
			size += int64(len(column))
		}
		if r.bytes.Add(size) > r.MaxBytes && r.MaxBytes > 0 {
			return value, ErrTooMuch
		}
		return scan(row)
	})
}

// ErrTooMuch says that there is more to be read than a reading may.
var ErrTooMuch = errors.New("there is more than may be read")

// begin returns what a statement is sent to, and what to call after it.
func (r *Reading) begin(ctx context.Context) (on querier, release func(error), err error) {
	r.mu.Lock()
	switch {
	case r.closed:
		err = errReadingClosed
	case r.failed != nil:
		err = r.failed
	case r.snapshot && r.tx == nil:
		r.tx, err = r.db.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	}
	if err != nil {
		r.mu.Unlock()
		return nil, nil, err
	}
	r.count++
	if !r.snapshot {
		r.mu.Unlock()
		return r.db.Pool, func(error) {}, nil
	}
	return r.tx, func(err error) { // one connection has one statement at a time
		r.failed = err
		r.mu.Unlock()
	}, nil
}

// ErrUnavailable says that the database does not answer: what was asked may be asked again. What was to be written may have been
// written all the same.
var ErrUnavailable = errors.New("the database does not answer")

// Unavailable marks an error as ErrUnavailable, unless the database has answered with it for good, or it is none of the database's.
func Unavailable(err error) error {
	var refused *pgconn.PgError
	var unreadable pgx.ScanArgError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, errReadingClosed), errors.Is(err, ErrTooMuch), errors.As(err, &unreadable):
		return err
	case errors.As(err, &refused) && !passing(refused.Code):
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, explain(err))
}

// Answered is what the database itself says of the error; empty: it has said nothing.
func Answered(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Message
	}
	return ""
}

// passing reports whether an error of the code may be gone the next time, by the code's class.
func passing(code string) bool {
	return len(code) > 2 && slices.Contains([]string{
		"08", // connection
		"25", // transaction state: broken by what was before, idle for too long, or of a standby
		"40", // rollback
		"53", // resources
		"55", // state
		"57", // intervention
		"58", // system
	}, code[:2])
}

// Cursor returns the position of what the reading sees.
func (r *Reading) Cursor(ctx context.Context) (string, error) {
	cursors, err := collect(ctx, r, "the live cursor", `select tidings.cursor()`, nil, pgx.RowTo[string])
	if err != nil {
		return "", err
	}
	return cursors[0], nil
}
