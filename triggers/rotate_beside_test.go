package triggers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// partitionsOf says in which partitions the entries since a cursor are.
func partitionsOf(t *testing.T, c conn, since string) []string {
	t.Helper()
	return list[string](t, c, `select distinct substr(tableoid::regclass::text, 9) from tidings.log
		where not pg_visible_in_snapshot(xid, tidings.position_snapshot(split_part($1, '-', 2))) order by 1`, since)
}

// All that a session has plans for goes on in the next partition, round and round.
func TestRotateMovesAll(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, other := l.connect(t), l.connect(t)
	run(t, s, `create table items (id int primary key, k text, v text, b bytea); select tidings.watch('items', key => 'k');`+days)
	write := func(c conn) {
		t.Helper()
		for range 7 { // more often than it takes PostgreSQL to keep a generic plan
			run(t, c, `insert into items select g, 'k' || g from generate_series(1, 20) as g; insert into items values (21, 'a')`)
			run(t, c, `update items set v = 'x'; update items set k = 'moved' where id > 10; update items set k = 'b' where id = 21`)
			run(t, c, `delete from items where id = 21; delete from items; truncate items`)
			run(t, c, `insert into days values (1, 10, 'a'); insert into days_2 select g, 25, 'a' from generate_series(1, 20) as g; update days set day = day + 1; delete from days; truncate days`)
		}
	}
	write(s)
	for i := range 9 {
		rotateTimes(t, other, 1)
		want := fmt.Sprintf("log_%d", (i+1)%8)
		if got := get[string](t, s, `select tidings.current_partition()`); got != want {
			t.Errorf("after %d rotations the partition is %s", i+1, got)
		}
		since := cursor(t, s)
		write(s)
		// Of items 21 are added, 21, 11 and 1 updated, 21 deleted; of days 21 are added, updated and deleted.
		if got, want := len(events(t, s, since)), 7*(21+21+11+1+21+1+3*21+1); got != want {
			t.Errorf("after %d rotations, %d events, want %d", i+1, got, want)
		}
		run(t, s, `select tidings.beat('0')`)
		if got := partitionsOf(t, s, since); !slices.Equal(got, []string{want}) {
			t.Errorf("after %d rotations, what was written is in %q, want %s", i+1, got, want)
		}
	}
}

// A transaction that has begun goes on over rotations and loses nothing, whatever its snapshot is.
func TestRotateUnderOpenTransactions(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		for _, wrote := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", level, wrote), func(t *testing.T) {
				t.Parallel()
				l := openLive(t)
				s, late := l.connect(t), l.connect(t)
				run(t, s, items)
				since := cursor(t, s)
				want := ""
				tx, err := late.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback(t.Context())
				run(t, tx, `select from items`) // has a snapshot
				if wrote {
					run(t, tx, `insert into items values (1, 'before')`)
					want = "item_added 1 {\"id\":1,\"v\":\"before\"}\n"
				}
				for i := range 3 {
					rotateTimes(t, s, 1)
					n := 10 * (i + 1)
					run(t, tx, `insert into items values ($1, 'late')`, n)
					run(t, tx, `savepoint s; insert into items values (5, 'never'); rollback to s`)
					run(t, tx, `update items set v = 'later' where id = $1`, n)
					want += fmt.Sprintf("item_added %d {\"id\":%[1]d,\"v\":\"late\"}\nitem_updated %[1]d {\"id\":%[1]d,\"v\":\"later\"}\n", n)
				}
				if err := tx.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
				expect(t, s, since, want)
				begin := "log_1"
				if wrote {
					begin = "log_0"
				}
				if got := partitionsOf(t, s, since); got[0] != begin || got[len(got)-1] != "log_3" {
					t.Errorf("its entries are in %q", got)
				}
				rotateTimes(t, s, 3)
				expect(t, s, since, want) // six eras are kept
			})
		}
	}
}

// A rotation that is rolled back has not been.
func TestRotateRolledBackMovesNobody(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, other := l.connect(t), l.connect(t)
	run(t, s, items)
	since := cursor(t, s)
	run(t, s, `begin; select tidings.rotate(true); insert into items values (1, 'in between')`)
	run(t, other, `insert into items values (2, 'beside')`)
	run(t, s, `rollback; insert into items values (3, 'after')`)
	run(t, other, `insert into items values (4, 'after')`)
	expect(t, s, since, `
		item_added 2 {"id":2,"v":"beside"}
		item_added 3 {"id":3,"v":"after"}
		item_added 4 {"id":4,"v":"after"}`)
	if got := partitionsOf(t, s, since); !slices.Equal(got, []string{"log_0"}) {
		t.Errorf("the entries are in %q", got)
	}
	if got := get[int](t, s, `select renewed from tidings.follow_partitions()`); got != 0 {
		t.Errorf("%d watches are not as they should be", got)
	}
	rotateTimes(t, other, 1)
	since = cursor(t, s)
	run(t, s, `insert into items values (5, 'a')`)
	if got := partitionsOf(t, s, since); !slices.Equal(got, []string{"log_1"}) {
		t.Errorf("the entries are in %q", got)
	}
}

