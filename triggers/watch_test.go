package triggers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

const watchesQuery = `select concat_ws(' ', relation, topic, event, coalesce(key, '-'), coalesce(columns::text, '-'), read) from tidings.watches order by id`

func TestWatchDefaults(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `
		create table messages (id int primary key, author int, v text);
		create table news (a int, b int, primary key (a, b));
		create table plain (a int unique);
		create table included (a int, b int, primary key (a) include (b));
		create table "Spaced Things" ("The Id" int primary key);
		create table parts (n int primary key, day date) ;
		create table split (n int, day int primary key) partition by list (day);
		create schema other; create table other.messages (id int primary key);
		create function other."May it?"(claims jsonb, topic text, key text) returns boolean language sql as 'select true'`)
	for _, c := range []struct{ watch, want string }{
		{`'messages'`, `messages messages message id - signed_in`},
		{`'news'`, `news news news - - signed_in`},
		{`'plain'`, `plain plain plain - - signed_in`},
		{`'included'`, `included included included a - signed_in`},
		{`'"Spaced Things"'`, `"Spaced Things" Spaced Things Spaced_Thing The Id - signed_in`},
		{`'split'`, `split split split day - signed_in`},
		{`'parts', 'pieces'`, `parts pieces piece n - signed_in`},
		{`'other.messages', topic => 'notes'`, `other.messages notes note id - signed_in`},
		{`'messages', 't', 'e', 'author', '{id,author}', 'public'`, `messages t e author {id,author} public`},
		{`'messages', read => 'owner:author', columns => '{v}'`, `messages messages message id {v} owner:author`},
		{`'messages', read => 'policy:other."May it?"', key => 'v'`, `messages messages message v - policy:other."May it?"`},
		{`'messages', read => null, columns => null, key => null, event => null, topic => null`, `messages messages message id - signed_in`},
		{`'messages', event => 'a.b-C_1'`, `messages messages a.b-C_1 id - signed_in`},
		{`'messages', topic => 'with space, "quotes" and 100%'`, `messages with space, "quotes" and 100% with_space_quotes_and_100_ id - signed_in`},
		{`'messages', topic => repeat('x', 63)`, `messages ` + strings.Repeat("x", 63) + ` ` + strings.Repeat("x", 63) + ` id - signed_in`},
	} {
		topic := get[string](t, s, `select tidings.watch(`+c.watch+`)`)
		watches := list[string](t, s, watchesQuery)
		if !slices.Contains(watches, c.want) {
			t.Errorf("watch(%s):\n%s\nwant:\n\t%s", c.watch, lines(watches), c.want)
		}
		if !strings.Contains(c.want, " "+topic+" ") {
			t.Errorf("watch(%s) returned %q", c.watch, topic)
		}
	}
	if n := get[int](t, s, "select count(*) from tidings.watches"); n != 8 {
		t.Errorf("%d watches, want 8: watching a table again changes its watch", n)
	}
}

