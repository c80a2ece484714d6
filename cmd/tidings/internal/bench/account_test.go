package bench

import (
	"math/rand/v2"
	"testing"
)

// What is lost, doubled or out of order is counted, each on its own.
func TestAccount(t *testing.T) {
	t.Parallel()
	type event struct{ sequence, settled int64 }
	inOrder := make([]event, 1000)
	for i := range inOrder {
		inOrder[i] = event{int64(i), int64(i)} // each is begun when all before it are committed
	}
	with := func(change func(events []event) []event) []event { return change(append([]event(nil), inOrder...)) }
	for name, c := range map[string]struct {
		events                        []event
		received, doubled, outOfOrder int64
	}{
		"nothing":                     {nil, 0, 0, 0},
		"in order":                    {inOrder, 1000, 0, 0},
		"one is lost":                 {with(func(e []event) []event { return append(e[:500], e[501:]...) }), 999, 0, 0},
		"the first is lost":           {inOrder[1:], 999, 0, 0},
		"the last is lost":            {inOrder[:999], 999, 0, 0},
		"a hundred are lost":          {with(func(e []event) []event { return append(e[:63], e[163:]...) }), 900, 0, 0},
		"one is doubled at once":      {with(func(e []event) []event { return append(e[:2:2], e[1:]...) }), 1000, 1, 0},
		"the first is doubled late":   {with(func(e []event) []event { return append(e, e[0]) }), 1000, 1, 0},
		"all are doubled":             {with(func(e []event) []event { return append(e, e...) }), 1000, 1000, 0},
		"one is lost, one tripled":    {with(func(e []event) []event { return append(append(e[:7], e[8:]...), e[990], e[990]) }), 999, 2, 0},
		"two are the other way round": {with(func(e []event) []event { e[3], e[4] = e[4], e[3]; return e }), 1000, 0, 1},
		"the first comes last":        {with(func(e []event) []event { return append(e[1:], e[0]) }), 1000, 0, 1},
		"those of two writers that were written at the same time may come in any order": {
			[]event{{1, 0}, {0, 0}, {3, 2}, {2, 2}}, 4, 0, 0,
		},
	} {
		var a account
		for _, e := range c.events {
			a.receive(e.sequence, e.sequence, e.settled)
		}
		if a.received != c.received || a.doubled != c.doubled || a.misplaced != c.outOfOrder {
			t.Errorf("%s: received %d, doubled %d, out of order %d; want %d, %d, %d",
				name, a.received, a.doubled, a.misplaced, c.received, c.doubled, c.outOfOrder)
		}
	}
}

// It agrees with an account that simply keeps all, whatever comes, and needs little room where little is lacking.
func TestAccountOfAnything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		var a account
		seen := make(map[int64]bool)
		doubled := int64(0)
		for i := range int64(2000) {
			sequence := max(0, i-random.Int64N(100))
			first := a.receive(sequence, sequence, 0)
			if first == seen[sequence] {
				t.Fatalf("seed %d: sequence %d is taken for the first: %t", seed, sequence, first)
			}
			if seen[sequence] {
				doubled++
			}
			seen[sequence] = true
		}
		if a.received != int64(len(seen)) || a.doubled != doubled {
			t.Fatalf("seed %d: received %d, doubled %d; want %d, %d", seed, a.received, a.doubled, len(seen), doubled)
		}
	}
	var a account
	for i := range int64(100_000) {
		a.receive(i^1, i, 0)
	}
	if len(a.ahead) > 1 || cap(a.ahead) > 16 {
		t.Errorf("it keeps %d words, of %d", len(a.ahead), cap(a.ahead))
	}
}
