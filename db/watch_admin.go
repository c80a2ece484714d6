package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What follows is for administrators of the application, who are not those of the database: they are told in which field of theirs what is
// wrong, and there are tables that they cannot make live.

// Table is a table that can be made live.
type Table struct {
	Name        string // as PostgreSQL quotes it
	Columns     []string
	Key         string // the primary key's only column; empty: it has none, or several
	RowSecurity bool
	Watched     bool
}

// secretTables are the application's tables of which nobody is told anything: passwords' hashes, sessions, and what was asked for by whom.
var secretTables = []string{"accounts", "sessions", "refresh_tokens", "mutations"}

// isSecret is a condition on pg_class c joined with pg_namespace n, with secretTables as $1.
const isSecret = `(n.nspname in ('tidings', 'information_schema') or n.nspname like 'pg\_%'
	or c.oid = any (array(select to_regclass(s.name) from unnest($1::text[]) as s(name))))`

// Tables lists the tables that can be made live, at most limit of them.
func (d *DB) Tables(ctx context.Context, limit int) ([]Table, error) {
	rows, err := d.Pool.Query(ctx, `
select c.oid::regclass::text,
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
       coalesce((select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
                  where i.indrelid = c.oid and i.indisprimary and i.indnkeyatts = 1), ''),
       c.relrowsecurity,
       exists (select from tidings.watches w where w.relation = c.oid)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and c.relpersistence <> 't' and not c.relispartition and not `+isSecret+`
   and (pg_has_role(c.relowner, 'usage') or has_table_privilege(c.oid, 'trigger'))
 order by n.nspname, c.relname limit $2`, secretTables, limit)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", Unavailable(err))
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Table, err error) {
		err = row.Scan(&t.Name, &t.Columns, &t.Key, &t.RowSecurity, &t.Watched)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", Unavailable(err))
	}
	return tables, nil
}

// WatchTable makes a table live, or changes how it is, and returns its topic. What is wrong is an *InvalidError.
func (d *DB) WatchTable(ctx context.Context, w Watch) (topic string, err error) {
	err = d.withOpenTable(ctx, w.Table, func(tx pgx.Tx, table uint32) error {
		if err := checkColumns(ctx, tx, table, w); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `select tidings.watch($1::oid::regclass, topic => $2, event => $3, key => $4, columns => $5, read => coalesce($6, 'signed_in'))`,
			table, orNull(w.Topic), orNull(w.Event), orNull(w.Key), w.Columns, orNull(w.Read)).Scan(&topic)
	})
	return topic, err
}

// UnwatchTable ends a table's events. What is wrong is an *InvalidError.
func (d *DB) UnwatchTable(ctx context.Context, table string) error {
	return d.withOpenTable(ctx, table, func(tx pgx.Tx, table uint32) error {
		var was bool
		err := tx.QueryRow(ctx, `select tidings.unwatch($1::oid::regclass)`, table).Scan(&was)
		if err == nil && !was {
			err = &InvalidError{"table", "is not watched"}
		}
		return err
	})
}

// withOpenTable calls change in a transaction with the number of a table that is not secret, by which it stays what it is whatever it is
// called meanwhile.
func (d *DB) withOpenTable(ctx context.Context, name string, change func(tx pgx.Tx, table uint32) error) error {
	err := d.beginPatiently(ctx, watchPatience, func(tx pgx.Tx) error {
		var table uint32
		var secret bool
		err := tx.QueryRow(ctx, `select c.oid, `+isSecret+` from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.oid = coalesce(to_regclass(quote_ident($2)), to_regclass($2))`, secretTables, name).Scan(&table, &secret)
		switch pg := (*pgconn.PgError)(nil); {
		case errors.Is(err, pgx.ErrNoRows), errors.As(err, &pg) && slices.Contains([]string{"42602", "42601", "0A000"}, pg.Code): // it is no name, or has too many parts
			return &InvalidError{"table", "is not the name of a table: there is none"}
		case err != nil:
			return err
		case secret:
			return &InvalidError{"table", "cannot be watched: it is one that nobody is told of"}
		}
		return change(tx, table)
	})
	return watchError(err)
}

// checkColumns says which of the columns are not there.
func checkColumns(ctx context.Context, tx pgx.Tx, table uint32, w Watch) error {
	var there []string
	err := tx.QueryRow(ctx, `select array(select a.attname::text from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
		order by a.attnum)`, table).Scan(&there)
	if err != nil {
		return err
	}
	missing := func(field, column string) error {
		return &InvalidError{field, fmt.Sprintf("names %q, and the table has no such column: it has %s", column, strings.Join(there, ", "))}
	}
	if w.Key != "" && !slices.Contains(there, w.Key) {
		return missing("key", w.Key)
	}
	for _, column := range w.Columns {
		if !slices.Contains(there, column) {
			return missing("columns", column)
		}
	}
	if column, owned := strings.CutPrefix(w.Read, "owner:"); owned && !slices.Contains(there, column) {
		return missing("read", column)
	}
	return nil
}

// watchError is what a person reads of an error of the database: which field is wrong, and why, in words of this repository's.
func watchError(err error) error {
	var invalid *InvalidError
	var pg *pgconn.PgError
	if errors.As(err, &invalid) {
		return invalid
	}
	if !errors.As(err, &pg) {
		return Unavailable(err)
	}
	switch pg.Code {
	case "42501": // insufficient_privilege
		return &InvalidError{"table", "is not the service's: the role that it connects as has to own the table, and schema tidings"}
	case "55P03": // lock_not_available
		return &InvalidError{"table", "is in use by a transaction that has been open for long: end it, or try again"}
	case "42P01": // undefined_table: it was dropped meanwhile
		return &InvalidError{"table", "is not the name of a table: there is none"}
	case "22021", "22P05": // character_not_in_repertoire, untranslatable_character
		return &InvalidError{"", "text has no NUL character"}
	case "22023", "42703", "42710", "42809": // of tidings.watch's own, whose messages are for people
		for _, field := range []string{"topic", "event", "columns", "read"} {
			if strings.HasPrefix(pg.Message, field+" ") {
				return &InvalidError{field, strings.TrimPrefix(pg.Message, field+" ")}
			}
		}
		if strings.HasPrefix(pg.Message, "there is no function ") {
			return &InvalidError{"read", "names no policy: " + pg.Message}
		}
		return &InvalidError{"table", "cannot be watched: " + pg.Message}
	}
	return Unavailable(err)
}