func TestWatchRefuses(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `
		create table items (id int primary key, v text, "Odd one" int, gone int); alter table items drop gone;
		create table taken (id int); select tidings.watch('taken');
		create view a_view as select 1 as x;
		create materialized view a_matview as select 1 as x;
		create sequence a_sequence;
		create temp table a_temp (id int);
		create table days (day int) partition by list (day);
		create table days_1 partition of days for values in (1) partition by list (day);
		create table days_1a partition of days_1 for values in (1);
		create table weeks (week int) partition by list (week);
		create table weeks_1 partition of weeks default;
		create function twice() returns int language sql as 'select 1'; create function twice(int) returns int language sql as 'select 1';
		create function good(claims jsonb, topic text, key text) returns boolean language sql as 'select true';
		create function other_order(topic text, key text, claims jsonb) returns boolean language sql as 'select true';
		create function no_answer(claims jsonb, topic text, key text) returns int language sql as 'select 1';
		create function many_answers(claims jsonb, topic text, key text) returns setof boolean language sql as 'select true';
		create procedure a_procedure(claims jsonb, topic text, key text) language sql as 'select true';
		create table "with:colon" (id int);
		select tidings.watch('days')`)
	run(t, s, `create table tidings_like (id int)`)
	const policy = `it is given with its schema, takes (claims jsonb, topic text, key text) and returns boolean`
	const wrongType, parameter, column, duplicate = "42809", "22023", "42703", "42710"
	for _, c := range []struct{ args, code, message string }{
		{`'nothing'`, "42P01", `relation "nothing" does not exist`},
		{`0`, "42P01", `there is no table`},
		{`999999999`, "42P01", `there is no table 999999999`},
		{`null`, "42P01", `there is no table`},
		{`'a_view'`, wrongType, `a_view is not a table: only tables and partitioned tables can be watched`},
		{`'a_matview'`, wrongType, `a_matview is not a table`},
		{`'a_sequence'`, wrongType, `a_sequence is not a table`},
		{`'items_pkey'`, wrongType, `items_pkey is not a table`},
		{`'a_temp'`, wrongType, `a_temp is a temporary table`},
		{`'pg_class'`, wrongType, `tables of schema pg_catalog cannot be watched`},
		{`'information_schema.sql_features'`, wrongType, `tables of schema information_schema cannot be watched`},
		{`'tidings.log'`, wrongType, `tables of schema tidings cannot be watched`},
		{`'tidings.watches'`, wrongType, `tables of schema tidings cannot be watched`},
		{`'days_1'`, wrongType, `days_1 is a partition: what is written through its table would not be heard; watch that`},
		{`'days_1a'`, wrongType, `days_1a is a partition: what is written through its table would not be heard; watch that`},
		{`'items', columns => '{}'`, parameter, `columns is empty`},
		{`'items', columns => '{id,nope}'`, column, `has no column nope`},
		{`'items', columns => '{id,gone}'`, column, `has no column gone`},
		{`'items', columns => '{Id}'`, column, `has no column "Id"`},
		{`'items', columns => '{ctid}'`, column, `has no column ctid`},
		{`'items', columns => '{id,null}'`, column, `has no column null`},
		{`'items', key => 'nope'`, column, `has no column nope`},
		{`'items', key => 'tableoid'`, column, `has no column tableoid`},
		{`'items', key => ''`, column, `has no column ""`},
		{`'items', read => 'owner:nope'`, column, `has no column nope`},
		{`'items', read => 'owner:'`, column, `has no column ""`},
		{`'items', read => 'everybody'`, parameter, `read 'everybody' is not known: it is public, signed_in, owner:<column> or policy:<function>`},
		{`'items', read => ''`, parameter, `read '' is not known`},
		{`'items', read => 'Public'`, parameter, `read 'Public' is not known`},
		{`'items', read => 'policy:'`, parameter, `read 'policy:' is not known`},
		{`'items', read => 'policy:public.nope'`, parameter, `there is no function public.nope that could be a policy: ` + policy},
		{`'items', read => 'policy:public.twice'`, parameter, policy},
		{`'items', read => 'policy:good'`, parameter, policy},
		{`'items', read => 'policy:public."Good"'`, parameter, policy},
		{`'items', read => 'policy:public.good(jsonb, text, text)'`, parameter, policy},
		{`'items', read => 'policy:public.other_order'`, parameter, policy},
		{`'items', read => 'policy:public.no_answer'`, parameter, policy},
		{`'items', read => 'policy:public.many_answers'`, parameter, policy},
		{`'items', read => 'policy:public.a_procedure'`, parameter, policy},
		{`'items', topic => ''`, parameter, `topic '' cannot be used`},
		{`'items', topic => 'a:b'`, parameter, `topic 'a:b' cannot be used: a topic has 1 to 63 bytes, no colon and no control characters`},
		{`'items', topic => E'a\nb'`, parameter, `cannot be used`},
		{`'items', topic => E'a\x7fb'`, parameter, `cannot be used`},
		{`'items', topic => repeat('x', 64)`, parameter, `cannot be used`},
		{`'items', topic => repeat('ä', 32)`, parameter, `cannot be used`},
		{`'items', topic => 'tidings'`, parameter, `topic tidings cannot be used`},
		{`'"with:colon"'`, parameter, `topic 'with:colon' cannot be used`},
		{`'items', topic => 'taken'`, duplicate, `topic 'taken' is taken by table public.taken: give another with topic =>`},
		{`'items', event => ''`, parameter, `event '' cannot be used`},
		{`'items', event => 'a b'`, parameter, `event 'a b' cannot be used`},
		{`'items', event => 'a:b'`, parameter, `event 'a:b' cannot be used`},
		{`'items', event => repeat('x', 64)`, parameter, `cannot be used`},
	} {
		refused(t, s, c.code, c.message, `select tidings.watch(`+c.args+`)`)
	}
	if got := list[string](t, s, watchesQuery); len(got) != 2 {
		t.Errorf("watches:\n%s", lines(got))
	}
	if got := list[string](t, s, `select tgname from pg_trigger where tgrelid = 'items'::regclass`); len(got) > 0 {
		t.Errorf("triggers of a table that is not watched: %q", got)
	}

	// A table that is watched by itself and then became a partition stands in the way of its root.
	run(t, s, `create table weeks_2 (week int); select tidings.watch('weeks_2'); alter table weeks attach partition weeks_2 for values in (2)`)
	refused(t, s, duplicate, `weeks has a partition that is watched by itself: unwatch that first`, `select tidings.watch('weeks')`)
	run(t, s, `select tidings.unwatch('weeks_2'); select tidings.watch('weeks')`)
}

