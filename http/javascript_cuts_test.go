package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidings/http/browsertest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// told is an event as tidings-follow.mjs notes it.
type told struct {
	ID  string
	Row string // of which table, and its primary key; empty: the table was truncated
}

// inOrder brings events into an order that only depends on what has to be in order: those of each row, before and behind each truncation.
func inOrder(events []told) []told {
	events = slices.Clone(events)
	for begin := 0; begin < len(events); {
		end := begin
		for end < len(events) && events[end].Row != "" {
			end++
		}
		slices.SortStableFunc(events[begin:end], func(a, b told) int { return strings.Compare(a.Row, b.Row) })
		begin = end + 1
	}
	return events
}

// followed is what tidings-follow.mjs reports.
type followed struct {
	State   string
	States  []string
	Links   int
	Records []struct {
		Kind     string
		Channels []string
		Segments []struct {
			Cursor string
			Events []told
		}
		Resets []string
		Closed bool
		Live   bool
		Error  string
	}
	Collections []struct {
		Channel string
		Live    bool
		Told    int
		Rows    []thing
	}
}

// The network is cut at random, also in the middle of a frame or without a word, and the service is restarted, while many write. At the
// end collections are as the table, and who subscribed was told each event once, in order.
func TestJavaScriptCuts(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	d := newDatabase(t)
	d.exec(things)
	s := start(t, d.url, options{})
	network := newCutter(t, s.addr)

	page := startInBrowser(t, browsertest.Start(t), s)
	clients := map[string]scripted{"Node": startNode(t), "the browser": page}
	for _, c := range clients {
		c.run(`(globalThis.client = connect({ url: 'http://` + network.addr + `', backoff: { min: 10, max: 200 }, heartbeat: { after: 500, timeout: 1500 } }),
			globalThis.following = follow(client), null)`)
	}
	write := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var writers errgroup.Group
		for w := range 2 {
			random := rand.New(rand.NewPCG(random.Uint64(), uint64(w)))
			writers.Go(func() error { return writeThingsNowAndThen(ctx, d, random) })
		}
		return func() {
			cancel()
			if err := writers.Wait(); err != nil {
				t.Error(err)
			}
		}
	}
	// The last one is told to all.
	last := func() {
		for k := range 5 {
			d.insist(`insert into things as t (id, k) values ($1, $2) on conflict (id) do update set n = nextval('versions'), prev = t.n, k = excluded.k`, lastThing+k, k)
			d.exec(`update things set k = ($2 + 1) % 5 where id = $1`, lastThing+k, k)
		}
	}

	stop := write()
	for i := range 30 {
		pause(t, time.Duration(50+random.IntN(300))*time.Millisecond)
		switch {
		case i%10 == 9:
			s.end()
			s = start(t, d.url, options{listen: s.addr})
		case i%10 == 4:
			network.refuse(true)
			pause(t, time.Duration(random.IntN(300))*time.Millisecond)
			network.refuse(false)
		case i%7 == 3:
			d.insist(`truncate things`)
		case i%7 == 5:
			d.insist(`update things set id = id + 1000 where id % 10 = 1 and id < 1000`) // their primary key
		default:
			network.harm(random)
		}
	}
	stop()
	last()
	t.Logf("cuts: %v", network.cuts)
	for name, c := range clients {
		t.Run(name, func(t *testing.T) { c.run(`following.calm()`); expectFollowed(t, s, d, c, 0) })
	}
	if t.Failed() {
		return
	}

	// What was missed is not kept.
	network.refuse(true)
	s.awaitConnections(0)
	before := query[int64](d, `select last_value from versions`)
	stop = write()
	eventually(t, "more was written", func() bool { return query[int64](d, `select last_value from versions`) > before+50 })
	stop()
	eventually(t, "no transaction is open that began before", func() bool {
		return query[bool](d, `select pg_snapshot_xmin(pg_current_snapshot()) > all (array_agg(xid)) from tidings.log`)
	})
	s.end()
	for range 8 {
		d.exec(`select tidings.rotate(true)`)
	}
	s = start(t, d.url, options{listen: s.addr})
	stop = write()
	network.refuse(false)
	pause(t, 500*time.Millisecond)
	network.harm(random)
	pause(t, 500*time.Millisecond)
	stop()
	last()
	for name, c := range clients {
		t.Run(name+", after a reset", func(*testing.T) { expectFollowed(t, s, d, c, 1); c.run(`client.close()`) })
	}
	for _, e := range page.errors() {
		// The browser itself tells of every connection that fails.
		if !strings.Contains(e, "WebSocket connection to") {
			t.Errorf("the page complains: %s", e)
		}
	}
}

