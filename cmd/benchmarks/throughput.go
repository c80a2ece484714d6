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

// The first is what all are compared with, the last is what everybody knows.
var variants = []variant{
	{"no trigger", bare, false},
	{"watched, service running, 10 subscribers", watched, true},
	{"watched, no service", watched, false},
	{"row trigger that writes an outbox, and never notifies", outbox, false},
	{"row trigger with `pg_notify`, one session listening", notifying, false},
}

const (
	updateWriters = 8
	updateRows    = 10_000
)

// throughput measures how fast single rows can be written.
func (b *bench) throughput(ctx context.Context) (section, error) {
	s := section{
		title: "Writing single rows",
		method: fmt.Sprintf(`Writers write as fast as they can for %s: %s. The tables have the shape of the application's
`+"`messages`"+`, without the foreign key, and are empty at the beginning of each measurement; there is a checkpoint before each.
The *outbox* is a plain table, `+"`id bigserial primary key, topic text, data jsonb, at timestamptz`"+`, into which the trigger writes the row as `+"`to_jsonb(new)`"+`:
what one would write by oneself to keep events, before anybody is told of them. *Ratio* is to the table without a trigger, in the same round.
In the second table, the writers update random rows of %s that are there.`,
			plural(b.seconds, "second"), b.writers, asCount(updateRows)),
	}
	inserts := resultTable{head: []string{"Writers", "Table", "Rows/s", "lowest – highest", "Ratio", "lowest – highest"}}
	sum := tally{}
	for _, n := range []int{1, 8, 32} {
		err := b.compareWriters(ctx, &inserts, &sum, variants, n, func(v variant) (job, int) { return v.table.insertOne(), 0 })
		if err != nil {
			return s, err
		}
	}
	updates := resultTable{head: []string{"Writers", "Table, `UPDATE`", "Rows/s", "lowest – highest", "Ratio", "lowest – highest"}}
	var updated []variant
	for _, v := range variants {
		if v.table == bare || v.table == watched {
			updated = append(updated, v)
		}
	}
	err := b.compareWriters(ctx, &updates, &sum, updated, updateWriters, func(v variant) (job, int) { return v.table.updateOne(updateRows), updateRows })
	if err != nil {
		return s, err
	}
	s.tables = []resultTable{inserts, updates}
	s.remarks = fmt.Sprintf(`The subscribers got %s events on the way, %d lost, %d doubled.

[Where the time goes](performance.md) says what the trigger, the service and its clients have of it.`, asCount(float64(sum.deliveries)), sum.lost, sum.doubled)
	return s, nil
}

// compareWriters adds to the table how many rows n writers write in a second, with each of the variants. What they do is
// the variant's job, in a table that is filled with so many rows before.
func (b *bench) compareWriters(ctx context.Context, t *resultTable, sum *tally, variants []variant, n int, jobOf func(variant) (job, int)) error {
	rates := make([][]float64, len(variants))
	err := alternate(b.rounds, indices(variants), func(round, v int) error {
		j, filled := jobOf(variants[v])
		if err := b.postgres.clear(ctx); err != nil {
			return err
		}
		if err := b.postgres.fill(ctx, variants[v].table, filled); err != nil {
			return err
		}
		var done written
		got, err := b.attend(ctx, variants[v], func() (rows int64, err error) {
			done, err = b.writers.write(ctx, j, n, b.seconds)
			return done.rows, err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", variants[v].name, err)
		}
		b.say("  round %d, %s, %s: %s rows/s", round+1, plural(n, "writer"), variants[v].name, asCount(done.perSecond))
		rates[v] = append(rates[v], done.perSecond)
		sum.deliveries += got.deliveries
		sum.lost += got.lost
		sum.doubled += got.doubled
		return nil
	})
	if err != nil {
		return err
	}
	for v, variant := range variants {
		t.add(fmt.Sprint(n), variant.name, spreadOf(rates[v]).cells(asCount), ratioOf(rates[v], rates[0]).cells(asRatio))
	}
	return nil
}

// attend has rows written with the variant's audience in place, and returns what its subscribers got when they have got
// as many as were written.
func (b *bench) attend(ctx context.Context, v variant, write func() (rows int64, err error)) (got tally, err error) {
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
	rows, err := write()
	if err != nil {
		return got, err
	}
	err = heard(rows)
	return got, err
}
