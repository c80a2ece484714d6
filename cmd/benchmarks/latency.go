package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

const (
	latencyEvery   = 10 * time.Millisecond // 100 rows a second
	latencyFirstID = 1_000_001             // so that all ids have as many digits
)

// path is a way from a writer to clients.
type path struct {
	name    string
	publish func(ctx context.Context, id int64) error // returns when the row is committed, or on its way
	crowd   *crowd
	every   time.Duration // zero: latencyEvery
	current atomic.Pointer[arrivals]
	next    int64 // the next row's id
}

// arrivals is when the rows of one measurement came to each client, in nanoseconds of begun; 0: not yet.
type arrivals struct {
	begun   time.Time
	firstID int64
	at      [][]int64 // by client and row
}

// lags are what one measurement came to: how long each delivery took, sorted.
type lags struct {
	committed []time.Duration // from the moment at which the writer knew that the row was committed
	intended  []time.Duration // from the moment at which it was to be written
}

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

The *bare loop* is the floor: a goroutine in the clients' own process that is handed the same rows on the same schedule and writes the same
frame to as many sockets, one after another, with no database and no other process; rows that came while it wrote go in one write.
The ratio is to it.`, plural(b.seconds, "second")),
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
	for _, n := range []int{1, 100, 1000} {
		rounds, err := b.latencyOf(ctx, service, n, &next)
		if err != nil {
			return s, fmt.Errorf("%s: %w", plural(n, "subscriber"), err)
		}
		for _, measured := range []struct {
			name string
			of   func(lags) []time.Duration
		}{
			{"from commit", func(l lags) []time.Duration { return l.committed }},
			{"from schedule", func(l lags) []time.Duration { return l.intended }},
		} {
			for _, q := range quantiles {
				var values [2][]float64
				for path := range values {
					for _, l := range rounds[path] {
						values[path] = append(values[path], seconds(rank(measured.of(l), q.p)))
					}
				}
				t.add(asCount(float64(n)), measured.name, q.name, spreadOf(values[0]).cells(asMilliseconds),
					asMilliseconds(spreadOf(values[1]).median), ratioOf(values[0], values[1]).cells(asRatio))
			}
		}
	}
	s.tables = []resultTable{t}
	return s, nil
}

// latencyOf returns the rounds of tidings and of the bare loop.
func (b *bench) latencyOf(ctx context.Context, service *service, n int, next *int64) (rounds [2][]lags, err error) {
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
		}},
		{name: "bare loop", publish: func(ctx context.Context, id int64) error {
			select {
			case relay.rows <- id:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}},
	}
	first := *next
	for i, url := range []string{service.channel(topic), relay.url()} {
		p := paths[i]
		p.next = first
		p.crowd, err = connect(ctx, url, n, func(client int, id int64) {
			if a := p.current.Load(); id >= a.firstID && id < a.firstID+int64(len(a.at[client])) {
				a.at[client][id-a.firstID] = int64(time.Since(a.begun))
			}
		})
		if err != nil {
			return rounds, fmt.Errorf("%s: %w", p.name, err)
		}
		defer p.crowd.close()
		// What does not count: the first rows find nothing prepared, and the bare loop learns what an event looks like.
		if _, err := b.drive(ctx, p, 50); err != nil {
			return rounds, fmt.Errorf("%s: %w", p.name, err)
		}
		if sample := p.crowd.sample.Load(); i == 0 && sample != nil {
			relay.imitate(*sample)
		}
	}
	rows := int(time.Duration(b.seconds) * time.Second / latencyEvery)
	err = alternate(b.rounds, []int{0, 1}, func(round, i int) error {
		l, err := b.drive(ctx, paths[i], rows)
		if err != nil {
			return fmt.Errorf("%s: %w", paths[i].name, err)
		}
		b.say("  round %d, %s, %s: p50 %s, p99 %s", round+1, plural(n, "subscriber"), paths[i].name,
			asMilliseconds(seconds(rank(l.committed, 0.5))), asMilliseconds(seconds(rank(l.committed, 0.99))))
		rounds[i] = append(rounds[i], l)
		return nil
	})
	*next = max(paths[0].next, paths[1].next)
	return rounds, err
}

// drive writes so many rows on schedule, waits until all clients have them, and returns how long that took.
func (b *bench) drive(ctx context.Context, p *path, rows int) (lags, error) {
	a := &arrivals{begun: time.Now(), firstID: p.next, at: make([][]int64, len(p.crowd.clients))}
	for i := range a.at {
		a.at[i] = make([]int64, rows)
	}
	before := p.crowd.clients[0].distinct.Load()
	p.current.Store(a)
	p.next += int64(rows)

	every := p.every
	if every == 0 {
		every = latencyEvery
	}
	intended, committed := make([]time.Duration, rows), make([]time.Duration, rows)
	start := time.Since(a.begun) + every
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range rows {
		intended[i] = start + time.Duration(i)*every
		timer.Reset(intended[i] - time.Since(a.begun))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return lags{}, context.Cause(ctx)
		}
		if err := p.publish(ctx, a.firstID+int64(i)); err != nil {
			return lags{}, err
		}
		committed[i] = time.Since(a.begun)
	}
	got, err := p.crowd.await(ctx, before+int64(rows))
	if err != nil {
		return lags{}, err
	}
	b.check(fmt.Sprintf("latency, %s, %s", p.name, plural(len(a.at), "subscriber")), p.crowd, got)

	l := lags{}
	for _, client := range a.at {
		for i, at := range client {
			if at == 0 {
				continue // lost, and told
			}
			l.committed = append(l.committed, time.Duration(at)-committed[i])
			l.intended = append(l.intended, time.Duration(at)-intended[i])
		}
	}
	if len(l.committed) == 0 {
		return l, fmt.Errorf("none of %d rows came to a client", rows)
	}
	slices.Sort(l.committed)
	slices.Sort(l.intended)
	return l, nil
}
