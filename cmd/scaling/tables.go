package main

import (
	"tidings/cmd/scaling/model"
)

// kinds are applications that are unlike each other.
var kinds = []struct {
	name string
	load func(clients float64) model.Load
}{
	{"rooms", func(clients float64) model.Load { // a hundredth of the clients writes something in a second; each room has 50 who hear it
		return model.Load{Clients: clients, Rows: clients / 100, Subscribers: 50, EventBytes: 400, Users: clients, Minutes: 30, Retention: 86400, Slow: 0.001}
	}},
	{"each his own", func(clients float64) model.Load { // notifications: a row of a user's own every five minutes
		return model.Load{Clients: clients, Rows: clients / 300, Subscribers: 1, EventBytes: 400, Users: clients, Minutes: 30, Retention: 86400, Slow: 0.001}
	}},
	{"one for all", func(clients float64) model.Load { // a ticker: one row a second, of which everybody is told; nobody signs in
		return model.Load{Clients: clients, Rows: 1, Subscribers: clients, EventBytes: 400, Minutes: 30, Retention: 86400, Slow: 0.001}
	}},
}

// large is a site for many: instances with 8 cores and 16 GB that take 100,000 each, and a PostgreSQL with 64 cores.
var large = model.Site{
	Instance: model.Machine{Cores: 8, Memory: 16e9, Network: 1.25e9}, Postgres: model.Machine{Cores: 64, Memory: 512e9, Network: 3e9},
	Redis: model.Machine{Cores: 1, Memory: 64e9, Network: 3e9}, Connections: 100_000, PostgresConnections: 2000, PostgresRows: 40_000, Busy: 0.6,
}

func tables() []table {
	return []table{
		costs(),
		needs("100,000 clients", model.Small, 100_000), needs("10 million clients", large, 10_000_000),
		first("what gives out at 100,000", model.Small, 100_000), first("what gives out at 10 million", large, 10_000_000),
		ceiling(), reading(), storms(), present(),
	}
}

// needs is what each kind of application needs for so many clients.
func needs(name string, site model.Site, clients float64) table {
	t := table{name: name, head: []string{"", "rows/s", "deliveries/s", "instances", "CPU of each", "memory of each", "to clients, of each", "PostgreSQL's CPU", "… for presence", "with Redis", "from Redis", "log of a day"}}
	for _, k := range kinds {
		l := k.load(clients)
		n := site.Enough(model.Measured, l)
		if n == 0 {
			t.add(k.name, count(l.Rows), count(l.Rows*l.Subscribers), "–", "–", "–", "–", "–", "–", "–", "–", "–")
			continue
		}
		l.Instances = n
		u := model.Measured.Predict(l)
		l.Redis = true
		relayed := model.Measured.Predict(l)
		t.add(k.name, count(l.Rows), count(l.Rows*l.Subscribers), count(n), digits(u.CPU)+" cores", size(u.Memory), bandwidth(u.Out),
			digits(u.PostgresCPU)+" cores", digits(u.PostgresPresence)+" cores", digits(relayed.PostgresCPU)+" cores", bandwidth(relayed.RedisOut), size(u.Log))
	}
	return t
}

// first is what gives out first.
func first(name string, site model.Site, clients float64) table {
	t := table{name: name, head: []string{"", "", "the most used", "then", "then"}}
	for _, k := range kinds {
		for _, redis := range []bool{false, true} {
			l := k.load(clients)
			if l.Instances = site.Enough(model.Measured, l); l.Instances == 0 {
				l.Instances = clients / site.Connections
			}
			l.Redis = redis
			cells := []string{k.name, map[bool]string{true: "with Redis", false: "each reads"}[redis]}
			for _, p := range site.Parts(model.Measured, l) {
				if p.Name != model.Connections && len(cells) < 5 { // of which more instances take more
					cells = append(cells, p.Name+": "+percent(p.Share))
				}
			}
			t.add(cells...)
		}
	}
	return t
}

