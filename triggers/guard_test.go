package triggers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// notes is a table with row security: a note is its owner's, and everybody's of its team if it is shared.
const notes = `
create table notes (id int primary key, owner text, team text, shared boolean not null default false, secret text, body text);
alter table notes enable row level security;
create policy own on notes for select using (owner = tidings.user_id());
create policy team on notes for select using (shared and team = tidings.claims() ->> 'team');
`

// acls are, of each event since the cursor, what tells who may have it.
const acls = `select l.type || ' ' || (g.n - 1) || ': ' || coalesce(l.acl[3 * g.n - 2], '-') || ' | ' || coalesce(l.acl[3 * g.n - 1], '-') || ' | ' || coalesce(l.acl[3 * g.n], '-')
  from tidings.log l, lateral (select l.data::text::int) c(n), lateral generate_series(1, c.n) g(n)
 where not pg_visible_in_snapshot(l.xid, tidings.position_snapshot(split_part($1, '-', 2))) order by l.id, g.n`

// What is written of a table with row security tells all that its policies may ask about, before and after.
func TestCaptureWithRowSecurity(t *testing.T) {
	t.Parallel()
	s := openLive(t).connect(t)
	run(t, s, notes+`select tidings.watch('notes', columns => '{id,body}')`)
	since := cursor(t, s)
	run(t, s, `insert into notes values (1, 'ada', 'a', false, 's', 'one')`)
	run(t, s, `update notes set owner = 'bob'`)
	run(t, s, `delete from notes`)
	expect(t, s, since, `
		note_added 1 {"id":1,"body":"one"}
		note_updated 1 {"id":1,"body":"one"}
		note_deleted 1 {"id":1,"body":"one"}`)
	ada := `{"id":1,"owner":"ada","team":"a","shared":false,"secret":"s","body":"one"}`
	bob := strings.Replace(ada, "ada", "bob", 1)
	want := []string{
		"note_added 0: " + ada + " | - | -",
		"note_updated 0: " + bob + " | " + ada + ` | {"id":1,"body":"one"}`,
		"note_deleted 0: " + bob + " | - | -",
	}
	if got := list[string](t, s, acls, since); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", lines(got), lines(want))
	}

	// All columns go out: then what is told is what is asked about.
	run(t, s, `select tidings.watch('notes')`)
	since = cursor(t, s)
	run(t, s, `insert into notes select i, 'ada', 'a', false, 's', repeat('x', 3000) from generate_series(1, 100) i`)
	run(t, s, `update notes set id = id + 1000, owner = 'bob' where id > 50`)
	for i, acl := range list[string](t, s, acls, since) {
		switch {
		case i < 100 && !strings.HasSuffix(acl, ": - | - | -"):
			t.Fatalf("entry %d: %.200s", i, acl)
		case i >= 100 && !strings.Contains(acl, fmt.Sprintf(`: - | {"id":%d,"owner":"ada"`, i-49)):
			t.Fatalf("entry %d: %.200s", i, acl)
		}
	}
	for i, event := range events(t, s, since) {
		if want := fmt.Sprintf("note_updated %d<%d {", i+951, i-49); i >= 100 && !strings.HasPrefix(event, want) {
			t.Fatalf("event %d: %.100s, want %s", i, event, want)
		}
	}
}

// Of a row with an owner, the log tells whose it is and, if it was another's, whose and what it was.
func TestCaptureWithOwner(t *testing.T) {
	t.Parallel()
	s := openLive(t).connect(t)
	run(t, s, `create table orders (id int primary key, customer bigint, v text);
		select tidings.watch('orders', columns => '{id,v}', read => 'owner:customer')`)
	since := cursor(t, s)
	run(t, s, `insert into orders values (1, 5, 'a'), (2, null, 'b')`)
	run(t, s, `update orders set v = v || '2'`)
	run(t, s, `update orders set customer = 7`)
	run(t, s, `delete from orders where id = 1`)
	want := []string{
		"order_added 0: 5 | - | -", "order_added 1: - | - | -",
		"order_updated 0: 5 | 5 | -", "order_updated 1: - | - | -",
		`order_updated 0: 7 | 5 | {"id":1,"v":"a2"}`, `order_updated 1: 7 | - | {"id":2,"v":"b2"}`,
		"order_deleted 0: 7 | - | -",
	}
	if got := list[string](t, s, acls, since); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", lines(got), lines(want))
	}
	// A column that is dropped fails no writer.
	run(t, s, `alter table orders drop column customer`)
	run(t, s, `insert into orders values (3, 'c')`)
}

