// Package model predicts what tidings needs for so many clients: CPU, memory, bandwidth and sockets of its instances, of PostgreSQL and of
// Redis, and which of them gives out first. What it knows is what single operations were measured to cost, and how often each is done.
//
// It is arithmetic, the same for the same input. What it leaves out (caches, collections of garbage, queues, a kernel that is busy with something
// else) makes a real machine that is more than two thirds busy slower than it says. cmd/benchmarks compares it with the service itself, at
// a few thousand clients; all beyond that is extrapolated.
package model

import "math"

// Costs are what an operation takes. CPU is in seconds of one core.
type Costs struct {
	// An instance.
	Base        float64 // CPU a second, with nobody connected
	Wake        float64 // CPU to hear of, and read, what is new, however much that is
	Event       float64 // CPU for an event, however many get it
	WriteFew    float64 // CPU to write to a socket, where an instance has a thousand
	WriteMany   float64 // the same, where it has ten thousand or more
	Delivery    float64 // CPU for an event in what is written
	GraphQL     float64 // how many times a delivery's CPU one on /graphql takes
	Rest        float64 // CPU a second of a connection on which nothing happens
	Accept      float64 // CPU to accept a client that comes back, and to subscribe it where it was
	BaseBytes   float64
	ClientBytes float64 // memory of a connection
	StormBytes  float64 // and on top of that, at most, while it comes back with all the others
	QueueBytes  float64 // memory of a client that does not read: --queue-bytes
	// Of what is in memory, --recent-bytes, and how many times that a process may hold before it is collected.
	RecentBytes float64
	RecentAge   float64 // seconds
	Garbage     float64

	// PostgreSQL.
	Row           float64 // CPU to write a row of a watched table, in a transaction of its own
	Quiet         float64 // CPU more for each of the first rows of a second, AwakeAt of them: whatever sleeps is to be woken
	Read          float64 // CPU to read what is new, however much that is
	ReadEvent     float64 // CPU to read an event
	Instance      float64 // CPU a second for an instance that reads, besides
	Follower      float64 // the same for one that follows by Redis
	Judge         float64 // CPU to ask row level security of what a read has brought
	JudgeSet      float64 // besides, for each set of rights
	JudgeRow      float64 // besides, for each row and set of rights
	Presence      float64 // CPU for a user who comes or goes
	PresenceCheck float64 // CPU for a user of an instance who is told of anew
	CheckEvery    float64 // seconds until that is done again, at least
	CheckEach     float64 // seconds for each user of an instance, if that is more
	LogBytes      float64 // of an entry with its indexes, for an event of EventBytes
	EventBytes    float64 // of the events that were measured
	Connections   float64 // of an instance that reads
	Listens       float64 // of which it has more than one that follows

	// Redis.
	RedisIdle   float64 // CPU a second
	RedisIdleOf float64 // CPU a second for an instance that follows
	Call        float64 // CPU to take what was read together
	Entry       float64 // CPU to give that to an instance that follows
	RedisByte   float64 // CPU to take or give a byte
	RecordBytes float64 // of an event in it, beside the row itself
	CallBytes   float64 // of a call, beside what it gives
	AskBytes    float64 // of a question of one that follows
	EntryBytes  float64 // of an entry, for one that follows, beside what is in it
	StreamBytes float64 // --redis-stream-bytes
	StreamAge   float64 // seconds: --redis-stream-age
	LogEvent    float64 // seconds to read an event of the log for a client that comes back

	// When a reader sleeps and wakes up, by rows a second, and how long one that is awake waits.
	AwakeAt   float64
	AwakeWait float64
}

