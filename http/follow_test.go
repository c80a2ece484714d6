package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"tidings/realtime"
)

// thing is a row whose versions are a chain: each names the one before it. So who applies events to rows notices one that
// is missing, one that comes twice, and one that the rows have already.
type thing struct {
	ID   int `json:"id"`
	K    int `json:"k"`
	N    int `json:"n"`    // the version, of a sequence
	Prev int `json:"prev"` // the version before; 0: none
}

const things = `
create sequence versions;
create table things (id int primary key, k int not null, n bigint not null default nextval('versions'), prev bigint not null default 0, filler text not null default '');
create table noise (id serial primary key);
select tidings.watch('things', key => 'k', read => 'public');
select tidings.watch('noise', event => 'noise', read => 'public');`

const lastThing = 1_000_000

// writeThings writes at random until it is told to stop.
func writeThings(ctx context.Context, d *database, random *rand.Rand, stop <-chan struct{}) error {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		err := writeThing(ctx, conn, random)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "40P01" { // deadlock_detected
			continue
		}
		if err != nil {
			return err
		}
	}
}

func writeThing(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	for range 1 + random.IntN(3) {
		first, n := random.IntN(150), 1
		if random.IntN(3) == 0 {
			n = 1 + random.IntN(15)
		}
		var err error
		switch random.IntN(10) {
		case 0, 1, 2, 3:
			_, err = tx.Exec(ctx, `insert into things (id, k, filler) select i, $3, repeat('x', $4) from generate_series($1::int, $2) as i on conflict do nothing`,
				first, first+n-1, random.IntN(5), random.IntN(300))
		case 4, 5:
			_, err = tx.Exec(ctx, `insert into things as t (id, k) values ($1, $2) on conflict (id) do update set n = nextval('versions'), prev = t.n, k = excluded.k`,
				first, random.IntN(5))
		case 6, 7, 8:
			_, err = tx.Exec(ctx, `update things set n = nextval('versions'), prev = n where id between $1 and $2`, first, first+n-1)
		case 9:
			_, err = tx.Exec(ctx, `delete from things where id between $1 and $2`, first, first+n-1)
		}
		if err != nil {
			return err
		}
		if random.IntN(20) == 0 {
			if _, err := tx.Exec(ctx, `insert into noise default values`); err != nil {
				return err
			}
		}
		if random.IntN(8) == 0 {
			if _, err := tx.Exec(ctx, `select pg_sleep($1)`, random.Float64()/30); err != nil {
				return err
			}
		}
	}
	if random.IntN(8) == 0 {
		return nil
	}
	return tx.Commit(ctx)
}

// mirror is what a client knows of the rows of a channel.
type mirror struct {
	channel string
	key     int // -1: the whole topic
	lenient bool
	rows    map[int]thing
	events  int
}

func newMirror(key int) *mirror {
	m := &mirror{channel: "things", key: key, rows: make(map[int]thing)}
	if key >= 0 {
		m.channel += ":" + strconv.Itoa(key)
	}
	return m
}

func (m *mirror) load(data json.RawMessage) error {
	var r thing
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	if _, twice := m.rows[r.ID]; twice && !m.lenient {
		return fmt.Errorf("the row %s comes twice", data)
	}
	m.rows[r.ID] = r
	return nil
}

// apply applies an event, and reports whether it was the last one.
func (m *mirror) apply(f frame) (last bool, err error) {
	var r thing
	if err := unmarshal(f, &r); err != nil {
		return false, err
	}
	m.events++
	was, has := m.rows[r.ID]
	comes := m.key < 0 || r.K == m.key
	moved := f.MovedFrom != "" && m.key >= 0
	var wrong bool
	switch f.Type {
	case "thing_added":
		wrong = has || r.Prev != 0
		m.rows[r.ID] = r
	case "thing_updated":
		wrong = moved && comes && has || !(moved && comes) && (!has || was.N != r.Prev)
		m.rows[r.ID] = r
		if !comes {
			delete(m.rows, r.ID)
		}
	case "thing_deleted":
		wrong = !has || was.N != r.N
		delete(m.rows, r.ID)
	default:
		return false, fmt.Errorf("got %s", f.text)
	}
	if wrong && !m.lenient {
		return false, fmt.Errorf("%s is missing something, or came already: before it there was %+v (%t)", f.text, was, has)
	}
	return r.ID == lastThing, nil
}

