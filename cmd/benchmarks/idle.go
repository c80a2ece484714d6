package main

import (
	"context"
	"fmt"
	"time"
)

// idleConnections is how many connections are at rest.
const idleConnections = 2000

// idle measures what a connection costs that nothing is sent on.
func (b *bench) idle(ctx context.Context) (section, error) {
	window := 10 * time.Second
	if b.quick {
		window = 2 * time.Second
	}
	s := section{
		title: "Connections at rest",
		method: fmt.Sprintf(`%s, each subscribed to a topic on which nothing happens. The service is watched for %.0f seconds without them and for %.0f
seconds with them; the figures are the difference, divided by their number. It pings every %.0f seconds here, where the default
is 25, so that every connection is pinged, and answers, once while it is watched. Once, not in rounds.`,
			plural(idleConnections, "connection"), window.Seconds(), window.Seconds(), window.Seconds()),
	}
	service, err := b.startService(ctx, "--ping-interval="+window.String())
	if err != nil {
		return s, err
	}
	defer b.stopService(service)

	if _, _, known, err := usages(service); err != nil {
		return s, err
	} else if !known {
		s.remarks = "Not measured: this system does not tell what a process uses in the way that this program reads it."
		return s, nil
	}
	restCPU, rest, err := observe(ctx, service, window)
	if err != nil {
		return s, err
	}
	crowd, err := connect(ctx, service.channel(topic), idleConnections, nil)
	if err != nil {
		return s, err
	}
	defer crowd.close()
	b.say("  %s open", plural(idleConnections, "connection"))
	cpu, full, err := observe(ctx, service, window)
	if err != nil {
		return s, err
	}
	b.check("connections at rest", crowd, tally{})

	memory := float64(full.resident - rest.resident)
	busy := seconds(cpu-restCPU) / window.Seconds()
	t := resultTable{head: []string{"", "Each", "All"}}
	t.add("Memory", asKilobytes(memory/idleConnections), asMegabytes(memory))
	t.add("CPU a second", asMicroseconds(busy/idleConnections), asMilliseconds(busy))
	s.tables = []resultTable{t}
	s.remarks = fmt.Sprintf(`Memory is what the service's process holds (resident), from %s to %s; what the kernel keeps for a socket comes on top.`,
		asMegabytes(float64(rest.resident)), asMegabytes(float64(full.resident)))
	b.say("  %s and %s of CPU a second each", asKilobytes(memory/idleConnections), asMicroseconds(busy/idleConnections))
	return s, nil
}

// observe waits, and returns the CPU time that the service used meanwhile, and what it holds at the end.
func observe(ctx context.Context, s *service, window time.Duration) (cpu time.Duration, after usage, err error) {
	before, err := usageOf(s.cmd.Process.Pid)
	if err != nil {
		return 0, after, err
	}
	if err := pause(ctx, window); err != nil {
		return 0, after, err
	}
	after, err = usageOf(s.cmd.Process.Pid)
	return after.cpu - before.cpu, after, err
}
