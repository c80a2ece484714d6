package db_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

// Readers that fall asleep and wake up all the time, under writers of every isolation level, miss nothing, though nobody
// polls. One of the readers dies now and then, asleep or awake.
func TestFallingAsleep(t *testing.T) {
	t.Parallel()
	url := dbtest.Database(t)
	database := install(t, url)
	if _, err := database.Pool.Exec(t.Context(), `insert into users (username, display_name) values ('ada', 'Ada')`); err != nil {
		t.Fatal(err)
	}
	start := func(ctx context.Context) (*realtime.Hub, *db.Reader, chan error) {
		reader := &db.Reader{DB: database, PollInterval: time.Hour, BeatInterval: -1}
		hub := realtime.NewHub(reader, realtime.Options{})
		reader.Sink = hub
		ended := make(chan error, 1)
		go func() { ended <- reader.Run(ctx) }()
		await(t, "the reader to be live", func() bool { return hub.Live() && reader.Status().Listening })
		return hub, reader, ended
	}
	running, stop := context.WithCancel(t.Context())
	var readers []*db.Reader
	var listeners []*listenerTo
	var ended []chan error
	for range 2 {
		hub, reader, end := start(running)
		readers = append(readers, reader)
		ended = append(ended, end)
		listeners = append(listeners, listenTo(t, hub, noDelay, "messages"))
	}
	mortal := make(chan struct{})
	go func() { // asleep or awake, as it happens
		defer close(mortal)
		for running.Err() == nil {
			life, end := context.WithTimeout(running, 50*time.Millisecond+rand.N(600*time.Millisecond))
			reader := &db.Reader{DB: database, PollInterval: time.Hour, BeatInterval: -1, Sink: realtime.NewHub(nil, realtime.Options{})}
			_ = reader.Run(life) // it is ended
			end()
		}
	}()

	const writers, bursts, longest = 4, 8, 60
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	counts := make([]int, writers)
	group, ctx := errgroup.WithContext(t.Context())
	for n := range writers {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		group.Go(func() error {
			conn, err := pgx.Connect(ctx, url)
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx))
			levels := []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.ReadCommitted, pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}
			for range bursts {
				pauseFor(ctx, time.Duration(random.IntN(500))*time.Millisecond)
				for range 1 + random.IntN(longest) {
					err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: levels[random.IntN(len(levels))]}, func(tx pgx.Tx) error {
						_, err := tx.Exec(ctx, `insert into messages (author_id, title, content) values (1, $1, '')`, fmt.Sprint(n))
						if err == nil && random.IntN(30) == 0 {
							pauseFor(ctx, time.Duration(random.IntN(30))*time.Millisecond)
						}
						return err
					})
					if err != nil {
						return err
					}
					counts[n]++
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	written := 0
	for _, n := range counts {
		written += n
	}
	await(t, "the readers to have turned", func() bool { // on a slow machine it takes more
		turns := min(readers[0].Status().Turns, readers[1].Status().Turns)
		if turns >= 2 { // it has said asleep at first, and then awake
			return true
		}
		burst, ctx := errgroup.WithContext(t.Context())
		for range 40 {
			burst.Go(func() error {
				_, err := database.Pool.Exec(ctx, `insert into messages (author_id, title, content) values (1, 'more', '')`)
				return err
			})
		}
		if err := burst.Wait(); err != nil {
			t.Fatal(err)
		}
		written += 40
		return false
	})
	for i, l := range listeners {
		await(t, "all events", func() bool { return l.count() >= written })
		await(t, "sleep", func() bool { return !readers[i].Status().Awake })
		t.Logf("reader %d: %d events, %d turns", i, l.count(), readers[i].Status().Turns)
		if l.count() != written {
			t.Errorf("reader %d heard %d events of %d", i, l.count(), written)
		}
	}
	stop()
	<-mortal
	for _, end := range ended {
		if err := <-end; err != nil {
			t.Error(err)
		}
	}
	var left int
	if err := database.Pool.QueryRow(t.Context(), `select count(*) from tidings.instances`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d instances are left, %v", left, err)
	}
}

// pauseFor waits, or less if ctx ends.
func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