// Measured are the costs of docs/benchmarks.md and docs/performance.md: two cores of an AMD EPYC, PostgreSQL 15, Linux 6.18, loopback. Each line says
// from which section it follows.
var Measured = Costs{
	Base:        1e-3,     // Connections at rest: with nobody connected
	Wake:        0.38e-3,  // How cost grows with subscribers: 400 µs a row for one subscriber, without its write and the base
	Event:       3.5e-6,   // A writer, the service beside it: 6 to 8 µs a row at 12,000 rows a second, of which 3 are for waking up, and half a one for writes
	WriteFew:    7.2e-6,   // How cost grows with subscribers: 1,000 of them, without the waking up
	WriteMany:   10.2e-6,  // the same: 10,000
	Delivery:    0.05e-6,  // Full speed: 0.38 µs a delivery, of which the share in a write is the most
	GraphQL:     1.2,      // GraphQL subscriptions: 1.16 and 1.26
	Rest:        0.92e-6,  // Connections at rest
	Accept:      228e-6,   // Everybody comes back at once: 2.28 s of two cores for 10,000, half of it the clients'
	BaseBytes:   35e6,     // The model, and the service: 200 clients
	ClientBytes: 9.7e3,    // the same: with 10,000; at rest it is 7.8 KB
	StormBytes:  23e3,     // Everybody comes back at once: 324 MB for 10,000, without the 95 MB at rest
	QueueBytes:  1 << 20,  // --queue-bytes
	RecentBytes: 64 << 20, // --recent-bytes
	RecentAge:   300,      // --recent-age
	Garbage:     2,        // Go's collector, as it is set

	Row:           110e-6,  // A writer, the service beside it: 120 µs with pgbench
	Quiet:         0.3e-3,  // Many instances: no instance, at 100 rows a second
	Read:          0.22e-3, // Many instances: what one more costs, at 1,000 rows a second
	ReadEvent:     4e-6,    // A writer, the service beside it
	Instance:      1.2e-3,  // Many instances: what one more costs while nobody writes
	Follower:      0.85e-3, // the same, with Redis
	Judge:         1.2e-3,  // Row security: the four lines together
	JudgeSet:      136e-6,
	JudgeRow:      14e-6,
	Presence:      28e-6, // Presence: 140 ms for 5,000
	CheckEvery:    60,    // db.Presence
	CheckEach:     5e-3,  // db.Presence
	PresenceCheck: 13e-6, // tidings.present() with all of 100,000 users, which were there: 1.35 s
	LogBytes:      403,   // Writing on and on
	EventBytes:    330,   // the rows of all sections
	Connections:   6,     // Many instances
	Listens:       1,     // Many instances: 48 connections of 8, and with Redis 40

	RedisIdle:   2.3e-3,    // Many instances: nobody writes
	RedisIdleOf: 0.13e-3,   // the same, from 1 to 8 instances
	Call:        0.14e-3,   // Many instances: one instance
	Entry:       23e-6,     // the same, from 1 to 8
	RedisByte:   0.11e-9,   // redis-benchmark, GET of one byte and of 40,000
	RecordBytes: 70,        // Many instances: bytes to Redis
	CallBytes:   400,       // the same, at 100 rows a second
	AskBytes:    160,       // the same, from 1 to 8 instances
	EntryBytes:  150,       // the same
	StreamBytes: 256 << 20, // --redis-stream-bytes
	StreamAge:   3600,      // --redis-stream-age
	LogEvent:    3e-6,      // How cost grows with the log: resuming

	AwakeAt:   200,   // How it works
	AwakeWait: 10e-3, // How it works
}

// Load is what is asked of it all.
type Load struct {
	Clients     float64
	Instances   float64
	Redis       bool
	Rows        float64 // that are written to watched tables in a second, each in a transaction of its own
	Subscribers float64 // of an event, of all instances together
	EventBytes  float64 // of an event on the wire
	Users       float64 // of the clients, those who have signed in: they have a presence
	Minutes     float64 // that a client stays, on average; 0: for ever
	Rights      float64 // sets of rights at each instance, where the rows have row level security
	Slow        float64 // the share of clients that do not read
	GraphQL     bool
	Retention   float64 // seconds for which the log is kept
	Since       float64 // seconds for which this has gone on; 0: long
}

// Use is how much of everything that is.
type Use struct {
	// One instance.
	CPU         float64 // cores
	Memory      float64 // bytes
	Out         float64 // bytes a second to clients
	Connections float64
	Events      float64 // a second, that it reads
	Deliveries  float64 // a second
	Writes      float64 // to sockets, a second
	// PostgreSQL.
	PostgresCPU         float64 // cores
	PostgresWriting     float64 // of them, for writing what is watched, with the triggers
	PostgresReading     float64 // for the instances' reading
	PostgresPresence    float64
	PostgresOut         float64 // bytes a second to instances
	PostgresConnections float64
	Log                 float64 // bytes on its disk
	// Redis.
	RedisCPU float64 // of its one core
	RedisIn  float64 // bytes a second
	RedisOut float64
}