// ceiling is what an instance takes to read all that is written, with no client at all.
func ceiling() table {
	t := table{name: "an instance that only reads", head: []string{"rows/s", "an instance's CPU", "PostgreSQL's, for it", "from PostgreSQL to it", "an instance remembers", "Redis remembers"}}
	for _, rows := range []float64{10, 100, 1000, 10_000, 50_000, 100_000, 200_000} {
		u := model.Measured.Predict(model.Load{Instances: 1, Rows: rows, EventBytes: 400})
		c := model.Measured
		record := rows * (400 + c.RecordBytes)
		t.add(count(rows), digits(u.CPU)+" cores", digits(u.PostgresReading)+" cores", bandwidth(u.PostgresOut),
			seconds(min(c.RecentAge, c.RecentBytes/record)), seconds(min(c.StreamAge, c.StreamBytes/record)))
	}
	return t
}

// reading is what instances cost PostgreSQL and Redis.
func reading() table {
	t := table{name: "instances", head: []string{"rows/s", "instances", "PostgreSQL's CPU for reading", "with Redis", "from PostgreSQL", "with Redis", "connections", "with Redis", "Redis' CPU", "from Redis"}}
	for _, rows := range []float64{0, 100, 1000, 10_000} {
		for _, n := range []float64{2, 8, 32, 128} {
			l := model.Load{Instances: n, Rows: rows, EventBytes: 400}
			each := model.Measured.Predict(l)
			l.Redis = true
			relayed := model.Measured.Predict(l)
			t.add(count(rows), count(n), digits(each.PostgresReading)+" cores", digits(relayed.PostgresReading)+" cores", bandwidth(each.PostgresOut), bandwidth(relayed.PostgresOut),
				count(each.PostgresConnections), count(relayed.PostgresConnections), percent(relayed.RedisCPU), bandwidth(relayed.RedisOut))
		}
	}
	return t
}

// storms is how long clients take to come back.
func storms() table {
	t := table{name: "storms", head: []string{"what", "clients", "instances that take them", "half are back after", "99 of 100", "the last", "attempts", "found in memory, in Redis, in the log", "memory of each, on top"}}
	for _, s := range []struct {
		what string
		model.Storm
	}{
		{"one of five instances dies", model.Storm{Clients: 20_000, Instances: 4, Cores: 2, Rows: 1000, Missed: 0.0005}},
		{"one of two dies", model.Storm{Clients: 10_000, Instances: 1, Cores: 2, Rows: 1000, Missed: 0.0005}},
		{"the proxy before all dies", model.Storm{Clients: 100_000, Instances: 5, Cores: 2, Rows: 1000, Missed: 0.0005}},
		{"all instances start anew at once", model.Storm{Clients: 100_000, Instances: 5, Cores: 2, Rows: 1000, Missed: 0.0005, Restarted: true}},
		{"the same, with a tenth of the CPU and 10,000 rows/s", model.Storm{Clients: 100_000, Instances: 5, Cores: 0.2, Rows: 10_000, Missed: 0.0005, Restarted: true}},
		{"the same, with Redis", model.Storm{Clients: 100_000, Instances: 5, Cores: 0.2, Rows: 10_000, Missed: 0.0005, Restarted: true, Redis: true}},
		{"one is drained within 30 s", model.Storm{Clients: 20_000, Over: 30, Instances: 4, Cores: 2, Rows: 1000, Missed: 0.0005}},
		{"one of a hundred large ones dies", model.Storm{Clients: 100_000, Instances: 99, Cores: 8, Rows: 10_000, Missed: 0.00001}},
	} {
		s.EventSize, s.Give, s.Seed = 400, 10, 1
		calm := model.Measured.Weather(s.Storm)
		t.add(s.what, count(float64(s.Clients)), count(float64(s.Instances)), seconds(calm.Half), seconds(calm.Most), seconds(calm.Last),
			count(float64(calm.Attempts)), count(float64(calm.Memory))+", "+count(float64(calm.Stream))+", "+count(float64(calm.Log)), size(calm.Peak))
	}
	return t
}

// present is what presence takes of the one lock under which it is told.
func present() table {
	t := table{name: "presence", head: []string{"users online", "at instances with", "who stay 10 minutes", "30 minutes", "3 hours", "for ever"}}
	for _, users := range []float64{10_000, 100_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000} {
		for _, each := range []float64{20_000, 100_000} {
			if users < each && each > 20_000 {
				continue
			}
			row := []string{count(users), count(min(users, each)) + " of them each"}
			for _, minutes := range []float64{10, 30, 180, 0} {
				u := model.Measured.Predict(model.Load{Clients: users, Users: users, Instances: max(1, users/each), Minutes: minutes})
				row = append(row, percent(u.PostgresPresence))
			}
			t.add(row...)
		}
	}
	return t
}