// Watching again changes how a table is live; nothing is left of how it was.
func TestWatchAgain(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	since := cursor(t, s)
	run(t, s, `insert into items values (1, 'a')`)
	run(t, s, `select tidings.watch('items', topic => 'things', event => 'object', key => 'v', columns => '{v}')`)
	run(t, s, `insert into items values (2, 'b'); truncate items`)
	run(t, s, `select tidings.watch('items')`)
	run(t, s, `insert into items values (3, 'c')`)
	run(t, s, `begin; select tidings.watch('items', event => 'never'); insert into items values (4, 'd'); rollback`)
	run(t, s, `begin; select tidings.watch('items', event => 'at_once'); insert into items values (5, 'e'); commit`)
	expect(t, s, since, `
		item_added 1 {"id":1,"v":"a"}
		object_added b {"v":"b"}
		things_truncated -
		item_added 3 {"id":3,"v":"c"}
		at_once_added 5 {"id":5,"v":"e"}`)
	if n := get[int](t, s, `select count(*) from pg_trigger where tgrelid = 'items'::regclass`); n != 4 {
		t.Errorf("%d triggers, want 4", n)
	}
	if got := list[string](t, s, `select proname from pg_proc where pronamespace = 'tidings'::regnamespace and proname ~ '^capture_[0-9]+_'`); len(got) != 4 {
		t.Errorf("trigger functions: %q", got)
	}
}

