package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
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
	Dirty   bool // another program than this one was cut off in the middle of a migration
}

// MigrateUp applies what is missing. A migration that fails leaves nothing behind. Of a database that is newer than the set, nothing is missing.
func (d *DB) MigrateUp(ctx context.Context, set MigrationSet) error {
	if status, err := d.MigrationStatus(ctx, set); err != nil || status.Version > status.Latest {
		return err
	}
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
	if status.Version > status.Latest {
		return &UnusableError{Message: fmt.Sprintf("the database's %s part has version %d, and this program knows %d: what it does not know it cannot remove",
			set.Name, status.Version, status.Latest)}
	}
	if err := d.migrate(ctx, set, (*migrate.Migrate).Down); err != nil {
		return err
	}
	// Somebody else may have begun to migrate up, or to take back the same, and be done.
	err = d.beginPatiently(ctx, migratePatience, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockQuery); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(removeQuery, versionTable(set)))
		return err
	})
	if err != nil {
		return fmt.Errorf("drop schema tidings: %w", err)
	}
	return nil
}

// removeQuery takes away what tells of a set of which nothing is applied, and the schema if nothing else is in it.
const removeQuery = `do $$
begin
	if to_regclass('tidings.%[1]s') is null then
		return;
	elsif not exists (select from tidings.%[1]s) then
		drop table tidings.%[1]s;
		if not exists (select from pg_class where relnamespace = 'tidings'::regnamespace) then
			drop schema tidings;
		end if;
	end if;
end $$`

// migratePatience is for how long migrations are tried, where others are in the way.
const migratePatience = time.Minute

// migrate runs migrations. Each file is a transaction: what has been run stays.
func (d *DB) migrate(ctx context.Context, set MigrationSet, run func(*migrate.Migrate) error) error {
	err := patiently(ctx, migratePatience, func() error { return d.migrateOnce(ctx, set, run) })
	if inTheWay(err) {
		return fmt.Errorf("migrate %s: somebody else migrates, or a transaction that has been open for long has a table locked "+
			"(tidings doctor says which): try again", set.Name)
	}
	return err
}

func (d *DB) migrateOnce(ctx context.Context, set MigrationSet, run func(*migrate.Migrate) error) (err error) {
	driver, err := d.openMigrations(ctx, versionTable(set))
	if err != nil {
		return fmt.Errorf("migrate %s: %w", set.Name, err)
	}
	files, err := iofs.New(set.Files, "migrations")
	if err != nil {
		return errors.Join(fmt.Errorf("migrations of %s: %w", set.Name, err), driver.Close())
	}
	m, err := migrate.NewWithInstance("iofs", files, "tidings", driver)
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

	err = run(m)
	if errors.Is(err, migrate.ErrNoChange) {
		return nil
	}
	if err != nil {
		err = origin(err)
		if refused := (*pgconn.PgError)(nil); errors.As(err, &refused) && !inTheWay(err) {
			err = &UnusableError{Message: fmt.Sprintf("migrate %s: %s", set.Name, d.mayNotMake(refused))}
		}
		return err
	}
	return ctx.Err()
}

// origin is what the database has said.
func origin(err error) error {
	var value database.Error
	var pointer *database.Error
	switch {
	case errors.As(err, &value):
		return value.OrigErr
	case errors.As(err, &pointer):
		return pointer.OrigErr
	}
	return err
}

func versionTable(set MigrationSet) string { return "migrations_" + set.Name }

// latest is the version that the set leads to.
func (set MigrationSet) latest() (version uint, err error) {
	if set.Files == nil {
		return math.MaxInt32, nil // whoever does not say what it knows is no program that serves
	}
	files, err := iofs.New(set.Files, "migrations")
	if err != nil {
		return 0, fmt.Errorf("migrations of %s: %w", set.Name, err)
	}
	defer files.Close()
	for v, err := files.First(); err == nil; v, err = files.Next(v) {
		version = v
	}
	return version, nil
}

// MigrationStatus says which of the set's migrations are applied. It changes nothing.
func (d *DB) MigrationStatus(ctx context.Context, set MigrationSet) (MigrationStatus, error) {
	status, err := migrationStatus(ctx, d.Pool, set)
	return status, d.notGranted(err)
}

func migrationStatus(ctx context.Context, on querierOfRow, set MigrationSet) (MigrationStatus, error) {
	var s MigrationStatus
	var err error
	if s.Latest, err = set.latest(); err != nil {
		return s, err
	}
	var exists bool
	err = on.QueryRow(ctx, `select to_regclass('tidings.' || $1) is not null`, versionTable(set)).Scan(&exists)
	if err != nil {
		return s, fmt.Errorf("version of %s: %w", set.Name, explain(err))
	}
	if !exists {
		return s, nil
	}
	err = on.QueryRow(ctx, `select coalesce(max(version), 0), coalesce(bool_or(dirty), false) from tidings.`+versionTable(set)).
		Scan(&s.Version, &s.Dirty)
	var gone *pgconn.PgError
	if errors.As(err, &gone) && gone.Code == "42P01" { // undefined_table: it was taken away at this moment
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("version of %s: %w", set.Name, explain(err))
	}
	return s, nil
}
