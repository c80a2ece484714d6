package model

import (
	"math/rand/v2"
	"slices"
)

// Storm is many clients who come back.
type Storm struct {
	Clients   int     // that have lost their connection
	Over      float64 // seconds within which they lose it: 0 is all at once
	Instances int     // that take them
	Cores     float64 // of each, that are free for it
	Rows      float64 // a second, that are written meanwhile
	Missed    float64 // the share of all events that one of them is to get
	EventSize float64 // bytes
	Restarted bool    // the instances that take them have started anew, and remember the last minute
	Redis     bool
	Give      float64 // seconds after which a client gives an attempt up
	Seed      uint64
}

// Calm is how a storm went.
type Calm struct {
	Half, Most, Last float64 // seconds until half, 99 of 100 and all were back
	Attempts         int     // of all clients together
	Longest          float64 // seconds that one that was back had missed, at most
	Memory, Stream   int     // clients whose missing events were found in an instance's memory, and in Redis
	Log              int     // and those that needed the log
	LogSeconds       float64 // that reading it takes, by the four that may read at a time, if no two share a page
	Peak             float64 // bytes of an instance's memory on top of what it has at rest
}

// Weather simulates a storm: each client comes back after a pause as the JavaScript client makes it (200 ms, doubled each time up to ten seconds,
// and up to half less by chance), to an instance by chance, which takes one after another, as fast as its cores allow.
func (c Costs) Weather(s Storm) Calm {
	random := rand.New(rand.NewPCG(s.Seed, 1))
	var attempts [][]attempt // by the millisecond
	add := func(a attempt) {
		slot := int(a.at * 1000)
		for len(attempts) <= slot {
			attempts = append(attempts, nil)
		}
		attempts[slot] = append(attempts[slot], a)
	}
	for range s.Clients {
		lost := random.Float64() * s.Over
		add(attempt{at: lost + pauseBefore(0, random), lost: lost})
	}
	free := make([]float64, s.Instances) // when each has done what it has taken
	each := c.Accept / s.Cores
	var calm Calm
	back := make([]float64, 0, s.Clients)
	waiting := 0.0 // the most that wait at an instance
	for slot := 0; slot < len(attempts); slot++ {
		for _, a := range attempts[slot] {
			calm.Attempts++
			instance := random.IntN(s.Instances)
			begun := max(a.at, free[instance])
			waiting = max(waiting, (begun-a.at)/each+1)
			done := begun + each
			if s.Give > 0 && done-a.at > s.Give {
				// What was begun for it is for nothing: it is found out when the answer is written.
				free[instance] += each / 2
				a.failures++
				a.at += s.Give + pauseBefore(a.failures, random)
				add(a)
				continue
			}
			free[instance] = done
			back = append(back, done)
			missed := done - a.lost
			calm.Longest = max(calm.Longest, missed)
			switch {
			case missed <= c.remembered(s):
				calm.Memory++
			case s.Redis && missed <= min(c.StreamAge, c.StreamBytes/max(s.Rows*(s.EventSize+c.RecordBytes), 1)):
				calm.Stream++
			default:
				calm.Log++
				calm.LogSeconds += missed * s.Rows * s.Missed * c.LogEvent / 4
			}
		}
	}
	slices.Sort(back)
	if n := len(back); n > 0 {
		calm.Half, calm.Most, calm.Last = back[(n-1)/2], back[(n-1)*99/100], back[n-1]
	}
	calm.Peak = min(waiting, float64(s.Clients)/float64(s.Instances)) * c.StormBytes
	return calm
}

// remembered is for how many seconds an instance remembers what was written.
func (c Costs) remembered(s Storm) float64 {
	age := c.RecentAge
	if s.Restarted {
		age = 60
	}
	return min(age, c.RecentBytes/max(s.Rows*(s.EventSize+c.RecordBytes), 1))
}

// pauseBefore is how long a client waits after so many failures.
func pauseBefore(failures int, random *rand.Rand) float64 {
	pause := min(0.2*float64(int(1)<<min(failures, 10)), 10)
	return pause * (0.5 + random.Float64()/2)
}

// attempt is a client's next.
type attempt struct {
	at, lost float64
	failures int
}
