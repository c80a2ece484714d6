package main

import (
	"context"
	"fmt"
	"time"
)

// bulkRows is how many rows one statement writes.
const bulkRows = 50_000

// bulk measures one large statement.
func (b *bench) bulk(ctx context.Context) (section, error) {
	s := section{
		title: "One statement that writes 50,000 rows",
		method: "`INSERT … SELECT … FROM generate_series(1, 50000)` into an empty table, from its sending to its commit; a checkpoint before each.\n" +
			"*Ratio* is to the table without a trigger, *to pg_notify* to the row trigger, in the same round.",
	}
	times := make([][]float64, len(variants))
	var until []float64
	// A round that does not count: the first time everything is slower.
	for _, v := range variants {
		if _, _, err := b.writeAtOnce(ctx, v); err != nil {
			return s, err
		}
	}
	err := alternate(b.rounds, indices(variants), func(round, v int) error {
		took, all, err := b.writeAtOnce(ctx, variants[v])
		if err != nil {
			return fmt.Errorf("%s: %w", variants[v].name, err)
		}
		b.say("  round %d, %s: %s", round+1, variants[v].name, asMilliseconds(seconds(took)))
		times[v] = append(times[v], seconds(took))
		if variants[v].serve {
			until = append(until, seconds(all))
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	t := resultTable{head: []string{"Table", "Time", "lowest – highest", "Ratio", "lowest – highest", "To pg_notify", "lowest – highest"}}
	notify := len(variants) - 1
	for v, variant := range variants {
		t.add(variant.name, spreadOf(times[v]).cells(asMilliseconds),
			ratioOf(times[v], times[0]).cells(asRatio), ratioOf(times[v], times[notify]).cells(asRatio))
	}
	s.tables = []resultTable{t}
	all := spreadOf(until)
	s.remarks = fmt.Sprintf("From the commit until the last of the %d subscribers had all 50,000 events: %s (%s – %s).",
		attended, asMilliseconds(all.median), asMilliseconds(all.min), asMilliseconds(all.max))
	return s, nil
}

// writeAtOnce returns how long the statement took, and how long after it the last subscriber had everything.
func (b *bench) writeAtOnce(ctx context.Context, v variant) (took, until time.Duration, err error) {
	var ended time.Time
	if err := b.postgres.clear(ctx); err != nil {
		return 0, 0, err
	}
	got, err := b.attend(ctx, v, func() (int64, error) {
		begun := time.Now()
		_, err := b.postgres.db.Pool.Exec(ctx, v.table.insertMany(), bulkRows)
		ended = time.Now()
		took = ended.Sub(begun)
		return bulkRows, err
	})
	return took, got.last.Sub(ended), err
}