// A watch that comes while there is a rotation waits for it, and an unwatch keeps it off.
func TestWatchWaitsForRotate(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, other := l.connect(t), l.connect(t)
	run(t, s, items+`create table others (id int primary key)`)
	run(t, s, `begin; select tidings.rotate(true)`)
	pid := get[int](t, other, `select pg_backend_pid()`)
	var group errgroup.Group
	group.Go(func() error {
		_, err := other.Exec(t.Context(), `select tidings.watch('others')`)
		return err
	})
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for !get[bool](t, l.Pool, `select exists (select from pg_locks where pid = $1 and locktype = 'advisory' and not granted)`, pid) {
		if ctx.Err() != nil {
			t.Fatal("it does not wait")
		}
	}
	run(t, s, `commit`)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	since := cursor(t, s)
	run(t, s, `insert into others values (1); insert into items values (1, 'a')`)
	expect(t, s, since, "other_added 1 {\"id\":1}\nitem_added 1 {\"id\":1,\"v\":\"a\"}")
	if got := partitionsOf(t, s, since); !slices.Equal(got, []string{"log_1"}) {
		t.Errorf("the entries are in %q", got)
	}

	run(t, other, `begin; select tidings.unwatch('others')`)
	if rotate(t, s) {
		t.Error("rotated while a table was no longer being watched, perhaps")
	}
	run(t, other, `rollback`)
	rotateTimes(t, s, 1)
	since = cursor(t, s)
	run(t, s, `insert into others values (2)`)
	if got := partitionsOf(t, s, since); !slices.Equal(got, []string{"log_2"}) {
		t.Errorf("the entries are in %q", got)
	}
}

// A watch with a snapshot from before a rotation writes to the partition of then, which is kept long enough for somebody to look.
func TestWatchWithAnOldSnapshot(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, old := l.connect(t), l.connect(t)
	run(t, s, `create table items (id int primary key)`)
	run(t, old, `begin isolation level repeatable read; select`)
	rotateTimes(t, s, 1)
	run(t, old, `select tidings.watch('items'); commit`)
	since := cursor(t, s)
	run(t, s, `insert into items values (1)`)
	run(t, s, `select tidings.follow_partitions()`)
	run(t, s, `insert into items values (2)`)
	expect(t, s, since, "item_added 1 {\"id\":1}\nitem_added 2 {\"id\":2}")
	if got := get[string](t, s, `select tableoid::regclass::text from tidings.log where key = '2'`); got != "tidings.log_1" {
		t.Errorf("it is in %s", got)
	}
}

// People watch and unwatch tables while servers rotate, and nobody fails.
func TestRotateBesideWatchers(t *testing.T) {
	t.Parallel()
	const watchers, rounds = 3, 30
	l := openLive(t)
	s, w := l.connect(t), l.connect(t)
	run(t, s, items)
	since := cursor(t, s)
	watching, ctx := errgroup.WithContext(t.Context())
	for n := range watchers {
		c := l.connect(t)
		table := fmt.Sprintf("others_%d", n)
		run(t, s, `create table `+table+` (id int)`)
		watching.Go(func() error {
			for range rounds {
				for _, sql := range []string{`select tidings.watch('` + table + `')`, `insert into ` + table + ` values (1)`, `select tidings.unwatch('` + table + `')`} {
					if _, err := c.Exec(ctx, sql); err != nil {
						return fmt.Errorf("%s: %w", sql, err)
					}
				}
			}
			return nil
		})
	}
	// As many rotations as leave all that is written in the log.
	watching.Go(func() error {
		for n := 0; n < eras-1; {
			var rotated bool
			if err := l.Pool.QueryRow(ctx, `select tidings.rotate(true)`).Scan(&rotated); err != nil {
				return err
			}
			if rotated {
				n++
			}
		}
		return nil
	})
	done := make(chan struct{})
	inserted := 0
	var writing errgroup.Group
	writing.Go(func() error {
		for {
			select {
			case <-done:
				return nil
			default:
			}
			if _, err := w.Exec(t.Context(), `insert into items values ($1, 'a')`, inserted); err != nil {
				return err
			}
			inserted++
		}
	})
	err := watching.Wait()
	close(done)
	if err := errors.Join(err, writing.Wait()); err != nil {
		t.Fatal(err)
	}
	if got := get[int](t, s, `select count(*) from tidings.since($1) where topic = 'items'`, since); got != inserted {
		t.Errorf("%d events of %d rows", got, inserted)
	}
	if got := get[int](t, s, `select count(*) from tidings.since($1) where topic like 'others%'`, since); got != watchers*rounds {
		t.Errorf("%d events of the other tables, want %d", got, watchers*rounds)
	}
	if got := get[int](t, s, `select renewed from tidings.follow_partitions()`); got != 0 {
		t.Errorf("%d watches are not as they should be", got)
	}
}

