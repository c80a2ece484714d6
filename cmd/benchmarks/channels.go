package main

import (
	"context"
	"fmt"
	"time"
)

// channelSubscribers is how many subscribe, or one to each channel, where there are more.
const channelSubscribers = 1000

// channels measures how latency and cost change with the channels that the same subscribers are spread over.
func (b *bench) channels(ctx context.Context) (section, error) {
	counts := []int{1, 10, 100, 1000, 10_000}
	if b.quick {
		counts = counts[:4]
	}
	window := time.Duration(growthSeconds*b.seconds) * time.Second
	rate := int(time.Second / latencyEvery)
	s := section{
		title: "How cost changes with channels",
		method: fmt.Sprintf(`%s, or as many as there are channels, each subscribed to one key of a topic, evenly spread; one writer writes %d rows a
second for %s, to all the keys in turn. So a row has the fewer deliveries, the more channels there are. CPU is that of the service while a row is written and delivered,
with all that it does besides. %s, each measurement with a service of its own.`,
			plural(channelSubscribers, "subscriber"), rate, asWholeSeconds(window), plural(b.few(), "round")),
	}
	p50, p99, cpu := figures{}, figures{}, figures{}
	subscribersOf := func(channels int) int { return max(channels, channelSubscribers) }
	next := int64(latencyFirstID)
	err := alternate(b.few(), counts, func(round, channels int) error {
		p := &path{name: "tidings", every: latencyEvery, next: next, hears: func(client int, id int64) bool { return id%int64(channels) == int64(client%channels) }}
		o, _, err := b.grow(ctx, p, insertIntoRoom(channels), subscribersOf(channels),
			func(s *service, client int) string { return s.channel(fmt.Sprintf("%s:%d", rooms, client%channels)) }, window)
		if err != nil {
			return fmt.Errorf("%s: %w", plural(channels, "channel"), err)
		}
		next = p.next
		perRow := seconds(o.cost.process) / float64(window/latencyEvery)
		p50.add(channels, o.quantile(0.5))
		p99.add(channels, o.quantile(0.99))
		if b.measured {
			cpu.add(channels, perRow)
		}
		b.say("  round %d, %s: p50 %s, p99 %s, %s of CPU a row", round+1, plural(channels, "channel"),
			asMilliseconds(o.quantile(0.5)), asMilliseconds(o.quantile(0.99)), asMilliseconds(perRow))
		return nil
	})
	if err != nil {
		return s, err
	}
	t := resultTable{head: []string{"Channels", "Subscribers", "Deliveries a row", "From commit, p50", "lowest – highest", "p99", "lowest – highest",
		"CPU a row", "lowest – highest"}}
	for _, n := range counts {
		t.add(asCount(float64(n)), asCount(float64(subscribersOf(n))), asCount(float64(subscribersOf(n)/n)),
			spreadOf(p50[n]).cells(asMilliseconds), spreadOf(p99[n]).cells(asMilliseconds), spreadOf(cpu[n]).cells(asMilliseconds))
	}
	s.tables = []resultTable{t}
	s.charts = []chart{{
		name: "channels-latency", title: "From commit to client, by the channels", x: "channels", y: "milliseconds",
		curves: []curve{p50.curve("p50", 1000), p99.curve("p99", 1000)},
	}}
	if b.measured {
		s.charts = append(s.charts, chart{
			name: "channels-cpu", title: "CPU of the service, by the channels", x: "channels", y: "milliseconds a row",
			curves: []curve{cpu.curve("service", 1000)},
		})
	}
	return s, nil
}

// insertIntoRoom inserts a row with the id that it is given, into the room that belongs to it.
func insertIntoRoom(rooms int) string {
	return fmt.Sprintf(`insert into public.bench_rooms (id, room, content) values ($1::bigint, $1::bigint %% %d, '%s')`, rooms, content)
}
