package db_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidings/db/dbtest"
)

// No function of the channel that runs as its owner is for everybody: put on a table of one's own, it would run that table's casts as the
// owner. Who writes needs no right to it.
func TestDefinersAreNotPublic(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	c, run := writing(t, address)
	const channelFunctions = ` from pg_proc p where p.pronamespace = 'public'::regnamespace and not exists
		(select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')`
	if open := ask[string](t, c, `select p.oid::regprocedure::text`+channelFunctions+` and has_function_privilege('public', p.oid, 'execute')`); !slices.Equal(open, []string{"touch_updated_at()"}) {
		t.Errorf("anybody may execute %q", open) // the one that sets the time of the row it is given, as whoever writes
	}

	run(`do $$ begin create role definer_test_writer login; exception when duplicate_object or unique_violation then null; end $$;
		grant select, insert, update, delete, truncate on users, messages, comments to definer_test_writer`)
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	try := func(want, sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		var refused *pgconn.PgError
		switch {
		case want == "" && err != nil:
			t.Fatalf("%s: %v", sql, err)
		case want != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Message, want)):
			t.Errorf("%s: got %v, want %q", sql, err, want)
		}
	}
	try("", `set session authorization definer_test_writer`)
	try("", `create temp table mine (id bigint, author_id bigint, title text, content text)`)
	definers := ask[string](t, c, `select p.oid::regprocedure::text`+channelFunctions+` and p.prosecdef order by 1`)
	if len(definers) != 9 {
		t.Fatalf("there are %q", definers)
	}
	for _, function := range definers {
		try("permission denied", `create trigger t after insert on mine for each statement execute function `+function)
	}
	before := len(acts(t, c))
	try("", `insert into users (id, username, display_name) values (50, 'dora', 'D')`)
	try("", `insert into messages (id, author_id, title, content) values (50, 50, 'x', '@ada'); update messages set content = '@boris' where id = 50`)
	try("", `insert into comments (id, message_id, author_id, content) values (50, 50, 50, 'x'); update comments set content = 'y' where id = 50`)
	try("", `delete from comments where id = 50; delete from messages where id = 50; delete from users where id = 50; truncate messages, comments`)
	if got := acts(t, c)[before:]; len(got) != 7 {
		t.Errorf("a writer without rights to the functions did %q", got)
	}

	// And each is for its own table, whoever may execute it.
	try("", `reset session authorization`)
	for _, function := range definers {
		event, rows := "insert", "referencing new table as new_rows"
		switch {
		case strings.Contains(function, "edited"):
			event, rows = "update", "referencing new table as new_rows old table as old_rows"
		case strings.Contains(function, "removed"), strings.Contains(function, "revoke"):
			event, rows = "delete", "referencing old table as old_rows"
		case strings.Contains(function, "forget"):
			event, rows = "truncate", ""
		}
		try("", `create or replace trigger t after `+event+` on mine `+rows+` for each statement execute function `+function)
		try(function+" is for table", map[string]string{"insert": `insert into mine values (1)`, "update": `update mine set id = 1`, "delete": `delete from mine`, "truncate": `truncate mine`}[event])
		try("", `drop trigger t on mine`)
	}
}

// Nothing that a writer has put before PostgreSQL's own functions, operators and types is seen by the functions that run as their owner when the
// channel's tables are written.
func TestWriterInATrap(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	c, run := writing(t, address)
	var warnings []string
	config, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { warnings = append(warnings, n.Message) }
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())

	run(`do $$ begin create role trap_test_writer login; exception when duplicate_object or unique_violation then null; end $$;
		grant usage on schema public to trap_test_writer; grant select, insert, update, delete, truncate on users, messages, comments to trap_test_writer;
		create schema trap; grant usage, create on schema trap to trap_test_writer; select tidings.attend('the test', true)`)
	for _, sql := range []string{`set session authorization trap_test_writer`, dbtest.Traps, `set client_min_messages = warning`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{`trap, pg_catalog, public`, `trap, pg_catalog, public, pg_temp`, `pg_temp, trap, pg_catalog, public`} {
		before := len(acts(t, c))
		for _, sql := range []string{
			`set search_path = ` + path,
			`insert into users (id, username, display_name) values (50, 'dora', 'D'), (51, 'emil', 'E')`,
			`insert into messages (id, author_id, title, content) values (50, 50, 'x', '@emil'), (51, 50, 'y', 'z')`,
			`insert into comments (id, message_id, author_id, content) values (50, 50, 51, '@dora'), (51, 50, 50, 'x')`,
			`insert into comments (id, message_id, author_id, content) select n, 51, 51, 'x' from pg_catalog.generate_series(100, 1100) as n`,
			`update messages set content = '@ada' where id operator(pg_catalog.=) 50`,
			`update comments set content = '@ada' where id operator(pg_catalog.=) 50`,
			`delete from comments where id operator(pg_catalog.=) 51`,
			`delete from messages where id operator(pg_catalog.=) 50`,
			`delete from users where id operator(pg_catalog.>=) 50`,
		} {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatalf("with the search path %s: %s: %v", path, sql, err)
			}
		}
		const told = 2 + 2 + 2 + 1000 + 1 + 1 + 1 + 1 + 1 // of the statements, in their order: the last comment of 1,001 is a number
		if got := acts(t, c)[before:]; len(got) != told {
			t.Errorf("with the search path %s: %d acts were told, want %d", path, len(got), told)
		}
	}
	if len(warnings) > 0 {
		t.Errorf("warned of %q", warnings)
	}
}
