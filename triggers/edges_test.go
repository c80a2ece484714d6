package triggers_test

import (
	"fmt"
	"slices"
	"testing"
)

func TestHorizonAndOldTransaction(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, old := l.connect(t), l.connect(t)
	run(t, s, items)
	run(t, old, `begin; select pg_current_xact_id()`)
	run(t, s, `insert into items values (1, 'a')`)
	rotateTimes(t, s, eras+1)
	since := cursor(t, s)
	run(t, s, `insert into items values (2, 'b')`)
	run(t, old, `insert into items values (3, 'c'); commit`)
	expect(t, s, since, `
		item_added 2 {"id":2,"v":"b"}
		item_added 3 {"id":3,"v":"c"}`)
}

func TestCursorOfAWritingTransaction(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	run(t, s, `begin; insert into items values (1, 'a')`)
	run(t, l.Pool, `insert into items values (2, 'other')`)
	since := cursor(t, s)
	run(t, s, `insert into items values (3, 'b'); commit`)
	got := events(t, s, since)
	if !slices.Contains(got, `item_added 3 {"id":3,"v":"b"}`) {
		t.Errorf("since that cursor:\n%s\nbut the transaction was committed later", lines(got))
	}
}

func TestColumnNamedAsTheRow(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	for _, name := range []string{"tidings row", "tidings picked", "tidings columns", "tidings absent"} {
		for _, columns := range [][]string{nil, {"id", name}} {
			t.Run(fmt.Sprintf("%s/%v", name, columns != nil), func(t *testing.T) {
				run(t, s, `drop table if exists items; create table items (id int primary key, `+quote(name)+` int)`)
				run(t, s, `select tidings.watch('items', columns => $1)`, columns)
				since := cursor(t, s)
				run(t, s, `insert into items values (1, 5); update items set `+quote(name)+` = 6; delete from items`)
				expect(t, s, since, fmt.Sprintf(`
					item_added 1 {"id":1,"%s":5}
					item_updated 1 {"id":1,"%[1]s":6}
					item_deleted 1 {"id":1,"%[1]s":6}`, name))
			})
		}
	}
}