// judged is what tidings.judge says of rows.
func judged(t *testing.T, c conn, claims, user string, rows ...string) string {
	t.Helper()
	var allowed []bool
	var problem *string
	err := c.QueryRow(t.Context(), `select allowed, problem from tidings.judge('notes', $1, nullif($2, ''),
		array(select nullif(r, '') from unnest($3::text[]) with ordinality as x(r, n) order by n))`, claims, user, rows).Scan(&allowed, &problem)
	if err != nil {
		t.Fatal(explain(err))
	}
	if problem != nil {
		return *problem
	}
	return strings.Trim(fmt.Sprint(allowed), "[]")
}

// The policies say of a row that is given what they say of it in the table.
func TestJudge(t *testing.T) {
	t.Parallel()
	s := openLive(t).connect(t)
	run(t, s, notes+`select tidings.watch('notes')`)
	const ada, shared, other = `{"id":1,"owner":"ada"}`, `{"id":2,"owner":"bob","team":"a","shared":true}`, `{"id":3,"owner":"bob","team":"b","shared":true}`
	check := func(what, want, claims, user string, rows ...string) {
		t.Helper()
		if got := judged(t, s, claims, user, rows...); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
		if role := get[string](t, s, `select current_user || ' ' || session_user || ' ' || current_setting('role')`); strings.Contains(role, "tidings_reader") {
			t.Errorf("%s: the role is %s afterwards", what, role)
		}
	}
	check("own", "true false false", `{}`, "ada", ada, shared, other)
	check("team", "false true false", `{"team":"a"}`, "eve", ada, shared, other)
	check("both", "true true false", `{"team":"a"}`, "ada", ada, shared, other)
	check("nobody", "false false false", `{}`, "", ada, shared, other)
	check("what there is not", "false true", `{"team":"a"}`, "eve", "", shared)

	run(t, s, `create policy not_on_sundays on notes as restrictive for select using (body is distinct from 'sunday')`)
	check("restrictive", "true false", `{}`, "ada", ada, `{"id":1,"owner":"ada","body":"sunday"}`)
	run(t, s, `drop policy not_on_sundays on notes; create role `+"role_never_"+get[string](t, s, `select current_database()`)+` nologin`)
	run(t, s, `create policy others on notes for select to `+"role_never_"+get[string](t, s, `select current_database()`)+` using (true)`)
	check("for another role", "false", `{}`, "eve", ada)

	// A policy that asks another table is asked as the role, and so the other table's own row security holds as well.
	run(t, s, `create table friends (who text, of text); insert into friends values ('eve', 'ada');
		create policy friends on notes for select using (exists (select from friends f where f.of = notes.owner and f.who = tidings.user_id()))`)
	check("a table that may not be read", "permission denied for table friends", `{}`, "eve", ada)
	run(t, s, `grant select on friends to tidings_reader`)
	check("friends", "true false", `{}`, "eve", ada, shared)
	run(t, s, `alter table friends enable row level security`)
	check("friends that are hidden", "false", `{}`, "eve", ada)

	// Only named claims count.
	run(t, s, `select tidings.watch('notes', claims => '{team}')`)
	check("the user is not among the claims", "false true", `{"team":"a"}`, "ada", ada, shared)
	run(t, s, `select tidings.watch('notes', claims => '{sub}')`)
	check("the team is not among the claims", "true false", `{"team":"a"}`, "ada", ada, shared)

	run(t, s, `update tidings.settings set reader_role = current_user`)
	if got := judged(t, s, `{}`, "ada", ada); !strings.Contains(got, "does not hold for role") {
		t.Errorf("a superuser judges: %q", got)
	}
	if problem := get[string](t, s, `select problem from tidings.watched where topic = 'notes'`); !strings.Contains(problem, "does not hold for role") {
		t.Errorf("the problem is %q", problem)
	}
}

