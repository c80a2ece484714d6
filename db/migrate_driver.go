package db

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"
)

// migrationDriver is golang-migrate's database.Driver. Its lock is that of a transaction which is open meanwhile, on a connection of its
// own: a session's would stay behind in a transaction pooler.
//
// Each file and the version to which it leads are written in one transaction. golang-migrate would have the version said to be dirty first, then
// the file run, and then said that it was: whoever is killed in between leaves a database of which nobody knows where it stands, and others
// see a version that is not there yet.
type migrationDriver struct {
	ctx    context.Context // of the statements, which are not broken off
	conn   *pgx.Conn
	locker *pgx.Conn
	table  string // of the version
	lock   pgx.Tx // nil: it is not locked

	target  int // to which the next file leads
	written bool
}

const (
	// While a migration takes its time, nothing is to end the transaction but what is in its way.
	migrationSettings = `
select set_config(name, '0', true) from pg_settings
 where name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout');
select set_config('lock_timeout', '%d', true);
`
	lockQuery = `select pg_advisory_xact_lock(hashtextextended('tidings.migrate', 0))`
	// Who may not make a schema may have one that was made for him: an error of a right that is missing is not to come where nothing is missing.
	versionTableQuery = `do $$
begin
	if to_regnamespace('tidings') is null then
		create schema tidings;
	end if;
	if to_regclass('%[1]s') is null then
		create table %[1]s (version bigint not null primary key, dirty boolean not null);
	end if;
end $$`
)

// openMigrations returns what is to be closed.
func (d *DB) openMigrations(ctx context.Context, table string) (_ *migrationDriver, err error) {
	m := &migrationDriver{ctx: context.WithoutCancel(ctx), table: ownSchema + "." + table}
	if m.conn, err = d.dial(ctx, "migrate", nil); err != nil {
		return nil, err
	}
	if m.locker, err = d.dial(ctx, "migrate", nil); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Open is of drivers that are known by a URL.
func (m *migrationDriver) Open(string) (database.Driver, error) {
	return nil, errors.New("it is opened already")
}

// Close closes the connections.
func (m *migrationDriver) Close() error {
	for _, conn := range []*pgx.Conn{m.conn, m.locker} {
		if conn != nil {
			closeConn(conn)
		}
	}
	return nil
}

// Lock waits until nobody else migrates, and makes the table of the version where there is none: who takes all back takes that, too.
func (m *migrationDriver) Lock() error {
	if m.lock != nil {
		return database.ErrLocked
	}
	tx, err := m.locker.BeginTx(m.ctx, pgx.TxOptions{BeginQuery: beginCommitted + withLockTimeout()})
	if err != nil {
		return err
	}
	if _, err = tx.Exec(m.ctx, lockQuery); err == nil {
		_, err = m.conn.Exec(m.ctx, fmt.Sprintf(versionTableQuery, m.table))
	}
	if err != nil {
		return errors.Join(err, tx.Rollback(m.ctx))
	}
	m.lock = tx
	return nil
}

// Unlock lets others migrate.
func (m *migrationDriver) Unlock() error {
	tx := m.lock
	if tx == nil {
		return database.ErrNotLocked
	}
	m.lock = nil
	return tx.Rollback(m.ctx)
}

// withLockTimeout is what a transaction begins with.
func withLockTimeout() string { return fmt.Sprintf(migrationSettings, lockTimeout.Milliseconds()) }

// Run applies a file. PostgreSQL takes statements that are sent together for one transaction.
func (m *migrationDriver) Run(migration io.Reader) error {
	text, err := io.ReadAll(migration)
	if err != nil {
		return err
	}
	if _, err := m.conn.PgConn().Exec(m.ctx, withLockTimeout()+string(text)+"\n;\n"+m.versionStatements(m.target)).ReadAll(); err != nil {
		return database.Error{OrigErr: err, Err: "migration failed", Query: text}
	}
	m.written = true
	return nil
}

// SetVersion is called before a file is run, when the version is dirty, and after.
func (m *migrationDriver) SetVersion(version int, dirty bool) error {
	switch {
	case dirty:
		m.target, m.written = version, false
		return nil
	case m.written:
		return nil
	}
	_, err := m.conn.PgConn().Exec(m.ctx, beginCommitted+m.versionStatements(version)+"; commit").ReadAll()
	return err
}

func (m *migrationDriver) versionStatements(version int) string {
	text := "delete from " + m.table
	if version >= 0 {
		text += fmt.Sprintf("; insert into %s (version, dirty) values (%d, false)", m.table, version)
	}
	return text
}

// Version returns where the database stands.
func (m *migrationDriver) Version() (version int, dirty bool, err error) {
	err = m.conn.QueryRow(m.ctx, `select version, dirty from `+m.table).Scan(&version, &dirty)
	if errors.Is(err, pgx.ErrNoRows) {
		return database.NilVersion, false, nil
	}
	return version, dirty, err
}

// Drop is not ours to do.
func (m *migrationDriver) Drop() error { return errors.New("it is not to be dropped") }
