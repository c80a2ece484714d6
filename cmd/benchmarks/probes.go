package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// probeEvery is how often a row is timed at full speed.
const probeEvery = 50 * time.Millisecond

// probes are rows that one more writer writes among the others', and whose way to each client is timed.
type probes struct {
	begun time.Time
	crowd *crowd

	// Where a client finds, with one look at each row it gets, whether it is one of them: by the last digits of the id.
	slots [4096]atomic.Pointer[probe]

	// Of the goroutine that writes.
	rows    []*probe
	backlog int64 // rows that had been given an id and had not come to some client, at most
}

// probe is one of the rows; its times are nanoseconds of begun.
type probe struct {
	id        int64
	committed int64
	at        []int64 // when it came to each client, 0: not yet
}

// begin is called before the first row is written.
func (p *probes) begin(at time.Time, c *crowd) { p.begun, p.crowd = at, c }

// arrived is called by the crowd.
func (p *probes) arrived(client int, id int64) {
	if row := p.slots[id%int64(len(p.slots))].Load(); row != nil && row.id == id {
		row.at[client] = int64(time.Since(p.begun))
	}
}

// register prepares for a row that will be written; where its slot is another's, it is not timed.
func (p *probes) register(id int64) *probe {
	slot := &p.slots[id%int64(len(p.slots))]
	if slot.Load() != nil {
		return nil
	}
	row := &probe{id: id, at: make([]int64, len(p.crowd.clients))}
	slot.Store(row)
	return row
}

// write writes until ctx ends.
func (p *probes) write(ctx context.Context, to *postgres) error {
	running := context.WithoutCancel(ctx) // a row that is begun is finished
	conn, err := to.db.Pool.Acquire(running)
	if err != nil {
		return fmt.Errorf("write timed rows: %w", err)
	}
	defer conn.Release()
	const nextID = `select nextval(pg_get_serial_sequence('public.bench_watched', 'id'))`
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil // its end was asked for
		case <-tick.C:
		}
		arrived := p.crowd.slowest()
		var id int64
		if err := conn.QueryRow(running, nextID).Scan(&id); err != nil {
			return fmt.Errorf("write timed rows: %w", err)
		}
		p.backlog = max(p.backlog, id-1-arrived)
		row := p.register(id)
		if _, err := conn.Exec(running, watched.insertWithID(), id); err != nil {
			return fmt.Errorf("write timed rows: %w", err)
		}
		if row != nil {
			row.committed = int64(time.Since(p.begun))
			p.rows = append(p.rows, row)
		}
	}
}

// delays are, when all is over, from each commit to each delivery, sorted.
func (p *probes) delays() (delays []time.Duration) {
	for _, row := range p.rows {
		for _, at := range row.at {
			if at != 0 {
				delays = append(delays, time.Duration(at-row.committed))
			}
		}
	}
	slices.Sort(delays)
	return delays
}
