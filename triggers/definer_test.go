package triggers_test

import (
	"slices"
	"testing"
)

// openDefiners are the functions that anybody may execute as their owner: they take nothing, write nothing and have their search path
// pinned, and a role that may look into the schema can be told where the log stands without being told what is in it.
var openDefiners = []string{
	`tidings."position"()`, // with the next ones, tidings.cursor() is
	"tidings.horizon()",    // which transactions are forgotten
	"tidings.origin()",     // what this database's cursors begin with
	"tidings.place()",
	"tidings.reader_role()",
	"tidings.timeline()",
}

// What runs as its owner is not for everybody: a trigger function, too, could be put on a table of one's own.
func TestDefinersAreNotPublic(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items+notes+`select tidings.watch('notes'); create table orders (id int primary key, who text); select tidings.watch('orders', read => 'owner:who')`)
	open := list[string](t, s, `select oid::regprocedure::text from pg_proc
		where pronamespace = 'tidings'::regnamespace and prosecdef and has_function_privilege('public', oid, 'execute') order by 1`)
	if !slices.Equal(open, openDefiners) {
		t.Errorf("anybody may execute, as their owner,\n%s\nwant\n%s", lines(open), lines(openDefiners))
	}
	if open := list[string](t, s, `select oid::regprocedure::text from pg_proc where pronamespace = 'tidings'::regnamespace
		and prorettype in ('trigger'::regtype, 'event_trigger'::regtype) and has_function_privilege('public', oid, 'execute')`); len(open) > 0 {
		t.Errorf("anybody may execute trigger functions\n%s", lines(open))
	}

	// Even where somebody may, it is for the tables it was made for.
	guest := newRole(t, s)
	run(t, s, `grant usage on schema tidings to `+guest)
	g := connectTo(t, with(t, l.url, "user", guest))
	run(t, g, `create temp table mine (id int)`)
	const put = `create trigger t after insert on mine for each statement execute function tidings.tell_topics_changed()`
	refused(t, g, "42501", "permission denied for function", put)
	run(t, s, `grant execute on function tidings.tell_topics_changed() to `+guest)
	run(t, g, put)
	refused(t, g, "42809", "is not for mine", `insert into mine values (1)`)
}

// What anybody may execute is so whatever the owner's default privileges are, and who is given all functions by them is not let serve.
func TestDefaultPrivileges(t *testing.T) {
	t.Parallel()
	const public = `select oid::regprocedure::text from pg_proc where pronamespace = 'tidings'::regnamespace and has_function_privilege('public', oid, 'execute') order by 1`
	want := list[string](t, openLive(t).connect(t), public)
	address := newDatabase(t)
	s := connectTo(t, address)
	guest := newRole(t, s)
	run(t, s, `alter default privileges revoke execute on functions from public; alter default privileges grant execute on functions to `+guest)
	if got := list[string](t, openLiveAt(t, address).connect(t), public); !slices.Equal(got, want) {
		t.Errorf("anybody may execute\n%s\nwant\n%s", lines(got), lines(want))
	}
	if get[bool](t, s, `select has_schema_privilege($1, 'tidings', 'usage')`, guest) {
		t.Error("a role that was given functions may look into the schema")
	}
}
