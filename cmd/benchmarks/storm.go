package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
)

const (
	stormClients = 10_000
	stormRooms   = 1000
	stormRate    = 500 // rows a second
)

// guest is one client of the storm: it keeps its last cursor, and comes back with it.
type guest struct {
	room   int
	cursor string
	got    map[int64]int
	ws     *websocket.Conn
	resets int
}

// storm has all clients cut off at the same moment, who come back at once.
type storm struct {
	guests []*guest
	ready  atomic.Int64 // guests that are subscribed
	group  sync.WaitGroup
	ctx    context.Context

	mu sync.Mutex // of the guests' connections
}

// storm measures what it takes when everybody comes back at once.
func (b *bench) storm(ctx context.Context) (section, error) {
	s := section{
		title: "Everybody comes back at once",
		method: fmt.Sprintf(`%s, each subscribed to one of %s, while %d rows a second are written, to all rooms in turn. Then all connections end in the same
moment, and all clients come back at once, without a pause, each with the cursor of the last frame it has. *Cut off* ends their connections and leaves the service
running; *killed* ends the service with SIGKILL and starts it again. Counted are the queries that the service makes for those who come back (of the log and of tables; its own reader's are
not among them), the time from the cut until the last of them is subscribed again and has everything, and the service's memory. In the end each client must have every row of its
room, once.`, plural(stormClients, "client"), plural(stormRooms, "room"), stormRate),
	}
	t := resultTable{head: []string{"", "Clients", "Subscribed again after", "Queries", "Memory at most", "Rows delivered", "Lost", "Doubled", "Resets"}}
	for _, killed := range []bool{false, true} {
		row, err := b.oneStorm(ctx, killed)
		if err != nil {
			return s, err
		}
		t.add(row...)
	}
	s.tables = []resultTable{t}
	s.remarks = "Half of the time goes into the clients, which share the machine: dialling and the handshakes of so many connections."
	return s, nil
}

