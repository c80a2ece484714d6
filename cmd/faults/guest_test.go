package main

import "testing"

// What a guest was told wrongly, and believes wrongly, is seen to be counted.
func TestCountPresence(t *testing.T) {
	t.Parallel()
	say := func(typ, user string) frame {
		f := frame{Type: typ}
		f.Data.User = user
		return f
	}
	came := func(user string) frame { return say("user_online", user) }
	went := func(user string) frame { return say("user_offline", user) }
	loaded := []frame{say("row", "5"), say("row", "6"), say("loaded", "")}
	for _, tt := range []struct {
		name           string
		told           []frame
		present        []int64
		untrue, misled int
	}{
		{"all", append(loaded, came("7"), went("5"), came("5"), went("6")), []int64{5, 7}, 0, 0},
		{"not that one is gone", loaded, []int64{5}, 0, 1},
		{"not that one has come", loaded, []int64{5, 6, 7}, 0, 1},
		{"one for the other", loaded, []int64{5, 7}, 0, 2},
		{"twice that one has come", append(loaded, came("7"), came("7")), []int64{5, 6, 7}, 1, 0},
		{"twice that one is gone", append(loaded, went("5"), went("5")), []int64{6}, 1, 0},
		{"that one is gone who was not there", append(loaded, went("7")), []int64{5, 6}, 1, 0},
		{"all anew, after a reset", append(append(loaded, came("7")), loaded...), []int64{5, 6}, 0, 0},
		{"half of it anew, before the connection was cut", append(append(loaded, came("7")), say("row", "8")), []int64{5, 6, 7}, 0, 0},
		{"nobody", []frame{say("loaded", "")}, nil, 0, 0},
	} {
		g := newGuest()
		for _, f := range tt.told {
			if !g.hear(f) {
				t.Errorf("%s: %s is not heard", tt.name, f.Type)
			}
		}
		present := make(map[int64]bool)
		for _, user := range tt.present {
			present[user] = true
		}
		if misled := g.misled(present); g.untrue != tt.untrue || misled != tt.misled {
			t.Errorf("%s: got %d told, and %d believed wrongly, want %d and %d", tt.name, g.untrue, misled, tt.untrue, tt.misled)
		}
	}
	if newGuest().hear(frame{Type: "subscribed"}) {
		t.Error("what is not of presence is taken for it")
	}
}
