package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"tidings/db"
)

// tableTimeout is how long the making and the removal of the table may take, which go on when the run is interrupted.
const tableTimeout = 15 * time.Second

// Run puts the load on the service and the database, which must be the one that it serves, and reports what came of it. If
// ctx ends, so does the run, and there is no report.
func Run(ctx context.Context, database *db.DB, o Options) (report *Report, err error) {
	if err := checkFiles(o.Subscribers + o.Writers); err != nil {
		return nil, err
	}
	if _, err := askService(ctx, o.Server); err != nil {
		return nil, err
	}
	table, err := makeTable(ctx, database)
	if err != nil {
		return nil, err
	}
	defer func() {
		if dropping := dropTable(ctx, table); dropping != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				dropping = fmt.Errorf("%w; and %w", err, dropping)
			}
			report, err = nil, dropping
		}
	}()

	clock := clock{time.Now()}
	writers, err := connectWriters(ctx, &o, clock, table)
	if err != nil {
		return nil, err
	}
	defer writers.close(context.WithoutCancel(ctx))
	crowd := newCrowd(&o, clock, table.Name)
	report = newReport(&o)

	// Who follows ends when all else has.
	group, groupCtx := errgroup.WithContext(ctx)
	following, leave := context.WithCancel(groupCtx)
	group.Go(func() error { return crowd.follow(following, o.ConnectRate) })
	group.Go(func() error {
		crowd.progress(following, &o)
		return nil
	})
	var coming bool
	group.Go(func() (err error) {
		defer leave()
		coming, err = measure(groupCtx, &o, crowd, writers, report)
		return err
	})
	err = group.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	report.count(crowd, writers, coming)
	report.warn()
	return report, nil
}

// measure has the rows written, and waits until they have come. It returns early when ctx ends.
func measure(ctx context.Context, o *Options, crowd *crowd, writers *writers, report *Report) (coming bool, err error) {
	opening := crowd.clock.now()
	select {
	case <-ctx.Done():
		return false, nil // ctx ended
	case <-crowd.ready:
	}
	begun := crowd.clock.now()
	report.Connections.Opened, report.Connections.Seconds = o.Subscribers, time.Duration(begun-opening).Seconds()
	ledger := newLedger(o.Channels, o.Rate, begun, o.Warmup, o.Duration)
	crowd.ledger.Store(ledger)

	writing, writingCtx := errgroup.WithContext(ctx)
	writing.Go(func() error { return writers.write(writingCtx, ledger) })
	crowd.clock.until(writingCtx, ledger.measured)
	generator := watchGenerator(ctx, crowd.clock)
	before, _ := askService(ctx, o.Server) // what it doesn't say is not known
	err = writing.Wait()
	if err == nil {
		crowd.draining.Store(true)
		coming = crowd.drain(ctx, ledger.taken, o.Drain)
		after, _ := askService(ctx, o.Server)
		report.Service = used(before, after)
	}
	report.Generator = generator.end()
	return coming, err
}

// makeTable makes the run's table. An interruption must not leave it behind, so it is waited for.
func makeTable(ctx context.Context, database *db.DB) (*db.BenchTable, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tableTimeout)
	defer cancel()
	return database.CreateBenchTable(ctx)
}

func dropTable(ctx context.Context, table *db.BenchTable) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tableTimeout)
	defer cancel()
	return table.Drop(ctx)
}

// unwrapURL is what is wrong, without the address, which the caller says.
func unwrapURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