// Predict says what a load needs.
func (c Costs) Predict(l Load) Use {
	u := Use{Connections: l.Clients / l.Instances}
	arrivals := 0.0 // of clients a second, at all instances
	if l.Minutes > 0 {
		arrivals = l.Clients / (60 * l.Minutes)
	}
	comings := 0.0 // users who come or go, of each of which there is an event
	if l.Clients > 0 {
		comings = 2 * arrivals * l.Users / l.Clients
	}
	u.Events = l.Rows + comings
	reads := c.reads(u.Events)
	each := 0.0 // events a second of one client
	if l.Clients > 0 {
		each = l.Rows * l.Subscribers / l.Clients
	}
	u.Deliveries = each * u.Connections
	u.Writes = together(each, reads, u.Events < c.AwakeAt) * u.Connections
	write, delivery := c.write(u.Connections), c.Delivery
	if l.GraphQL {
		write, delivery = write*c.GraphQL, delivery*c.GraphQL
	}
	u.CPU = c.Base + reads*c.Wake + u.Events*c.Event + u.Writes*write + u.Deliveries*delivery + u.Connections*c.Rest
	u.CPU += arrivals / l.Instances * c.Accept
	record := l.EventBytes + c.RecordBytes
	written := u.Events * record // bytes a second
	age := c.RecentAge
	if l.Since > 0 {
		age = min(age, l.Since)
	}
	recent := min(c.RecentBytes, written*age)
	u.Memory = c.BaseBytes + u.Connections*c.ClientBytes + l.Slow*u.Connections*c.QueueBytes + c.Garbage*recent
	const header = 4 + 40 // of a WebSocket's frame, and of IP and TCP
	u.Out = u.Deliveries*(l.EventBytes+4) + u.Writes*(header-4)

	readers := l.Instances
	if l.Redis {
		readers = 1
	}
	u.PostgresWriting = l.Rows*c.Row + min(l.Rows, c.AwakeAt)*c.Quiet
	u.PostgresReading = readers*(c.Instance+reads*c.Read+u.Events*c.ReadEvent) + (l.Instances-readers)*c.Follower
	if l.Rights > 0 { // each instance asks for its own clients
		u.PostgresReading += l.Instances * (reads*(c.Judge+l.Rights*c.JudgeSet) + l.Rows*l.Rights*c.JudgeRow)
	}
	u.PostgresPresence = comings*c.Presence + l.Users/max(c.CheckEvery, l.Users/l.Instances*c.CheckEach)*c.PresenceCheck
	u.PostgresCPU = u.PostgresWriting + u.PostgresReading + u.PostgresPresence
	u.PostgresOut = readers * written
	u.PostgresConnections = l.Instances*c.Connections - (l.Instances-readers)*c.Listens
	u.Log = u.Events * l.Retention * c.LogBytes * l.EventBytes / c.EventBytes

	if l.Redis {
		followers := l.Instances - 1
		u.RedisIn = written + reads*(c.CallBytes+followers*c.AskBytes)
		u.RedisOut = followers * (written + reads*c.EntryBytes)
		u.RedisCPU = c.RedisIdle + followers*c.RedisIdleOf + reads*(c.Call+followers*c.Entry) + (u.RedisIn+u.RedisOut)*c.RedisByte
	}
	return u
}

// reads is how often in a second a reader reads, with so many transactions in it: one that sleeps for each, one that is awake when it has waited.
func (c Costs) reads(rows float64) float64 {
	if rows < c.AwakeAt {
		return rows
	}
	return 1 / (c.AwakeWait + c.Read)
}

// together is how often in a second a client is written to who gets so many events: what a read has brought goes in one.
func together(events, reads float64, asleep bool) float64 {
	if asleep || reads == 0 {
		return events
	}
	return reads * (1 - math.Exp(-events/reads))
}

// write is what a write to a socket costs, of so many.
func (c Costs) write(connections float64) float64 {
	share := math.Log10(max(connections, 1)/1000) / math.Log10(10)
	return c.WriteFew + (c.WriteMany-c.WriteFew)*min(max(share, 0), 1)
}