func TestUnwatch(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table items (id int primary key, v text); create table others (id int);`+days)
	before := list[string](t, s, `select tgname from pg_trigger union all select proname from pg_proc order by 1`)
	run(t, s, `select tidings.unwatch('days')`)
	clean := list[string](t, s, `select tgname from pg_trigger union all select proname from pg_proc order by 1`)
	if len(before) != len(clean)+5*4+4+1 {
		t.Errorf("unwatching five tables removed %d triggers and functions", len(before)-len(clean))
	}
	if get[bool](t, s, `select tidings.unwatch('items')`) {
		t.Error("items was watched")
	}
	run(t, s, `select tidings.watch('items'); select tidings.watch('others'); select tidings.watch('days')`)
	since := cursor(t, s)
	run(t, s, `insert into items values (1, 'a')`)
	for _, table := range []string{"items", "others", "days"} {
		if !get[bool](t, s, `select tidings.unwatch($1::text::regclass)`, table) {
			t.Errorf("%s was not watched", table)
		}
	}
	run(t, s, `insert into items values (2, 'a'); insert into others values (1); insert into days values (1, 10, 'x')`)
	expect(t, s, since, `item_added 1 {"id":1,"v":"a"}`)
	if got := list[string](t, s, `select tgname from pg_trigger union all select proname from pg_proc order by 1`); !slices.Equal(got, clean) {
		t.Errorf("left behind: %d triggers and functions, want %d", len(got), len(clean))
	}
	if got := list[string](t, s, watchesQuery); len(got) > 0 {
		t.Errorf("watches:\n%s", lines(got))
	}
}

// A table that was dropped is in nobody's way.
func TestWatchedTableDropped(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	run(t, s, `insert into items values (1, 'a'); drop table items`)
	if got := list[string](t, s, `select topic from tidings.watched`); len(got) > 0 {
		t.Errorf("tidings.watched: %q", got)
	}
	if got := get[int](t, s, `select tidings.refresh()`); got != 0 {
		t.Errorf("refresh renewed %d watches", got)
	}
	if got := get[int](t, s, `select renewed from tidings.follow_partitions()`); got != 0 {
		t.Errorf("follow_partitions renewed %d watches", got)
	}
	run(t, s, items)
	since := cursor(t, s)
	run(t, s, `insert into items values (2, 'b')`)
	expect(t, s, since, `item_added 2 {"id":2,"v":"b"}`)
	if got := list[string](t, s, watchesQuery); len(got) != 1 {
		t.Errorf("watches:\n%s", lines(got))
	}
}

func TestWatched(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create schema shop; create table shop.orders (id int primary key, customer int, v text);
		select tidings.watch('shop.orders', key => 'customer', columns => '{id,v}', read => 'public');`+days)
	list := func() []string {
		return list[string](t, s, `select concat_ws(' ', "table", topic, event, key, columns, read, '!' || problem) from tidings.watched`)
	}
	want := []string{"days days day day signed_in", "shop.orders orders order customer {id,v} public"}
	if got := list(); !slices.Equal(got, want) {
		t.Errorf("watched:\n%s\nwant:\n%s", lines(got), lines(want))
	}
	run(t, s, `create function may(claims jsonb, topic text, key text) returns boolean language sql as 'select true'`)
	for _, c := range []struct{ do, undo, problem string }{
		{`alter table shop.orders disable trigger tidings_update`, `alter table shop.orders enable trigger tidings_update`,
			"trigger tidings_update on shop.orders is disabled: alter table shop.orders enable trigger tidings_update"},
		{`alter table shop.orders disable trigger user`, `alter table shop.orders enable trigger user`, "trigger tidings_delete on shop.orders is disabled"},
		{`alter table shop.orders enable replica trigger tidings_insert`, `alter table shop.orders enable always trigger tidings_insert`,
			"trigger tidings_insert on shop.orders fires for replication only"},
		{`drop trigger tidings_truncate on shop.orders`, `select tidings.refresh()`, "triggers are missing on shop.orders: select tidings.refresh()"},
		{`alter table only days_2a disable trigger tidings_insert`, `alter table days_2a enable trigger tidings_insert`, "trigger tidings_insert on public.days_2a is disabled"},
		{`drop trigger tidings_delete on days_2`, `select tidings.follow_partitions()`, "triggers are missing on public.days_2: "},
		{`alter table shop.orders rename customer to client`, `alter table shop.orders rename client to customer`, "the key column is gone"},
		{`alter table shop.orders rename v to "W"`, `alter table shop.orders rename "W" to v`, "listed columns are gone: v"},
		{`alter table shop.orders drop customer`, `select tidings.watch('shop.orders', columns => '{id,v}')`, "the key column is gone"},
		{`select tidings.watch('shop.orders', columns => '{id}', read => 'owner:v'); alter table shop.orders drop v`,
			`select tidings.watch('shop.orders', read => 'policy:public.may')`, "the owner column is gone"},
		{`drop function may`, `select tidings.watch('shop.orders')`, "the policy function is gone"},
		{`create table weeks (id int, day int, v text) partition by range (day); alter table weeks attach partition days for values from (10) to (30)`,
			`alter table weeks detach partition days`, "it has become a partition of public.weeks: what is written through that is not heard"},
	} {
		run(t, s, c.do)
		if got := strings.Join(list(), "\n"); strings.Count(got, "!"+c.problem) != 1 {
			t.Errorf("%s: watched:\n%s\nwant %s", c.do, got, c.problem)
		}
		run(t, s, c.undo)
		if got := strings.Join(list(), "\n"); strings.Contains(got, "!") {
			t.Errorf("%s: watched:\n%s\nwant no problem", c.undo, got)
		}
	}
}

func TestSingular(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	for plural, want := range map[string]string{
		"messages": "message", "comments": "comment", "users": "user", "companies": "company", "categories": "category", "queries": "query",
		"keys": "key", "days": "day", "boxes": "box", "matches": "match", "dishes": "dish", "classes": "class", "addresses": "address", "buses": "bus",
		"statuses": "status", "houses": "house", "causes": "cause", "invoices": "invoice", "order_lines": "order_line", "Items": "Item",
		"status": "status", "news": "news", "series": "series", "species": "species", "analysis": "analysis", "address": "address", "campus": "campus",
		"people": "person", "People": "Person", "sales_people": "sales_person", "children": "child", "data": "data", "Orders": "Order", "users2": "users2", "x": "x",
		"movies": "movie", "user_movies": "user_movie", "cookies": "cookie", "ties": "tie", "stories": "story", "caches": "cache", "batches": "batch",
		"aliases": "alias", "bases": "base", "databases": "database", "licenses": "license", "analyses": "analysis", "hypotheses": "hypothesis", "axes": "ax",
		"shoes": "shoe", "heroes": "hero", "potatoes": "potato", "photos": "photo", "uses": "use", "excuses": "excuse", "quizzes": "quiz", "viruses": "virus",
		"purchases": "purchase", "responses": "response", "prizes": "prize", "sizes": "size", "vases": "vase", "releases": "release", "expenses": "expense", "item": "item", "s": "s", "": "", "сообщения": "сообщения", "übungs": "übung",
	} {
		if got := get[string](t, l.Pool, "select tidings.singular($1)", plural); got != want {
			t.Errorf("singular of %q: %q, want %q", plural, got, want)
		}
	}
}

