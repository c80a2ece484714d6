package db_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
)

// How the log stands is known without asking, and a log that is too large is said once.
func TestLogWatch(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	execute(t, database, `create table shop (id bigint primary key, text text); select tidings.watch('shop', read => 'public')`)
	execute(t, database, `insert into shop select n, (select string_agg(md5(random()::text || x || n), '') from generate_series(1, 1000) as x) from generate_series(1, 200) as n`)
	var log said
	watch := &db.LogWatch{DB: database, Logger: slog.New(slog.NewTextHandler(&log, nil)), Interval: 20 * time.Millisecond}
	if !watch.Last().At.IsZero() {
		t.Error("it knows how the log stands before it has looked")
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = watch.Run(ctx) })
	defer running.Wait()
	defer stop()
	await(t, "a look", func() bool { return !watch.Last().At.IsZero() })
	switch l := watch.Last(); {
	case l.Bytes < 1<<20 || l.MaxBytes != 16<<30 || l.Retention != 24*time.Hour || l.Problems != 0 || len(l.Partitions) != 8 || l.Oldest == nil:
		t.Errorf("got %+v", l)
	case l.Ahead.Abs() > l.Trip+time.Second || l.Trip <= 0:
		t.Errorf("the database's clock is this machine's, and is said to be %s ahead, %s away", l.Ahead, l.Trip)
	}
	execute(t, database, `update tidings.settings set max_bytes = 1048576`)
	await(t, "a word on the log's size", func() bool { return strings.Contains(log.String(), `msg="the log is much larger than it may be"`) })
	execute(t, database, `alter table shop disable trigger tidings_insert`)
	await(t, "the watch's problem", func() bool { return watch.Last().Problems == 1 })
	execute(t, database, `update tidings.settings set max_bytes = 17179869184`)
	await(t, "the all-clear", func() bool { return strings.Contains(log.String(), "as large as it may be again") })
	if n := strings.Count(log.String(), "much larger"); n != 1 {
		t.Errorf("it says so %d times", n)
	}
}
