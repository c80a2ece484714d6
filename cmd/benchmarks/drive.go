package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// path is a way from a writer to clients.
type path struct {
	name    string
	publish func(ctx context.Context, id int64) error // returns when the row is committed, or on its way
	every   time.Duration                             // from one row to the next
	hears   func(client int, id int64) bool           // nil: every client gets every row
	cost    func() (cost, error)                      // what those who deliver have used so far; nil: it is not asked
	crowd   *crowd
	current atomic.Pointer[arrivals]
	next    int64 // the next row's id
}

// arrivals is when the rows of one measurement came to each client, in nanoseconds of begun; 0: not yet.
type arrivals struct {
	begun   time.Time
	firstID int64
	at      [][]int64 // by client and row
}

// outcome is what one measurement of a path came to.
type outcome struct {
	// How long each delivery took, sorted.
	committed []time.Duration // from the moment at which the writer knew that the row was committed
	intended  []time.Duration // from the moment at which it was to be written

	cost cost
}

// quantile is how long after the commit the share p of the deliveries had come, in seconds.
func (o outcome) quantile(p float64) float64 { return seconds(rank(o.committed, p)) }

func (o outcome) deliveries() int64 { return int64(len(o.committed)) }

// arrived is called by the path's crowd.
func (p *path) arrived(client int, id int64) {
	if a := p.current.Load(); id >= a.firstID && id < a.firstID+int64(len(a.at[client])) {
		a.at[client][id-a.firstID] = int64(time.Since(a.begun))
	}
}

// due is how many of the rows a client is to get.
func (p *path) due(client int, first int64, rows int) (due int64) {
	if p.hears == nil {
		return int64(rows)
	}
	for id := first; id < first+int64(rows); id++ {
		if p.hears(client, id) {
			due++
		}
	}
	return due
}

// drive writes so many rows on schedule, waits until all clients have them, and returns how long that took.
func (b *bench) drive(ctx context.Context, p *path, rows int) (o outcome, err error) {
	a := &arrivals{begun: time.Now(), firstID: p.next, at: make([][]int64, len(p.crowd.clients))}
	due := make([]int64, len(p.crowd.clients)) // of all so far
	for i, client := range p.crowd.clients {
		a.at[i] = make([]int64, rows)
		due[i] = client.distinct.Load() + p.due(i, a.firstID, rows)
	}
	p.current.Store(a)
	p.next += int64(rows)
	var before cost
	if p.cost != nil {
		if before, err = p.cost(); err != nil {
			return o, err
		}
	}

	intended, committed := make([]time.Duration, rows), make([]time.Duration, rows)
	start := time.Since(a.begun) + p.every
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range rows {
		intended[i] = start + time.Duration(i)*p.every
		timer.Reset(intended[i] - time.Since(a.begun))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return o, context.Cause(ctx)
		}
		if err := p.publish(ctx, a.firstID+int64(i)); err != nil {
			return o, err
		}
		committed[i] = time.Since(a.begun)
	}
	got, err := p.crowd.awaitEach(ctx, func(client int) int64 { return due[client] })
	if err != nil {
		return o, err
	}
	if p.cost != nil {
		after, err := p.cost()
		if err != nil {
			return o, err
		}
		o.cost = after.minus(before)
	}
	b.check(fmt.Sprintf("%s, %s", p.name, plural(len(a.at), "subscriber")), p.crowd, got)

	for _, client := range a.at {
		for i, at := range client {
			if at == 0 {
				continue // another's, or lost, and told
			}
			o.committed = append(o.committed, time.Duration(at)-committed[i])
			o.intended = append(o.intended, time.Duration(at)-intended[i])
		}
	}
	if len(o.committed) == 0 && len(p.crowd.clients) > 0 {
		return o, fmt.Errorf("none of %d rows came to a client", rows)
	}
	slices.Sort(o.committed)
	slices.Sort(o.intended)
	return o, nil
}
