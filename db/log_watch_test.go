package db_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
)

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), part)
}

// How the log stands is known without asking, and a log that is too large is said once.
func TestLogWatch(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	exec := func(statement string) {
		t.Helper()
		if _, err := database.Pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(`create table shop (id bigint primary key, text text); select tidings.watch('shop', read => 'public')`)
	exec(`insert into shop select n, (select string_agg(md5(random()::text || x || n), '') from generate_series(1, 1000) as x) from generate_series(1, 200) as n`)
	var log lines
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
	exec(`update tidings.settings set max_bytes = 1048576`)
	await(t, "a word on the log's size", func() bool { return log.has(`msg="the log is much larger than it may be"`) })
	exec(`alter table shop disable trigger tidings_insert`)
	await(t, "the watch's problem", func() bool { return watch.Last().Problems == 1 })
	exec(`update tidings.settings set max_bytes = 17179869184`)
	await(t, "the all-clear", func() bool { return log.has("as large as it may be again") })
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := strings.Count(log.text.String(), "much larger"); n != 1 {
		t.Errorf("it says so %d times", n)
	}
}
