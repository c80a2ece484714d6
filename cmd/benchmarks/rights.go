package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
)

const rightsSubscribers = 1000

// The two tables are alike, and the rows of both may be read by the first so many teams. Only of one, row security says so.
const (
	guarded = "bench_guarded"
	open    = "bench_open"
)

const createRights = `
create table public.bench_guarded (id bigint primary key, teams integer not null, author_id bigint not null, title text not null, content text not null);
create table public.bench_open (like public.bench_guarded including all);
alter table public.bench_guarded enable row level security;
create policy team on public.bench_guarded for select using ((tidings.claims() ->> 'team')::integer < teams);
select tidings.watch('public.bench_guarded', claims => '{team}');
select tidings.watch('public.bench_open');`

// judging is one round of both tables.
type judging struct {
	outcomes    [2]outcome // guarded, and open
	evaluations float64    // of row security, for a row of the guarded table
}

// rights measures what row security costs, by how many sets of rights the subscribers have.
func (b *bench) rights(ctx context.Context) (section, error) {
	counts := []int{1, 5, 50, rightsSubscribers}
	if b.quick {
		counts = counts[:2]
	}
	window := time.Duration(b.seconds) * time.Second
	s := section{
		title: "Row security",
		method: fmt.Sprintf(`%s, each another user with a token of her own, follow a table whose row security lets her team read a row; the watch says that it looks at nothing but the claim
`+"`team`"+`, so that the users have as many sets of rights as there are teams; the last is as it would be if each user were a set of her own. Every row may be read by all teams, so that there are as many deliveries, however many teams there are. One writer writes %d rows a second for %s.
As many follow another table of the same shape, without row security, on the same service; rows are written to the one and then to the other. *Evaluations a row* is how often row security was asked of a row, by the service's own count
(`+"`judged` in `/readyz`"+`); that it is another number than that of the sets would be told at the end of the page. CPU is per million deliveries, with all that service and PostgreSQL do besides.`,
			plural(rightsSubscribers, "subscriber"), int(time.Second/latencyEvery), asWholeSeconds(window)),
	}
	if _, err := b.postgres.db.Pool.Exec(ctx, createRights); err != nil {
		return s, fmt.Errorf("create tables: %w", err)
	}
	t := resultTable{head: []string{"Sets of rights", "", "Row security", "lowest – highest", "Without", "Ratio", "lowest – highest"}}
	next := int64(latencyFirstID)
	for _, sets := range counts {
		rounds, err := b.rightsOf(ctx, sets, &next)
		if err != nil {
			return s, fmt.Errorf("%s: %w", plural(sets, "set"), err)
		}
		rightsRows(&t, sets, rounds, b.measured)
	}
	s.tables = []resultTable{t}
	return s, nil
}

// rightsRows adds what the rounds came to.
func rightsRows(t *resultTable, sets int, rounds []judging, measured bool) {
	row := func(name string, of func(outcome) float64, as func(float64) string) {
		var values [2][]float64
		for _, r := range rounds {
			for n, o := range r.outcomes {
				values[n] = append(values[n], of(o))
			}
		}
		t.add(asCount(float64(sets)), name, spreadOf(values[0]).cells(as), as(spreadOf(values[1]).median), ratioOf(values[0], values[1]).cells(asRatio))
	}
	var evaluations []float64
	for _, r := range rounds {
		evaluations = append(evaluations, r.evaluations)
	}
	t.add(asCount(float64(sets)), "evaluations a row", spreadOf(evaluations).cells(asRatio), "0.00", "–", "–")
	row("from commit, p50", func(o outcome) float64 { return o.quantile(0.5) }, asMilliseconds)
	row("from commit, p99", func(o outcome) float64 { return o.quantile(0.99) }, asMilliseconds)
	if measured {
		row("CPU of the service", func(o outcome) float64 { return perMillion(o.cost.process, o.deliveries()) }, asSeconds)
		row("CPU of PostgreSQL", func(o outcome) float64 { return perMillion(o.cost.postgres, o.deliveries()) }, asSeconds)
	}
}

// rightsOf returns the rounds with so many sets of rights.
func (b *bench) rightsOf(ctx context.Context, sets int, next *int64) ([]judging, error) {
	if err := b.postgres.clear(ctx); err != nil {
		return nil, err
	}
	// Those of the service before would be told to be gone in the midst of it.
	const begin = `truncate public.bench_guarded, public.bench_open; truncate tidings.presence, tidings.presence_connections, tidings.presence_instances`
	if _, err := b.postgres.db.Pool.Exec(ctx, begin); err != nil {
		return nil, fmt.Errorf("empty the tables: %w", err)
	}
	signer := newSigner()
	service, err := b.startServiceWith(ctx, b.postgres, signer.environment())
	if err != nil {
		return nil, err
	}
	defer b.stopService(service)
	conn, err := b.postgres.db.Pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	tables := []string{guarded, open}
	paths := make([]*path, len(tables))
	for n, table := range tables {
		insert := fmt.Sprintf(`insert into public.%s (id, teams, author_id, title, content) values ($1, %d, 1, '%s', '%s')`, table, sets, title, content)
		p := &path{name: table, next: *next, every: latencyEvery, publish: func(ctx context.Context, id int64) error {
			_, err := conn.Exec(ctx, insert, id)
			return err
		}}
		if b.measured {
			p.cost = func() (cost, error) { return b.costOf(service) }
		}
		p.crowd, err = gather(ctx, rightsSubscribers, p.arrived, func(ctx context.Context, client int) (*websocket.Conn, error) {
			header, err := signer.header(1+n*rightsSubscribers+client, client%sets)
			if err != nil {
				return nil, err
			}
			return subscribe(ctx, service.channel(table), header)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		defer p.crowd.close()
		if _, err := b.drive(ctx, p, 50); err != nil { // what does not count: the first rows find nothing prepared
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		paths[n] = p
	}
	rows := int(time.Duration(b.seconds) * time.Second / latencyEvery)
	rounds := make([]judging, b.rounds)
	err = alternate(b.rounds, indices(paths), func(round, n int) error {
		before, err := service.judged(ctx)
		if err != nil {
			return err
		}
		o, err := b.drive(ctx, paths[n], rows)
		if err != nil {
			return fmt.Errorf("%s: %w", tables[n], err)
		}
		after, err := service.judged(ctx)
		if err != nil {
			return err
		}
		rounds[round].outcomes[n] = o
		due := 0
		if n == 0 {
			rounds[round].evaluations = float64(after-before) / float64(rows)
			due = rows * sets
		}
		if after-before != due {
			b.problem("row security, %s, %s: %d evaluations of %s, want %d", plural(sets, "set"), tables[n], after-before, plural(rows, "row"), due)
		}
		b.say("  round %d, %s, %s: p50 %s, p99 %s, %d evaluations, per million deliveries %s of the service's CPU and %s of PostgreSQL's", round+1, plural(sets, "set"), tables[n],
			asMilliseconds(o.quantile(0.5)), asMilliseconds(o.quantile(0.99)), after-before,
			asSeconds(perMillion(o.cost.process, o.deliveries())), asSeconds(perMillion(o.cost.postgres, o.deliveries())))
		return nil
	})
	*next = max(paths[0].next, paths[1].next)
	return rounds, err
}

// judged is how often the service has asked row security about an event, for one set of rights.
func (s *service) judged(ctx context.Context) (int, error) {
	var ready struct{ Events struct{ Judged int } }
	err := s.get(ctx, "/readyz", &ready)
	return ready.Events.Judged, err
}
