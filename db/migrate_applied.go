package db

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/jackc/pgx/v5"
)

// golang-migrate writes the version before it runs a file, and then that it was run: whoever finds it killed in between knows neither
// whether the file was run, nor whether it led up or down. So each file ends with a statement that writes down, in its own transaction,
// where it has led: in the comment of the version table, which is there before all else.

// appliedComment is the comment, before the version.
const appliedComment = "where the migrations have led: version "

// recorded is a source of migrations of which each says where it has led.
type recorded struct {
	source.Driver
	table string
}

func (r recorded) ReadUp(version uint) (io.ReadCloser, string, error) {
	file, name, err := r.Driver.ReadUp(version)
	return r.with(file, err, version), name, err
}

func (r recorded) ReadDown(version uint) (io.ReadCloser, string, error) {
	before, err := r.Prev(version)
	if err != nil {
		before = 0 // there is none
	}
	file, name, err := r.Driver.ReadDown(version)
	return r.with(file, err, before), name, err
}

func (r recorded) with(file io.ReadCloser, err error, version uint) io.ReadCloser {
	if err != nil {
		return file
	}
	statement := fmt.Sprintf("\n;\ncomment on table tidings.%s is '%s%d'", r.table, appliedComment, version)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(file, strings.NewReader(statement)), file}
}

// appliedQuery is where a set is: what golang-migrate says, and what the last file has said; of a table that is there.
const appliedQuery = `
select coalesce(max(v.version), 0)::bigint, coalesce(bool_or(v.dirty), false), obj_description(%[1]s::regclass, 'pg_class')
  from tidings.%[2]s v`

type querierOfRow interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// applied returns the version to which the files that were run have led, and whether one was cut off, or runs just now.
func applied(ctx context.Context, on querierOfRow, table string) (version int64, dirty bool, said string, err error) {
	var comment *string
	query := fmt.Sprintf(appliedQuery, "'tidings."+table+"'", table)
	if err := on.QueryRow(ctx, query).Scan(&version, &dirty, &comment); err != nil {
		return 0, false, "", err
	}
	if comment != nil {
		said = *comment
	}
	if text, is := strings.CutPrefix(said, appliedComment); dirty && is {
		if version, err = strconv.ParseInt(text, 10, 64); err != nil {
			return 0, false, "", fmt.Errorf("the comment of tidings.%s: %w", table, err)
		}
	} else if dirty {
		version = 0 // the first of all, which has left nothing
	}
	return version, dirty, said, nil
}

// settleVersion has the version be that to which the files that were run have led, where one was cut off in the middle. While somebody else
// migrates it waits, for as long as the connection waits for locks.
func settleVersion(ctx context.Context, conn *pgx.Conn, name, table string) error {
	var there bool
	if err := conn.QueryRow(ctx, `select to_regclass('tidings.' || $1) is not null`, table).Scan(&there); err != nil || !there {
		return err
	}
	lock, err := database.GenerateAdvisoryLockId(name, "tidings", table)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1::text::bigint)`, lock); err != nil {
			return err
		}
		version, dirty, said, err := applied(ctx, tx, table)
		if err != nil {
			return err
		}
		if dirty {
			if _, err := tx.Exec(ctx, `delete from tidings.`+table); err != nil {
				return err
			}
		}
		if dirty && version > 0 {
			if _, err := tx.Exec(ctx, `insert into tidings.`+table+` (version, dirty) values ($1, false)`, version); err != nil {
				return err
			}
		}
		if comment := appliedComment + strconv.FormatInt(version, 10); comment != said {
			_, err = tx.Exec(ctx, `comment on table tidings.`+table+` is '`+comment+`'`)
		}
		return err
	})
}
