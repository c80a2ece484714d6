package main

import (
	"context"
	"fmt"
)

// attended is how many clients are subscribed where the service has some.
const attended = 10

// variant is how rows are written.
type variant struct {
	name  string
	table table
	serve bool // with the service running and clients subscribed
}

var variants = []variant{
	{"no trigger", bare, false},
	{"watched, service running, 10 subscribers", watched, true},
	{"watched, no service", watched, false},
	{"row trigger with `pg_notify`, one session listening", notifying, false},
}

// throughput measures how fast single rows can be written.
func (b *bench) throughput(ctx context.Context) (section, error) {
	s := section{
		title: "Writing single rows",
		method: fmt.Sprintf(`Writers write as fast as they can for %s: %s. The tables have the shape of the application's
`+"`messages`"+`, without the foreign key, and are empty at the beginning of each measurement; there is a checkpoint before each.
*Ratio* is to the table without a trigger, in the same round.`, plural(b.seconds, "second"), b.writers),
	}
	t := resultTable{head: []string{"Writers", "Table", "Rows/s", "lowest – highest", "Ratio", "lowest – highest"}}
	sum := tally{}
	for _, n := range []int{1, 8, 32} {
		rates := make([][]float64, len(variants))
		err := alternate(b.rounds, []int{0, 1, 2, 3}, func(round, v int) error {
			rate, got, err := b.writeSingly(ctx, variants[v], n)
			if err != nil {
				return fmt.Errorf("%s: %w", variants[v].name, err)
			}
			b.say("  round %d, %s, %s: %s rows/s", round+1, plural(n, "writer"), variants[v].name, asCount(rate))
			rates[v] = append(rates[v], rate)
			sum.deliveries += got.deliveries
			sum.lost += got.lost
			sum.doubled += got.doubled
			return nil
		})
		if err != nil {
			return s, err
		}
		for v, variant := range variants {
			t.add(fmt.Sprint(n), variant.name, spreadOf(rates[v]).cells(asCount), ratioOf(rates[v], rates[0]).cells(asRatio))
		}
	}
	s.tables = []resultTable{t}
	s.remarks = fmt.Sprintf("The subscribers got %s events on the way, %d lost, %d doubled.", asCount(float64(sum.deliveries)), sum.lost, sum.doubled)
	return s, nil
}

// writeSingly returns how many rows a second were written, and what the subscribers got of them, if there were any.
func (b *bench) writeSingly(ctx context.Context, v variant, n int) (rate float64, got tally, err error) {
	got, err = b.attend(ctx, v, func() error {
		rate, _, err = b.writers.write(ctx, v.table, n, b.seconds)
		return err
	})
	return rate, got, err
}

// attend empties the tables, has rows written with the variant's audience in place, and returns what its subscribers got
// when they have got everything.
func (b *bench) attend(ctx context.Context, v variant, write func() error) (got tally, err error) {
	if err := b.postgres.clear(ctx); err != nil {
		return got, err
	}
	heard := func(int64) error { return nil } // returns when all have heard of so many rows
	switch {
	case v.serve:
		service, err := b.startService(ctx)
		if err != nil {
			return got, err
		}
		defer b.stopService(service)
		crowd, err := connect(ctx, service.channel(topic), attended, nil)
		if err != nil {
			return got, err
		}
		defer crowd.close()
		heard = func(rows int64) error {
			got, err = crowd.await(ctx, rows)
			b.check(v.name, crowd, got)
			return err
		}
	case v.table == notifying:
		listening, err := b.postgres.listen(ctx)
		if err != nil {
			return got, err
		}
		defer listening.close()
		heard = func(rows int64) error { return listening.await(ctx, rows) }
	}
	if err := write(); err != nil {
		return got, err
	}
	rows, err := b.postgres.rows(ctx, v.table)
	if err != nil {
		return got, err
	}
	err = heard(rows)
	return got, err
}
