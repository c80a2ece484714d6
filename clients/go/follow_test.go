package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	tidings "tidings/clients/go"
)

func TestFollow(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := serve(t, d)
	f := follow(t, s.client(), tidings.Options{Channels: []string{"orders:1", "orders:2", "orders:1"}})
	live := map[string]bool{f.expect(tidings.Live).Channel: true, f.expect(tidings.Live).Channel: true}
	if !live["orders:1"] || !live["orders:2"] {
		t.Errorf("live are %v", live)
	}
	d.order(1, "first")
	first := f.expectOrder("first")
	if first.Type != "order_added" || first.Action() != tidings.Added || first.Channel != "orders:1" || first.ID == "" || first.Cursor == "" ||
		time.Since(first.At).Abs() > patience || !strings.Contains(string(first.Raw), `"id":"`+first.ID+`"`) {
		t.Errorf("got %+v", first)
	}
	d.exec(`update orders set customer_id = 2`)
	if m := f.expectOrder("first"); m.Action() != tidings.Updated || m.MovedFrom != "orders:1" || m.Channel != "orders:2" {
		t.Errorf("got %+v", m)
	}
	d.exec(`delete from orders`)
	if m := f.expectOrder("first"); m.Action() != tidings.Deleted {
		t.Errorf("got %+v", m)
	}
	d.exec(`truncate orders`)
	if m := f.expect(tidings.Event); m.Action() != tidings.Truncated || m.Data != nil || m.Decode(new(order)) != nil {
		t.Errorf("got %+v", m)
	}
	d.exec(`select tidings.broadcast('orders:1', 'closing', '{"in": "5 min"}')`)
	if m := f.expect(tidings.Event); m.Type != "closing" || m.Action() != "" {
		t.Errorf("got %+v", m)
	}
	d.exec(`select tidings.broadcast('orders:1', 'wave', '{"to": "you"}', kept => false)`)
	if m := f.expect(tidings.Signal); m.Type != "wave" || m.ID != "" || string(m.Data) != `{"to": "you"}` {
		t.Errorf("got %+v", m)
	}

	again := follow(t, s.client(), tidings.Options{Channels: []string{"orders"}, Since: first.Cursor})
	for _, want := range []tidings.Action{tidings.Updated, tidings.Deleted, tidings.Truncated} {
		if m := again.expect(tidings.Event); m.Action() != want {
			t.Errorf("behind the cursor comes %+v, want %s", m, want)
		}
	}
	f.cancel()
	if err := f.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// A loop may be left; what ends it otherwise is told once.
func TestLeaving(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := serve(t, d)
	for m, err := range s.client().Follow(t.Context(), tidings.Options{Channels: []string{"orders"}}) {
		if err != nil || m.Kind != tidings.Live {
			t.Fatalf("got %+v, %v", m, err)
		}
		break
	}
	why := errors.New("closing time")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	errs := 0
	for _, err := range s.client().Follow(ctx, tidings.Options{Channels: []string{"orders"}}) {
		cancel(why)
		if err != nil {
			if errs++; !errors.Is(err, why) {
				t.Errorf("got %v", err)
			}
		}
	}
	if errs != 1 {
		t.Errorf("there were %d errors", errs)
	}
}

// However often the network is cut and the service restarted, whoever follows is told of everything once and in order, and whoever keeps
// rows has those of the database.
func TestThroughEverything(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for n := range 50 {
		d.order(n%3, "from before")
	}
	s := serve(t, d)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWire(t, s, func() int { return 200 + rand.IntN(20_000) })

	ctx, stop := context.WithTimeout(t.Context(), 2*patience)
	defer stop()
	client := &tidings.Client{URL: "http://" + w.addr, Backoff: quick}
	var following errgroup.Group
	begun := make(chan struct{}, 100)
	const clients = 3
	got := make([][]string, clients)
	for n := range clients {
		following.Go(func() error {
			var err error
			got[n], err = notes(ctx, client, begun)
			return err
		})
	}
	tables := []*tidings.Table[int64, order]{{Channel: "orders"}, {Channel: "orders:1"}, {Channel: "orders:2"}}
	for _, table := range tables {
		table.Key = func(o order) int64 { return o.ID }
		following.Go(func() error { return keep(ctx, client, table, begun) })
	}
	for range clients + len(tables) {
		select {
		case <-begun:
		case <-ctx.Done():
			t.Fatal("they don't begin: ", following.Wait())
		}
	}

	var writing errgroup.Group
	for writer := range 4 {
		random := rand.New(rand.NewPCG(seed, uint64(writer)))
		writing.Go(func() error { return write(ctx, d, random, writer) })
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		s.stop(signal)
		s.start()
	}
	if err := writing.Wait(); err != nil {
		t.Fatal(err)
	}
	for customer := range 3 {
		d.order(customer, "the end")
	}
	if err := following.Wait(); err != nil {
		t.Fatal(err)
	}

	var want []string
	rows, err := d.pool.Query(t.Context(), `select note from written order by note`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var note string
		if err := rows.Scan(&note); err != nil {
			t.Fatal(err)
		}
		want = append(want, note)
	}
	for n := range got {
		last := make(map[string]string)
		for _, note := range got[n] {
			writer, number, _ := strings.Cut(note, " ")
			if number <= last[writer] {
				t.Errorf("client %d: %s comes after %s of the same writer", n, number, last[writer])
			}
			last[writer] = number
		}
		slices.Sort(got[n])
		if !slices.Equal(got[n], want) {
			t.Errorf("client %d was told of %d orders, want %d", n, len(got[n]), len(want))
		}
	}
	for i, where := range []string{"true", "customer_id = 1", "customer_id = 2"} {
		if rows, want := maps.Collect(tables[i].All()), d.orders(where); !maps.Equal(rows, want) {
			t.Errorf("of %s there are %d rows, in the database %d", tables[i].Channel, len(rows), len(want))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.opened < 2*(clients+len(tables)) {
		t.Errorf("there were only %d connections", w.opened)
	}
}

// write writes orders, changes, moves and deletes them.
func write(ctx context.Context, d *database, random *rand.Rand, writer int) error {
	for n := range 150 {
		customer := random.IntN(3)
		note := fmt.Sprintf("w%d %06d", writer, n)
		const insert = `with o as (insert into orders (customer_id, note) values ($1, $2) returning note) insert into written select note from o`
		if _, err := d.pool.Exec(ctx, insert, customer, note); err != nil {
			return err
		}
		some := `(select id from orders where note like $1 || '%' order by random() limit 1)`
		change := []string{
			`update orders set customer_id = (customer_id + 1) % 3, note = note || '!' where id in ` + some,
			`update orders set note = note || '?' where id in ` + some,
			`delete from orders where id in ` + some,
		}[random.IntN(3)]
		if _, err := d.pool.Exec(ctx, change, fmt.Sprintf("w%d", writer)); err != nil {
			return err
		}
	}
	return nil
}

// notes follows all orders to the end, and returns the notes of those that were added.
func notes(ctx context.Context, client *tidings.Client, begun chan<- struct{}) (all []string, err error) {
	once := true
	for m, err := range client.Follow(ctx, tidings.Options{Channels: []string{"orders:0", "orders:1", "orders:2"}}) {
		if err != nil {
			return nil, err
		}
		if m.Kind == tidings.Live && once {
			once = false
			begun <- struct{}{}
		}
		var o order
		if err := m.Decode(&o); err != nil {
			return nil, err
		}
		switch {
		case m.Kind == tidings.Reset:
			return nil, fmt.Errorf("there was a reset: %s", m.Reason)
		case o.Note == "the end" && o.Customer == 2:
			return all, nil
		case m.Action() == tidings.Added && strings.HasPrefix(o.Note, "w"):
			all = append(all, o.Note)
		}
	}
	return nil, errors.New("it ended without an error")
}

// keep keeps a channel's rows to the end.
func keep(ctx context.Context, client *tidings.Client, table *tidings.Table[int64, order], begun chan<- struct{}) error {
	ends := 1
	if table.Channel == "orders" {
		ends = 3
	}
	once := true
	for m, err := range client.Follow(ctx, tidings.Options{Channels: []string{table.Channel}, Rows: true}) {
		if err == nil {
			err = table.Apply(m)
		}
		if err != nil {
			return err
		}
		if m.Kind == tidings.Live && once {
			once = false
			begun <- struct{}{}
		}
		left := ends
		for _, o := range table.All() {
			if o.Note == "the end" {
				left--
			}
		}
		if left == 0 {
			return nil
		}
	}
	return errors.New("it ended without an error")
}

// A connection on which nothing comes any more is noticed, and another is opened.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := serve(t, d)
	w := newWire(t, s, nil)
	client := &tidings.Client{URL: "http://" + w.addr, Backoff: quick, Heartbeat: tidings.Heartbeat{After: 100 * time.Millisecond, Timeout: 2 * time.Second}}
	broken := make(chan error, 1000)
	f := follow(t, client, tidings.Options{Channels: []string{"orders"}, OnState: func(s tidings.State, err error) {
		if s == tidings.StateOffline {
			broken <- err
		}
	}})
	f.expect(tidings.Live)
	d.order(1, "before")
	f.expectOrder("before")
	w.freeze()
	d.order(1, "while nothing comes")
	var why *tidings.Disconnected
	if err := <-broken; !errors.As(err, &why) || !strings.Contains(err.Error(), "dead") || why.Attempt != 1 || why.Wait <= 0 {
		t.Errorf("it broke by %v", err)
	}
	w.thaw()
	f.expectOrder("while nothing comes")
}

// A cursor that cannot be served is told of, and the rows come where they are wanted.
func TestReset(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.order(1, "there")
	s := serve(t, d)
	f := follow(t, s.client(), tidings.Options{Channels: []string{"orders"}, Since: "nonsense"})
	if m := f.expect(tidings.Reset); m.Reason != "malformed" || m.Channel != "orders" || m.Text == "" || m.Cursor != "" {
		t.Errorf("got %+v", m)
	}
	if m := f.expect(tidings.Live); m.Cursor == "" {
		t.Errorf("got %+v", m)
	}
	f = follow(t, s.client(), tidings.Options{Channels: []string{"orders", "orders:1"}, Since: "nonsense", Rows: true})
	f.expect(tidings.Reset)
	f.expect(tidings.Reset)
	for range 2 {
		var rows []order
		if m := f.expect(tidings.Rows); m.Decode(&rows) != nil || len(rows) != 1 || rows[0].Note != "there" || m.Cursor != "" {
			t.Errorf("got %+v", m)
		}
	}
	cursor := f.expect(tidings.Live).Cursor
	f.expect(tidings.Live)
	f = follow(t, s.client(), tidings.Options{Channels: []string{"orders"}, Since: cursor, Rows: true})
	f.expect(tidings.Live)
}

// Rows that are too many to come on the connection are loaded page by page, and followed without a gap.
func TestManyRows(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into orders (customer_id, note) select i % 3, repeat('x', 50) from generate_series(1, 500) as i`)
	s := serve(t, d, "--queue-bytes", "4096", "--page-rows", "70")
	table := &tidings.Table[int64, order]{Channel: "orders", Key: func(o order) int64 { return o.ID }}
	rows := 0
	for m, err := range s.client().Follow(t.Context(), tidings.Options{Channels: []string{"orders", "secrets"}, Rows: true, Partial: true}) {
		if err == nil {
			err = table.Apply(m)
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == tidings.Rows {
			rows++
			if m.Cursor == "" || len(m.Rows) != 500 {
				t.Errorf("there came %d rows with the cursor %q", len(m.Rows), m.Cursor)
			}
			d.exec(`delete from orders where id % 5 = 0`)
			d.order(1, "last")
		}
		if _, ok := table.Get(501); ok {
			break
		}
	}
	if got, want := maps.Collect(table.All()), d.orders("true"); !maps.Equal(got, want) {
		t.Errorf("there are %d rows, in the database %d", len(got), len(want))
	}
	if rows != 1 {
		t.Errorf("the rows came %d times", rows)
	}

	d.exec(`create table heap (note text); insert into heap select repeat('y', 50) from generate_series(1, 500); select tidings.watch('heap', read => 'public')`)
	f := follow(t, s.client(), tidings.Options{Channels: []string{"heap"}, Rows: true})
	if e := f.refusal(tidings.CodeSnapshotTooLarge); e.Channel != "heap" {
		t.Errorf("got %+v", e)
	}
}

// Rows go to and fro between channels that are read at different moments, because they are too many to be read at once: tables are as the
// database is.
func TestRowsMove(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into orders (customer_id, note) select i % 2 + 1, repeat('x', 50) from generate_series(1, 40) as i`)
	s := serve(t, d, "--queue-bytes", "9000") // less than thirty rows
	// Those of the first are given to who comes within a second, so that they are older than those of the other one.
	first := follow(t, s.client(), tidings.Options{Channels: []string{"orders:1"}, Rows: true})
	first.expect(tidings.Rows)
	first.expect(tidings.Live)
	d.exec(`update orders set customer_id = 2 where id = 2`)
	d.exec(`update orders set note = 'moved' where id = 2`)
	d.exec(`update orders set customer_id = 2 where id = 4`)
	d.exec(`delete from orders where id = 4`)
	d.exec(`update orders set customer_id = 1 where id = 1`)
	d.exec(`update orders set customer_id = 2, note = 'back' where id = 1`)
	d.exec(`delete from orders where id = 3`)
	key := func(o order) int64 { return o.ID }
	one, two := &tidings.Table[int64, order]{Channel: "orders:1", Key: key}, &tidings.Table[int64, order]{Channel: "orders:2", Key: key}
	live := 0
	for m, err := range s.client().Follow(t.Context(), tidings.Options{Channels: []string{"orders:1", "orders:2"}, Rows: true}) {
		if err = errors.Join(err, one.Apply(m), two.Apply(m)); err != nil {
			t.Fatal(err)
		}
		if m.Kind == tidings.Live {
			live++
		}
		if live == 2 {
			break
		}
	}
	for customer, table := range map[int]*tidings.Table[int64, order]{1: one, 2: two} {
		if got, want := maps.Collect(table.All()), d.orders(fmt.Sprintf("customer_id = %d", customer)); !maps.Equal(got, want) {
			t.Errorf("of customer %d there are %v, in the database %v", customer, got, want)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for n := range 7 {
		d.order(n, "page")
	}
	c := serve(t, d).client()
	var ids []int64
	first := ""
	for page, err := range c.Pages(t.Context(), "orders", tidings.LoadOptions{Limit: 3, Descending: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = page.Cursor
		}
		var rows []order
		if err := page.Decode(&rows); err != nil {
			t.Fatal(err)
		}
		for _, o := range rows {
			ids = append(ids, o.ID)
		}
	}
	if want := []int64{7, 6, 5, 4, 3, 2, 1}; !slices.Equal(ids, want) {
		t.Errorf("got %v", ids)
	}
	d.order(1, "after")
	follow(t, c, tidings.Options{Channels: []string{"orders"}, Since: first}).expectOrder("after")

	for channel, code := range map[string]tidings.Code{"nothing": tidings.CodeUnknownChannel, "secrets": tidings.CodeForbidden, "orders:": tidings.CodeBadChannel} {
		_, err := c.Load(t.Context(), channel, tidings.LoadOptions{})
		var refused *tidings.Error
		if !errors.As(err, &refused) || refused.Code != code || refused.Channel != channel || refused.Temporary() {
			t.Errorf("of %q: got %v", channel, err)
		}
	}
	if page, err := c.Load(t.Context(), "orders:a/b c?", tidings.LoadOptions{}); err != nil || page.Channel != "orders:a/b c?" || len(page.Rows) != 0 {
		t.Errorf("got %+v, %v", page, err)
	}
}

// What cannot be had is said, and ends it unless there is something else.
func TestRefusals(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := serve(t, d)
	for channel, code := range map[string]tidings.Code{"nothing": tidings.CodeUnknownChannel, "secrets": tidings.CodeForbidden} {
		follow(t, s.client(), tidings.Options{Channels: []string{channel}, Partial: true}).expectRefusal(code)
		if e := follow(t, s.client(), tidings.Options{Channels: []string{"orders", channel}}).refusal(code); e.Channel != channel {
			t.Errorf("got %+v", e)
		}
		f := follow(t, s.client(), tidings.Options{Channels: []string{"orders", channel}, Partial: true})
		if m := f.expect(tidings.Lost); m.Channel != channel || m.Err == nil || m.Err.Code != code {
			t.Errorf("got %+v", m)
		}
		f.expect(tidings.Live)
		f.expectState(tidings.StateLive)
	}
	follow(t, s.client(), tidings.Options{Channels: []string{"orders", "orders:"}, Partial: true}).expectRefusal(tidings.CodeBadChannel)
	f := follow(t, s.client(), tidings.Options{Channels: []string{"orders", "orders:1"}, Partial: true})
	f.expect(tidings.Live)
	f.expect(tidings.Live)
	d.exec(`select tidings.watch('orders', key => 'customer_id', read => 'signed_in')`)
	f.expect(tidings.Lost)
	f.expectRefusal(tidings.CodeForbidden)

	if err := follow(t, s.client(), tidings.Options{}).end(); !strings.Contains(err.Error(), "no channels") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoService(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	o := tidings.Options{Channels: []string{"orders"}}
	if e := follow(t, &tidings.Client{URL: other.URL}, o).refusal(tidings.CodeNotTidings); e.Status != 404 || !strings.Contains(e.Message, other.URL) {
		t.Errorf("got %+v", e)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	t.Cleanup(page.Close)
	follow(t, &tidings.Client{URL: page.URL}, o).expectRefusal(tidings.CodeNotTidings)
	var refused *tidings.Error
	if _, err := (&tidings.Client{URL: page.URL}).Load(t.Context(), "orders", tidings.LoadOptions{}); !errors.As(err, &refused) || refused.Code != tidings.CodeNotTidings {
		t.Errorf("got %v", err)
	}
	for url, word := range map[string]string{"": "URL", "ftp://x": "ftp://x", "http://ada:hidden@x": "ada:xxxxx@x", "http://hid den": "cannot be read"} {
		err := follow(t, &tidings.Client{URL: url}, o).end()
		if !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "hid") {
			t.Errorf("of %q: got %v", url, err)
		}
	}
}

// What is not there yet is waited for, and the end of ctx ends that at once.
func TestWaiting(t *testing.T) {
	t.Parallel()
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = refusing.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts: it connects, and nothing is answered
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(busy.Close)

	for name, url := range map[string]string{"nobody listens": "http://" + refusing.Addr().String(), "a proxy without a service": busy.URL} {
		f := follow(t, &tidings.Client{URL: url, Backoff: tidings.Backoff{Min: time.Hour, Max: time.Hour}}, tidings.Options{Channels: []string{"orders"}})
		f.expectState(tidings.StateOffline)
		f.cancel()
		if err := f.end(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: it ended with %v", name, err)
		}
	}
	f := follow(t, &tidings.Client{URL: "http://" + silent.Addr().String()}, tidings.Options{Channels: []string{"orders"}})
	f.expectState(tidings.StateConnecting)
	f.cancel()
	if err := f.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}

	d := newDatabase(t)
	s := serve(t, d)
	s.stop(syscall.SIGTERM)
	f = follow(t, s.client(), tidings.Options{Channels: []string{"orders"}})
	f.expectState(tidings.StateOffline)
	s.start()
	f.expect(tidings.Live)
}
