package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"tidings/db"
)

const presenceUsers = 5000

// rush is one way in which many come and go.
type rush struct {
	instances int
	within    time.Duration // 0: all at once
}

func (r rush) String() string {
	if r.within == 0 {
		return "at once"
	}
	return "within " + asWholeSeconds(r.within)
}

// told is what it took to tell that all have come, or gone.
type told struct {
	statements float64
	after      float64 // seconds, from the first to the last of them
	cpu        float64 // seconds of PostgreSQL's
}

// presence measures what it takes to tell who has come and gone.
func (b *bench) presence(ctx context.Context) (section, error) {
	s := section{
		title: "Presence",
		method: fmt.Sprintf(`%s come, each with a connection, spread over the instances, and all leave again; without a grace, since it is only waited. *Statements* is how many all instances together have sent from the first
to the moment when the last is told, their heartbeats included. That is also what *told after* says, and during which PostgreSQL's CPU is counted, with the entries of the log, and a look every
5 ms whether all are told. The instances are in this process, and have no real connections.`, plural(presenceUsers, "user")),
	}
	rushes := []rush{{1, 0}, {2, 0}, {1, time.Second}, {2, time.Second}}
	results := make([][2][]told, len(rushes)) // of each: coming and going
	err := alternate(b.few(), indices(rushes), func(_, n int) error {
		came, gone, err := b.rush(ctx, rushes[n])
		results[n][0], results[n][1] = append(results[n][0], came), append(results[n][1], gone)
		return err
	})
	if err != nil {
		return s, err
	}
	t := resultTable{head: []string{"", "Instances", "", "Statements", "Told after", "lowest – highest", "PostgreSQL's CPU", "lowest – highest"}}
	for n, r := range rushes {
		for direction, name := range []string{"come", "leave"} {
			values := func(of func(told) float64) (all []float64) {
				for _, one := range results[n][direction] {
					all = append(all, of(one))
				}
				return all
			}
			cpu := []string{"–", ""}
			if b.measured {
				cpu = spreadOf(values(func(t told) float64 { return t.cpu })).cells(asMilliseconds)
			}
			t.add(name, asCount(float64(r.instances)), r.String(), asCount(spreadOf(values(func(t told) float64 { return t.statements })).median),
				spreadOf(values(func(t told) float64 { return t.after })).cells(asMilliseconds), cpu)
		}
	}
	s.tables = []resultTable{t}
	return s, nil
}

// rush has all come and leave once.
func (b *bench) rush(ctx context.Context, r rush) (came, gone told, err error) {
	if err := b.postgres.clear(ctx); err != nil {
		return came, gone, err
	}
	if _, err := b.postgres.db.Pool.Exec(ctx, `truncate tidings.presence, tidings.presence_connections, tidings.presence_instances`); err != nil {
		return came, gone, fmt.Errorf("empty the tables: %w", err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, r.instances)
	instances := make([]*db.Presence, r.instances)
	for n := range instances {
		instances[n] = &db.Presence{DB: b.postgres.db, Grace: -1}
		go func() { ended <- instances[n].Run(running) }()
	}
	defer func() {
		stop()
		for range instances {
			if end := <-ended; err == nil {
				err = end
			}
		}
	}()
	// Whoever has just started does not set others offline.
	if err := pause(ctx, 7*time.Second); err != nil {
		return came, gone, err
	}
	if came, err = b.tell(ctx, r, instances, (*db.Presence).Arrive, presenceUsers); err != nil {
		return came, gone, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return came, gone, err
	}
	gone, err = b.tell(ctx, r, instances, (*db.Presence).Leave, 0)
	b.say("  %d, %s: %.0f statements and %.0f ms for those who come, %.0f and %.0f ms for those who leave", r.instances, r, came.statements, came.after*1e3, gone.statements, gone.after*1e3)
	return came, gone, err
}

// tell counts all in or out, and waits until so many are online.
func (b *bench) tell(ctx context.Context, r rush, instances []*db.Presence, count func(*db.Presence, string), online int) (t told, err error) {
	sent := func() (n float64) {
		for _, i := range instances {
			n += float64(i.Status().Statements)
		}
		return n
	}
	cpu := func() (d time.Duration, err error) {
		if b.measured {
			d, err = familyCPU(b.postgres.postmaster)
		}
		return d, err
	}
	var cursor string
	if err := b.postgres.db.Pool.QueryRow(ctx, `select tidings.cursor()`).Scan(&cursor); err != nil {
		return t, err
	}
	before, err := cpu()
	if err != nil {
		return t, err
	}
	t.statements = -sent()
	begun := time.Now()
	for n := range presenceUsers {
		due := begun.Add(r.within * time.Duration(n) / presenceUsers)
		if wait := time.Until(due); wait > time.Millisecond {
			if err := pause(ctx, wait); err != nil {
				return t, err
			}
		}
		count(instances[n%len(instances)], strconv.Itoa(n))
	}
	err = awaitProgress(ctx, func() (int64, bool) {
		now := -1
		err := b.postgres.db.Pool.QueryRow(ctx, `select count(*) from tidings.presence where online`).Scan(&now)
		return int64(now), err == nil && now == online
	})
	if err != nil {
		return t, err
	}
	t.after = seconds(time.Since(begun))
	t.statements += sent()
	after, err := cpu()
	if err != nil {
		return t, err
	}
	t.cpu = seconds(after - before)
	var events, users int
	if err := b.postgres.db.Pool.QueryRow(ctx, `select count(*), count(distinct key) from tidings.since($1) where topic = 'presence'`, cursor).Scan(&events, &users); err != nil {
		return t, err
	}
	if events != presenceUsers || users != presenceUsers {
		b.problem("presence, %d, %s: %d events of %d users", r.instances, r, events, users)
	}
	return t, nil
}
