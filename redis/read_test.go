package redis_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
	"tidings/redis/redistest"
)

// readAll reads as those who come back do, page after page, some of them from the cursor of an event instead of the page's end. It returns
// what was read, and how many of the pages came from the stream.
func readAll(t *testing.T, reader *db.Reader, random *rand.Rand, from realtime.Cursor, upto realtime.Snapshot, until func(realtime.Cursor) bool) (events []*realtime.Event, relayed, pages int) {
	t.Helper()
	for {
		page, err := reader.Read(t.Context(), from, upto, []string{"notes"}, 1+random.IntN(400_000))
		if err != nil {
			t.Fatal(err)
		}
		pages++
		if page.Relayed {
			relayed++
		}
		if n := len(page.Events); n > 0 && random.IntN(3) == 0 { // the connection is lost there
			n = random.IntN(n)
			events = append(events, page.Events[:n+1]...)
			from = page.Events[n].Cursor
			continue
		}
		events = append(events, page.Events...)
		from = page.To
		if upto.Xmax != 0 && page.End || upto.Xmax == 0 && until(from) {
			return events, relayed, pages
		}
		if pages > 100_000 {
			t.Fatal("there is no end to the pages")
		}
	}
}

// Whoever comes back, to any instance and from any cursor of any other, is told of what is missing, whether that is in the stream or in the log.
func TestResumesFromTheStream(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	server := redistest.Start(t)
	database := newDatabase(t, dbtest.Database(t))
	both := []*instance{start(t, database, server.URL(), steady), start(t, database, server.URL(), steady)}
	// One that reads for itself has positions of its own, between those of the stream.
	alone := start(t, database, server.URL(), func(i *instance) {
		steady(i)
		i.reader.Relay = nil
	})
	leader(t, both...)
	await(t, "the one that reads for itself", func() bool { return alone.reader.Status().Live })

	writing, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		random := rand.New(rand.NewPCG(seed, uint64(w)+1))
		writers.Go(func() {
			for n := 1; n < 500; {
				rows, err := writeSome(writing, database, random, w, n)
				if err != nil && writing.Err() == nil {
					t.Error(err)
				}
				n += max(rows, 1)
			}
		})
	}
	defer stop()
	// Cursors as clients have them, of all three.
	var mu sync.Mutex
	var cursors []realtime.Cursor
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		for writing.Err() == nil {
			for _, i := range append([]*instance{alone}, both...) {
				i.mu.Lock()
				c := i.position
				if n := len(i.events); n > 0 {
					c = i.events[max(0, n-1-rand.IntN(20))].Cursor
				}
				i.mu.Unlock()
				mu.Lock()
				cursors = append(cursors, c)
				mu.Unlock()
			}
			pause(writing, 5*time.Millisecond)
		}
	}()
	writers.Wait()
	stop()
	<-taken
	// Half of them are older than what the stream has.
	length, err := server.Do("XLEN", streamOf(server))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(length)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Do("XTRIM", streamOf(server), "MAXLEN", strconv.Itoa(n/2)); err != nil {
		t.Fatal(err)
	}

	rows, err := database.Pool.Query(t.Context(), `select id, xid::text::bigint, case when rows is null then 1 else data::text::bigint end from tidings.log where topic = 'notes'`) //nolint:rowserrcheck // ForEachRow does
	if err != nil {
		t.Fatal(err)
	}
	var logged []*realtime.Event
	var id, xid, count int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &xid, &count}, func() error {
		for row := range count {
			logged = append(logged, &realtime.Event{ID: realtime.ID{Entry: id, Row: int(row)}, Xid: uint64(xid)})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	newest := slices.MaxFunc(logged, func(a, b *realtime.Event) int { return int(int64(a.Xid) - int64(b.Xid)) })
	all := func(c realtime.Cursor) bool { // nothing is open any more
		return c.Covers(newest) && !slices.ContainsFunc(logged, func(e *realtime.Event) bool { return !c.Covers(e) })
	}
	relayed, pages := 0, 0
	compare := func(from realtime.Cursor, upto realtime.Snapshot, got []*realtime.Event) {
		t.Helper()
		want := make(map[realtime.ID]int)
		for _, e := range logged {
			if !from.Covers(e) && (upto.Xmax == 0 || upto.Sees(e.Xid)) {
				want[e.ID] = 1
			}
		}
		told := make(map[realtime.ID]int)
		for _, e := range got {
			told[e.ID]++
		}
		if !maps.Equal(told, want) {
			for id, n := range told {
				if want[id] != n {
					t.Errorf("from %s to %v: event %s is told %d times instead of %d", from, upto, id, n, want[id])
				}
			}
			for id := range want {
				if told[id] == 0 {
					t.Errorf("from %s to %v: event %s is missing", from, upto, id)
				}
			}
		}
	}
	for range 30 {
		from, to := cursors[random.IntN(len(cursors))], cursors[random.IntN(len(cursors))]
		reader := both[random.IntN(2)].reader
		events, r, p := readAll(t, reader, random, from, realtime.Snapshot{}, all)
		compare(from, realtime.Snapshot{}, events)
		relayed, pages = relayed+r, pages+p
		if to.End().Includes(from.End()) {
			events, r, p := readAll(t, reader, random, from, to.End(), nil)
			compare(from, to.End(), events)
			relayed, pages = relayed+r, pages+p
		}
	}
	t.Logf("%d of %d pages were read from the stream", relayed, pages)
	if relayed == 0 || relayed == pages {
		t.Errorf("%d of %d pages were read from the stream: this tests nothing", relayed, pages)
	}
}
