package triggers_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// ownTypes are made before the values below are.
const ownTypes = `
create type mood as enum ('sad', 'ok', 'it''s "fine"');
create type place as (name text, "at" point, since date, span interval);
create domain positive as int check (value > 0);
create domain strict as positive;
create domain moment as timestamptz;
create domain blob as bytea;
create domain moments as timestamptz[];
create type floats as range (subtype = float8);
create table elsewhere (id int);`

// Values of all built-in types, and of one's own. What isn't text has an interesting text form where there is one.
var typedValues = []struct{ typ, value, want string }{
	{"smallint", "-32768", "-32768"},
	{"integer", "2147483647", "2147483647"},
	{"bigint", "9223372036854775807", "9223372036854775807"},
	{"numeric", "12345678901234567890.123456789", "12345678901234567890.123456789"},
	{"numeric", "NaN", `"NaN"`},
	{"numeric", "1e-30", ""},
	{"real", "0.1", "0.1"},
	{"real", "-Infinity", `"-Infinity"`},
	{"double precision", "0.1", "0.1"},
	{"double precision", "1e300", "1e+300"},
	{"double precision", "3.141592653589793", "3.141592653589793"},
	{"double precision", "NaN", `"NaN"`},
	{"double precision", "Infinity", `"Infinity"`},
	{"money", "-1234.56", ""},
	{"boolean", "yes", "true"},
	{"text", "a\"b\\c\n\t\u0001é😀", `"a\"b\\c\n\t\u0001é😀"`},
	{"text", "", `""`},
	{"varchar(5)", "abc", `"abc"`},
	{"char(5)", "abc", `"abc  "`},
	{`"char"`, "x", `"x"`},
	{"name", "n", `"n"`},
	{"bytea", `\x00ff5c27`, `"\\x00ff5c27"`},
	{"bit(5)", "10101", `"10101"`},
	{"bit varying", "101", `"101"`},
	{"uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`},
	{"date", "2024-02-03", `"2024-02-03"`},
	{"date", "infinity", `"infinity"`},
	{"date", "0044-03-15 BC", `"0044-03-15 BC"`},
	{"time", "04:05:06.789", `"04:05:06.789"`},
	{"timetz", "04:05:06+02", `"04:05:06+02"`},
	{"timestamp", "2024-02-03 04:05:06.5", `"2024-02-03T04:05:06.5"`},
	{"timestamp", "-infinity", `"-infinity"`},
	{"timestamp", "0044-03-15 12:00 BC", `"0044-03-15T12:00:00 BC"`},
	{"timestamptz", "2024-02-03 04:05:06.123456+05:30", `"2024-02-02T22:35:06.123456+00:00"`},
	{"timestamptz", "infinity", `"infinity"`},
	{"timestamptz(0)", "0044-03-15 12:00+00 BC", `"0044-03-15T12:00:00+00:00 BC"`},
	{"interval", "1 year 2 months -3 days 04:05:06.7", `"1 year 2 mons -3 days +04:05:06.7"`},
	{"json", "{\"a\" :\n 1, \"a\": null}", "{\"a\" :\n 1, \"a\": null}"},
	{"json", `null`, `null`},
	{"jsonb", `{"b":1,"a":[1.0,{"c":"\u00e9"}]}`, `{"a": [1.0, {"c": "é"}], "b": 1}`},
	{"jsonpath", `$.a[*] ? (@ > 1)`, ""},
	{"xml", "<a b=\"c\">\n</a>", `"<a b=\"c\">\n</a>"`},
	{"point", "(0.1,-2)", `"(0.1,-2)"`},
	{"line", "{1,-1,0.3}", ""},
	{"lseg", "[(0.1,0),(1,1)]", ""},
	{"box", "(1,1),(0.1,0)", ""},
	{"path", "((0.1,0),(1,1))", ""},
	{"polygon", "((0.1,0),(1,1),(2,0))", ""},
	{"circle", "<(0.1,0),2>", ""},
	{"inet", "192.168.0.1/24", `"192.168.0.1/24"`},
	{"cidr", "10.0.0.0/8", `"10.0.0.0/8"`},
	{"macaddr", "08:00:2b:01:02:03", `"08:00:2b:01:02:03"`},
	{"macaddr8", "08:00:2b:01:02:03:04:05", ""},
	{"tsvector", "'a':1A 'it''s':2", ""},
	{"tsquery", "'a' & !'b c'", ""},
	{"pg_lsn", "16/B374D848", ""},
	{"pg_snapshot", "10:20:10,14", ""},
	{"txid_snapshot", "10:20:10,14", ""},
	{"xid", "5", ""},
	{"xid8", "5", ""},
	{"cid", "5", ""},
	{"tid", "(1,2)", ""},
	{"oid", "5", ""},
	{"regclass", "elsewhere", `"public.elsewhere"`},
	{"regtype", "mood", `"public.mood"`},
	{"regtype", "timestamptz", `"timestamp with time zone"`},
	{"regproc", "tidings.singular", `"tidings.singular"`},
	{"regprocedure", "tidings.singular(text)", ""},
	{"regoper", "pg_catalog.||/", ""},
	{"regoperator", "+(integer,integer)", ""},
	{"regrole", "pg_monitor", ""},
	{"regnamespace", "public", ""},
	{"regconfig", "english", ""},
	{"regdictionary", "simple", ""},
	{"regcollation", `"C"`, ""},
	{"oidvector", "1 2", ""},
	{"int2vector", "1 2", ""},
	{"refcursor", "c", ""},
	{"aclitem", "pg_monitor=r/pg_monitor", ""},
	{"int[]", "{{1,2},{3,null}}", `[[1,2],[3,null]]`},
	{"int[]", "[5:6]={1,2}", `[1,2]`},
	{"text[]", `{a,"b,c","NULL",null,""}`, `["a","b,c","NULL",null,""]`},
	{"date[]", "{2024-02-03,infinity}", `["2024-02-03","infinity"]`},
	{"timestamptz[]", "{2024-02-03 04:05:06+05}", `["2024-02-02T23:05:06+00:00"]`},
	{"interval[]", "{1 day 2 hours}", `["1 day 02:00:00"]`},
	{"bytea[]", `{"\\x00ff"}`, `["\\x00ff"]`},
	{"float8[]", "{0.1,NaN}", `[0.1,"NaN"]`},
	{"jsonb[]", `{"{\"a\":1}"}`, `[{"a": 1}]`},
	{"regclass[]", "{elsewhere}", `["public.elsewhere"]`},
	{"int4range", "[1,5)", `"[1,5)"`},
	{"daterange", "[2024-02-03,2024-03-04)", `"[2024-02-03,2024-03-04)"`},
	{"tstzrange", "[2024-02-03 04:05:06+05,)", ""},
	{"tsrange", "empty", `"empty"`},
	{"numrange", "(,1.5]", ""},
	{"datemultirange", "{[2024-02-03,2024-03-04),[2025-01-01,)}", ""},
	{"tstzmultirange", "{[2024-02-03 04:05:06+05,2025-01-01 00:00+00)}", ""},
	{"floats", "[0.1,0.2)", `"[0.1,0.2)"`},
	{"mood", `it's "fine"`, `"it's \"fine\""`},
	{"mood[]", `{sad,ok}`, `["sad","ok"]`},
	{"place", `("a,b","(0.1,2)",2024-02-03,"1 day 02:00:00")`, `{"name":"a,b","at":"(0.1,2)","since":"2024-02-03","span":"1 day 02:00:00"}`},
	{"place[]", `{"(a,,2024-02-03,)"}`, `[{"name":"a","at":null,"since":"2024-02-03","span":null}]`},
	{"elsewhere", `(5)`, `{"id":5}`},
	{"positive", "5", "5"},
	{"strict", "5", "5"},
	{"moment", "2024-02-03 04:05:06+05", `"2024-02-02T23:05:06+00:00"`},
	{"moments", "{2024-02-03 04:05:06+05}", `["2024-02-02T23:05:06+00:00"]`},
	{"blob", `\x00ff`, `"\\x00ff"`},
	{"moment[]", "{2024-02-03 04:05:06+05}", `["2024-02-02T23:05:06+00:00"]`},
}

// oddSettings are what a writer may have set, and what must not show in its events.
const oddSettings = `
set timezone = 'Asia/Kathmandu'; set datestyle = 'German, DMY'; set intervalstyle = 'sql_standard'; set bytea_output = 'escape';
set extra_float_digits = -15; set xmlbinary = 'hex'; set xmloption = 'document'; set standard_conforming_strings = off; set escape_string_warning = off;
set backslash_quote = off; set array_nulls = off; set transform_null_equals = on; set lc_numeric = 'POSIX';
set search_path = nowhere; set row_security = off; set default_transaction_isolation = 'serializable'; set client_encoding = 'UTF8';
set plan_cache_mode = force_custom_plan; set work_mem = '64kB'; set check_function_bodies = off;`

// A value of any type goes out as valid JSON, and as the same text whatever the writer's session has set; so does a key.
func TestTypes(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	plain, odd := l.connect(t), l.connect(t)
	run(t, plain, ownTypes)
	var setup strings.Builder
	for i, c := range typedValues {
		value := strings.ReplaceAll(c.value, `'`, `''`)
		fmt.Fprintf(&setup, `create table source_%d as select cast('%s' as %s) as v; create table typed_%[1]d (v %[3]s);
			select tidings.watch('typed_%[1]d', event => 'value', key => 'v');`, i, value, c.typ)
	}
	run(t, plain, setup.String())
	run(t, odd, oddSettings)
	for i, c := range typedValues {
		t.Run(c.typ+" "+c.value, func(t *testing.T) {
			since := cursor(t, plain)
			run(t, plain, fmt.Sprintf(`insert into typed_%d table source_%[1]d`, i))
			run(t, odd, fmt.Sprintf(`insert into public.typed_%d table public.source_%[1]d; update public.typed_%[1]d set v = v; delete from public.typed_%[1]d`, i))
			got := events(t, plain, since)
			if len(got) != 6 {
				t.Fatalf("%d events, want 6:\n%s", len(got), lines(got))
			}
			first := strings.TrimPrefix(got[0], "value_added ")
			for n, typ := range []string{"added", "added", "updated", "updated", "deleted", "deleted"} {
				if got[n] != "value_"+typ+" "+first {
					t.Fatalf("the event depends on the session:\n%s", lines(got))
				}
			}
			if c.want != "" && !strings.HasSuffix(first, ` {"v":`+c.want+`}`) {
				t.Errorf("got  %s\nwant {\"v\":%s}", first, c.want)
			}
		})
	}
	rows := list[string](t, plain, `select l.row from `+logRows+` where l.row is not null`)
	for _, row := range rows {
		if !json.Valid([]byte(row)) {
			t.Errorf("not JSON: %s", row)
		}
	}
	if others := list[string](t, plain, `select l.row from `+logRows+` where json_typeof(l.row::json) <> 'object'`); len(others) > 0 {
		t.Errorf("rows that are no JSON objects:\n%s", lines(others))
	}
}

// All types in one row, whole and by its columns.
func TestTypesTogether(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	plain, odd := l.connect(t), l.connect(t)
	run(t, plain, ownTypes)
	var values, columns, want []string
	for i, c := range typedValues {
		values = append(values, fmt.Sprintf(`cast('%s' as %s) as c%d`, strings.ReplaceAll(c.value, `'`, `''`), c.typ, i))
		columns = append(columns, fmt.Sprintf("c%d", i))
		if c.want != "" {
			want = append(want, fmt.Sprintf(`"c%d":%s`, i, c.want))
		}
	}
	run(t, plain, `create table source as select `+strings.Join(values, ", ")+`; create table typed (like source)`)
	run(t, odd, oddSettings)
	var all []string
	for _, listed := range [][]string{nil, columns} {
		run(t, plain, `select tidings.watch('typed', columns => $1)`, listed)
		since := cursor(t, plain)
		run(t, plain, `insert into typed table source`)
		run(t, odd, `insert into public.typed table public.source`)
		all = append(all, events(t, plain, since)...)
	}
	for _, text := range want {
		if !strings.Contains(all[0], text) {
			t.Errorf("the row lacks %s", text)
		}
	}
	for _, other := range all[1:] {
		if other != all[0] {
			t.Errorf("the event depends on the session, or on whether its columns are listed:\n%s", lines([]string{all[0], other}))
		}
	}
}

// No locale but C may be installed here; elsewhere, money's text is that of the session's.
func TestMoneyIsPinned(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table prices (id int primary key, amount money); select tidings.watch('prices')`)
	functions := list[[]string](t, s, `select p.proconfig from pg_trigger g join pg_proc p on p.oid = g.tgfoid where g.tgrelid = 'prices'::regclass`)
	if len(functions) != 4 {
		t.Errorf("%d trigger functions, want 4", len(functions))
	}
	for _, pinned := range functions {
		if !slices.ContainsFunc(pinned, func(setting string) bool { return strings.HasPrefix(setting, "lc_monetary=") }) {
			t.Errorf("a trigger function's settings are %q, without lc_monetary", pinned)
		}
	}
}

// Names of tables, types and functions come in quotes where quotes are needed, and nowhere else.
func TestQuotesArePinned(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table "A b" (); create table items (v regclass, w regtype[]); select tidings.watch('items', key => 'v')`)
	run(t, s, `set quote_all_identifiers = on`)
	since := cursor(t, s)
	run(t, s, `insert into items values ('items', '{int}'), ('"A b"', '{items}')`)
	expect(t, s, since, `
		item_added public.items {"v":"public.items","w":["integer"]}
		item_added public."A b" {"v":"public.\"A b\"","w":["public.items"]}`)
}

func TestDroppedColumns(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, `create table items (a int, id int primary key, b bytea, v text); alter table items drop b; insert into items values (1, 2, 'x');
		select tidings.watch('items'); alter table items drop a, add c int default 5`)
	since := cursor(t, s)
	run(t, s, `update items set v = 'y'; insert into items values (3, 'z')`)
	expect(t, s, since, `
		item_updated 2 {"id":2,"v":"y","c":5}
		item_added 3 {"id":3,"v":"z","c":5}`)
}
