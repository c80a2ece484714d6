package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Watch is how a table is made live; empty fields take tidings.watch's defaults.
type Watch struct {
	Table   string
	Topic   string
	Event   string
	Key     string
	Columns []string
	Read    string
	Claims  []string // that row security may look at; nil: all
	Typing  bool
	Problem string // of a watch that was read
}

// watchPatience is for how long the making of a table's triggers is tried, while transactions use it.
const watchPatience = 5 * time.Second

// SetWatch makes a table live, or changes how it is, and returns its topic.
func (d *DB) SetWatch(ctx context.Context, w Watch) (topic string, err error) {
	err = d.withTable(ctx, w.Table, func(tx pgx.Tx, table string) error {
		return tx.QueryRow(ctx, `select tidings.watch($1::text::regclass, topic => $2, event => $3, key => $4, columns => $5,
			read => coalesce($6, 'signed_in'), claims => $7, typing => $8)`,
			table, orNull(w.Topic), orNull(w.Event), orNull(w.Key), w.Columns, orNull(w.Read), w.Claims, w.Typing).Scan(&topic)
	})
	return topic, err
}

// RemoveWatch ends a table's events, and returns whether it was watched.
func (d *DB) RemoveWatch(ctx context.Context, table string) (was bool, err error) {
	err = d.withTable(ctx, table, func(tx pgx.Tx, table string) error {
		return tx.QueryRow(ctx, `select tidings.unwatch($1::text::regclass)`, table).Scan(&was)
	})
	return was, err
}

// UnwatchAll ends all tables' events, and returns when the services that run have had the time to tell their clients, as what is there to be told
// may be about to be removed. Each table has a transaction of its own, so that none is locked while another is waited for.
func (d *DB) UnwatchAll(ctx context.Context) error {
	var there bool
	if err := d.Pool.QueryRow(ctx, `select to_regclass('tidings.watches') is not null`).Scan(&there); err != nil || !there {
		return explain(err)
	}
	rows, err := d.Pool.Query(ctx, `select w.relation::oid, w.relation::text from tidings.watches w join pg_class c on c.oid = w.relation order by w.id`)
	if err != nil {
		return fmt.Errorf("read watches: %w", explain(err))
	}
	type watch struct {
		Relation uint32
		Table    string
	}
	watches, err := pgx.CollectRows(rows, pgx.RowToStructByPos[watch])
	if err != nil {
		return fmt.Errorf("read watches: %w", explain(err))
	}
	for _, w := range watches {
		err := d.beginPatiently(ctx, migratePatience, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select tidings.unwatch($1::oid::regclass)`, w.Relation)
			return err
		})
		if err != nil {
			return fmt.Errorf("unwatch %s: %w", w.Table, sentence(err))
		}
	}
	if len(watches) == 0 {
		return nil
	}
	var since time.Time
	if err := d.Pool.QueryRow(ctx, `select clock_timestamp() + interval '1 second'`).Scan(&since); err != nil {
		return explain(err)
	}
	for told := false; !told; {
		if err := d.Pool.QueryRow(ctx, toldQuery, since).Scan(&told); err != nil {
			return explain(err)
		}
		if !told && !pause(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// toldQuery is whether all services that run have said something since.
const toldQuery = `select not exists (select from tidings.instances i where i.told_at between clock_timestamp() - interval '10 seconds' and $1)`

// Watches lists what is watched.
func (d *DB) Watches(ctx context.Context) ([]Watch, error) {
	rows, err := d.Pool.Query(ctx, `select "table", topic, event, coalesce(key, ''), columns, read, coalesce(problem, '') from tidings.watched`)
	if err != nil {
		return nil, fmt.Errorf("read watches: %w", explain(err))
	}
	watches, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w Watch, err error) {
		err = row.Scan(&w.Table, &w.Topic, &w.Event, &w.Key, &w.Columns, &w.Read, &w.Problem)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("read watches: %w", explain(err))
	}
	return watches, nil
}

// withTable calls change in a transaction, with a name that PostgreSQL knows: in quotes, so that mixed case and spaces need
// none, or, if there is no such table, as it was given.
func (d *DB) withTable(ctx context.Context, table string, change func(tx pgx.Tx, table string) error) error {
	err := d.beginPatiently(ctx, watchPatience, func(tx pgx.Tx) error {
		var name *string
		const find = `select case when to_regclass(quote_ident($1)) is not null then quote_ident($1) when to_regclass($1) is not null then $1 end`
		err := tx.QueryRow(ctx, find, table).Scan(&name)
		if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "42602" { // invalid_name: not a name without quotes
			err = nil
		}
		if err != nil {
			return err
		}
		if name == nil {
			return fmt.Errorf("there is no table %q", table)
		}
		return change(tx, *name)
	})
	return sentence(err)
}

// sentence turns a database error into what a person at a terminal wants to read.
func sentence(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return explain(err)
	}
	switch {
	case pg.Code == "55P03": // lock_not_available
		return errors.New("the table is in use by a transaction that has been open for long: end it, or try again")
	case pg.Code == "3F000" || pg.Code == "42883": // invalid_schema_name, undefined_function
		return fmt.Errorf("the database has no schema tidings, or an old one: tidings migrate up --only live (%s)", pg.Message)
	case pg.Code == "42501" && (strings.HasPrefix(pg.Message, "permission denied for function") || pg.Message == "permission denied for schema tidings"): // insufficient_privilege
		return fmt.Errorf("%s: this is for the role that owns schema tidings", pg.Message)
	case pg.Hint != "":
		return fmt.Errorf("%s. %s", pg.Message, pg.Hint)
	}
	return errors.New(pg.Message)
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
