package redis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
	"tidings/redis"
	"tidings/redis/redistest"
)

// positionAt is a position of a log that is nobody's.
func positionAt(xid uint64) realtime.Cursor {
	return realtime.Cursor{Origin: "nobody", Seen: realtime.Snapshot{Xmin: xid, Xmax: xid}}
}

// What is proven is told when what was written before has been read, and once: that something else is written proves nothing.
func TestProven(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	leads := &redis.Relay{URL: server.URL(), Name: "leads", Lease: time.Hour, Timeout: patience} // their length does not matter for how often that is told
	follows := &redis.Relay{URL: server.URL(), Timeout: patience}
	all, cancel := context.WithCancel(t.Context())
	group, ctx := errgroup.WithContext(all) // which ends early if one fails
	defer func() {
		cancel()
		_ = group.Wait()
		leads.Close()
		follows.Close()
	}()
	leading := make(chan struct{})
	group.Go(func() error {
		_, err := leads.Lead(ctx, "nobody", func(ctx context.Context) error {
			close(leading)
			<-ctx.Done()
			return nil
		})
		return err
	})
	receive(ctx, t, leading)

	const batches = 300
	publish := func(from, to uint64) {
		leads.Publish(realtime.Batch{From: positionAt(from), To: positionAt(to), Events: []*realtime.Event{{
			ID: realtime.ID{Entry: int64(from)}, Xid: from, Topic: "notes", Type: "note_added", Cursor: positionAt(to),
		}}})
	}
	for xid := range uint64(batches) {
		publish(100+xid, 101+xid)
	}
	leads.Proven(positionAt(100 + batches))

	read, signals := 0, 0
	proofs, looks := make(chan time.Time, 100), make(chan struct{}, 100)
	told := make(chan int, 100)
	group.Go(func() error {
		return follows.Follow(ctx, "nobody", positionAt(100),
			func(context.Context, realtime.Batch) error { read++; return nil },
			func(realtime.Signal) { signals++; told <- signals },
			func(_ context.Context, at realtime.Cursor, asked time.Time) error {
				if asked.IsZero() {
					select {
					case looks <- struct{}{}:
					default:
					}
					return nil
				}
				if want := positionAt(uint64(100 + read)).String(); at.String() != want {
					t.Errorf("what is proven is %s, and what was read ends at %s", at, want)
				}
				proofs <- asked
				return nil
			})
	})
	first := receive(ctx, t, proofs)
	for n := range 3 {
		leads.Signal(realtime.Signal{Channel: realtime.Channel{Topic: "notes"}, Type: "typing", Data: []byte(`{}`)})
		for receive(ctx, t, told) <= n {
		}
		for len(looks) > 0 {
			<-looks
		}
		receive(ctx, t, looks)
		receive(ctx, t, looks) // this one was begun behind the signal
	}
	if len(proofs) > 0 {
		t.Errorf("it is told %d times that something was proven, and that was only once", len(proofs)+1)
	}
	publish(100+batches, 101+batches)
	leads.Proven(positionAt(101 + batches))
	if next := receive(ctx, t, proofs); !next.After(first) {
		t.Errorf("the second proof is of %s, and the first of %s", next, first)
	}
}

// receive is what comes next, unless ctx ends before.
func receive[T any](ctx context.Context, t *testing.T, from <-chan T) (next T) {
	t.Helper()
	select {
	case next = <-from:
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	}
	return next
}

// A Redis that answers and cannot be written is not one that is back: whoever reads for itself goes on with that.
func TestRedisThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, c := range []struct {
		name        string
		spoil, mend []string
	}{
		{"full", []string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"}},
		{"a replica", []string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}},
		{"not for this user", []string{"ACL", "SETUSER", "default", "-set"}, []string{"ACL", "SETUSER", "default", "+set"}},
	} {
		database := newDatabase(t, dbtest.Database(t))
		patient := func(i *instance) { i.reader.Timeout = patience / 3 } // or who reads could lose his connection to a busy machine
		all := []*instance{start(t, database, server.URL(), patient), start(t, database, server.URL(), patient)}
		leader(t, all...)
		goesOn(t, all, func() { write(t, database, 1, 5) })
		if _, err := server.Do(c.spoil...); err != nil {
			t.Fatal(err)
		}
		await(t, "all to read for themselves", func() bool { return all[0].role() == db.RoleAlone && all[1].role() == db.RoleAlone })
		goesOn(t, all, func() { write(t, database, 1, 5) })
		backends := func() (pids string) {
			err := database.Pool.QueryRow(t.Context(), `select string_agg(pid::text, ' ' order by pid) from pg_stat_activity
				 where datname = current_database() and application_name = 'tidings reader'`).Scan(&pids)
			if err != nil {
				t.Fatal(err)
			}
			return pids
		}
		asked := func() (n int) {
			info, err := server.Do("INFO", "commandstats")
			if err != nil {
				t.Fatal(err)
			}
			_, after, _ := strings.Cut(info, "cmdstat_evalsha:calls=")
			_, _ = fmt.Sscan(after, &n)
			return n
		}
		before, n := backends(), asked()
		await(t, "Redis to be asked again", func() bool { return asked() >= n+6 })
		if after := backends(); after != before {
			t.Errorf("%s: the backends that read are %s, and were %s", c.name, after, before)
		}
		if _, err := server.Do(c.mend...); err != nil {
			t.Fatal(err)
		}
		leader(t, all...)
		goesOn(t, all, func() { write(t, database, 1, 5) })
		for _, i := range all {
			i.stop()
		}
	}
}

// A lease of an instance's own is one of an earlier term of its: it leads at once, and what was to be written in the other is not any more.
func TestLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const lease = "tidings:{nobody}:1:leader"
	if _, err := server.Do("SET", lease, "instance-1/1", "PX", "3600000"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"instance-2", "instance", "instance-1"} {
		r := &redis.Relay{URL: server.URL(), Name: name, Timeout: patience}
		led, err := r.Lead(t.Context(), "nobody", func(context.Context) error {
			if holder, _ := server.Do("GET", lease); holder == "instance-1/1" || !strings.HasPrefix(holder, "instance-1/") {
				t.Errorf("while %s leads, the lease is that of %s", name, holder)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if led != (name == "instance-1") {
			t.Errorf("%s leads: %t", name, led)
		}
		r.Close()
	}
	if holder, _ := server.Do("GET", lease); holder != "" {
		t.Errorf("the lease is still that of %s", holder)
	}
}
