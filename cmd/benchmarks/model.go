package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"tidings/cmd/scaling/model"
	"tidings/redis/redistest"
)

// modelled is a point at which the model is compared with the service.
type modelled struct {
	fleet
	clients, rooms int
	rows           int // a second
}

func (m modelled) String() string {
	return fmt.Sprintf("%s, %s, %s, %d rows/s", m.fleet, plural(m.clients, "client"), plural(m.rooms, "room"), m.rows)
}

// load is the point as the model takes it, with as many rows a second as the writer came to.
func (m modelled) load(c compared) model.Load {
	return model.Load{
		Clients: float64(m.clients), Instances: float64(m.instances), Redis: m.redis, Rows: c.rate, Since: float64(c.rows) / c.rate,
		Subscribers: float64(m.clients) / float64(m.rooms), EventBytes: c.eventBytes,
	}
}

// modelPoints are other mixtures than those from which the costs follow.
var modelPoints = []modelled{
	{fleet{1, false}, 200, 1, 50},
	{fleet{1, false}, 1000, 100, 1000},
	{fleet{2, false}, 1000, 50, 500},
	{fleet{2, true}, 1000, 50, 500},
	{fleet{1, false}, 3000, 3000, 1000},
	{fleet{2, false}, 3000, 30, 100},
	{fleet{2, true}, 3000, 300, 1000},
}

// compared is what a point came to.
type compared struct {
	instance, postgres, redis, memory, toRedis, fromRedis float64
	eventBytes, rate                                      float64
	rows                                                  int64 // that were written in all
}

// model compares what docs/scaling.md calculates with, with the service.
func (b *bench) model(ctx context.Context) (section, error) {
	points := modelPoints
	if b.quick {
		points = points[:1]
	}
	window := max(time.Duration(growthSeconds*b.seconds)*time.Second, 2*time.Second)
	s := section{
		title: "The model, and the service",
		method: fmt.Sprintf(`What [scaling.md](scaling.md) says is calculated from what single operations cost (cmd/scaling/model), as this page had it at a certain time. Here the same calculation is made
for some thousand clients and compared with the service: rows are written for %s to all rooms in turn, and each comes to all clients of its room. The points are other
mixtures of clients, rooms and rates than those from which the costs follow. *Rows/s* are those that the writer came to. CPU is by second; an instance's is the average of all. *Ratio* is measured to calculated. %s.`, window, plural(b.few(), "round")),
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
	results := make([][]compared, len(points))
	next := int64(latencyFirstID)
	err = alternate(b.few(), indices(points), func(round, n int) error {
		c, err := b.compare(ctx, relay, points[n], window, &next)
		if err != nil {
			return fmt.Errorf("%s: %w", points[n], err)
		}
		use := model.Measured.Predict(points[n].load(c))
		b.say("  round %d, %s: CPU of an instance %s, calculated %s; of PostgreSQL %s, %s; memory %s, %s", round+1, points[n],
			asMilliseconds(c.instance), asMilliseconds(use.CPU), asMilliseconds(c.postgres), asMilliseconds(use.PostgresCPU), asMegabytes(c.memory), asMegabytes(use.Memory))
		results[n] = append(results[n], c)
		return nil
	})
	if err != nil {
		return s, err
	}
	t := resultTable{head: []string{"Clients", "Instances", "Rooms", "Rows/s", "", "Calculated", "Measured", "lowest – highest", "Ratio", "lowest – highest"}}
	for n, p := range points {
		values := func(of func(compared) float64) (all []float64) {
			for _, c := range results[n] {
				all = append(all, of(c))
			}
			return all
		}
		rate := spreadOf(values(func(c compared) float64 { return c.rate })).median
		add := func(name string, format func(float64) string, used func(model.Use) float64, of func(compared) float64) {
			var calculated []float64 // by round, as the rate is
			for _, c := range results[n] {
				calculated = append(calculated, used(model.Measured.Predict(p.load(c))))
			}
			measured := values(of)
			t.add(asCount(float64(p.clients)), strconv.Itoa(p.instances)+map[bool]string{true: ", Redis", false: ""}[p.redis], asCount(float64(p.rooms)), asCount(rate), name,
				format(spreadOf(calculated).median), spreadOf(measured).cells(format), ratioOf(measured, calculated).cells(asRatio))
		}
		add("CPU of an instance", asMilliseconds, func(u model.Use) float64 { return u.CPU }, func(c compared) float64 { return c.instance })
		add("CPU of PostgreSQL", asMilliseconds, func(u model.Use) float64 { return u.PostgresCPU }, func(c compared) float64 { return c.postgres })
		add("memory of an instance", asMegabytes, func(u model.Use) float64 { return u.Memory }, func(c compared) float64 { return c.memory })
		if p.redis {
			add("CPU of Redis", asMilliseconds, func(u model.Use) float64 { return u.RedisCPU }, func(c compared) float64 { return c.redis })
			add("bytes to Redis", asKilobytes, func(u model.Use) float64 { return u.RedisIn }, func(c compared) float64 { return c.toRedis })
			add("bytes from Redis", asKilobytes, func(u model.Use) float64 { return u.RedisOut }, func(c compared) float64 { return c.fromRedis })
		}
	}
	s.tables = []resultTable{t}
	return s, nil
}

// compare measures a point.
func (b *bench) compare(ctx context.Context, relay *redistest.Server, m modelled, window time.Duration, next *int64) (c compared, err error) {
	database, drop, err := b.postgres.fresh(ctx, "model") // what an instance remembers of the newest events is its own point's
	if err != nil {
		return c, err
	}
	defer drop()
	run, err := b.startFleet(ctx, database, relay, m.fleet)
	if err != nil {
		return c, err
	}
	defer run.stop()
	conn, err := database.db.Pool.Acquire(ctx)
	if err != nil {
		return c, err
	}
	defer conn.Release()
	insert := insertIntoRoom(m.rooms)
	p := &path{
		name: m.String(), next: *next, every: time.Second / time.Duration(m.rows),
		hears: func(client int, id int64) bool { return id%int64(m.rooms) == int64(client%m.rooms) },
		publish: func(ctx context.Context, id int64) error {
			_, err := conn.Exec(ctx, insert, id)
			return err
		},
	}
	defer func() { *next = p.next }()
	// Each room's clients are spread over the instances.
	url := func(client int) string {
		return run.services[(client+client/m.rooms)%m.instances].channel(fmt.Sprintf("%s:%d", rooms, client%m.rooms))
	}
	if p.crowd, err = connectEach(ctx, url, m.clients, p.arrived); err != nil {
		return c, err
	}
	defer p.crowd.close()
	if _, err := b.drive(ctx, p, max(20, m.rows/2)); err != nil { // so that readers are awake, or not
		return c, err
	}
	w, err := b.watchLoad(ctx, run, conn.Ping, p, m.rows, 0, window)
	if err != nil {
		return c, err
	}
	for _, s := range run.services {
		used, err := usageOf(s.cmd.Process.Pid)
		if err != nil {
			return c, err
		}
		c.memory += float64(used.resident) / float64(m.instances)
	}
	if sample := p.crowd.sample.Load(); sample != nil {
		c.eventBytes = float64(len(*sample))
	}
	c.rate, c.rows = w.rate, p.next-*next
	c.instance, c.postgres, c.redis, c.toRedis, c.fromRedis = w.instanceCPU, w.postgres, w.redisCPU, w.in, w.out
	return c, nil
}