// writeThingsNowAndThen writes at random, until ctx ends.
func writeThingsNowAndThen(ctx context.Context, d *database, random *rand.Rand) error {
	conn, err := pgx.Connect(d.t.Context(), d.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for ctx.Err() == nil {
		if err := writeThing(d.t.Context(), conn, random); err != nil && !isDeadlock(err) {
			return err
		}
		pause(d.t, time.Duration(random.IntN(10))*time.Millisecond)
	}
	return nil
}

func isDeadlock(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "40P01"
}

// insist does so until it is no victim of a deadlock.
func (d *database) insist(sql string, args ...any) {
	d.t.Helper()
	for {
		_, err := d.pool.Exec(d.t.Context(), sql, args...)
		if err == nil {
			return
		}
		if !isDeadlock(err) {
			d.t.Fatalf("%s: %v", sql, err)
		}
	}
}

// pause lets some time pass, in which something is to happen at no known moment.
func pause(t testing.TB, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// expectFollowed waits until the client's collections are as the table, and all was told that there was to tell, and nothing else.
func expectFollowed(t *testing.T, s *service, d *database, c scripted, resets int) {
	t.Helper()
	table := make(map[int]thing)
	rows, err := d.pool.Query(t.Context(), `select id, k, n, prev from things`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var r thing
		if err := rows.Scan(&r.ID, &r.K, &r.N, &r.Prev); err != nil {
			t.Fatal(err)
		}
		table[r.ID] = r
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	known := make(map[string][]told)
	// behind are the events behind a cursor; nil, if that cannot be served any more.
	behind := func(channels []string, cursor string) []told {
		query := url.Values{"channel": channels, "since": {cursor}}.Encode()
		if events, is := known[query]; is {
			return events
		}
		witness := s.dialQuery(query)
		defer witness.ws.Close()
		events := []told{}
		for live := 0; live < len(channels); {
			switch f := witness.next(); {
			case f.Type == "subscribed":
				live++
			case f.Type == "reset":
				return nil
			case f.ID != "":
				e := told{ID: f.ID}
				if topic, _, is := strings.Cut(f.Type, "_"); is && f.Type != "things_truncated" {
					e.Row = fmt.Sprint(topic, f.row(t).ID)
				}
				events = append(events, e)
			default:
				t.Fatalf("got %s", f.text)
			}
		}
		known[query] = events
		return events
	}
	var wrong []string
	check := func() bool {
		wrong = wrong[:0]
		var f followed
		if err := json.Unmarshal(c.run(`following.report()`), &f); err != nil {
			t.Fatal(err)
		}
		complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
		for _, m := range f.Collections {
			want := maps.Clone(table)
			if key, is := strings.CutPrefix(m.Channel, "things:"); is {
				maps.DeleteFunc(want, func(_ int, r thing) bool { return strconv.Itoa(r.K) != key })
			}
			got := make(map[int]thing)
			for _, r := range m.Rows {
				got[r.ID] = r
			}
			if len(m.Rows) != len(got) {
				complain("collection %s has rows twice", m.Channel)
			}
			if !maps.Equal(got, want) {
				complain("collection %s (live: %t) has %d rows, want %d", m.Channel, m.Live, len(got), len(want))
				maps.DeleteFunc(got, func(id int, r thing) bool { return want[id] == r })
				complain("wrong are %+v", got)
			}
		}
		events := 0
		for i, r := range f.Records {
			if r.Error != "" {
				complain("%s %v ended: %s", r.Kind, r.Channels, r.Error)
			}
			if len(r.Resets) > resets*len(r.Channels) {
				complain("%s %v was reset: %v", r.Kind, r.Channels, r.Resets)
			}
			if !r.Closed && !r.Live {
				complain("%s %v is not live", r.Kind, r.Channels)
			}
			for n, segment := range r.Segments {
				events += len(segment.Events)
				seen := make(map[string]bool)
				for _, e := range segment.Events {
					if seen[e.ID] {
						complain("%s %v was told twice of %s", r.Kind, r.Channels, e.ID)
					}
					seen[e.ID] = true
				}
				if segment.Cursor == "" || n < len(r.Segments)-1 || r.Closed {
					continue
				}
				if got, want := inOrder(segment.Events), inOrder(behind(r.Channels, segment.Cursor)); !slices.Equal(got, want) {
					at := 0
					for at < min(len(want), len(got)) && want[at] == got[at] {
						at++
					}
					complain("%d: %s %v was told of %d events since %s, want %d; the first difference is at %d: %v, %v", i, r.Kind, r.Channels,
						len(got), segment.Cursor, len(want), at, got[at:min(at+3, len(got))], want[at:min(at+3, len(want))])
				}
			}
		}
		if f.State != "live" {
			complain("the client is %s, after %v", f.State, f.States[max(0, len(f.States)-10):])
		}
		if len(wrong) == 0 {
			t.Logf("%d records, %d events, %d collections, %d connections, %d states", len(f.Records), events, len(f.Collections), f.Links, len(f.States))
		}
		return len(wrong) == 0
	}
	for deadline := time.Now().Add(patience); !check(); pause(t, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s:\n%s", patience, strings.Join(wrong[:min(len(wrong), 40)], "\n"))
		}
	}
}