// The schema is a plain role's. Whoever watches a table, superuser or not, the role can go on rotating.
func TestRotateAsPlainRole(t *testing.T) {
	t.Parallel()
	address := newDatabase(t)
	admin := connectTo(t, address)
	role, guest := newRole(t, admin), newRole(t, admin)
	giveDatabase(t, admin, role)
	l := openLiveAt(t, with(t, address, "user", role))
	s, g := l.connect(t), connectTo(t, with(t, address, "user", guest))
	run(t, admin, items) // of the superuser, watched by the superuser
	run(t, s, `create table theirs (id int primary key)`)
	run(t, admin, `select tidings.watch('theirs')`)
	run(t, s, `create table own (id int primary key); select tidings.watch('own')`)
	run(t, admin, `grant insert on items, theirs, own to `+guest)
	owners := func() {
		t.Helper()
		if got := list[string](t, s, `select distinct proowner::regrole::text from pg_proc where pronamespace = 'tidings'::regnamespace and proname ~ '^capture_[0-9]+_'`); !slices.Equal(got, []string{role}) {
			t.Errorf("the trigger functions' owners are %q, want %s", got, role)
		}
	}
	owners()
	for i, rotates := range []conn{s, s, admin, s} {
		rotateTimes(t, rotates, 1)
		owners()
		since := cursor(t, s)
		run(t, g, fmt.Sprintf(`insert into items values (%d, 'a'); insert into theirs values (%[1]d); insert into own values (%[1]d)`, i))
		if got := events(t, s, since); len(got) != 3 {
			t.Errorf("events:\n%s", lines(got))
		}
		if got, want := partitionsOf(t, s, since), fmt.Sprintf("log_%d", i+1); !slices.Equal(got, []string{want}) {
			t.Errorf("what was written is in %q, want %s", got, want)
		}
		run(t, admin, `select tidings.refresh()`)
		owners()
	}
}

// Tables that were dropped without unwatch are in no rotation's way, and neither is one whose columns are gone.
func TestRotateAfterDrops(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items+days+`create table bare (id int primary key, v text); select tidings.watch('bare', columns => '{v}'); drop table days; alter table bare drop id, drop v`)
	run(t, s, `create schema gone; create table gone.things (id int primary key, v text); select tidings.watch('gone.things'); drop schema gone cascade`)
	for i := range 9 {
		rotateTimes(t, s, 1)
		since := cursor(t, s)
		run(t, s, `insert into items values ($1, 'a')`, i)
		run(t, s, `insert into bare default values`)
		expect(t, s, since, fmt.Sprintf("item_added %d {\"id\":%[1]d,\"v\":\"a\"}\nbare_added - {\"v\":null}", i))
	}
	// What comes in their place is another.
	run(t, s, days)
	since := cursor(t, s)
	run(t, s, `insert into days values (1, 10, 'a')`)
	expect(t, s, since, `day_added 10 {"id":1,"day":10,"v":"a"}`)
}

// A copy that is settled goes on in the partition that the trigger functions name.
func TestSettleKeepsThePartition(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	for range 5 {
		rotateTimes(t, s, 3)
		run(t, s, `update tidings.home set origin = 'elsewhere', place = 'elsewhere'`)
		before := get[string](t, s, `select tidings.current_partition()`)
		if got := get[string](t, s, `select tidings.settle()`); got != "copied" {
			t.Fatalf("settled as %s", got)
		}
		if got := get[string](t, s, `select tidings.current_partition()`); got != before {
			t.Errorf("the partition is %s, it was %s", got, before)
		}
		if got := get[int](t, s, `select renewed from tidings.follow_partitions()`); got != 0 {
			t.Errorf("%d watches are not as they should be", got)
		}
		since := cursor(t, s)
		run(t, s, `insert into items values (1, 'a'); delete from items`)
		rotateTimes(t, s, 6)
		if got := events(t, s, since); len(got) != 2 {
			t.Errorf("six rotations later, events:\n%s", lines(got))
		}
	}
}