// A name in a policy is the table that PostgreSQL takes it for, in the schema of the service's own user, too; what a function of the policy's
// looks up goes by the session's search path.
func TestJudgeNamesTheTables(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	service := newRole(t, l.Pool)
	run(t, l.Pool, `alter role `+service+` superuser; create schema `+service+` authorization `+service+`; grant usage on schema `+service+` to tidings_reader`)
	s := connectTo(t, with(t, l.url, "user", service))
	run(t, s, `
		create table friends (who text, of text); create table public.friends (who text, of text);
		insert into friends values ('eve', 'ada'); insert into public.friends values ('mallory', 'ada');
		grant select on friends, public.friends to tidings_reader;
		create table public.notes (id int primary key, owner text); alter table public.notes enable row level security;
		create policy friends on public.notes for select using (exists (select from friends f where f.of = notes.owner and f.who = tidings.user_id()));
		select tidings.watch('public.notes')`)
	for user, want := range map[string]string{"eve": "true", "mallory": "false"} {
		if got := judged(t, s, `{}`, user, `{"id":1,"owner":"ada"}`); got != want {
			t.Errorf("%s: got %s, want %s", user, got, want)
		}
	}
	run(t, s, `create table public.lookup (who text); insert into public.lookup values ('mallory'); grant select on public.lookup to tidings_reader;
		create function public.may(who text) returns boolean stable language plpgsql as $$ begin return exists (select from lookup l where l.who = may.who); end $$;
		drop policy friends on public.notes; create policy friends on public.notes using (public.may(tidings.user_id()))`)
	for user, want := range map[string]string{"eve": "false", "mallory": "true"} {
		if got := judged(t, s, `{}`, user, `{"id":1,"owner":"ada"}`); got != want {
			t.Errorf("%s, by a function: got %s, want %s", user, got, want)
		}
	}
}

