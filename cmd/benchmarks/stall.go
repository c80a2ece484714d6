package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	stallSubscribers = 1000
	stallEvery       = time.Millisecond // 1,000 rows a second
	stallContent     = 800              // bytes; with the rest, an event of 1 KB
)

// stall measures what one client that stops reading does to those who read.
func (b *bench) stall(ctx context.Context) (section, error) {
	window := time.Minute
	if b.quick {
		window = 2 * time.Second
	}
	s := section{
		title: "One that does not read, among a thousand",
		method: fmt.Sprintf(`One writer writes 1,000 rows a second, each an event of 1 KB, on a fixed schedule; %s get every row. In every other measurement there
is one more client, which has subscribed and then reads nothing for the %.0f seconds that it lasts; after that it reads what it lacks, coming back with
its cursor if it was sent away. *From commit* is measured as above, over the thousand that read. Two rounds, each with a service of its own.
--stall-timeout is 30 s here, so that within the minute the client is also told, and sent away.`,
			plural(stallSubscribers, "subscriber"), window.Seconds()),
	}
	type result struct {
		outcome
		peak     int64
		caughtUp time.Duration
		came     int
		double   int
	}
	results := make(map[bool][]result)
	next := int64(latencyFirstID)
	err := alternate(2, []bool{false, true}, func(round int, stalled bool) error {
		if err := b.postgres.clear(ctx); err != nil {
			return err
		}
		service, err := b.startService(ctx, "--stall-timeout=30s")
		if err != nil {
			return err
		}
		defer b.stopService(service)
		conn, err := b.postgres.db.Pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		defer conn.Conn().Close(context.WithoutCancel(ctx))                       // what is set here ends with it
		if _, err := conn.Exec(ctx, `set synchronous_commit = off`); err != nil { // the writer has to keep up
			return err
		}
		content := strings.Repeat("x", stallContent)
		p := &path{name: "tidings", every: stallEvery, next: next, publish: func(ctx context.Context, id int64) error {
			_, err := conn.Exec(ctx, `insert into public.bench_watched (id, author_id, title, content) values ($1, 1, 'A message', $2)`, id, content)
			return err
		}}
		if p.crowd, err = connect(ctx, service.channel(topic), stallSubscribers, p.arrived); err != nil {
			return err
		}
		defer p.crowd.close()
		if _, err := b.drive(ctx, p, 500); err != nil { // what does not count
			return err
		}
		var slow *websocket.Conn
		if stalled {
			if slow, _, err = dialer.DialContext(ctx, service.channel(topic), nil); err != nil {
				return err
			}
			defer slow.Close()
			if _, _, err := slow.ReadMessage(); err != nil { // subscribed
				return err
			}
		}
		first, rows := p.next, int(window/stallEvery)
		o, err := b.drive(ctx, p, rows)
		if err != nil {
			return err
		}
		next = p.next
		r := result{outcome: o}
		if used, err := usageOf(service.cmd.Process.Pid); err == nil {
			r.peak = used.peak
		}
		if stalled {
			begun := time.Now()
			seen, doubled, err := catchUp(slow, service, first, rows)
			if err != nil {
				return err
			}
			r.caughtUp, r.came, r.double = time.Since(begun), seen, doubled
			if r.came != rows || r.double != 0 {
				b.problem("stall: of %d rows the one that had not read got %d, %d of them twice", rows, r.came, r.double)
			}
		}
		b.say("  round %d, stalled %t: p50 %s, p99 %s, %s of memory; caught up in %s", round+1, stalled,
			asMilliseconds(o.quantile(0.5)), asMilliseconds(o.quantile(0.99)), asMegabytes(float64(r.peak)), r.caughtUp)
		results[stalled] = append(results[stalled], r)
		return nil
	})
	if err != nil {
		return s, err
	}
	t := resultTable{head: []string{"", "all read", "lowest – highest", "one does not", "lowest – highest", "Ratio", "lowest – highest"}}
	row := func(name string, format func(float64) string, of func(result) float64) {
		var values [2][]float64
		for i, stalled := range []bool{false, true} {
			for _, r := range results[stalled] {
				values[i] = append(values[i], of(r))
			}
		}
		t.add(name, spreadOf(values[0]).cells(format), spreadOf(values[1]).cells(format), ratioOf(values[1], values[0]).cells(asRatio))
	}
	for _, q := range quantiles {
		row("from commit, "+q.name, asMilliseconds, func(r result) float64 { return r.quantile(q.p) })
	}
	row("Memory of the service, at most", asMegabytes, func(r result) float64 { return float64(r.peak) })
	s.tables = []resultTable{t}
	for _, r := range results[true] {
		s.remarks += fmt.Sprintf("The one that had not read then got all of the %s that it lacked in %s, none of them twice.\n", plural(r.came, "row"), r.caughtUp.Round(10*time.Millisecond))
	}
	return s, nil
}

// catchUp reads what a client lacks, coming back with the last cursor if the connection ends, and returns how many of the
// rows came, and how many more than once.
func catchUp(ws *websocket.Conn, service *service, first int64, rows int) (seen, doubled int, err error) {
	got := make([]int, rows)
	cursor := ""
	buffer := make([]byte, 4<<10)
	for seen < rows {
		if err := ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return seen, doubled, err
		}
		text, err := readFrame(ws, buffer)
		if err != nil {
			if cursor == "" {
				return seen, doubled, err
			}
			ws.Close()
			if ws, _, err = dialer.Dial(service.channel(topic)+"&since="+cursor, nil); err != nil {
				return seen, doubled, err
			}
			defer ws.Close()
			continue
		}
		buffer = text[:cap(text)]
		if c := cursorOf(text); c != "" {
			cursor = c
		}
		if id, kind := parseEvent(text); kind == eventAdded && id >= first && id < first+int64(rows) {
			if got[id-first]++; got[id-first] == 1 {
				seen++
			} else {
				doubled++
			}
		}
	}
	return seen, doubled, nil
}
