package main_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Two instances behind a balancer are restarted one after the other, while two write. All who follow, in whatever way, are asked to move,
// after the instance has said that it is not ready any more, and are told each row once and in order.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	address := liveDatabase(t)
	sql(t, address, `create table ticks (writer int, n int, primary key (writer, n)); select tidings.watch('ticks', read => 'public')`)
	flags := []string{"--database-url", address, "--no-sign-in", "--drain-delay", "2s"}
	env := slices.DeleteFunc(environ(), func(v string) bool { return strings.HasPrefix(v, "TIDINGS_SECRET=") })
	var rooms [2]*program
	var at [2]string
	for n := range rooms {
		rooms[n], at[n] = serve(t, env, flags...)
	}
	b := balance(t, at[:]...)
	b.awaitReady(2)

	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	var all []*witnessed
	enter := func(name string, follow func(w *witnessed)) {
		w := &witnessed{name: name, late: func() bool { return b.late(time.Second) }}
		all = append(all, w)
		group.Go(func() { follow(w) })
	}
	cursor := ask[string](t, address, `select tidings.cursor()`)
	for range 3 {
		for name, way := range ways {
			enter(name, func(w *witnessed) { w.follow(ctx, b.at(), cursor, way) })
		}
		enter("clients/go", func(w *witnessed) { w.followInGo(ctx, b.at(), cursor) })
	}
	for range 2 {
		enter("clients/js", func(w *witnessed) { w.followInJavaScript(ctx, t, b.at(), cursor) })
	}

	stop := make(chan struct{})
	var writing sync.WaitGroup
	var written [2]int
	for writer := range written {
		writing.Go(func() {
			conn, err := pgx.Connect(ctx, address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(context.WithoutCancel(ctx))
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				if _, err := conn.Exec(ctx, `insert into ticks values ($1, $2)`, writer, written[writer]+1); err != nil {
					t.Error(err)
					return
				}
				written[writer]++
			}
		})
	}
	for _, w := range all {
		eventually(t, w.name+" follows", func() bool { return w.counted() > 0 })
	}
	byes := func() (n int64) {
		for _, w := range all {
			n += w.byes.Load()
		}
		return n
	}
	for n, room := range rooms {
		before := byes()
		room.signal(syscall.SIGTERM)
		eventually(t, "it says that it is not ready", func() bool { return readyz(t, at[n]) == http.StatusServiceUnavailable })
		if asked := byes() - before; asked != 0 && !b.late(time.Second) {
			t.Errorf("%d clients were asked to move before it said so", asked)
		}
		if code := room.wait(); code != 0 {
			t.Errorf("it ends with %d", code)
		}
		room.await(&room.stderr, `msg=stopped cut=0`)
		rooms[n] = begin(t, env, append([]string{"serve", "--listen", at[n]}, flags...)...)
		b.awaitReady(2)
	}
	close(stop)
	writing.Wait()
	total := written[0] + written[1]
	for _, w := range all {
		eventually(t, fmt.Sprintf("%s was told all %d rows", w.name, total), func() bool { return w.counted() >= total })
	}
	cancel()
	group.Wait()
	for _, w := range all {
		w.expectInOrder(t, written)
		if w.byes.Load() < 1 && w.name != "clients/js" { // which does so quietly
			t.Errorf("%s was never asked to move", w.name)
		}
	}
}
