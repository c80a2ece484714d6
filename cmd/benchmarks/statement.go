package main

import (
	"context"
	"fmt"
	"time"
)

// statement measures how long the rows of one statement take, by their number.
func (b *bench) statement(ctx context.Context) (section, error) {
	counts := []int{1, 10, 100, 1000, 10_000}
	s := section{
		title: "How cost grows with the rows of one statement",
		method: fmt.Sprintf(`One statement writes the rows while nothing else happens, and they come to %s: one read of the log, or a few. *From commit* is until the
last of them has the last row; *rows/s* counts from the sending of the statement until then. %s; of each round, in which this is done up to %d times, the median counts.`,
			plural(attended, "subscriber"), plural(b.few(), "round"), statementTimes(1)),
	}
	if err := b.postgres.clear(ctx); err != nil {
		return s, err
	}
	service, err := b.startService(ctx)
	if err != nil {
		return s, err
	}
	defer b.stopService(service)
	crowd, err := connect(ctx, service.channel(topic), attended, nil)
	if err != nil {
		return s, err
	}
	defer crowd.close()

	written, until, each, rate := figures{}, figures{}, figures{}, figures{}
	rows := int64(0) // so far
	err = alternate(b.few(), counts, func(round, n int) error {
		var statements, delays, rates []float64
		for range statementTimes(n) {
			begun := time.Now()
			if _, err := b.postgres.db.Pool.Exec(ctx, watched.insertMany(), n); err != nil {
				return err
			}
			committed := time.Now()
			rows += int64(n)
			got, err := crowd.await(ctx, rows)
			if err != nil {
				return err
			}
			b.check(plural(n, "row"), crowd, got)
			statements = append(statements, seconds(committed.Sub(begun)))
			delays = append(delays, seconds(got.last.Sub(committed)))
			rates = append(rates, float64(n)/seconds(got.last.Sub(begun)))
		}
		delay := spreadOf(delays).median
		written.add(n, spreadOf(statements).median)
		until.add(n, delay)
		each.add(n, delay/float64(n))
		rate.add(n, spreadOf(rates).median)
		b.say("  round %d, %s: written in %s, then %s until the last delivery", round+1, plural(n, "row"), asMilliseconds(spreadOf(statements).median), asMilliseconds(delay))
		return nil
	})
	if err != nil {
		return s, err
	}
	t := resultTable{head: []string{"Rows", "Statement", "From commit", "lowest – highest", "A row", "lowest – highest", "Rows/s", "lowest – highest"}}
	for _, n := range counts {
		t.add(asCount(float64(n)), asMilliseconds(spreadOf(written[n]).median), spreadOf(until[n]).cells(asMilliseconds),
			spreadOf(each[n]).cells(asMicroseconds), spreadOf(rate[n]).cells(asCount))
	}
	s.tables = []resultTable{t}
	s.charts = []chart{
		{
			name: "statement-latency", title: "One statement, by its rows", x: "rows", y: "milliseconds",
			curves: []curve{until.curve("from commit to the last delivery", 1000), written.curve("the statement", 1000)},
		},
		{
			name: "statement-rate", title: "Rows a second, by the rows of a statement", x: "rows", y: "rows a second",
			curves: []curve{rate.curve("from the statement to the last delivery", 1)},
		},
	}
	return s, nil
}

// statementTimes is how often a statement of n rows is measured in a round: it takes long where they are many.
func statementTimes(n int) int { return max(3, min(20, 10_000/n)) }
