package triggers_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// oddNames are those that generated SQL may stumble over.
var oddNames = []string{
	"Mixed Case", "select", "it's", `a"b`, `""`, `back\slash`, `\`, `'`, `'); drop table tidings.log; --`, "100%", "%s %1$I %L %%", "$source$", "$loop$",
	"$moves$", "$$", "$1", "a.b", " lead and trail ", "/* not a comment */", "übermäßig", "漢字", "emoji 😀", "e\u0301", "[1]", "{a,b}", "null", "NULL", "*",
	strings.Repeat("x", 63), strings.Repeat("ä", 31),
}

// A table, its columns, its topic and its keys may be called anything.
func TestOddNames(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	const schema = `"the 'odd' %s ones"`
	run(t, s, `create schema `+schema+`; set search_path = `+schema)
	odd := l.connect(t)
	run(t, odd, oddSettings)
	for _, restricted := range []bool{false, true} {
		for _, name := range oddNames {
			t.Run(fmt.Sprintf("%s/%v", name, restricted), func(t *testing.T) {
				run(t, s, fmt.Sprintf("create table %s (%[1]s text primary key, other int)", quote(name)))
				var columns []string
				if restricted {
					columns = []string{"other", name}
				}
				topic := get[string](t, s, "select tidings.watch($1::text::regclass, columns => $2, read => 'owner:' || $3)", quote(name), columns, name)
				if topic != name {
					t.Errorf("the topic is %q", topic)
				}
				since := cursor(t, s)
				run(t, s, fmt.Sprintf("insert into %s values ($1, 1)", quote(name)), name)
				run(t, s, fmt.Sprintf("update %s set other = 2", quote(name)))
				run(t, s, fmt.Sprintf("update %s set %[1]s = $1", quote(name)), name+"'")
				run(t, odd, "delete from "+schema+"."+quote(name))
				run(t, odd, "truncate "+schema+"."+quote(name))

				row := func(value string, other int) map[string]any {
					return map[string]any{name: value, "other": float64(other)}
				}
				type event struct {
					topic, typ string
					key, old   *string
					data       map[string]any
				}
				singular := get[string](t, s, "select event from tidings.watches where topic = $1", topic)
				moved := name + "'"
				want := []event{
					{name, singular + "_added", &name, nil, row(name, 1)},
					{name, singular + "_updated", &name, nil, row(name, 2)},
					{name, singular + "_updated", &moved, &name, row(moved, 2)},
					{name, singular + "_deleted", &moved, nil, row(moved, 2)},
					{name, name + "_truncated", nil, nil, nil},
				}
				events(t, s, since) // compares the log with tidings.since
				rows, err := s.Query(t.Context(), `select l.topic, l.type, l.key, l.old_key, l.row from `+newRows+` order by l.id`, since)
				if err != nil {
					t.Fatal(err)
				}
				got, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e event, err error) {
					var data *string
					if err = row.Scan(&e.topic, &e.typ, &e.key, &e.old, &data); err == nil && data != nil {
						err = json.Unmarshal([]byte(*data), &e.data)
					}
					return e, err
				})
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) {
					show := func(v any) string { text, _ := json.Marshal(v); return string(text) }
					t.Errorf("%d events, want %d", len(got), len(want))
					for i := range min(len(got), len(want)) {
						g, w := got[i], want[i]
						t.Logf("%s %s %s %s %s\nwant %s %s %s %s %s", g.topic, g.typ, show(g.key), show(g.old), show(g.data), w.topic, w.typ, show(w.key), show(w.old), show(w.data))
					}
				}
				if problem := list[string](t, s, "select problem from tidings.watched where problem is not null"); len(problem) > 0 {
					t.Errorf("problem: %q", problem)
				}
				if !get[bool](t, s, "select tidings.unwatch($1::text::regclass)", quote(name)) {
					t.Error("it was not watched")
				}
				run(t, s, "drop table "+quote(name))
			})
		}
	}
}

// busyNames are those that the SQL itself uses: of variables, of columns of the log, of what the trigger functions select from.
var busyNames = []string{
	"k", "j", "i", "n", "l", "c", "s", "w", "t", "before", "bytes", "key", "keys", "old_keys", "row", "rows", "ks", "os", "js", "key_of", "value", "at", "xid",
	"id", "topic", "type", "new", "old", "new_rows", "old_rows", "tg_op", "tg_table_name", "found", "sqlstate", "absent", "tidings absent", "tidings columns",
	"tidings", "log", "busy", "text", "json", "null", "r", "e", "os_", "result", "return",
}

// A table may have columns of all those names, one of them its own, and any of them may be its key.
func TestBusyNames(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	var columns, values, row []string
	for i, name := range busyNames {
		columns = append(columns, quote(name)+" int")
		values = append(values, fmt.Sprint(i))
		row = append(row, fmt.Sprintf("%q:%d", name, i))
	}
	all := "{" + strings.Join(row, ",") + "}"
	run(t, s, "create table busy ("+strings.Join(columns, ",")+")")
	run(t, s, "create table filled (like busy); insert into filled values ("+strings.Join(values, ",")+")")
	for i, key := range busyNames {
		for _, restricted := range [][]string{nil, busyNames} {
			t.Run(fmt.Sprintf("%s/%v", key, restricted != nil), func(t *testing.T) {
				run(t, s, "select tidings.watch('busy', key => $1, columns => $2)", key, restricted)
				since := cursor(t, s)
				run(t, s, "insert into busy select * from filled")
				run(t, s, fmt.Sprintf("update busy set %s = 1000", quote(key)))
				run(t, s, fmt.Sprintf("update busy set %s = %d", quote(key), i))
				run(t, s, "delete from busy")
				changed := strings.Replace(all, fmt.Sprintf("%q:%d", key, i), fmt.Sprintf("%q:1000", key), 1)
				expect(t, s, since, fmt.Sprintf("busy_added %d %s\nbusy_updated 1000<%[1]d %[3]s\nbusy_updated %[1]d<1000 %[2]s\nbusy_deleted %[1]d %[2]s",
					i, all, changed))
			})
		}
	}
}
