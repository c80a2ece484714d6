package main

import (
	"testing"
	"time"
)

func TestRightsRows(t *testing.T) {
	of := func(process, postgres time.Duration, delays ...time.Duration) outcome {
		return outcome{committed: delays, cost: cost{process, postgres}}
	}
	table := resultTable{head: make([]string, 7)}
	rightsRows(&table, 5, []judging{
		{[2]outcome{of(4, 2, 10*time.Millisecond, 30*time.Millisecond), of(2, 1, 5*time.Millisecond, 10*time.Millisecond)}, 5},
		{[2]outcome{of(6, 8, 20*time.Millisecond, 40*time.Millisecond), of(2, 1, 5*time.Millisecond, 10*time.Millisecond)}, 6},
		{[2]outcome{of(5, 4, 15*time.Millisecond, 35*time.Millisecond), of(2, 1, 5*time.Millisecond, 10*time.Millisecond)}, 5},
	}, true)
	want := [][]string{
		{"5", "evaluations a row", "5.00", "5.00 – 6.00", "0.00", "–", "–"},
		{"5", "from commit, p50", "15.0 ms", "10.0 ms – 20.0 ms", "5.00 ms", "3.00", "2.00 – 4.00"},
		{"5", "from commit, p99", "35.0 ms", "30.0 ms – 40.0 ms", "10.0 ms", "3.50", "3.00 – 4.00"},
		{"5", "CPU of the service", "0.00 s", "0.00 s – 0.00 s", "0.00 s", "2.50", "2.00 – 3.00"},
		{"5", "CPU of PostgreSQL", "0.00 s", "0.00 s – 0.00 s", "0.00 s", "4.00", "2.00 – 8.00"},
	}
	if len(table.rows) != len(want) {
		t.Fatalf("got %q", table.rows)
	}
	for n, row := range table.rows {
		for i := range row {
			if row[i] != want[n][i] {
				t.Errorf("row %d: got %q, want %q", n, row, want[n])
				break
			}
		}
	}
}
