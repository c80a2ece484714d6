package db

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Triggers are made and dropped under locks for which one may have to wait, behind a report that reads the table or a transaction that somebody
// has left open; and whoever wants the table from then on waits as well. So nothing here waits for a lock but for moments: it gives up, and
// tries again after others had their turn.
const (
	lockTimeout = 300 * time.Millisecond // below deadlock_timeout: where it stands in a writer's way and that one in its, it is the one to give up
	lockPause   = 500 * time.Millisecond
)

// patiently tries for so long, as long as others are in the way, and returns what came of it.
func patiently(ctx context.Context, patience time.Duration, try func() error) error {
	for begun := time.Now(); ; {
		err := try()
		if ctx.Err() != nil || !inTheWay(err) || time.Since(begun) > patience {
			return err
		}
		if !pause(ctx, lockPause+rand.N(lockPause)) {
			return ctx.Err()
		}
	}
}

// beginPatiently runs what takes such locks in a transaction, patiently.
func (d *DB) beginPatiently(ctx context.Context, patience time.Duration, do func(pgx.Tx) error) error {
	return patiently(ctx, patience, func() error {
		return pgx.BeginFunc(ctx, d.Pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `select set_config('lock_timeout', $1, true)`, lockTimeout.String()); err != nil {
				return err
			}
			return do(tx)
		})
	})
}

// inTheWay reports whether others were in the way, who may be gone the next time.
func inTheWay(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return slices.Contains([]string{"55P03", "40P01", "40001"}, refused.Code) // lock_not_available, deadlock_detected, serialization_failure
	}
	return errors.Is(err, migrate.ErrLockTimeout)
}
