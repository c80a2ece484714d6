package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed migrations/*.sql
var channelFiles embed.FS

// MigrationSet is a sequence of migrations with a version of its own.
type MigrationSet struct {
	Name  string // its version is kept in tidings.migrations_<name>
	Files fs.FS  // with a folder migrations
}

// ChannelMigrations are the application's tables. They need the live part, and watch messages and comments.
var ChannelMigrations = MigrationSet{Name: "channel", Files: channelFiles}

// MigrationStatus is where a database stands with a set.
type MigrationStatus struct {
	Version uint // 0: nothing is applied
	Latest  uint
	Dirty   bool // a migration was cut off in the middle
}

// MigrateUp applies what is missing. A migration that fails leaves nothing behind.
func (d *DB) MigrateUp(ctx context.Context, set MigrationSet) error {
	var there bool
	if err := d.Pool.QueryRow(ctx, `select to_regnamespace('tidings') is not null`).Scan(&there); err != nil {
		return fmt.Errorf("look for schema tidings: %w", explain(err))
	}
	if there { // who may not make schemas may have one that was made for him
		return d.migrateUp(ctx, set)
	}
	var refused *pgconn.PgError
	_, err := d.Pool.Exec(ctx, `create schema if not exists tidings`)
	switch {
	case errors.As(err, &refused) && (refused.Code == "23505" || refused.Code == "42P06"):
		// Somebody else made it in the same moment.
	case err != nil:
		return fmt.Errorf("create schema tidings: %w", d.mayNotMake(err))
	}
	return d.migrateUp(ctx, set)
}

func (d *DB) migrateUp(ctx context.Context, set MigrationSet) error {
	if err := d.migrate(ctx, set, (*migrate.Migrate).Up); err != nil {
		return err
	}
	return d.renewServing(ctx)
}

// MigrateDown takes back all of a set.
func (d *DB) MigrateDown(ctx context.Context, set MigrationSet) error {
	status, err := d.MigrationStatus(ctx, set)
	if err != nil || status.Version == 0 {
		return err
	}
	if err := d.migrate(ctx, set, (*migrate.Migrate).Down); err != nil {
		return err
	}
	if _, err := d.Pool.Exec(ctx, `drop table if exists tidings.`+versionTable(set)); err != nil {
		return fmt.Errorf("drop the version table: %w", err)
	}
	var left int
	err = d.Pool.QueryRow(ctx, `select count(*) from pg_class where relnamespace = 'tidings'::regnamespace`).Scan(&left)
	if err == nil && left == 0 {
		_, err = d.Pool.Exec(ctx, `drop schema tidings`)
	}
	if err != nil {
		return fmt.Errorf("drop schema tidings: %w", err)
	}
	return nil
}

func (d *DB) migrate(ctx context.Context, set MigrationSet, run func(*migrate.Migrate) error) (err error) {
	driver, err := d.openMigrations(ctx, versionTable(set))
	if err != nil {
		return fmt.Errorf("migrate %s: %w", set.Name, err)
	}
	source, err := iofs.New(set.Files, "migrations")
	if err != nil {
		return errors.Join(fmt.Errorf("migrations of %s: %w", set.Name, err), driver.Close())
	}
	m, err := migrate.NewWithInstance("iofs", source, "tidings", driver)
	if err != nil {
		return errors.Join(fmt.Errorf("migrate %s: %w", set.Name, err), driver.Close())
	}
	defer func() {
		sourceErr, driverErr := m.Close()
		err = errors.Join(err, sourceErr, driverErr)
	}()
	stop := context.AfterFunc(ctx, func() {
		select {
		case m.GracefulStop <- true:
		default:
		}
	})
	defer stop()

	before, _, beforeErr := m.Version()
	err = run(m)
	if errors.Is(err, migrate.ErrNoChange) {
		return nil
	}
	if err != nil {
		// Each file is one implicit transaction, so what failed has been rolled back; only the version says "dirty".
		if version, dirty, versionErr := m.Version(); versionErr == nil && dirty {
			back := int(version) - 1
			if beforeErr == nil && version < before {
				back = int(version) + 1
			}
			if back == 0 {
				back = -1 // no version
			}
			err = errors.Join(err, m.Force(back))
		}
		var failed database.Error
		if errors.As(err, &failed) {
			err = &UnusableError{Message: fmt.Sprintf("migrate %s: %s", set.Name, d.mayNotMake(failed.OrigErr))}
		}
		return err
	}
	return ctx.Err()
}

func versionTable(set MigrationSet) string { return "migrations_" + set.Name }

// MigrationStatus says which of the set's migrations are applied. It changes nothing.
func (d *DB) MigrationStatus(ctx context.Context, set MigrationSet) (MigrationStatus, error) {
	var s MigrationStatus
	source, err := iofs.New(set.Files, "migrations")
	if err != nil {
		return s, fmt.Errorf("migrations of %s: %w", set.Name, err)
	}
	defer source.Close()
	for v, err := source.First(); err == nil; v, err = source.Next(v) {
		s.Latest = v
	}
	var exists bool
	err = d.Pool.QueryRow(ctx, `select to_regclass('tidings.' || $1) is not null`, versionTable(set)).Scan(&exists)
	if err != nil {
		return s, fmt.Errorf("version of %s: %w", set.Name, d.notGranted(err))
	}
	if !exists {
		return s, nil
	}
	err = d.Pool.QueryRow(ctx, `select coalesce(max(version), 0), coalesce(bool_or(dirty), false) from tidings.`+versionTable(set)).
		Scan(&s.Version, &s.Dirty)
	if err != nil {
		return s, fmt.Errorf("version of %s: %w", set.Name, d.notGranted(err))
	}
	return s, nil
}
