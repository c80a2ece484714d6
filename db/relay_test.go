package db_test

import (
	"context"
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

// followed is a relay by which a test leads.
type followed struct {
	follows chan follower
}

// follower is what Follow was called with.
type follower struct {
	at     realtime.Cursor
	batch  func(ctx context.Context, b realtime.Batch) error
	proven func(ctx context.Context, at realtime.Cursor, asked time.Time) error
}

func (*followed) Lead(context.Context, string, func(context.Context) error) (bool, error) {
	return false, nil
}
func (*followed) Publish(realtime.Batch)             {}
func (*followed) Signal(realtime.Signal)             {}
func (*followed) Proven(realtime.Cursor)             {}
func (*followed) Nudge()                             {}
func (*followed) Ping(context.Context, string) error { return nil }
func (*followed) Read(context.Context, realtime.Cursor, realtime.Snapshot, []string, int) (realtime.LogPage, bool) {
	return realtime.LogPage{}, false
}

func (f *followed) Follow(ctx context.Context, _ string, at realtime.Cursor, batch func(ctx context.Context, b realtime.Batch) error,
	_ func(s realtime.Signal), proven func(ctx context.Context, at realtime.Cursor, asked time.Time) error) error {
	f.follows <- follower{at, batch, proven}
	<-ctx.Done()
	return ctx.Err()
}

// startFollower starts a reader that follows the test; its options may be nil.
func startFollower(t *testing.T, options func(*db.Reader)) (*db.Reader, *realtime.Hub, follower) {
	t.Helper()
	database := install(t, dbtest.Database(t))
	if _, err := database.Pool.Exec(t.Context(), historySchema); err != nil {
		t.Fatal(err)
	}
	relay := &followed{follows: make(chan follower)}
	reader := &db.Reader{DB: database, BeatInterval: -1, AuditInterval: 10 * time.Millisecond, Relay: relay}
	if options != nil {
		options(reader)
	}
	hub := realtime.NewHub(reader, realtime.Options{})
	reader.Sink = hub
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- reader.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return reader, hub, <-relay.follows
}

// writeLines writes so many, and returns what is read of them.
func writeLines(t *testing.T, reader *db.Reader, from realtime.Cursor, n int) realtime.LogPage {
	t.Helper()
	if _, err := reader.DB.Pool.Exec(t.Context(), `insert into lines select i::text from generate_series(1, $1::int) i`, n); err != nil {
		t.Fatal(err)
	}
	page, err := reader.Read(t.Context(), from, realtime.Snapshot{}, nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Events) < n {
		t.Fatalf("of %d events %d were read", n, len(page.Events))
	}
	return page
}

// What was written long ago and comes now makes nobody live; that all was read that was there a moment ago does.
func TestFollowerIsLiveWhenProven(t *testing.T) {
	t.Parallel()
	reader, hub, f := startFollower(t, nil)
	page := writeLines(t, reader, f.at, 5)
	live := func(want bool, when string) {
		t.Helper()
		if status, hub := reader.Status().Live, hub.Live(); status != want || hub != want {
			t.Errorf("live is %t, and of the hub %t, %s", status, hub, when)
		}
	}
	say := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	say(f.batch(t.Context(), realtime.Batch{From: f.at, To: page.To, Events: page.Events}))
	live(false, "where nobody has said that this is all")
	say(f.proven(t.Context(), page.To, time.Time{}))
	live(false, "where there is no news")
	say(f.proven(t.Context(), page.To, time.Now().Add(-time.Hour)))
	live(false, "an hour behind")
	say(f.proven(t.Context(), page.To, time.Now()))
	live(true, "where all is read")
	// What is not relayed is read.
	page = writeLines(t, reader, page.To, 5)
	say(f.proven(t.Context(), page.To, time.Now()))
	live(true, "where all is read")
	if got := hub.Position(); !got.Includes(page.To) {
		t.Errorf("the position is %s, and %s is proven", got, page.To)
	}
}

// The audit's books agree also where something is proven while the follower is in the middle of a read.
func TestFollowerIsAudited(t *testing.T) {
	t.Parallel()
	reader, _, f := startFollower(t, nil)
	page := writeLines(t, reader, f.at, 5)
	middle := page.Events[2].Cursor
	for _, step := range []struct {
		batch realtime.Batch
		at    realtime.Cursor
	}{
		{realtime.Batch{From: f.at, To: f.at}, f.at},
		{realtime.Batch{From: f.at, To: middle, Events: page.Events[:3]}, f.at},
		{realtime.Batch{From: middle, To: page.To, Events: page.Events[3:]}, page.To},
	} {
		if err := f.batch(t.Context(), step.batch); err != nil {
			t.Fatal(err)
		}
		if err := f.proven(t.Context(), step.at, time.Now()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the first may have begun before
			at := time.Now()
			await(t, "an audit", func() bool { return reader.Status().Audited.At.After(at) })
		}
	}
	if a := reader.Status().Audited; a.Missing != 0 || a.Read < 5 {
		t.Errorf("the books: %+v", a)
	}
}

// A lease may be held by nobody, and not end: who follows, and is told nothing for long, reads the log itself, until it is told something.
func TestFollowerOfNobody(t *testing.T) {
	t.Parallel()
	reader, hub, f := startFollower(t, func(r *db.Reader) { r.Timeout = time.Second })
	noNews := func() {
		t.Helper()
		if err := f.proven(t.Context(), realtime.Cursor{}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	page := writeLines(t, reader, f.at, 5)
	noNews()
	if got := hub.Position(); got.Includes(page.To) {
		t.Error("the log is read at once, and is to be read by the one that leads")
	}
	for range 2 {
		await(t, "what nobody relays", func() bool { noNews(); return hub.Position().Includes(page.To) })
		if !reader.Status().Live || !hub.Live() {
			t.Error("it is not live, and has read all")
		}
		page = writeLines(t, reader, page.To, 5)
	}
	if err := f.proven(t.Context(), page.To, time.Now()); err != nil {
		t.Fatal(err)
	}
	page = writeLines(t, reader, page.To, 5)
	noNews()
	if got := hub.Position(); got.Includes(page.To) {
		t.Error("the log is read, though one that leads has been heard")
	}
}
