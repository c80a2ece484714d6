package main

import (
	"context"
	"fmt"
	"time"
)

const (
	idleConnections = 10_000           // that are at rest
	idleWindow      = 25 * time.Second // the default interval of pings
	idleBefore      = 10 * time.Second // that the service is watched without them
)

// rest is what one round of idle came to.
type rest struct {
	accepted      time.Duration // from the first dial until the last was subscribed
	empty, full   int64         // bytes that the service holds, without them and with them
	cpu, emptyCPU float64       // seconds of CPU a second
}

// idle measures what a connection costs that nothing is sent on, and how soon many of them are subscribed.
func (b *bench) idle(ctx context.Context) (section, error) {
	n, window, before := idleConnections, idleWindow, idleBefore
	if b.quick {
		n, window, before = n/10, 2*time.Second, time.Second
	}
	s := section{
		title: "Connections at rest",
		method: fmt.Sprintf(`%s, each subscribed to a topic on which nothing happens. The service is watched for %s without them and for %s
with them; the figures are the difference, divided by their number. It pings every %s%s, so that every connection
is pinged, and answers, once while it is watched. *Accepted and subscribed* is from the first dial until the last of them is told
that it is subscribed; %d are on their way at a time, and the clients' half of it is on the same machine. Each round has a service of its own,
on a database without events: a service that starts reads the newest ones, and what that took would be given to the connections.`,
			plural(n, "connection"), asWholeSeconds(before), asWholeSeconds(window), asWholeSeconds(window),
			map[bool]string{true: ", which is the default", false: " here"}[window == idleWindow], dialling),
	}
	if !b.measured {
		s.remarks = "Not measured: this system does not tell what a process uses in the way that this program reads it."
		return s, nil
	}
	quiet, drop, err := b.postgres.fresh(ctx, "idle")
	if err != nil {
		return s, err
	}
	defer drop()
	var rounds []rest
	for round := range b.few() {
		r, err := b.rest(ctx, quiet, n, window, before)
		if err != nil {
			return s, err
		}
		b.say("  round %d: %s open after %s, %s and %s of CPU a second each", round+1, asCount(float64(n)), asSeconds(seconds(r.accepted)),
			asKilobytes(float64(r.full-r.empty)/float64(n)), asMicroseconds((r.cpu-r.emptyCPU)/float64(n)))
		rounds = append(rounds, r)
	}

	t := resultTable{head: []string{"", "Each", "lowest – highest", "All", "lowest – highest"}}
	spreadFor := func(of func(rest) float64) spread {
		var values []float64
		for _, r := range rounds {
			values = append(values, of(r))
		}
		return spreadOf(values)
	}
	row := func(name string, each, all func(float64) string, of func(rest) float64) {
		t.add(name, spreadFor(func(r rest) float64 { return of(r) / float64(n) }).cells(each), spreadFor(of).cells(all))
	}
	row("Memory", asKilobytes, asMegabytes, func(r rest) float64 { return float64(r.full - r.empty) })
	row("CPU a second", asMicroseconds, asMilliseconds, func(r rest) float64 { return r.cpu - r.emptyCPU })
	row("Accepted and subscribed", asMicroseconds, asSeconds, func(r rest) float64 { return seconds(r.accepted) })
	s.tables = []resultTable{t}
	s.remarks = fmt.Sprintf(`Memory is what the service's process holds (resident), from %s to %s (medians); what the kernel keeps for a socket comes on top. With nobody connected
the service uses %s of CPU a second.`,
		asMegabytes(spreadFor(func(r rest) float64 { return float64(r.empty) }).median),
		asMegabytes(spreadFor(func(r rest) float64 { return float64(r.full) }).median),
		asMilliseconds(spreadFor(func(r rest) float64 { return r.emptyCPU }).median))
	return s, nil
}

func (b *bench) rest(ctx context.Context, quiet *postgres, n int, window, before time.Duration) (r rest, err error) {
	service, err := b.startServiceOn(ctx, quiet, "--ping-interval="+window.String())
	if err != nil {
		return r, err
	}
	defer b.stopService(service)
	empty, emptyCPU, err := observe(ctx, service, before)
	if err != nil {
		return r, err
	}
	crowd, err := connect(ctx, service.channel(topic), n, nil)
	if err != nil {
		return r, err
	}
	defer crowd.close()
	full, cpu, err := observe(ctx, service, window)
	if err != nil {
		return r, err
	}
	b.check("connections at rest", crowd, tally{})
	return rest{accepted: crowd.took, empty: empty, full: full, cpu: cpu, emptyCPU: emptyCPU}, nil
}

// observe waits, and returns what the service holds at the end, and the seconds of CPU that it used in each.
func observe(ctx context.Context, s *service, window time.Duration) (resident int64, cpu float64, err error) {
	before, err := usageOf(s.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	if err := pause(ctx, window); err != nil {
		return 0, 0, err
	}
	after, err := usageOf(s.cmd.Process.Pid)
	return after.resident, seconds(after.cpu-before.cpu) / seconds(window), err
}
