package main

import (
	"slices"
	"testing"
	"time"
)

func TestProbes(t *testing.T) {
	p := &probes{}
	p.begin(time.Now(), &crowd{clients: make([]*client, 3)})
	row := p.register(7)
	row.committed = int64(time.Since(p.begun))
	p.rows = append(p.rows, row)
	if same := p.register(7 + int64(len(p.slots))); same != nil {
		t.Errorf("a slot was given twice")
	}
	p.arrived(0, 7)
	p.arrived(2, 7)
	p.arrived(1, 7+int64(len(p.slots))) // another row of the same slot
	p.arrived(1, 8)
	if row.at[1] != 0 {
		t.Error("another row was taken for one that is timed")
	}
	row.at[0], row.at[2] = row.committed+2, row.committed+1
	if got, want := p.delays(), []time.Duration{1, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
