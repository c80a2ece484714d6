package main

import (
	"testing"
	"time"
)

func TestDue(t *testing.T) {
	everybody := &path{}
	if got := everybody.due(3, 1, 50); got != 50 {
		t.Errorf("got %d, want all 50", got)
	}
	inTurn := &path{hears: func(client int, id int64) bool { return id%3 == int64(client%3) }}
	for client, want := range []int64{3, 4, 3, 3} { // rows 1 to 10
		if got := inTurn.due(client, 1, 10); got != want {
			t.Errorf("client %d is due %d rows, want %d", client, got, want)
		}
	}
}

func TestGrowthEvery(t *testing.T) {
	for n, want := range map[int]time.Duration{1: latencyEvery, 100: latencyEvery, 200: latencyEvery, 1000: 50 * time.Millisecond, 10_000: 500 * time.Millisecond} {
		if got := growthEvery(n); got != want {
			t.Errorf("with %d subscribers, a row every %s, want %s", n, got, want)
		}
	}
}

func TestCostTable(t *testing.T) {
	of := func(process, postgres time.Duration) outcome {
		return outcome{committed: make([]time.Duration, 500_000), cost: cost{process, postgres}}
	}
	table := costTable([2][]outcome{
		{of(4*time.Second, time.Second), of(6*time.Second, time.Second)},
		{of(2*time.Second, 0), of(2*time.Second, 0)},
	})
	service := table.rows[0]
	if service[1] != "10.00 s" || service[2] != "8.00 s – 12.00 s" || service[3] != "2.50" {
		t.Errorf("got %q", service)
	}
}
