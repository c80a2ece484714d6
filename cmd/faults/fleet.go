package main

import "fmt"

// fleet is what serves: how many instances, and whether one reads the log for all, by Redis. The zero value is one without.
type fleet struct {
	instances int // 0: 1
	redis     bool
}

// Fleets that many faults are tried with.
var (
	alone   = fleet{instances: 1}
	two     = fleet{instances: 2}
	four    = fleet{instances: 4}
	twoBy   = fleet{instances: 2, redis: true}
	fourBy  = fleet{instances: 4, redis: true}
	byRedis = []fleet{twoBy, fourBy}
)

func (f fleet) size() int { return max(1, f.instances) }

func (f fleet) String() string {
	text := fmt.Sprintf("%d instances", f.instances)
	if f.size() == 1 {
		text = "1 instance"
	}
	if f.redis {
		text += " with Redis"
	}
	return text
}

// trial is one row of the table: a fault, and with what it is tried.
type trial struct {
	fault *fault
	fleet fleet
	short bool // part of the short run
}

// trials are all, in the order of the table.
func trials() (all []trial) {
	for _, f := range faults {
		for n, one := range f.triedWith() {
			all = append(all, trial{fault: f, fleet: one, short: f.short && n == 0})
		}
	}
	return all
}

func (f *fault) triedWith() []fleet {
	if f.fleets == nil {
		return []fleet{alone}
	}
	return f.fleets
}

// possible says why it cannot be had on this machine; nil: it can.
func (t trial) possible() error {
	if t.fleet.redis && !haveRedis() {
		return impossible("redis-server is not there (deploy/install-test-tools.sh installs it)")
	}
	if t.fault.possible != nil {
		return t.fault.possible()
	}
	return nil
}

// title names the trial among all.
func (t trial) title() string {
	if t.fleet == alone {
		return t.fault.title
	}
	return t.fault.title + ", " + t.fleet.String()
}
