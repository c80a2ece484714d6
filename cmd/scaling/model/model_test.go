package model

import (
	"math"
	"testing"
)

// usual is a load that none of its parts is idle in.
var usual = Load{Clients: 20_000, Instances: 4, Rows: 1000, Subscribers: 50, EventBytes: 400, Users: 10_000, Minutes: 30, Rights: 5, Slow: 0.001, Retention: 86400}

// parts are all figures of a use, by name.
func parts(u Use) map[string]float64 {
	return map[string]float64{
		"CPU": u.CPU, "memory": u.Memory, "out": u.Out, "connections": u.Connections, "deliveries": u.Deliveries, "writes": u.Writes,
		"PostgreSQL": u.PostgresCPU, "PostgreSQL's network": u.PostgresOut, "PostgreSQL's connections": u.PostgresConnections, "log": u.Log,
		"Redis": u.RedisCPU, "to Redis": u.RedisIn, "from Redis": u.RedisOut,
	}
}

// Nothing becomes less when there is more to do.
func TestMoreCostsMore(t *testing.T) {
	t.Parallel()
	for _, redis := range []bool{false, true} {
		for name, grow := range map[string]func(*Load){
			"rows":        func(l *Load) { l.Rows *= 2 },
			"subscribers": func(l *Load) { l.Subscribers *= 2 },
			"bytes":       func(l *Load) { l.EventBytes *= 2 },
			"users":       func(l *Load) { l.Users *= 2 },
			"clients":     func(l *Load) { l.Clients, l.Subscribers = 2*l.Clients, 2*l.Subscribers },
			"rights":      func(l *Load) { l.Rights *= 2 },
			"slow":        func(l *Load) { l.Slow *= 2 },
			"arrivals":    func(l *Load) { l.Minutes /= 2 },
			"GraphQL":     func(l *Load) { l.GraphQL = true },
			"retention":   func(l *Load) { l.Retention *= 2 },
		} {
			before := usual
			before.Redis = redis
			after := before
			grow(&after)
			few, many := parts(Measured.Predict(before)), parts(Measured.Predict(after))
			more := false
			for what := range few {
				if many[what] < few[what] || math.IsNaN(many[what]) {
					t.Errorf("twice the %s: %s becomes %v from %v", name, what, many[what], few[what])
				}
				more = more || many[what] > few[what]
			}
			if !more {
				t.Errorf("twice the %s is the same", name)
			}
		}
	}
}

// PostgreSQL is read once for all by Redis, and by each instance without; all that Redis gives out is for those that follow.
func TestInstances(t *testing.T) {
	t.Parallel()
	at := func(instances float64, redis bool) Use {
		l := usual
		l.Instances, l.Redis, l.Rights = instances, redis, 0
		return Measured.Predict(l)
	}
	few, many := at(1, false), at(101, false)
	if got, want := many.PostgresReading/few.PostgresReading, 101.0; math.Abs(got-want) > 1e-6 {
		t.Errorf("101 instances read %v times as much as one, not %v", got, want)
	}
	if many.PostgresOut != 101*few.PostgresOut {
		t.Errorf("101 instances are given %v, and one %v", many.PostgresOut, few.PostgresOut)
	}
	relayed := at(101, true)
	if got, want := relayed.PostgresReading, few.PostgresReading+100*Measured.Follower; math.Abs(got-want) > 1e-9 {
		t.Errorf("by Redis PostgreSQL takes %v for reading, not %v", got, want)
	}
	if relayed.PostgresOut != few.PostgresOut {
		t.Errorf("by Redis PostgreSQL gives out %v, not %v", relayed.PostgresOut, few.PostgresOut)
	}
	if got, want := relayed.RedisOut, 100*at(2, true).RedisOut; math.Abs(got/want-1) > 1e-9 {
		t.Errorf("a hundred that follow are given %v, and not a hundred times what one is, %v", got, want)
	}
	// Rights are judged by each instance for itself.
	l := usual
	l.Instances, l.Redis = 10, true
	l.Rights = 0
	none := Measured.Predict(l).PostgresReading
	l.Rights = 5
	some := Measured.Predict(l).PostgresReading
	l.Instances = 20
	twice := Measured.Predict(l).PostgresReading - 10*Measured.Follower
	if math.Abs((twice-none)/(some-none)-2) > 1e-6 {
		t.Errorf("of 20 instances rights cost %v, of 10 %v", twice-none, some-none)
	}
}

// What a read has brought goes in one write: never more writes than deliveries, never more than reads.
func TestTogether(t *testing.T) {
	t.Parallel()
	for _, events := range []float64{0, 0.001, 1, 50, 1e4} {
		got := together(events, 90, false)
		if got > events || got > 90 {
			t.Errorf("%v events a second are %v writes", events, got)
		}
	}
	if got := together(0.01, 90, false); math.Abs(got-0.01) > 1e-5 {
		t.Errorf("events far from each other are %v writes of a second, not 0.01", got)
	}
	if got := together(5, 5, true); got != 5 {
		t.Errorf("who sleeps reads each by itself: %v writes, not 5", got)
	}
}

func TestEnough(t *testing.T) {
	t.Parallel()
	l := usual
	n := Small.Enough(Measured, l)
	l.Instances = n
	if u := Measured.Predict(l); u.Connections > Small.Connections || u.CPU > Small.Busy*Small.Instance.Cores {
		t.Errorf("with %v instances, each has %v connections and %v of CPU", n, u.Connections, u.CPU)
	}
	l.Rows = 1e6 // which no instance can read
	if n := Small.Enough(Measured, l); n != 0 {
		t.Errorf("%v instances are enough for what none can read", n)
	}
	first := Small.Parts(Measured, usual)
	for n := 1; n < len(first); n++ {
		if first[n].Share > first[n-1].Share {
			t.Errorf("%s gives out before %s", first[n].Name, first[n-1].Name)
		}
	}
}

func TestStorm(t *testing.T) {
	t.Parallel()
	s := Storm{Clients: 5000, Instances: 4, Cores: 2, Rows: 500, Missed: 0.001, EventSize: 300, Give: 10, Seed: 7}
	calm := Measured.Weather(s)
	if again := Measured.Weather(s); again != calm {
		t.Errorf("the same storm went %+v and then %+v", calm, again)
	}
	if calm.Attempts < s.Clients || calm.Half > calm.Most || calm.Most > calm.Last {
		t.Errorf("it went %+v", calm)
	}
	if calm.Memory != s.Clients {
		t.Errorf("in memory was what %d of %d missed, all in a few seconds", calm.Memory, s.Clients)
	}
	slower := s
	slower.Cores /= 10
	if late := Measured.Weather(slower); late.Last <= calm.Last {
		t.Errorf("with a tenth of the cores all are back after %v, before that after %v", late.Last, calm.Last)
	}
	// Where all instances write more than they remember in the time, the stream has it, or else the log.
	flood := slower
	flood.Rows, flood.Redis = 500_000, true
	if got := Measured.Weather(flood); got.Stream == 0 || got.Memory+got.Stream+got.Log != s.Clients {
		t.Errorf("by Redis it went %+v", got)
	}
	flood.Redis = false
	if got := Measured.Weather(flood); got.Stream != 0 || got.Log == 0 || got.LogSeconds <= 0 {
		t.Errorf("without Redis it went %+v", got)
	}
	gentle := s
	gentle.Over = 60
	if got := Measured.Weather(gentle); got.Peak >= calm.Peak {
		t.Errorf("who move within a minute need %v bytes, all at once %v", got.Peak, calm.Peak)
	}
}
