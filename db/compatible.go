package db

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Schema tidings may become newer than a program that runs, since another one that is newer was started, or somebody migrates. What a
// migration adds does not matter to those who do not know of it. One with which they would tell what is wrong says so by
// tidings.compatible_from() in a migration before it, and waits until they are gone.

// CheckCompatible says whether a program that knows the set may serve a database that has a newer version of it; if not, by an *UnusableError.
func (d *DB) CheckCompatible(ctx context.Context, set MigrationSet) error {
	level, err := set.latest()
	if err != nil {
		return err
	}
	return checkCompatible(ctx, d.Pool, level)
}

type querierOfRow interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func checkCompatible(ctx context.Context, on querierOfRow, level uint) error {
	var from uint
	err := on.QueryRow(ctx, `select tidings.compatible_from()`, pgx.QueryExecModeExec).Scan(&from)
	var refused *pgconn.PgError
	switch {
	// undefined_function, invalid_schema_name: there is none yet; insufficient_privilege: others will say so
	case errors.As(err, &refused) && slices.Contains([]string{"42883", "3F000", "42501"}, refused.Code):
		return nil
	case err != nil:
		return fmt.Errorf("ask who may serve: %w", explain(err))
	}
	return compatible(from, level)
}

const newestQuery = `select tidings.compatible_from(), coalesce(max(v.version), 0) from tidings.%s v`

// newest says whether a program that knows the set up to a level may go on, and which version of it the database has.
func (d *DB) newest(ctx context.Context, set MigrationSet, level uint) (version uint, err error) {
	if set.Files == nil {
		return 0, nil
	}
	var from uint
	if err := d.Pool.QueryRow(ctx, fmt.Sprintf(newestQuery, versionTable(set))).Scan(&from, &version); err != nil {
		return 0, fmt.Errorf("ask who may serve: %w", explain(err))
	}
	return version, compatible(from, level)
}

func compatible(from, level uint) error {
	if level >= from {
		return nil
	}
	return &UnusableError{Message: fmt.Sprintf("the database's live part can be served by programs that know its version %d or a later one, "+
		"and this program knows %d: it is too old", from, level), cause: errTooOld}
}

// errTooOld is the cause of an UnusableError of a program's age. A running service that is refused otherwise waits: a password may be changed back.
var errTooOld = errors.New("the program is too old")
