package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	fanoutWriters     = 4
	fanoutSubscribers = 1000
)

// flood is what one round of fanout came to.
type flood struct {
	rowsPerSecond       float64
	deliveriesPerSecond float64
	catchUp             time.Duration // from the writers' end to the last delivery
	got                 tally

	delays      []time.Duration // from a timed row's commit to each of its deliveries, sorted
	backlog     int64           // rows that were written and had not come to some subscriber, at most
	serviceCPU  time.Duration   // of the service, during the flood
	postgresCPU time.Duration   // of PostgreSQL
	clientCPU   time.Duration   // of the clients, that is, of this process
	peak        int64           // bytes of the service's memory at most
}

// fanout measures the service at full speed.
func (b *bench) fanout(ctx context.Context) (section, error) {
	s := section{
		title: "Full speed",
		method: fmt.Sprintf(`%d writers write single rows as fast as they can for %s (%s), %s get every row. All of it (writers, PostgreSQL,
service and clients) shares the machine, so the writers are slowed down by the clients, and the deliveries go on when the writers have
stopped. *Deliveries/s* is from the first write to the last delivery. Each round has a service of its own.

One more writer writes a single row every %d ms meanwhile, and each of its deliveries is timed: *from commit* is the delay of these, %s of each row,
from the moment at which its `+"`INSERT`"+` returned. At the same moments the *backlog* is taken: how many rows had been given an id and had not come to the subscriber that
had the fewest.`,
			fanoutWriters, plural(b.seconds, "second"), b.writers, plural(fanoutSubscribers, "subscriber"), probeEvery.Milliseconds(), asCount(fanoutSubscribers)),
	}
	var floods []flood
	for round := range b.rounds {
		f, err := b.flood(ctx)
		if err != nil {
			return s, err
		}
		b.say("  round %d: %s rows/s, %s deliveries/s, %d lost, %d doubled", round+1,
			asCount(f.rowsPerSecond), asCount(f.deliveriesPerSecond), f.got.lost, f.got.doubled)
		floods = append(floods, f)
	}

	t := resultTable{head: []string{"", "Median", "lowest – highest"}}
	row := func(name string, format func(float64) string, of func(flood) float64) {
		var values []float64
		for _, f := range floods {
			values = append(values, of(f))
		}
		t.add(name, spreadOf(values).cells(format))
	}
	row("Rows/s", asCount, func(f flood) float64 { return f.rowsPerSecond })
	row("Deliveries/s", asCount, func(f flood) float64 { return f.deliveriesPerSecond })
	row("Deliveries", asCount, func(f flood) float64 { return float64(f.got.deliveries) })
	row("Lost", asCount, func(f flood) float64 { return float64(f.got.lost) })
	row("Doubled", asCount, func(f flood) float64 { return float64(f.got.doubled) })
	row("Connections ended by the service", asCount, func(f flood) float64 { return float64(f.got.cut) })
	row("From the writers' end to the last delivery", asSeconds, func(f flood) float64 { return seconds(f.catchUp) })
	for _, q := range quantiles {
		row("From commit, "+q.name, asMilliseconds, func(f flood) float64 { return seconds(rank(f.delays, q.p)) })
	}
	row("Backlog, in rows, at most", asCount, func(f flood) float64 { return float64(f.backlog) })
	if b.measured {
		row("CPU of the service, per million deliveries", asSeconds, func(f flood) float64 { return perMillion(f.serviceCPU, f.got.deliveries) })
		row("CPU of PostgreSQL, per million deliveries", asSeconds, func(f flood) float64 { return perMillion(f.postgresCPU, f.got.deliveries) })
		row("CPU of the clients, per million deliveries", asSeconds, func(f flood) float64 { return perMillion(f.clientCPU, f.got.deliveries) })
		row("Memory of the service, at most", asMegabytes, func(f flood) float64 { return float64(f.peak) })
	}
	s.tables = []resultTable{t}
	return s, nil
}

func (b *bench) flood(ctx context.Context) (f flood, err error) {
	if err := b.postgres.clear(ctx); err != nil {
		return f, err
	}
	service, err := b.startService(ctx)
	if err != nil {
		return f, err
	}
	defer b.stopService(service)
	timed := &probes{}
	crowd, err := connect(ctx, service.channel(topic), fanoutSubscribers, timed.arrived)
	if err != nil {
		return f, err
	}
	defer crowd.close()

	before, clientsBefore, _, err := b.usages(service)
	if err != nil {
		return f, err
	}
	begun := time.Now()
	timed.begin(begun, crowd)
	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	probed := make(chan error, 1)
	go func() { probed <- timed.write(probing, b.postgres) }()
	done, err := b.writers.write(ctx, watched.insertOne(), fanoutWriters, b.seconds)
	stopProbing()
	if err := errors.Join(err, <-probed); err != nil {
		return f, err
	}
	rows, err := b.postgres.rows(ctx, watched)
	if err != nil {
		return f, err
	}
	got, err := crowd.await(ctx, rows)
	if err != nil {
		return f, err
	}
	after, clientsAfter, peak, err := b.usages(service)
	if err != nil {
		return f, err
	}
	b.check("full speed", crowd, got)
	used := after.minus(before)
	return flood{
		rowsPerSecond:       done.perSecond,
		deliveriesPerSecond: float64(got.deliveries) / seconds(got.last.Sub(begun)),
		catchUp:             max(0, got.last.Sub(done.ended)),
		got:                 got,
		delays:              timed.delays(),
		backlog:             timed.backlog,
		serviceCPU:          used.process,
		postgresCPU:         used.postgres,
		clientCPU:           clientsAfter - clientsBefore,
		peak:                peak,
	}, nil
}

// usages are what the service and PostgreSQL have used so far, what the clients have, and the service's memory at most;
// nothing where the system doesn't tell.
func (b *bench) usages(s *service) (used cost, clients time.Duration, peak int64, err error) {
	if !b.measured {
		return used, 0, 0, nil
	}
	if used, err = b.costOf(s); err != nil {
		return used, 0, 0, err
	}
	own, err := usageOf(os.Getpid())
	if err != nil {
		return used, 0, 0, err
	}
	service, err := usageOf(s.cmd.Process.Pid)
	return used, own.cpu, service.peak, err
}