func (b *bench) oneStorm(ctx context.Context, killed bool) ([]any, error) {
	name := map[bool]string{false: "cut off", true: "killed"}[killed]
	if err := b.postgres.clear(ctx); err != nil {
		return nil, err
	}
	service, err := b.startService(ctx)
	if err != nil {
		return nil, err
	}
	stop := func() { b.stopService(service) }
	defer func() { stop() }()

	clients := stormClients
	if b.quick {
		clients /= 10
	}
	guestsCtx, end := context.WithCancel(ctx)
	defer end()
	w := &storm{ctx: guestsCtx}
	address := service.address
	defer func() {
		end()
		w.cut()
		w.group.Wait()
	}()
	for i := range clients {
		w.guests = append(w.guests, &guest{room: i % stormRooms, got: make(map[int64]int)})
	}
	for _, g := range w.guests {
		w.group.Go(func() { w.follow(g, address) })
	}
	if err := w.awaitReady(ctx, int64(clients)); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}

	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	written := make(chan error, 1)
	go func() { written <- b.writeRooms(writing) }()
	if err := pause(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	w.ready.Store(0)
	begun := time.Now()
	before := queries(ctx, address)
	if killed {
		_ = service.cmd.Process.Kill() // it has ended if it cannot be
		<-service.ended
		if service, err = b.startService(ctx, "--listen="+address); err != nil {
			return nil, err
		}
		before = 0
	} else {
		w.cut()
	}
	if err := w.awaitReady(ctx, int64(clients)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	again := time.Since(begun)
	used := queries(ctx, address) - before
	if err := pause(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	stopWriting()
	if err := <-written; err != nil {
		return nil, err
	}
	truth, err := b.roomRows(ctx)
	if err != nil {
		return nil, err
	}
	peak := 0.0
	rows, lost, doubled, resets := w.settle(ctx, truth)
	if used, err := usageOf(service.cmd.Process.Pid); err == nil {
		peak = float64(used.peak)
	}
	if lost+doubled+resets > 0 {
		b.problem("storm, %s: %d lost, %d doubled, %d resets", name, lost, doubled, resets)
	}
	b.say("  %s: subscribed again after %s, %d queries, %s, %d rows delivered, %d lost, %d doubled", name, again.Round(time.Millisecond), used, asMegabytes(peak), rows, lost, doubled)
	return []any{name, asCount(float64(clients)), asSeconds(seconds(again)), asCount(float64(used)), asMegabytes(peak),
		asCount(float64(rows)), asCount(float64(lost)), asCount(float64(doubled)), asCount(float64(resets))}, nil
}

// follow keeps one guest connected.
func (w *storm) follow(g *guest, address string) {
	buffer := make([]byte, 1<<10)
	for w.ctx.Err() == nil {
		query := url.Values{"channel": {rooms + ":" + strconv.Itoa(g.room)}}
		if g.cursor != "" {
			query.Set("since", g.cursor)
		}
		u := url.URL{Scheme: "ws", Host: address, Path: "/ws", RawQuery: query.Encode()}
		ws, _, err := dialer.DialContext(w.ctx, u.String(), http.Header{})
		if err != nil {
			_ = pause(w.ctx, 20*time.Millisecond+rand.N(100*time.Millisecond)) // then it is asked whether it goes on
			continue
		}
		w.mu.Lock()
		g.ws = ws
		w.mu.Unlock()
		for {
			text, err := readFrame(ws, buffer)
			if err != nil {
				break
			}
			buffer = text[:cap(text)]
			w.hear(g, text)
		}
		_ = ws.Close() // it has ended
	}
}

var (
	roomPrefix       = []byte(`{"type":"` + rooms + `_added"`)
	subscribedPrefix = []byte(`{"type":"subscribed"`)
	resetPrefix      = []byte(`{"type":"reset"`)
)

func (w *storm) hear(g *guest, text []byte) {
	if c := cursorOf(text); c != "" {
		g.cursor = c
	}
	switch {
	case bytes.HasPrefix(text, roomPrefix):
		from, to := idBounds(text)
		if id, err := strconv.ParseInt(string(text[from:to]), 10, 64); err == nil {
			w.mu.Lock()
			g.got[id]++
			w.mu.Unlock()
		}
	case bytes.HasPrefix(text, subscribedPrefix):
		w.ready.Add(1)
	case bytes.HasPrefix(text, resetPrefix):
		w.mu.Lock()
		g.resets++
		w.mu.Unlock()
	}
}

// cut ends all connections.
func (w *storm) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.guests {
		if g.ws != nil {
			_ = g.ws.NetConn().Close() // without a goodbye
		}
	}
}

func (w *storm) awaitReady(ctx context.Context, n int64) error {
	err := awaitProgress(ctx, func() (int64, bool) { return w.ready.Load(), w.ready.Load() >= n })
	if err == nil && w.ready.Load() < n {
		err = fmt.Errorf("only %d of %d clients are subscribed", w.ready.Load(), n)
	}
	return err
}

// settle waits until every guest has the rows of its room, and says what is missing in the end.
func (w *storm) settle(ctx context.Context, truth [][]int64) (rows, lost, doubled, resets int) {
	count := func() {
		rows, lost, doubled, resets = 0, 0, 0, 0
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, g := range w.guests {
			resets += g.resets
			for _, id := range truth[g.room] {
				switch n := g.got[id]; {
				case n == 0:
					lost++
				case n > 1:
					doubled += n - 1
					rows++
				default:
					rows++
				}
			}
		}
	}
	_ = awaitProgress(ctx, func() (int64, bool) { // what it would say is in the counts
		count()
		return int64(rows), lost == 0
	})
	return rows, lost, doubled, resets
}

// writeRooms writes on schedule until ctx ends.
func (b *bench) writeRooms(ctx context.Context) error {
	group, running := errgroup.WithContext(context.WithoutCancel(ctx))
	const writers = 4
	for n := range writers {
		group.Go(func() error {
			tick := time.NewTicker(time.Second * writers / stormRate)
			defer tick.Stop()
			for room := n; ; room += writers {
				select {
				case <-ctx.Done():
					return nil // its end was asked for
				case <-tick.C:
				}
				if _, err := b.postgres.db.Pool.Exec(running, `insert into public.bench_rooms (room, content) values ($1, $2)`, room%stormRooms, content); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// roomRows are the ids of the rows, by room.
func (b *bench) roomRows(ctx context.Context) ([][]int64, error) {
	truth := make([][]int64, stormRooms)
	rows, err := b.postgres.db.Pool.Query(ctx, `select room, id from public.bench_rooms`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var room, id int64
		if err := rows.Scan(&room, &id); err != nil {
			return nil, err
		}
		truth[room] = append(truth[room], id)
	}
	return truth, rows.Err()
}

// queries asks the service how many it has made for its clients.
func queries(ctx context.Context, address string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		return 0
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	var body struct{ Events struct{ Queries int } }
	if json.NewDecoder(response.Body).Decode(&body) != nil {
		return 0
	}
	return body.Events.Queries
}
