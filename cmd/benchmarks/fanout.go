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

	measured   bool          // whether the system tells what processes use
	serviceCPU time.Duration // of the service, during the flood
	clientCPU  time.Duration // of the clients, that is, of this process
	peak       int64         // bytes of the service's memory at most
}

// fanout measures the service at full speed.
func (b *bench) fanout(ctx context.Context) (section, error) {
	s := section{
		title: "Full speed",
		method: fmt.Sprintf(`%d writers write single rows as fast as they can for %s (%s), %s get every row. All of it (writers, PostgreSQL,
service and clients) shares the machine, so the writers are slowed down by the clients, and the deliveries go on when the writers have
stopped. *Deliveries/s* is from the first write to the last delivery. Each round has a service of its own.`,
			fanoutWriters, plural(b.seconds, "second"), b.writers, plural(fanoutSubscribers, "subscriber")),
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
	perMillion := func(d time.Duration, f flood) float64 { return seconds(d) / float64(f.got.deliveries) * 1e6 }
	row("Rows/s", asCount, func(f flood) float64 { return f.rowsPerSecond })
	row("Deliveries/s", asCount, func(f flood) float64 { return f.deliveriesPerSecond })
	row("Deliveries", asCount, func(f flood) float64 { return float64(f.got.deliveries) })
	row("Lost", asCount, func(f flood) float64 { return float64(f.got.lost) })
	row("Doubled", asCount, func(f flood) float64 { return float64(f.got.doubled) })
	row("Connections ended by the service", asCount, func(f flood) float64 { return float64(f.got.cut) })
	row("From the writers' end to the last delivery", asSeconds, func(f flood) float64 { return seconds(f.catchUp) })
	if floods[0].measured {
		row("CPU of the service, per million deliveries", asSeconds, func(f flood) float64 { return perMillion(f.serviceCPU, f) })
		row("CPU of the clients, per million deliveries", asSeconds, func(f flood) float64 { return perMillion(f.clientCPU, f) })
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
	crowd, err := connect(ctx, service.channel(topic), fanoutSubscribers, nil)
	if err != nil {
		return f, err
	}
	defer crowd.close()

	serviceBefore, clientsBefore, measured, err := usages(service)
	if err != nil {
		return f, err
	}
	begun := time.Now()
	rate, ended, err := b.writers.write(ctx, watched, fanoutWriters, b.seconds)
	if err != nil {
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
	serviceAfter, clientsAfter, _, err := usages(service)
	if err != nil {
		return f, err
	}
	b.check("full speed", crowd, got)
	return flood{
		rowsPerSecond:       rate,
		deliveriesPerSecond: float64(got.deliveries) / seconds(got.last.Sub(begun)),
		catchUp:             max(0, got.last.Sub(ended)),
		got:                 got,
		measured:            measured,
		serviceCPU:          serviceAfter.cpu - serviceBefore.cpu,
		clientCPU:           clientsAfter.cpu - clientsBefore.cpu,
		peak:                serviceAfter.peak,
	}, nil
}

// usages are the service's and our own, if the system tells.
func usages(s *service) (service, own usage, known bool, err error) {
	service, err = usageOf(s.cmd.Process.Pid)
	if err == nil {
		own, err = usageOf(os.Getpid())
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return service, own, false, nil
	}
	return service, own, err == nil, err
}
