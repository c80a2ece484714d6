package triggers_test

import (
	"context"
	"testing"
)

// While servers look after the watches, tables are unwatched and watched again: what is there in the end is the last watch's.
func TestWatchBesideUpkeep(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, other := l.connect(t), l.connect(t)
	run(t, s, `create table items (id int primary key, owner text)`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := other.Exec(context.WithoutCancel(ctx), `select tidings.follow_partitions()`); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 60 {
		run(t, s, `select tidings.watch('items', read => 'public')`)
		run(t, s, `select tidings.unwatch('items')`)
		run(t, s, `select tidings.watch('items', read => 'owner:owner')`)
		if foreign := get[int](t, s, `select count(*) from pg_trigger g join pg_proc p on p.oid = g.tgfoid
			where g.tgrelid = 'items'::regclass and p.proname not like (select 'capture\_' || id || '\_%' from tidings.watches)`); foreign > 0 {
			t.Fatalf("%d triggers are of a watch that is no more", foreign)
		}
		run(t, s, `select tidings.unwatch('items')`)
		if left := get[int](t, s, `select count(*) from pg_trigger where tgrelid = 'items'::regclass`); left > 0 {
			t.Fatalf("%d triggers are left", left)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
