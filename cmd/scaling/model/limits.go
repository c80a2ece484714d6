package model

import (
	"cmp"
	"math"
	"slices"
)

// Machine is what an instance, PostgreSQL or Redis runs on.
type Machine struct {
	Cores   float64
	Memory  float64 // bytes
	Network float64 // bytes a second
}

// Site is what there is. Busy is the share of each that may be used: the rest is for the storm, and for what the model leaves out.
type Site struct {
	Instance, Postgres, Redis Machine
	Connections               float64 // an instance takes at most: --max-connections
	PostgresConnections       float64 // max_connections
	PostgresRows              float64 // that it can commit in a second
	Busy                      float64
}

// Small is a site of usual machines: instances with 4 cores, 8 GB and 10 Gbit/s, a PostgreSQL with 16, and a Redis, of whose cores one does the work.
var Small = Site{
	Instance: Machine{4, 8e9, 1.25e9}, Postgres: Machine{16, 64e9, 1.25e9}, Redis: Machine{1, 16e9, 1.25e9},
	Connections: 20_000, PostgresConnections: 500, PostgresRows: 20_000, Busy: 0.6,
}

// Part is one of what may give out, and how much of it is used: 1 is all of it.
type Part struct {
	Name  string
	Share float64
}

// Connections is the part that more instances always help with.
const Connections = "an instance's connections"

// Parts are all of them, the one that gives out first at the head.
func (s Site) Parts(c Costs, l Load) []Part {
	u := c.Predict(l)
	parts := []Part{
		{"an instance's CPU", u.CPU / s.Instance.Cores},
		{"an instance's memory", u.Memory / s.Instance.Memory},
		{"an instance's network", u.Out / s.Instance.Network},
		{Connections, u.Connections / s.Connections},
		{"one reader's pace", u.Events * c.pace()},
		{"PostgreSQL's CPU", u.PostgresCPU / s.Postgres.Cores},
		{"PostgreSQL's commits", l.Rows / s.PostgresRows},
		{"PostgreSQL's connections", u.PostgresConnections / s.PostgresConnections},
		{"PostgreSQL's network", u.PostgresOut / s.Postgres.Network},
		{"presence, one change at a time", u.PostgresPresence},
	}
	if l.Redis {
		parts = append(parts, Part{"Redis' CPU", u.RedisCPU / s.Redis.Cores}, Part{"Redis' network", u.RedisOut / s.Redis.Network})
	}
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(b.Share, a.Share) })
	return parts
}

// pace is how long an event takes that passes through the one goroutine and the one backend that read: the slower of the two holds up all.
func (c Costs) pace() float64 { return max(c.ReadEvent, c.Event) }

// Enough is the smallest number of instances with which none of what more instances help with is used beyond what may be; 0: no number is enough.
func (s Site) Enough(c Costs, l Load) float64 {
	enough := func(n float64) bool {
		l.Instances = n
		u := c.Predict(l)
		return u.CPU <= s.Busy*s.Instance.Cores && u.Memory <= s.Busy*s.Instance.Memory && u.Out <= s.Busy*s.Instance.Network && u.Connections <= s.Connections
	}
	high := 1.0
	for !enough(high) {
		if high *= 2; high > 1<<20 {
			return 0
		}
	}
	low := math.Floor(high / 2)
	for high-low > 1 {
		if middle := math.Floor((low + high) / 2); enough(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}
