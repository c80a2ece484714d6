package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"tidings/redis/redistest"
)

const (
	instanceClients = 4               // of each instance
	instanceIdle    = 8 * time.Second // that instances are watched while nobody writes
)

// instanceLoads are what is written meanwhile: nothing, less than what keeps a reader awake, and more.
var instanceLoads = []int{0, 100, 1000}

// watch is what one measurement of a fleet came to; all but the latency is by second.
type watch struct {
	rate        float64 // rows that were written
	postgres    float64 // seconds of CPU
	transacted  float64 // transactions beside the writer's
	blocks      float64
	redisCPU    float64
	commands    float64
	in, out     float64
	instanceCPU float64 // of one, on average
	busiest     float64 // of the one that used the most
	p50, p99    float64
	connections int64
	listening   int64
}

// instances measures what each further instance costs PostgreSQL, with and without Redis.
func (b *bench) instances(ctx context.Context) (section, error) {
	numbers := []int{1, 2, 4, 8}
	idle := instanceIdle
	if b.quick {
		numbers, idle = numbers[:2], time.Second
	}
	window := max(time.Duration(b.seconds)*time.Second*4/3, time.Second)
	s := section{
		title: "Many instances, with and without Redis",
		method: fmt.Sprintf(`So many instances serve one database, each with %s that get every row; *with Redis* one of them reads the log for all (`+"`--redis-url`"+`), and Redis keeps
nothing on a disk. They are watched for %s while nobody writes; then one writer writes %d rows a second for %s, on a fixed schedule, and then %s. At the first rate a reader
sleeps, and each row rings for it; at the second it stays awake. CPU is that of all of PostgreSQL's processes, the writer's among them: *no instance* is what the writing takes by itself. *Rows/s* are those that the writer came to, *transactions* are
those beside the writer's, *blocks* those that PostgreSQL looked at in memory, all of them by second. *With Redis* is divided by the same number of instances without, in the same round. %s.
What each instance does once a minute (it compares what it has read with the log) and every quarter of a minute (it looks whether the log is to be rotated) seldom falls into such a time.`,
			plural(instanceClients, "client"), idle, instanceLoads[1], window.Round(time.Second), asCount(float64(instanceLoads[2])), plural(b.few(), "round")),
	}
	if !b.measured {
		s.remarks = "Not measured: this system does not tell what a process uses in the way that this program reads it."
		return s, nil
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		s.remarks = "Not measured: there is no redis-server."
		return s, nil
	}
	relay, err := redistest.New(b.dir)
	if err != nil {
		return s, err
	}
	defer relay.Kill()
	database, drop, err := b.postgres.fresh(ctx, "instances")
	if err != nil {
		return s, err
	}
	defer drop()

	fleets := []fleet{{}}
	for _, n := range numbers {
		fleets = append(fleets, fleet{n, false}, fleet{n, true})
	}
	watches := make(map[fleet]map[int][]watch)
	next := int64(latencyFirstID)
	err = alternate(b.few(), fleets, func(round int, f fleet) error {
		by, err := b.watchFleet(ctx, database, relay, f, idle, window, &next)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		if watches[f] == nil {
			watches[f] = make(map[int][]watch)
		}
		for load, w := range by {
			watches[f][load] = append(watches[f][load], w)
		}
		few, many := by[instanceLoads[1]], by[instanceLoads[2]]
		b.say("  round %d, %s: PostgreSQL's CPU %s a second idle, %s at %s rows/s, %s at %s, p50 there %s", round+1, f, asMilliseconds(by[0].postgres),
			asMilliseconds(few.postgres), asCount(few.rate), asMilliseconds(many.postgres), asCount(many.rate), asMilliseconds(many.p50))
		return nil
	})
	if err != nil {
		return s, err
	}
	cpu, work := fleetPostgres(numbers, watches)
	s.tables = []resultTable{cpu, work, fleetLatency(numbers, watches), fleetCPU(numbers, watches)}
	s.charts = fleetCharts(numbers, watches)
	s.remarks = fleetRemarks(numbers, watches)
	return s, nil
}

// watchFleet starts so many instances, and returns what they cost by what is written.
func (b *bench) watchFleet(ctx context.Context, database *postgres, relay *redistest.Server, f fleet, idle, window time.Duration, next *int64) (map[int]watch, error) {
	if err := database.clear(ctx); err != nil {
		return nil, err
	}
	run, err := b.startFleet(ctx, database, relay, f)
	if err != nil {
		return nil, err
	}
	defer run.stop()
	conn, err := database.db.Pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	insert := watched.insertWithID()
	p := &path{name: f.String(), next: *next, every: latencyEvery, publish: func(ctx context.Context, id int64) error {
		_, err := conn.Exec(ctx, insert, id)
		return err
	}}
	defer func() { *next = p.next }()
	if p.crowd, err = connectEach(ctx, func(client int) string { return run.services[client%f.instances].channel(topic) }, instanceClients*f.instances, p.arrived); err != nil {
		return nil, err
	}
	defer p.crowd.close()
	if _, err := b.drive(ctx, p, 50); err != nil { // what does not count: the first rows find nothing prepared
		return nil, err
	}

	by := make(map[int]watch)
	for _, load := range instanceLoads {
		if load > 0 {
			p.every = time.Second / time.Duration(load)
			if _, err := b.drive(ctx, p, load/2); err != nil { // so that readers are awake, or not
				return nil, err
			}
		}
		w, err := b.watchLoad(ctx, run, conn.Ping, p, load, idle, window)
		if err != nil {
			return nil, err
		}
		by[load] = w
	}
	return by, nil
}

// watchLoad watches while so many rows are written in a second, or nobody writes.
func (b *bench) watchLoad(ctx context.Context, run *fleetRun, ping func(ctx context.Context) error, p *path, load int, idle, window time.Duration) (w watch, err error) {
	counted, err := run.database.count(ctx, ping)
	if err != nil {
		return w, err
	}
	before, err := run.strain()
	if err != nil {
		return w, err
	}
	before.counted = counted
	rows := int(window.Seconds() * float64(load))
	if load == 0 {
		err = pause(ctx, idle)
	} else {
		var o outcome
		if o, err = b.drive(ctx, p, rows); len(o.committed) > 0 {
			w.p50, w.p99 = o.quantile(0.5), o.quantile(0.99)
		}
	}
	if err != nil {
		return w, err
	}
	after, err := run.strain()
	if err != nil {
		return w, err
	}
	if after.counted, err = run.database.count(ctx, ping); err != nil {
		return w, err
	}
	if w.connections, _, w.listening, err = run.database.connected(ctx); err != nil {
		return w, err
	}
	d, took := after.minus(before), seconds(after.at.Sub(before.at))
	w.rate = float64(rows) / took
	w.postgres = seconds(d.postgres) / took
	counting := took
	if load == 0 {
		counting = seconds(after.counted.at.Sub(before.counted.at))
	}
	w.transacted = max(0, float64(d.counted.transactions-int64(rows))-2) / counting // and those that asked
	w.blocks = float64(d.counted.blocks) / counting
	w.redisCPU, w.commands = seconds(d.redis.cpu)/took, float64(d.redis.commands)/took
	w.in, w.out = float64(d.redis.in)/took, float64(d.redis.out)/took
	for _, used := range d.instances {
		w.instanceCPU += seconds(used) / took / float64(len(d.instances))
		w.busiest = max(w.busiest, seconds(used)/took)
	}
	return w, nil
}