// follow applies what next brings, until the last event: rows, if any are announced, then loaded, then events. The
// function cut is called behind each frame with a cursor, may begin anew, and returns what next is then.
func (m *mirror) follow(next func() (frame, error), cut func(cursor string) (func() (frame, error), error)) error {
	rows := 0
	for {
		f, err := next()
		if err != nil {
			return err
		}
		last := false
		switch f.Type {
		case "row":
			rows++
			err = m.load(f.Data)
		case "loaded":
			var l struct{ Rows int }
			if err = json.Unmarshal([]byte(f.text), &l); err == nil && l.Rows != rows {
				err = fmt.Errorf("%d rows came, and then %s", rows, f.text)
			}
			rows = 0
		case "noise_added":
		case "subscribed", "cursor":
		default:
			last, err = m.apply(f)
		}
		if err != nil || last {
			return err
		}
		if f.Cursor != "" && f.Type != "loaded" {
			if next, err = cut(f.Cursor); err != nil {
				return err
			}
		}
	}
}

// The rows of a channel, however they are loaded, and the events behind them, however one follows, are the table, at any
// time and while many write.
func TestLoadThenFollowUnderLoad(t *testing.T) {
	t.Parallel()
	for n := range 2 {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			testFollowUnderLoad(t)
		})
	}
}

func testFollowUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := newDatabase(t)
	d.exec(things)
	instances := []*service{
		start(t, d.url, options{}),
		start(t, d.url, options{hub: realtime.Options{RecentBytes: 1, QueueBytes: 200_000, Readers: 2}}),
	}
	ctx := t.Context()
	stop := make(chan struct{})
	var writers, clients errgroup.Group
	for w := range 4 {
		random := rand.New(rand.NewPCG(seed, uint64(w)))
		writers.Go(func() error { return writeThings(ctx, d, random, stop) })
	}
	eventually(t, "there is something to load", func() bool { return query[int](d, `select count(*)::int from things`) > 50 })

	var mirrors []*mirror
	methods := []func(context.Context, *rand.Rand, []*service, *mirror) error{followPage, followPages, followWebSocket, followCommand, followEvents}
	names := []string{"GET and /ws", "GET of pages and /ws", "/ws", "a command", "/events"}
	const rounds = 8
	begun := make(chan struct{}, rounds*len(methods))
	for round := range rounds {
		for n, method := range methods {
			random := rand.New(rand.NewPCG(seed, uint64(1000+round*len(methods)+n)))
			m := newMirror(random.IntN(7)%6 - 1)
			mirrors = append(mirrors, m)
			clients.Go(func() error {
				// Each at another moment.
				timer := time.NewTimer(time.Duration(random.IntN(1500)) * time.Millisecond)
				defer timer.Stop()
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
				begun <- struct{}{}
				if err := method(ctx, random, instances, m); err != nil {
					return fmt.Errorf("%s, %s: after %d events: %w", names[n], m.channel, m.events, err)
				}
				return nil
			})
		}
	}
	for range cap(begun) {
		<-begun
	}
	before := query[int64](d, `select last_value from versions`)
	eventually(t, "more was written", func() bool { return query[int64](d, `select last_value from versions`) > before+500 })
	close(stop)
	if err := writers.Wait(); err != nil {
		t.Error(err)
	}
	// The last event, which every channel has.
	d.exec(`insert into things (id, k) values ($1, 0)`, lastThing)
	for k := 1; k < 5; k++ {
		d.exec(`update things set k = $2, n = nextval('versions'), prev = n where id = $1`, lastThing, k)
	}
	if err := clients.Wait(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		return
	}

	table := make(map[int]thing)
	rows, err := d.pool.Query(ctx, `select id, k, n, prev from things where id <> $1`, lastThing)
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
	events := 0
	for i, m := range mirrors {
		want := maps.Clone(table)
		maps.DeleteFunc(want, func(_ int, r thing) bool { return m.key >= 0 && r.K != m.key })
		delete(m.rows, lastThing)
		if !maps.Equal(m.rows, want) {
			t.Errorf("%s, %s: %d rows, want %d", names[i%len(methods)], m.channel, len(m.rows), len(want))
			for id := range want {
				if m.rows[id] != want[id] {
					t.Logf("row %d: got %+v, want %+v", id, m.rows[id], want[id])
				}
			}
		}
		events += m.events
	}
	t.Logf("%d clients, %d rows, %d events, %d versions", len(mirrors), len(table), events, query[int64](d, `select last_value from versions`))
}

func pick(random *rand.Rand, instances []*service) *service {
	return instances[random.IntN(len(instances))]
}

