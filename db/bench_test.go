package db_test

import (
	"slices"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
)

// A run's table is live by its own name, two runs have two, and each goes without a trace.
func TestBenchTable(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	mine, err := database.CreateBenchTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other, err := database.CreateBenchTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	writer, err := mine.Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close(t.Context())
	for sequence := range int64(3) {
		if err := writer.Write(t.Context(), db.BenchRow{Channel: 7, Sequence: sequence, Content: "it's"}); err != nil {
			t.Fatal(err)
		}
	}
	var events []string
	const told = `select array_agg(type || ' ' || key || ' ' || (data ->> 'sequence') order by id) from tidings.log where topic = $1`
	if err := database.Pool.QueryRow(t.Context(), told, mine.Name).Scan(&events); err != nil {
		t.Fatal(err)
	}
	if want := []string{db.BenchEvent + " 7 0", db.BenchEvent + " 7 1", db.BenchEvent + " 7 2"}; !slices.Equal(events, want) {
		t.Errorf("the log tells of %q, want %q", events, want)
	}

	for i, table := range []*db.BenchTable{mine, other} {
		if err := table.Drop(t.Context()); err != nil {
			t.Error(err)
		}
		var tables, watches int
		const left = `select (select count(*) from pg_tables where tablename like 'tidings\_bench\_%'),
			(select count(*) from tidings.watches where topic like 'tidings\_bench\_%')`
		if err := database.Pool.QueryRow(t.Context(), left).Scan(&tables, &watches); err != nil {
			t.Fatal(err)
		}
		if want := 1 - i; watches != want || tables != want {
			t.Errorf("%d tables and %d watches are left, want %d", tables, watches, want)
		}
	}
}

// In a database without schema tidings there is nothing to make, and what to do is said.
func TestBenchTableWithoutSchema(t *testing.T) {
	t.Parallel()
	database, err := db.Open(t.Context(), dbtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	if _, err := database.CreateBenchTable(t.Context()); err == nil {
		t.Error("there is a table")
	}
	var tables int
	if err := database.Pool.QueryRow(t.Context(), `select count(*) from pg_tables where tablename like 'tidings\_bench\_%'`).Scan(&tables); err != nil || tables != 0 {
		t.Errorf("%d tables are left, %v", tables, err)
	}
}
