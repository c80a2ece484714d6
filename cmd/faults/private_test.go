package main

import "testing"

// A note is given from one to another, and then to everybody: each is to be told what he may read, and that it is gone, and nothing else.
func TestCountPrivate(t *testing.T) {
	t.Parallel()
	w := &writer{id: 3, pending: &transaction{number: 1, outcome: committed}}
	w.notePrivate(notes, added, 1, 1, 1, 1, 1, 0)
	w.notePrivate(notes, updated, 1, 2, 2, 2, 1, 1)
	w.notePrivate(notes, updated, 1, 3, 3, 0, 2, 2)
	w.notePrivate(notes, deleted, 1, 3, 3, 0, 0, 0)
	w.notePrivate(drafts, added, 1, 4, 1, 0, 0, 0) // nobody's
	truth, err := newTruth([]*history{{writer: 3, transactions: []*transaction{w.pending}}}, func(int, int64) (uint64, bool) { return 100, true })
	if err != nil {
		t.Fatal(err)
	}
	id := func(k kind, number int64) eventID { return newEventID(notes, k, 3, number) }
	first := []eventID{id(added, 1), id(deleted, 1), id(added, 3), id(deleted, 3)}
	second := []eventID{id(added, 2), id(updated, 3), id(deleted, 3)}
	for _, tt := range []struct {
		name string
		user int64
		told []eventID
		want tally
	}{
		{"all of the first's", 1, first, tally{expected: 4}},
		{"all of the second's", 2, second, tally{expected: 3}},
		{"all of another's", 3, []eventID{id(added, 3), id(deleted, 3)}, tally{expected: 2}},
		{"nobody's", 0, nil, tally{}},
		{"not told that it is gone", 1, []eventID{id(added, 1), id(added, 3), id(deleted, 3)}, tally{expected: 4, lost: 1}},
		{"told what it has become", 1, []eventID{id(added, 1), id(updated, 2), id(added, 3), id(deleted, 3)}, tally{expected: 4, lost: 1, leaked: 1}},
		{"told of another's", 2, append([]eventID{id(added, 1)}, second...), tally{expected: 3, leaked: 1}},
		{"told as nobody", 0, []eventID{id(added, 3)}, tally{leaked: 1}},
		{"told of a draft that is nobody's", 2, append([]eventID{newEventID(drafts, added, 3, 4)}, second...), tally{expected: 3, leaked: 1}},
	} {
		got := truth.count(&record{user: tt.user, channels: []string{"notes", "drafts"}, segments: []segment{{arrivals: arrivals(tt.told...)}}})
		got.silence, got.missing, got.example = 0, nil, ""
		if got.String() != tt.want.String() {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// All private tables are followed by somebody, over both transports, and each user is several clients.
func TestWhoFollowsWhat(t *testing.T) {
	t.Parallel()
	clients, followers := make(map[int64]int), make(map[string]int)
	for n := range 40 {
		user := userOf(n)
		clients[user]++
		if user == 0 {
			continue
		}
		for _, channel := range privateChannelsOf(n) {
			followers[channel]++
		}
		if overGraphQL(n) {
			followers["GraphQL"]++
		}
	}
	if len(clients) != users+1 || clients[1] < 2 || followers["notes"] < 2 || followers["drafts"] < 2 || followers["comments"] == 0 || followers["GraphQL"] == 0 {
		t.Errorf("got %v, who follow %v", clients, followers)
	}
}
