package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	logRows  = 100 // that are written in each round, to see how soon they come
	logReads = 100 // of what is new, in SQL
)

// log measures what depends on how many events the log has.
func (b *bench) log(ctx context.Context) (section, error) {
	sizes := []int{1, 100, 10_000, 100_000, 1_000_000}
	if b.quick {
		sizes = sizes[:3]
	}
	s := section{
		title: "How cost grows with the log",
		method: fmt.Sprintf(`The log has so many events, each written by a transaction of its own, in a database of its own. *From commit* is the latency of single rows,
100 a second, with one subscriber; *one read* is `+"`select … from tidings.since(…)`"+` of a cursor behind which nothing is new. *Resume* is a client that comes with
the oldest cursor: from its dialling until it has every event, and the same for each of them. The service starts anew for each, and keeps next to nothing
in memory (`+"`"+withoutMemory+"`"+`), so that all of it is read from the log. %s; latency comes last, since each of its rounds writes %d rows more.`,
			plural(b.few(), "round"), logRows),
	}
	l := logFigures{fresh: figures{}, read: figures{}, resume: figures{}, each: figures{}}
	for _, size := range sizes {
		if err := b.logOf(ctx, size, l); err != nil {
			return s, fmt.Errorf("%s: %w", plural(size, "event"), err)
		}
	}
	t := resultTable{head: []string{"Events", "From commit, p50", "lowest – highest", "One read", "lowest – highest", "Resume", "lowest – highest", "An event", "lowest – highest"}}
	for _, n := range sizes {
		t.add(asCount(float64(n)), spreadOf(l.fresh[n]).cells(asMilliseconds), spreadOf(l.read[n]).cells(asMilliseconds),
			spreadOf(l.resume[n]).cells(asMilliseconds), spreadOf(l.each[n]).cells(asMicroseconds))
	}
	s.tables = []resultTable{t}
	s.charts = []chart{
		{
			name: "log-latency", title: "What is new, by the events in the log", x: "events in the log", y: "milliseconds",
			curves: []curve{l.fresh.curve("from commit to client, p50", 1000), l.read.curve("one read", 1000)},
		},
		{
			name: "log-resume", title: "Resuming from the oldest cursor", x: "events in the log", y: "milliseconds",
			curves: []curve{l.resume.curve("until the last event", 1000)},
		},
	}
	return s, nil
}

// logFigures are by the events in the log, in seconds.
type logFigures struct {
	fresh  figures // from a row's commit to its client, the median
	read   figures // one read of what is new
	resume figures // from the oldest cursor
	each   figures // the same, for each event
}

// logOf makes a log of so many events, and measures it.
func (b *bench) logOf(ctx context.Context, events int, l logFigures) error {
	filled, drop, err := b.postgres.fresh(ctx, "log")
	if err != nil {
		return err
	}
	defer drop()
	var oldest string
	if err := filled.db.Pool.QueryRow(ctx, `select tidings.cursor()`).Scan(&oldest); err != nil {
		return err
	}
	if err := filled.fillSingly(ctx, events); err != nil {
		return err
	}
	b.say("  %s in the log", plural(events, "event"))
	for n := range b.few() {
		resumed, read, err := b.logResume(ctx, filled, oldest, events)
		if err != nil {
			return err
		}
		b.say("  round %d, %s: resumed after %s, one read %s", n+1, plural(events, "event"), asMilliseconds(resumed), asMilliseconds(read))
		l.resume.add(events, resumed)
		l.each.add(events, resumed/float64(events))
		l.read.add(events, read)
	}
	// Last, since it makes the log longer.
	next := int64(events) + 1
	for n := range b.few() {
		commit, err := b.logLatency(ctx, filled, &next)
		if err != nil {
			return err
		}
		b.say("  round %d, %s: p50 %s", n+1, plural(events, "event"), asMilliseconds(commit))
		l.fresh.add(events, commit)
	}
	return nil
}

// withoutMemory has the service keep next to nothing of what it has read.
const withoutMemory = "--recent-bytes=4096"

// logResume returns how long, in seconds, a client takes that lacks all events, and one read of what is new, of which there is nothing.
func (b *bench) logResume(ctx context.Context, filled *postgres, oldest string, events int) (resumed, read float64, err error) {
	service, err := b.startServiceOn(ctx, filled, withoutMemory)
	if err != nil {
		return 0, 0, err
	}
	defer b.stopService(service)
	begun := time.Now()
	ws, _, err := dialer.DialContext(ctx, service.channel(topic)+"&since="+oldest, nil)
	if err != nil {
		return 0, 0, err
	}
	defer ws.Close()
	seen, doubled, err := catchUp(ws, service, 1, events)
	if err != nil {
		return 0, 0, fmt.Errorf("resume: %d of %d rows came: %w", seen, events, err)
	}
	resumed = seconds(time.Since(begun))
	if doubled != 0 {
		b.problem("log: of %s %d came twice", plural(events, "row"), doubled)
	}

	conn, err := filled.db.Pool.Acquire(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Release()
	var reads []float64
	for range logReads {
		var cursor string
		if err := conn.QueryRow(ctx, `select tidings.cursor()`).Scan(&cursor); err != nil {
			return 0, 0, err
		}
		begun := time.Now()
		if _, err := conn.Exec(ctx, `select id, at, topic, type, key, data from tidings.since($1)`, cursor); err != nil {
			return 0, 0, err
		}
		reads = append(reads, seconds(time.Since(begun)))
	}
	return resumed, spreadOf(reads).median, nil
}

// logLatency returns how long, in seconds, single rows take from their commit to a client, the median.
func (b *bench) logLatency(ctx context.Context, filled *postgres, next *int64) (float64, error) {
	service, err := b.startServiceOn(ctx, filled, withoutMemory)
	if err != nil {
		return 0, err
	}
	defer b.stopService(service)
	conn, err := filled.db.Pool.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	p := &path{name: "tidings", every: latencyEvery, next: *next, publish: func(ctx context.Context, id int64) error {
		_, err := conn.Exec(ctx, watched.insertWithID(), id)
		return err
	}}
	if p.crowd, err = connect(ctx, service.channel(topic), 1, p.arrived); err != nil {
		return 0, err
	}
	defer p.crowd.close()
	o, err := b.drive(ctx, p, logRows)
	if err != nil {
		return 0, err
	}
	*next = p.next
	return o.quantile(0.5), nil
}

// fillSingly writes the rows 1 to n, each by a transaction of its own.
func (p *postgres) fillSingly(ctx context.Context, n int) error {
	const connections = 4
	group, ctx := errgroup.WithContext(ctx)
	for first := range min(n, connections) {
		group.Go(func() error {
			conn, err := p.db.Pool.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			defer conn.Conn().Close(context.WithoutCancel(ctx)) // what is set here ends with it
			if _, err := conn.Exec(ctx, `set synchronous_commit = off`); err != nil {
				return err
			}
			_, err = conn.Exec(ctx, fmt.Sprintf(`do $$ begin
				for i in %d..%d by %d loop
					insert into public.%s (id, author_id, title, content) values (i, 1, '%s', '%s');
					commit;
				end loop;
			end $$`, first+1, n, connections, watched, title, content))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("fill the log: %w", err)
	}
	return nil
}