func getPage(s *service, path string) (p page, err error) {
	response, err := plain.Get("http://" + s.addr + path)
	if err != nil {
		return p, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return p, fmt.Errorf("%s: %s", path, response.Status)
	}
	return p, json.NewDecoder(response.Body).Decode(&p)
}

// onWebSocket follows from a cursor, and sometimes goes and comes back elsewhere.
func onWebSocket(ctx context.Context, random *rand.Rand, instances []*service, m *mirror, ws *websocket.Conn) error {
	defer func() { _ = ws.Close() }()
	next := func() (frame, error) { return readFrame(ws) }
	return m.follow(next, func(cursor string) (func() (frame, error), error) {
		if random.IntN(200) > 0 {
			return next, nil
		}
		_ = ws.Close()
		var err error
		ws, err = pick(random, instances).connect(ctx, url.Values{"channel": {m.channel}, "since": {cursor}, "snapshot": {"true"}}.Encode())
		return next, err
	})
}

func followPage(ctx context.Context, random *rand.Rand, instances []*service, m *mirror) error {
	p, err := getPage(pick(random, instances), "/channels/"+m.channel+"?limit=1000")
	if err != nil {
		return err
	}
	if p.Next != nil {
		return errors.New("it is more than one page")
	}
	for _, r := range p.Rows {
		if err := m.load(r); err != nil {
			return err
		}
	}
	ws, err := pick(random, instances).connect(ctx, url.Values{"channel": {m.channel}, "since": {p.Cursor}}.Encode())
	if err != nil {
		return err
	}
	return onWebSocket(ctx, random, instances, m, ws)
}

// followPages has pages of different moments, of which the later have what events will tell again.
func followPages(ctx context.Context, random *rand.Rand, instances []*service, m *mirror) error {
	m.lenient = true
	path := "/channels/" + m.channel + "?limit=" + strconv.Itoa(5+random.IntN(30)) + "&order=" + []string{"asc", "desc"}[random.IntN(2)]
	p, err := getPage(pick(random, instances), path)
	cursor := p.Cursor
	for ; err == nil; p, err = getPage(pick(random, instances), path+"&after="+*p.Next) {
		for _, r := range p.Rows {
			if err := m.load(r); err != nil {
				return err
			}
		}
		if p.Next == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	ws, err := pick(random, instances).connect(ctx, url.Values{"channel": {m.channel}, "since": {cursor}}.Encode())
	if err != nil {
		return err
	}
	return onWebSocket(ctx, random, instances, m, ws)
}

func followWebSocket(ctx context.Context, random *rand.Rand, instances []*service, m *mirror) error {
	ws, err := pick(random, instances).connect(ctx, url.Values{"channel": {m.channel}, "snapshot": {"true"}}.Encode())
	if err != nil {
		return err
	}
	return onWebSocket(ctx, random, instances, m, ws)
}

// followCommand adds the channel to a connection that has another.
func followCommand(ctx context.Context, random *rand.Rand, instances []*service, m *mirror) error {
	ws, err := pick(random, instances).connect(ctx, "channel=noise")
	if err != nil {
		return err
	}
	defer ws.Close()
	typ := []string{"subscribe", "switch"}[random.IntN(2)]
	if err := ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":%q,"channel":%q,"snapshot":true}`, typ, m.channel)); err != nil {
		return err
	}
	next := func() (frame, error) {
		for {
			if f, err := readFrame(ws); err != nil || f.Type != "unsubscribed" {
				return f, err
			}
		}
	}
	return m.follow(next, func(string) (func() (frame, error), error) { return next, nil })
}

func followEvents(_ context.Context, random *rand.Rand, instances []*service, m *mirror) error {
	open := func(lastID string) (*stream, error) {
		header := http.Header{}
		if lastID != "" {
			header.Set("Last-Event-ID", lastID)
		}
		e, err := pick(random, instances).openEvents(protocols[random.IntN(2)], "/events?snapshot=true&channel="+m.channel, header)
		if err == nil && e.status != http.StatusOK {
			err = fmt.Errorf("the answer is %d", e.status)
		}
		return e, err
	}
	e, err := open("")
	if err != nil {
		return err
	}
	defer func() { e.close() }()
	next := func() (frame, error) { return e.read() }
	return m.follow(next, func(string) (func() (frame, error), error) {
		if random.IntN(200) > 0 {
			return next, nil
		}
		e.close()
		again, err := open(e.id)
		if err == nil {
			e = again
		}
		return next, err
	})
}
