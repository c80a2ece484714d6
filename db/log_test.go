package db_test

import (
	"context"
	"encoding/json"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
)

// However long the log is, what is new is found at once, and so is the next page of what was missed. A reader that looks
// through the whole log, or sorts it, passes every other test. It runs beside no other: a position has all transactions of the
// server that run.
func TestReadsTouchLittle(t *testing.T) {
	database := install(t, dbtest.Database(t))
	conn, err := database.ConnectReader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	var before, now string
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(to *string) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), `select tidings.position()::text`).Scan(to); err != nil {
			t.Fatal(err)
		}
	}
	const entries = 100_000
	write := `insert into tidings.log_0 (topic, type, key, data) select 'things', 'thing_added', n, '{}' from generate_series(1, $1::int) n`
	ask(&before)
	exec(write, entries)
	ask(&now)
	exec(write, 10)
	exec(`prepare near (pg_snapshot, pg_snapshot, bigint, text) as ` + db.ReadNear)
	exec(`prepare far (pg_snapshot, pg_snapshot, bigint, text) as ` + db.ReadFar)
	exec(`prepare page (pg_snapshot, pg_snapshot, bigint, text, text[], int) as ` + db.ReadPage)

	for _, test := range []struct {
		execute string
		rows    int
	}{
		{`execute near('` + now + `', null, 0, null)`, 11},
		{`execute far('` + now + `', null, 0, null)`, 11},
		{`execute page('` + before + `', null, 50000, null, null, 10)`, 11},
		{`execute page('` + before + `', '` + now + `', 50000, null, '{things}', 10)`, 11},
		{`execute page('` + now + `', null, 0, null, null, 100)`, 11},
	} {
		var explained string
		if err := conn.QueryRow(t.Context(), `explain (analyze, buffers, format json) `+test.execute).Scan(&explained); err != nil {
			t.Fatal(err)
		}
		var plans []struct {
			Plan struct {
				Rows float64 `json:"Actual Rows"`
				Hit  int     `json:"Shared Hit Blocks"`
				Read int     `json:"Shared Read Blocks"`
			}
		}
		if err := json.Unmarshal([]byte(explained), &plans); err != nil {
			t.Fatal(err)
		}
		// The whole log has some thousand blocks, and its indexes hundreds.
		if got := plans[0].Plan; int(got.Rows) != test.rows || got.Hit+got.Read > 100 {
			t.Errorf("%s touched %d blocks for %g rows\n%s", test.execute, got.Hit+got.Read, got.Rows, explained)
		}
	}
}
