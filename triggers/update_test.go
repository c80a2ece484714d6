package triggers_test

import "testing"

// The keys before an UPDATE may be more than any array can hold.
func TestUpdateOfAnySize(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("writes over a gigabyte of keys")
	}
	l := openLive(t)
	s := l.connect(t)
	const rows, keyBytes = 1100, 1_000_000
	run(t, s, `create table items (id int, k text, n int default 0)`)
	run(t, s, `insert into items select g, g || repeat('x', $2) from generate_series(1, $1) as g`, rows, keyBytes)
	run(t, s, `select tidings.watch('items', key => 'k', columns => '{id,n}')`)
	run(t, s, `update items set n = 1, k = case when id > $1 - 2 then id::text else k end`, rows)
	if got := get[int](t, s, `select count(*) from `+logRows); got != rows {
		t.Errorf("%d events, want %d", got, rows)
	}
	if got := get[int](t, s, `select count(*) from `+logRows+`
		where l.old_key = l.key || repeat('x', $2) and l.row::json ->> 'id' = l.key and l.key = any (array[$1 - 1, $1]::text[])`, rows, keyBytes); got != 2 {
		t.Errorf("%d rows are told to have moved, want the last 2", got)
	}
}