// Migrations, watches and upkeep need no superuser: the database's owner will do.
func TestPlainRole(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	admin := connectTo(t, address)
	role := newRole(t, admin)
	giveDatabase(t, admin, role)
	l := openLiveAt(t, with(t, address, "user", role))
	s := l.connect(t)
	if got := list[string](t, s, `select evtname from pg_event_trigger`); len(got) > 0 {
		t.Errorf("event triggers: %q", got)
	}
	run(t, s, items)
	run(t, s, days)
	bell := listen(t, l)
	since := cursor(t, s)
	run(t, s, `insert into items values (1, 'a')`)
	run(t, s, `create table days_3 partition of days for values from (30) to (40)`)
	run(t, s, `insert into days_3 values (1, 30, 'unheard'); insert into days values (2, 31, 'heard')`)
	if got := get[int](t, s, `select renewed from tidings.follow_partitions()`); got != 1 {
		t.Errorf("follow_partitions renewed %d watches, want 1", got)
	}
	run(t, s, `insert into days_3 values (3, 32, 'heard again')`)
	expect(t, s, since, `
		item_added 1 {"id":1,"v":"a"}
		day_added 31 {"id":2,"day":31,"v":"heard"}
		day_added 32 {"id":3,"day":32,"v":"heard again"}`)
	if got := bell.heard(t); len(got) != 3 {
		t.Errorf("heard %q", got)
	}

	// Others write to its tables.
	guest := newRole(t, admin)
	run(t, s, `grant insert on items to `+guest)
	since = cursor(t, s)
	run(t, connectTo(t, with(t, address, "user", guest)), `insert into items values (2, 'b')`)
	expect(t, s, since, `item_added 2 {"id":2,"v":"b"}`)

	if !get[bool](t, s, `select tidings.rotate(true)`) {
		t.Error("rotate did not")
	}
	if get[string](t, s, `select tidings.settle()`) != "home" {
		t.Error("settle took the database for a copy")
	}
	if got := get[string](t, admin, `select tidings.origin()`); got != get[string](t, s, `select tidings.origin()`) {
		t.Error("the origin depends on who asks")
	}
	run(t, s, `select tidings.refresh()`)
	if err := l.MigrateDown(t.Context(), liveSet); err != nil {
		t.Error(err)
	}
	if err := l.MigrateUp(t.Context(), liveSet); err != nil {
		t.Error(err)
	}
}

// A table that another role watches is still its owner's to change and drop.
func TestWatchOfAnothersTable(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	role := newRole(t, s)
	run(t, s, `grant create, usage on schema public to `+role)
	w := connectTo(t, with(t, l.url, "user", role))
	run(t, w, `create table items (id int primary key, v text)`)
	run(t, s, `select tidings.watch('items')`)
	since := cursor(t, s)
	run(t, w, `insert into items values (1, 'a'); alter table items add w int; create index on items (v); update items set w = 1;
		create table items_2 (like items including all); alter table items rename to things; delete from things; drop table things`)
	run(t, w, `create table days (id int, day int) partition by range (day); create table days_1 partition of days for values from (10) to (20)`)
	run(t, s, `select tidings.watch('days')`)
	run(t, w, `create table days_2 partition of days for values from (20) to (30); insert into days_2 values (1, 20);
		alter table days detach partition days_1; insert into days_1 values (1, 10); drop table days_2; drop table days`)
	expect(t, s, since, `
		item_added 1 {"id":1,"v":"a"}
		item_updated 1 {"id":1,"v":"a","w":1}
		item_deleted 1 {"id":1,"v":"a","w":1}
		day_added - {"id":1,"day":20}`)
}

// Several servers may look after the watches at once, and people watch tables meanwhile.
func TestRefreshAtOnce(t *testing.T) {
	t.Parallel()
	const callers, times = 6, 10
	l := openLive(t)
	run(t, l.Pool, items+days)
	var group errgroup.Group
	for i := range callers {
		c := l.connect(t)
		sql := []string{`select tidings.refresh()`, `select tidings.watch('items')`, `select tidings.watch('days', key => 'day')`}[i%3]
		group.Go(func() error {
			for range times {
				if _, err := c.Exec(t.Context(), sql); err != nil {
					return fmt.Errorf("%s: %w", sql, err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	since := cursor(t, l.Pool)
	run(t, l.Pool, `insert into items values (1, 'a'); insert into days_2b values (1, 25, 'b')`)
	expect(t, l.Pool, since, `
		item_added 1 {"id":1,"v":"a"}
		day_added 25 {"id":1,"day":25,"v":"b"}`)
}