// What is loaded for a user is what row security, or the owner, leaves.
func TestLoadForAUser(t *testing.T) {
	t.Parallel()
	s := openLive(t).connect(t)
	run(t, s, notes+`select tidings.watch('notes', columns => '{id}', key => 'team');
		insert into notes select i, case when i % 2 = 0 then 'ada' else 'bob' end, 'a', i > 8, 's', 'b' from generate_series(1, 10) i;
		create table orders (id int primary key, customer bigint); insert into orders select i, i % 3 from generate_series(1, 9) i;
		select tidings.watch('orders', read => 'owner:customer')`)
	load := func(sql string) string {
		t.Helper()
		got := list[string](t, s, sql)
		if role := get[string](t, s, `select current_user`); role == "tidings_reader" {
			t.Errorf("the role is %s afterwards", role)
		}
		return strings.Join(got, " ")
	}
	for _, c := range []struct{ name, sql, want string }{
		{"own", `select data::json->>'id' from tidings.load('notes', claims => '{}', "user" => 'ada')`, "2 4 6 8 10"},
		{"team", `select data::json->>'id' from tidings.load('notes', claims => '{"team":"a"}', "user" => 'eve')`, "9 10"},
		{"team, by key", `select data::json->>'id' from tidings.load('notes', 'a', claims => '{"team":"a"}', "user" => 'eve')`, "9 10"},
		{"team, by another key", `select data::json->>'id' from tidings.load('notes', 'b', claims => '{"team":"a"}', "user" => 'eve')`, ""},
		{"a page", `select data::json->>'id' from tidings.load('notes', after => '{4}', max_rows => 2, claims => '{}', "user" => 'ada')`, "6 8"},
		{"nobody", `select data::json->>'id' from tidings.load('notes', claims => '{}')`, ""},
		{"a person in psql", `select data::json->>'id' from tidings.load('notes')`, "1 2 3 4 5 6 7 8 9 10"},
		{"an owner", `select data::json->>'id' from tidings.load('orders', claims => '{}', "user" => '2')`, "2 5 8"},
		{"an owner's page", `select data::json->>'id' from tidings.load('orders', after => '{2}', max_rows => 1, claims => '{}', "user" => '2')`, "5"},
		{"who owns nothing", `select data::json->>'id' from tidings.load('orders', claims => '{}', "user" => '77')`, ""},
		{"whose name is no number", `select data::json->>'id' from tidings.load('orders', claims => '{}', "user" => 'eve')`, ""},
		{"nobody's", `select data::json->>'id' from tidings.load('orders', claims => '{}')`, ""},
		{"orders in psql", `select count(*)::text from tidings.load('orders')`, "9"},
		{"together", `select data::json->>'id' from tidings.load('notes', claims => '{}', "user" => 'ada')
			union all select data::json->>'id' from tidings.load('orders', claims => '{}', "user" => '2')`, "2 4 6 8 10 2 5 8"},
	} {
		if got := load(c.sql); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// Who may subscribe is said by the watch.
func TestMaySubscribe(t *testing.T) {
	t.Parallel()
	s := openLive(t).connect(t)
	run(t, s, `create table a (id int primary key); create table b (id int primary key); create table c (id int primary key, who text);
		create table d (id int primary key); create table e (id int primary key); create table f (id int primary key, who text);
		create function members(claims jsonb, topic text, key text) returns boolean language sql as
			$$ select claims ->> 'club' = topic and key is distinct from '13' and tidings.user_id() <> 'eve' $$;
		create function broken(claims jsonb, topic text, key text) returns boolean language sql as $$ select 1 / (key::int - 1) > 0 $$;
		select tidings.watch('a', read => 'public'), tidings.watch('b'), tidings.watch('c', key => 'who', read => 'owner:who'),
			tidings.watch('d', read => 'policy:public.members'), tidings.watch('e', read => 'policy:public.broken'), tidings.watch('f', read => 'owner:who')`)
	const nobody, ada, eve = "{} ", `{"club":"d"} ada`, `{"club":"d"} eve`
	for _, c := range []struct{ who, channel, want string }{
		{nobody, "a", "true"}, {ada, "a", "true"}, {nobody, "a:5", "true"},
		{nobody, "b", "false"}, {ada, "b", "true"},
		{nobody, "c", "false"}, {ada, "c", "true"}, {ada, "c:ada", "true"}, {eve, "c:ada", "false"}, {nobody, "c:", "false"},
		{ada, "f:17", "true"}, {nobody, "f:17", "false"},
		{nobody, "d", "false"}, {ada, "d", "true"}, {ada, "d:13", "false"}, {eve, "d", "false"}, {`{"club":"x"} ada`, "d", "false"},
		{ada, "e:2", "true"}, {ada, "e:1", "false division by zero"}, {ada, "e", "false"},
		{ada, "nothing", "false"},
	} {
		claims, user, _ := strings.Cut(c.who, " ")
		topic, key, _ := strings.Cut(c.channel, ":")
		row := s.QueryRow(t.Context(), `select allowed, problem from tidings.may_subscribe($1, nullif($2, ''), $3, nullif($4, ''))`, topic, key, claims, user)
		var allowed bool
		var problem *string
		if err := row.Scan(&allowed, &problem); err != nil {
			t.Fatalf("%s of %s: %s", c.channel, c.who, explain(err))
		}
		got := fmt.Sprint(allowed)
		if problem != nil {
			got += " " + *problem
		}
		if got != c.want {
			t.Errorf("%s of %s: got %q, want %q", c.channel, c.who, got, c.want)
		}
	}
}

// An administrator's words go the way of all events, or are kept nowhere.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, ear := l.connect(t), l.connect(t)
	run(t, s, items)
	run(t, ear, `listen tidings; listen `+get[string](t, s, `select signals from tidings.settings`))
	since := cursor(t, s)
	run(t, s, `select tidings.broadcast('items', 'announcement', '{"text": "hello"}'), tidings.broadcast('items:5', 'hint')`)
	if got, want := list[string](t, s, sinceQuery, since), 2; len(got) != want || !strings.HasSuffix(got[0], `announcement {"text": "hello"}`) || !strings.HasSuffix(got[1], "hint 5 {}") {
		t.Errorf("got\n%s", lines(got))
	}
	run(t, s, `select tidings.broadcast('items', 'wave', '{"n": 1}', kept => false)`)
	if got := list[string](t, s, sinceQuery, since); len(got) != 2 {
		t.Errorf("what is not to be kept is: %s", lines(got))
	}
	for {
		n, err := ear.WaitForNotification(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(n.Payload, `wave`) {
			if want := `{"channel" : "items", "type" : "wave", "data" : {"n": 1}}`; n.Payload != want || n.Channel == "tidings" {
				t.Errorf("got %s at %s", n.Payload, n.Channel)
			}
			break
		}
	}
	for _, c := range []struct{ code, message, call string }{
		{"22023", "no channel 'nothing'", `'nothing', 'x'`}, {"22023", "no channel 'nothing:1'", `'nothing:1', 'x'`},
		{"22023", "not a channel", `'items:', 'x'`}, {"22023", "not a channel", `null, 'x'`}, {"22023", "not a channel", `'', 'x'`},
		{"22023", "has a meaning already", `'items', 'reset'`}, {"22023", "has a meaning already", `'items', 'item_added'`},
		{"22023", "cannot be used", `'items', 'a b'`}, {"22023", "cannot be used", `'items', null`},
		{"54000", "less than 8,000 bytes", `'items', 'x', to_json(repeat('x', 8000)), false`},
	} {
		refused(t, s, c.code, c.message, `select tidings.broadcast(`+c.call+`)`)
	}
}

// Who has no right to them can call none of the functions that decide, tell or end something.
func TestAccessIsNotPublic(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	guest := newRole(t, s)
	run(t, s, `grant usage on schema tidings to `+guest)
	g := connectTo(t, with(t, l.url, "user", guest))
	for _, call := range []string{
		`tidings.judge('notes', '{}', 'ada', '{}')`, `tidings.may_subscribe('a', null, '{}', 'ada')`, `tidings.assume('postgres', '{}', 'ada')`,
		`tidings.broadcast('a', 'b')`, `tidings.disconnect('ada')`, `tidings.revoke('ada')`, `tidings.recheck()`, `tidings.signal('a', 'b', '{}')`,
		`tidings.emit_one('a', 'b', 'c', '{}')`, `tidings.policies_condition(0, 'x')`,
	} {
		refused(t, g, "42501", "permission denied for function", "select "+call)
	}
	if got := get[string](t, g, `select concat_ws(' ', tidings.user_id(), tidings.claims())`); got != "{}" {
		t.Errorf("a session that is nobody's has %q", got)
	}
}

// What is revoked stands in a table and in the log.
func TestRevoke(t *testing.T) {
	t.Parallel()
	s := openLive(t).connect(t)
	type entry struct {
		Type, Key string
		Session   *string
	}
	run(t, s, `select tidings.disconnect('ada'), tidings.disconnect('ada', 's1', 'lunch'), tidings.revoke('bob'), tidings.revoke('bob', 's2'), tidings.revoke('bob')`)
	rows, err := s.Query(t.Context(), `select type, key, data ->> 'session' from tidings.log where topic = 'tidings' and type = 'disconnect' order by id`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[entry])
	if err != nil || len(got) != 5 || got[1].Session == nil || *got[1].Session != "s1" || got[2].Key != "bob" {
		t.Errorf("got %v, %v", got, err)
	}
	if got := list[string](t, s, `select "user" || '/' || session from tidings.revocations order by 1`); !slices.Equal(got, []string{"bob/", "bob/s2"}) {
		t.Errorf("got %q", got)
	}
	refused(t, s, "22023", "the name of a user", `select tidings.revoke('')`)
	refused(t, s, "22023", "the name of a user", `select tidings.disconnect(null)`)
}

// A row of which a policy fails is nobody's; the others are whose they are.
func TestJudgeOfRowsThatFail(t *testing.T) {
	t.Parallel()
	s := openLive(t).connect(t)
	run(t, s, `create table notes (id int primary key, n int); alter table notes enable row level security;
		create policy p on notes for select using (10 / n > 0); select tidings.watch('notes')`)
	var allowed []bool
	var problem string
	err := s.QueryRow(t.Context(), `select allowed, problem from tidings.judge('notes', '{}', 'ada', $1)`,
		[]string{`{"id":1,"n":1}`, `{"id":2,"n":0}`, `{"id":3,"n":20}`, `{"id":4,"n":2}`}).Scan(&allowed, &problem)
	if err != nil || !slices.Equal(allowed, []bool{true, false, false, true}) || problem != "division by zero" {
		t.Errorf("got %v, %q, %v", allowed, problem, err)
	}
	if user := get[string](t, s, `select current_user`); user == "tidings_reader" {
		t.Errorf("the role is %s afterwards", user)
	}
}

// What who watches could not grant is not taken back with the watch: somebody else has granted it since.
func TestUnwatchTakesOnlyWhatWasLent(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	s := connectTo(t, address)
	run(t, s, `do $$ begin create role tidings_reader nologin; exception when duplicate_object or unique_violation then null; end $$`)
	role := newRole(t, s)
	giveDatabase(t, s, role)
	l := openLiveAt(t, with(t, address, "user", role))
	run(t, s, `create table notes (id int primary key); alter table notes enable row level security; grant select, trigger on notes to `+role)
	run(t, l.connect(t), `select tidings.watch('notes')`)
	run(t, s, `grant select on notes to tidings_reader; select tidings.unwatch('notes')`)
	if !get[bool](t, s, `select has_table_privilege('tidings_reader', 'notes', 'select')`) {
		t.Error("the right was taken that the owner had granted")
	}
}
