package main

import "testing"

func TestTally(t *testing.T) {
	got := tally{}
	got.count(10, 10, 0, false, true)  // all is well
	got.count(10, 8, 1, false, true)   // two lost, one doubled
	got.count(10, 7, 0, false, false)  // three had no time to come
	got.count(10, 4, 0, true, true)    // cut off
	got.count(10, 12, 0, false, false) // two updates too many
	want := tally{deliveries: 42, doubled: 3, lost: 2, late: 3, cut: 1}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
