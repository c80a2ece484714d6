package main

import (
	"testing"
	"time"

	"tidings/realtime"
)

// told is a history of two writers: the first inserts message 11 and then changes it twice, in three transactions; the second
// inserts a comment of message 5 and moves it to 6, meanwhile. Transaction n of the first has id 100+n, of the second 200+n.
func told(t *testing.T) *truth {
	t.Helper()
	first, second := &history{writer: 1}, &history{writer: 2}
	add := func(h *history, began, ended time.Duration, o outcome, c change) {
		h.add(&transaction{number: int64(len(h.transactions)) + 1, began: began, ended: ended, outcome: o, changes: []change{c}})
	}
	message := func(k kind, number, version int64) change {
		return change{id: newEventID(messages, k, 1, number), table: messages, row: 11, version: version, key: 11, oldKey: 11}
	}
	add(first, 1, 2, committed, message(added, 1, 2))
	add(first, 3, 4, committed, message(updated, 2, 4))
	add(first, 5, 6, rolledBack, message(updated, 3, 6))
	add(first, 9, 10, committed, message(updated, 4, 6))
	add(second, 1, 7, committed, change{id: newEventID(comments, added, 2, 1), table: comments, row: 1, version: 2, key: 5, oldKey: 5})
	add(second, 8, 9, committed, change{id: newEventID(comments, updated, 2, 2), table: comments, row: 1, version: 4, key: 6, oldKey: 5})
	truth, err := newTruth([]*history{first, second}, func(writer int, number int64) (uint64, bool) {
		return uint64(100*writer) + uint64(number), writer == 2 || number != 3
	})
	if err != nil {
		t.Fatal(err)
	}
	return truth
}

var (
	m1 = newEventID(messages, added, 1, 1)
	m2 = newEventID(messages, updated, 1, 2)
	m3 = newEventID(messages, updated, 1, 3) // rolled back
	m4 = newEventID(messages, updated, 1, 4)
	c1 = newEventID(comments, added, 2, 1)
	c2 = newEventID(comments, updated, 2, 2)
)

func arrivals(ids ...eventID) (all []arrival) {
	for i, id := range ids {
		all = append(all, arrival{id, time.Duration(20 + i)})
	}
	return all
}

// What counts is seen to be counted: a program that finds nothing must be able to find something.
func TestCount(t *testing.T) {
	t.Parallel()
	both, keyed := []string{"messages", "comments"}, []string{"comments:5"}
	after := realtime.Snapshot{Xmin: 103, Xmax: 103}
	for _, tt := range []struct {
		name     string
		channels []string
		segments []segment
		want     tally
	}{
		{"all", both, []segment{{arrivals: arrivals(m1, c1, m2, c2, m4)}}, tally{expected: 5}},
		{"overlapping transactions in any order", both, []segment{{arrivals: arrivals(c1, m1, m2, c2, m4)}}, tally{expected: 5}},
		{"a key, and what moved away from it", keyed, []segment{{arrivals: arrivals(c1, c2)}}, tally{expected: 2}},
		{"nothing", both, []segment{{}}, tally{expected: 5, lost: 5}},
		{"lost", both, []segment{{arrivals: arrivals(m1, c1, c2, m4)}}, tally{expected: 5, lost: 1}},
		{"doubled", both, []segment{{arrivals: arrivals(m1, c1, m2, c1, c2, m4)}}, tally{expected: 5, doubled: 1}},
		{"out of the writer's order", both, []segment{{arrivals: arrivals(m2, m1, c1, c2, m4)}}, tally{expected: 5, disordered: 1}},
		{"out of the order of commits", both, []segment{{arrivals: arrivals(m1, m2, m4, c1, c2)}}, tally{expected: 5, disordered: 1}},
		{"rolled back", both, []segment{{arrivals: arrivals(m1, c1, m2, m3, c2, m4)}}, tally{expected: 5, untrue: 1}},
		{"of another channel", keyed, []segment{{arrivals: arrivals(m1, c1, c2)}}, tally{expected: 2, untrue: 1}},
		{"all after a reset", both, []segment{{arrivals: arrivals(m1)}, {from: after, arrivals: arrivals(c1, c2, m4)}}, tally{expected: 4, resets: 1}},
		{"lost after a reset", both, []segment{{arrivals: arrivals(m1)}, {from: after, arrivals: arrivals(c2, m4)}}, tally{expected: 4, lost: 1, resets: 1}},
		{"told again after a reset", both, []segment{{arrivals: arrivals(m1)}, {from: after, arrivals: arrivals(m2, c1, c2, m4)}},
			tally{expected: 4, doubled: 1, resets: 1}},
	} {
		r := &record{channels: tt.channels, segments: tt.segments, resets: len(tt.segments) - 1}
		got := told(t).count(r)
		got.silence, got.missing, got.example = 0, nil, ""
		if got.String() != tt.want.String() {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// What the database acknowledged and lost may have been told, if a reset follows.
func TestCountVanished(t *testing.T) {
	t.Parallel()
	h := &history{writer: 1, transactions: []*transaction{{number: 1, outcome: committed, changes: []change{{id: m1, table: messages}}}}}
	truth, err := newTruth([]*history{h}, func(int, int64) (uint64, bool) { return 0, false })
	if err != nil {
		t.Fatal(err)
	}
	silent := truth.count(&record{channels: []string{"messages"}, segments: []segment{{arrivals: arrivals(m1)}}})
	honest := truth.count(&record{channels: []string{"messages"}, segments: []segment{{arrivals: arrivals(m1)}, {}}, resets: 1})
	if silent.untrue != 1 || honest.untrue != 0 || truth.lostTx != 1 {
		t.Errorf("got %s without a reset, %s with one, %d transactions lost", silent, honest, truth.lostTx)
	}
}

// Silence is only what could have been broken: nothing is committed between m2 at 4 and c1 at 7.
func TestSilence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		arrivals []arrival
		want     time.Duration
	}{
		{[]arrival{{m1, 2}, {m2, 4}, {c1, 8}, {c2, 9}, {m4, 30}}, 20},
		{[]arrival{{m1, 2}, {m2, 4}, {c1, 7}, {c2, 9}, {m4, 10}}, 0},
	} {
		if got := told(t).silence(&record{segments: []segment{{arrivals: tt.arrivals}}}); got != tt.want {
			t.Errorf("got %d, want %d", got, tt.want)
		}
	}
}
