package main

import (
	"context"
	"fmt"
	"time"
)

const (
	latencyCrowd   = 1000                  // subscribers, at most
	latencyEvery   = 10 * time.Millisecond // 100 rows a second
	latencyFirstID = 1_000_001             // so that all ids have as many digits
)

// quantiles are what is told of the lags.
var quantiles = []struct {
	name string
	p    float64
}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}}

// latency measures how long it takes from a commit to the clients.
func (b *bench) latency(ctx context.Context) (section, error) {
	s := section{
		title: "From commit to client",
		method: fmt.Sprintf(`One writer writes 100 rows a second for %s, each at its time on a fixed schedule, however long the one before took (open
loop); every client gets every row. *From commit* is measured from the moment at which the writer's `+"`INSERT`"+` returned, *from schedule*
from the moment at which it should have begun: a delay cannot hide the rows behind it, and the commit's own time is in it. The
figures are of single deliveries, exact, not estimated from buckets.

The *bare loop* is the floor: a process of its own, as the service is one, that is told of as many rows on the same schedule through a pipe, and
writes the same frame to as many sockets, one after another; rows that came while it wrote go in one write. It has no database, keeps nothing,
and waits for no one. The ratio is to it. The second table is the CPU time that the same rounds took with %s.`,
			plural(b.seconds, "second"), plural(latencyCrowd, "subscriber")),
	}
	if err := b.postgres.clear(ctx); err != nil {
		return s, err
	}
	service, err := b.startService(ctx)
	if err != nil {
		return s, err
	}
	defer b.stopService(service)

	t := resultTable{head: []string{"Subscribers", "Measured", "", "tidings", "lowest – highest", "bare loop", "Ratio", "lowest – highest"}}
	next := int64(latencyFirstID)
	var last [2][]outcome
	for _, n := range []int{1, 100, latencyCrowd} {
		rounds, err := b.latencyOf(ctx, service, n, &next)
		if err != nil {
			return s, fmt.Errorf("%s: %w", plural(n, "subscriber"), err)
		}
		last = rounds
		for _, measured := range []struct {
			name string
			of   func(outcome) []time.Duration
		}{
			{"from commit", func(o outcome) []time.Duration { return o.committed }},
			{"from schedule", func(o outcome) []time.Duration { return o.intended }},
		} {
			for _, q := range quantiles {
				var values [2][]float64
				for path := range values {
					for _, o := range rounds[path] {
						values[path] = append(values[path], seconds(rank(measured.of(o), q.p)))
					}
				}
				t.add(asCount(float64(n)), measured.name, q.name, spreadOf(values[0]).cells(asMilliseconds),
					asMilliseconds(spreadOf(values[1]).median), ratioOf(values[0], values[1]).cells(asRatio))
			}
		}
	}
	s.tables = []resultTable{t}
	if b.measured {
		s.tables = append(s.tables, costTable(last))
		s.remarks = "PostgreSQL's part is that of all its processes: the writer's `INSERT`s are in it, and the service's reading."
	}
	return s, nil
}

// costTable tells the CPU time of tidings and of the bare loop in the same rounds.
func costTable(rounds [2][]outcome) resultTable {
	t := resultTable{head: []string{"CPU per million deliveries", "Median", "lowest – highest", "Ratio", "lowest – highest"}}
	values := func(rounds []outcome, of func(cost) time.Duration) (each []float64) {
		for _, o := range rounds {
			each = append(each, perMillion(of(o.cost), o.deliveries()))
		}
		return each
	}
	process := func(c cost) time.Duration { return c.process }
	floor := values(rounds[1], process)
	for _, of := range []struct {
		name   string
		values []float64
	}{
		{"tidings, the service", values(rounds[0], process)},
		{"tidings, PostgreSQL", values(rounds[0], func(c cost) time.Duration { return c.postgres })},
		{"bare loop", floor},
	} {
		t.add(of.name, spreadOf(of.values).cells(asSeconds), ratioOf(of.values, floor).cells(asRatio))
	}
	return t
}

// latencyOf returns the rounds of tidings and of the bare loop.
func (b *bench) latencyOf(ctx context.Context, service *service, n int, next *int64) (rounds [2][]outcome, err error) {
	conn, err := b.postgres.db.Pool.Acquire(ctx)
	if err != nil {
		return rounds, err
	}
	defer conn.Release()
	relay, err := startRelay(ctx)
	if err != nil {
		return rounds, err
	}
	defer relay.close()

	insert := watched.insertWithID()
	paths := []*path{
		{name: "tidings", publish: func(ctx context.Context, id int64) error {
			_, err := conn.Exec(ctx, insert, id)
			return err
		}, cost: func() (cost, error) { return b.costOf(service) }},
		{name: "bare loop", publish: relay.publish, cost: func() (cost, error) {
			used, err := usageOf(relay.process())
			return cost{process: used.cpu}, err
		}},
	}
	first := *next
	for i, url := range []string{service.channel(topic), relay.url()} {
		p := paths[i]
		p.next, p.every = first, latencyEvery
		if !b.measured {
			p.cost = nil
		}
		if p.crowd, err = connect(ctx, url, n, p.arrived); err != nil {
			return rounds, fmt.Errorf("%s: %w", p.name, err)
		}
		defer p.crowd.close()
		// What does not count: the first rows find nothing prepared, and the bare loop learns what an event looks like.
		if _, err := b.drive(ctx, p, 50); err != nil {
			return rounds, fmt.Errorf("%s: %w", p.name, err)
		}
		if sample := p.crowd.sample.Load(); i == 0 && sample != nil {
			if err := relay.imitate(*sample); err != nil {
				return rounds, fmt.Errorf("bare loop: %w", err)
			}
		}
	}
	rows := int(time.Duration(b.seconds) * time.Second / latencyEvery)
	err = alternate(b.rounds, []int{0, 1}, func(round, i int) error {
		o, err := b.drive(ctx, paths[i], rows)
		if err != nil {
			return fmt.Errorf("%s: %w", paths[i].name, err)
		}
		b.say("  round %d, %s, %s: p50 %s, p99 %s, %s of CPU per million deliveries", round+1, plural(n, "subscriber"), paths[i].name,
			asMilliseconds(o.quantile(0.5)), asMilliseconds(o.quantile(0.99)), asSeconds(perMillion(o.cost.process, o.deliveries())))
		rounds[i] = append(rounds[i], o)
		return nil
	})
	*next = max(paths[0].next, paths[1].next)
	return rounds, err
}
