package main

import (
	"context"
	"fmt"
	"time"
)

const (
	growthSeconds = 2      // how many times as long as others these measurements last: few rows are written in a second
	growthLimit   = 20_000 // deliveries a second that are not exceeded where each row has many of them
)

// subscribers measures how latency and cost grow with the subscribers of one channel.
func (b *bench) subscribers(ctx context.Context) (section, error) {
	counts := []int{1, 10, 100, 1000, 10_000}
	if b.quick {
		counts = counts[:4]
	}
	window := time.Duration(growthSeconds*b.seconds) * time.Second
	s := section{
		title: "How cost grows with subscribers",
		method: fmt.Sprintf(`All subscribe to the same channel, on which one writer writes 100 rows a second for %s, or so many that there are no more than
%s deliveries a second: what is to be seen is the way of a row, not an overloaded machine. Latency is measured from commit, as above. CPU is that of the
service, per million deliveries, with all that it does besides. %s, each measurement with a service of its own.`,
			asWholeSeconds(window), asCount(growthLimit), plural(b.few(), "round")),
	}
	p50, p99, cpu, memory := figures{}, figures{}, figures{}, figures{}
	next := int64(latencyFirstID)
	err := alternate(b.few(), counts, func(round, n int) error {
		p := &path{name: "tidings", every: growthEvery(n), next: next}
		o, used, err := b.grow(ctx, p, watched.insertWithID(), n, func(s *service, int int) string { return s.channel(topic) }, window)
		if err != nil {
			return fmt.Errorf("%s: %w", plural(n, "subscriber"), err)
		}
		next = p.next
		p50.add(n, o.quantile(0.5))
		p99.add(n, o.quantile(0.99))
		if b.measured {
			cpu.add(n, perMillion(o.cost.process, o.deliveries()))
			memory.add(n, float64(used.peak))
		}
		b.say("  round %d, %s: p50 %s, p99 %s, %s of CPU per million deliveries", round+1, plural(n, "subscriber"),
			asMilliseconds(o.quantile(0.5)), asMilliseconds(o.quantile(0.99)), asSeconds(perMillion(o.cost.process, o.deliveries())))
		return nil
	})
	if err != nil {
		return s, err
	}
	t := resultTable{head: []string{"Subscribers", "Rows/s", "From commit, p50", "lowest – highest", "p99", "lowest – highest",
		"CPU per million", "lowest – highest", "Memory at most"}}
	for _, n := range counts {
		t.add(asCount(float64(n)), asCount(seconds(time.Second)/seconds(growthEvery(n))), spreadOf(p50[n]).cells(asMilliseconds), spreadOf(p99[n]).cells(asMilliseconds),
			spreadOf(cpu[n]).cells(asSeconds), asMegabytes(spreadOf(memory[n]).median))
	}
	s.tables = []resultTable{t}
	s.charts = []chart{{
		name: "subscribers-latency", title: "From commit to client, by the subscribers of the channel", x: "subscribers", y: "milliseconds",
		curves: []curve{p50.curve("p50", 1000), p99.curve("p99", 1000)},
	}}
	if b.measured {
		s.charts = append(s.charts, chart{
			name: "subscribers-cpu", title: "CPU of the service, by the subscribers of the channel", x: "subscribers", y: "seconds per million deliveries",
			curves: []curve{cpu.curve("service", 1)},
		})
	}
	return s, nil
}

// growthEvery is the time from one row to the next where each is delivered n times.
func growthEvery(n int) time.Duration {
	return max(latencyEvery, time.Second*time.Duration(n)/growthLimit)
}

// grow drives a path for so long with n clients on a new service; insert is given the row's id, and each client has its URL.
func (b *bench) grow(ctx context.Context, p *path, insert string, n int, url func(*service, int) string, window time.Duration) (o outcome, used usage, err error) {
	if err := b.postgres.clear(ctx); err != nil {
		return o, used, err
	}
	service, err := b.startService(ctx)
	if err != nil {
		return o, used, err
	}
	defer b.stopService(service)
	conn, err := b.postgres.db.Pool.Acquire(ctx)
	if err != nil {
		return o, used, err
	}
	defer conn.Release()
	p.publish = func(ctx context.Context, id int64) error {
		_, err := conn.Exec(ctx, insert, id)
		return err
	}
	if b.measured {
		p.cost = func() (cost, error) { return b.costOf(service) }
	}
	if p.crowd, err = connectEach(ctx, func(client int) string { return url(service, client) }, n, p.arrived); err != nil {
		return o, used, err
	}
	defer p.crowd.close()
	// What does not count: the first rows find nothing prepared.
	if _, err := b.drive(ctx, p, 5); err != nil {
		return o, used, err
	}
	if o, err = b.drive(ctx, p, max(1, int(window/p.every))); err != nil {
		return o, used, err
	}
	if b.measured {
		used, err = usageOf(service.cmd.Process.Pid)
	}
	return o, used, err
}
