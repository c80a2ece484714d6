package triggers_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/triggers"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// patience is how long a test waits for what should come at once, on a machine that is busy with other tests.
const patience = time.Minute

var liveSet = db.MigrationSet{Name: "live", Files: triggers.Migrations}

// live is a database with the live part in it and nothing else.
type live struct {
	*db.DB
	url string
}

// openLive makes a database of the test's own.
func openLive(t *testing.T) *live {
	t.Helper()
	return openLiveAt(t, newDatabase(t))
}

// newDatabase makes an empty database. Its sessions compile no queries: over the small tables of a test that takes a
// hundred times as long as running them.
func newDatabase(t *testing.T) string {
	t.Helper()
	return with(t, dbtest.Database(t), "options", "-cjit=off")
}

// with is the address with another parameter.
func with(t *testing.T, address, name, value string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set(name, value)
	u.RawQuery = query.Encode()
	return u.String()
}

func openLiveAt(t *testing.T, address string) *live {
	t.Helper()
	l := openAt(t, address)
	if err := l.MigrateUp(t.Context(), liveSet); err != nil {
		t.Fatal(err)
	}
	return l
}

func openAt(t *testing.T, address string) *live {
	t.Helper()
	d, err := db.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return &live{DB: d, url: address}
}

// connect opens a connection beside the pool: a session of one's own, to be set up as one likes.
func (l *live) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	return connectTo(t, l.url)
}

func connectTo(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

// newRole makes a role that may log in and has no rights. Roles belong to the whole server, so its name is random.
func newRole(t *testing.T, c conn) string {
	t.Helper()
	role := "role_" + strings.ToLower(rand.Text())
	run(t, c, "create role "+role+" login")
	return role
}

// giveDatabase makes a role the owner of the database.
func giveDatabase(t *testing.T, c conn, role string) {
	t.Helper()
	run(t, c, `do $$ begin execute format('alter database %I owner to %I', current_database(), '`+role+`'); end $$`)
}

// conn is a pool, a connection or a transaction.
type conn interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func run(t *testing.T, c conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s\n%s", explain(err), sql)
	}
}

func get[T any](t *testing.T, c conn, sql string, args ...any) (answer T) {
	t.Helper()
	if err := c.QueryRow(t.Context(), sql, args...).Scan(&answer); err != nil {
		t.Fatalf("%s\n%s", explain(err), sql)
	}
	return answer
}

func list[T any](t *testing.T, c conn, sql string, args ...any) []T {
	t.Helper()
	rows, err := c.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s\n%s", explain(err), sql)
	}
	answers, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s\n%s", explain(err), sql)
	}
	return answers
}

func explain(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return strings.TrimSpace(pg.Error() + "\n" + pg.Detail + "\n" + pg.Where)
	}
	return err.Error()
}

// refused runs what must be an error of this code, or of any if it is "", whose message has this in it.
func refused(t *testing.T, c conn, code, message, sql string, args ...any) {
	t.Helper()
	_, err := c.Exec(t.Context(), sql, args...)
	var pg *pgconn.PgError
	switch {
	case err == nil:
		t.Errorf("no error; want %s %q\n%s", code, message, sql)
	case !errors.As(err, &pg):
		t.Fatalf("%v\n%s", err, sql)
	case code != "" && pg.Code != code || !strings.Contains(pg.Message, message):
		t.Errorf("got  %s %q\nwant %s %q\n%s", pg.Code, pg.Message, code, message, sql)
	}
}

func cursor(t *testing.T, c conn) string {
	t.Helper()
	return get[string](t, c, "select tidings.cursor()")
}

// logRows are the events of the log, but for what only servers are told, each with its row's text: "null" where that was too long, and null for a truncation.
const logRows = `(
select l.id, l.xid, l.topic, l.type, r.n,
       case when l.rows is null then l.key else l.rows[c.n + r.n] end as key,
       case when l.rows is null then l.old_key else l.rows[2 * c.n + r.n] end as old_key,
       case when l.rows is null then l.data::text else coalesce(l.rows[r.n], 'null') end as row
  from tidings.log as l,
       lateral (select case when l.rows is null then 1 else l.data::text::int end) as c(n),
       lateral generate_series(1, c.n) as r(n)
 where l.topic <> 'tidings') as l`

// newRows are those since a cursor.
const newRows = logRows + ` where not pg_visible_in_snapshot(l.xid, tidings.position_snapshot(split_part($1, '-', 2)))`

const eventsQuery = `select l.type || ' ' || coalesce(l.key, '-') || coalesce('<' || l.old_key, '') || coalesce(' ' || l.row, '')
  from ` + newRows + ` order by l.id, l.n`

const sinceQuery = `select concat_ws(' ', id, type, key, data::text) from tidings.since($1) where topic <> 'tidings'`

const logQuery = `select concat_ws(' ', l.id || case when l.n > 1 then '-' || (l.n - 1) else '' end, l.type, l.key, nullif(l.row, 'null'))
  from ` + newRows + ` order by l.id, l.n`

// events returns what the log has since the cursor, an event a line: its type, its key or "-", "<" and the key before
// if the row moved, and the row, or "null" where it was too long. tidings.since must say the same.
func events(t *testing.T, c conn, since string) []string {
	t.Helper()
	got, want := list[string](t, c, sinceQuery, since), list[string](t, c, logQuery, since)
	if !slices.Equal(got, want) {
		t.Errorf("tidings.since says\n%s\nand the log\n%s", lines(got), lines(want))
	}
	return list[string](t, c, eventsQuery, since)
}

// expect compares the events since the cursor with those listed in want, one a line.
func expect(t *testing.T, c conn, since, want string) {
	t.Helper()
	got := events(t, c, since)
	if wanted := split(want); !slices.Equal(got, wanted) {
		t.Errorf("events:\n%s\nwant:\n%s", lines(got), lines(wanted))
	}
}

func split(text string) (all []string) {
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

func lines(all []string) string {
	const many = 40
	if len(all) > many {
		all = append(slices.Clone(all[:many]), "…")
	}
	return "\t" + strings.Join(all, "\n\t")
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
