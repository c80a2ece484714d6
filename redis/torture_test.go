package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
	"tidings/redis/redistest"
)

// TestEverythingBreaks has writers write while Redis, PostgreSQL's connections and instances are lost in any order: whoever reads is told
// of each row exactly once, and of a writer's rows in their order.
func TestEverythingBreaks(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	server := redistest.Start(t)
	cluster := dbtest.StartCluster(t, map[string]string{"max_connections": "200"})
	database := newDatabase(t, cluster.URL())
	quick := func(i *instance) { i.relay.Lease, i.relay.Timeout = 400*time.Millisecond, 300*time.Millisecond }
	running := []*instance{start(t, database, server.URL(), quick), start(t, database, server.URL(), quick), start(t, database, server.URL(), quick)}
	all := slices.Clone(running)
	leader(t, running...)

	writing, stopWriting := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		random := rand.New(rand.NewPCG(seed, uint64(w)+1))
		writers.Go(func() {
			for n := 1; writing.Err() == nil; {
				rows, err := writeSome(writing, database, random, w, n)
				n += rows
				for err != nil && writing.Err() == nil {
					pause(writing, 20*time.Millisecond) // the database is not there
					n, err = written(writing, database, w)
				}
			}
		})
	}

	redisDown := false
	faults := []func() string{
		func() string { server.Kill(); redisDown = true; return "Redis is killed" },
		func() string {
			server.Pause()
			pause(t.Context(), time.Duration(random.IntN(1000))*time.Millisecond)
			server.Resume()
			return "Redis hangs"
		},
		func() string { _, _ = server.Do("FLUSHALL"); return "Redis is emptied" },
		func() string {
			_, _ = server.Do("CONFIG", "SET", "maxmemory", "1")
			pause(t.Context(), time.Duration(random.IntN(600))*time.Millisecond)
			_, _ = server.Do("CONFIG", "SET", "maxmemory", "0")
			return "Redis is full"
		},
		func() string { _, _ = server.Do("DEL", leaseOf(server)); return "the lease is lost" },
		func() string { _, _ = server.Do("DEL", streamOf(server)); return "the stream is lost" },
		func() string { _, _ = server.Do("XTRIM", streamOf(server), "MAXLEN", "3"); return "the stream is cut" },
		func() string {
			_, _ = server.Do("CLIENT", "KILL", "TYPE", "normal")
			return "Redis's connections are cut"
		},
		func() string {
			_, _ = database.Pool.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'tidings %'`)
			return "PostgreSQL's connections are cut"
		},
		func() string { cluster.Kill(); cluster.Start(); return "PostgreSQL is killed" },
		func() string {
			n := random.IntN(len(running))
			running[n].stop()
			running[n] = start(t, database, server.URL(), quick)
			all = append(all, running[n])
			return "an instance is replaced"
		},
		func() string { // it believes to lead until it finds that it does not
			leads := slices.IndexFunc(running, func(i *instance) bool { return i.role() == db.RoleLeading })
			if leads >= 0 {
				_, _ = server.Do("SET", leaseOf(server), "somebody else", "PX", "300")
			}
			return "somebody else has the lease"
		},
	}
	rounds := 20
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		if redisDown {
			if random.IntN(2) == 0 {
				if err := server.Start(); err != nil {
					t.Fatal(err)
				}
				redisDown = false
				t.Log("Redis is back")
			}
		} else {
			t.Log(faults[random.IntN(len(faults))]())
		}
		pause(t.Context(), time.Duration(random.IntN(400))*time.Millisecond)
	}
	if redisDown {
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	stopWriting()
	writers.Wait()
	leader(t, running...)

	type entry struct{ id, xid, rows int64 }
	rows, err := database.Pool.Query(t.Context(), `select id, xid::text::bigint, case when rows is null then 1 else data::text::bigint end from tidings.log where topic = 'notes' order by id`)
	if err != nil {
		t.Fatal(err)
	}
	logged, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e entry, err error) {
		err = row.Scan(&e.id, &e.xid, &e.rows)
		return e, err
	})
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, e := range logged {
		total += e.rows
	}
	t.Logf("%d entries with %d rows, %d instances", len(logged), total, len(all))
	for _, i := range all {
		still := slices.Contains(running, i)
		missing := func() (missing, doubled int) {
			i.mu.Lock()
			defer i.mu.Unlock()
			if i.start.IsZero() {
				return 0, 0 // it was stopped before it began
			}
			count := make(map[realtime.ID]int)
			for _, e := range i.events {
				if count[e.ID]++; count[e.ID] > 1 {
					doubled++
				}
			}
			for _, e := range logged {
				for row := range int(e.rows) {
					event := &realtime.Event{ID: realtime.ID{Entry: e.id, Row: row}, Xid: uint64(e.xid)}
					if i.start.Covers(event) || !i.position.Covers(event) {
						if count[event.ID] > 0 {
							doubled++
						}
					} else if count[event.ID] == 0 {
						missing++
					}
				}
			}
			return missing, doubled
		}
		if still {
			last := &realtime.Event{}
			if n := len(logged); n > 0 {
				last = &realtime.Event{ID: realtime.ID{Entry: logged[n-1].id, Row: 1 << 30}, Xid: uint64(logged[n-1].xid)}
			}
			await(t, "the last row", func() bool {
				i.mu.Lock()
				defer i.mu.Unlock()
				return i.position.Covers(last)
			})
		}
		if missing, doubled := missing(); missing > 0 || doubled > 0 {
			t.Errorf("%s: of %d rows %d are missing, and %d are told that should not be", i.name, total, missing, doubled)
		}
		i.mu.Lock()
		if len(i.restarts) > 0 {
			t.Errorf("%s began anew: %v", i.name, i.restarts)
		}
		last := make(map[string]int)
		for _, e := range i.events {
			n := numberOf(t, e)
			if n <= last[e.Key] {
				t.Errorf("%s: writer %s's row %d is told behind row %d", i.name, e.Key, n, last[e.Key])
			}
			last[e.Key] = n
		}
		i.mu.Unlock()
	}
}

func numberOf(t *testing.T, e *realtime.Event) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(string(e.Data[slices.Index(e.Data, 'n'):]), `n":%d`, &n); err != nil {
		t.Fatalf("%s: %v", e.Data, err)
	}
	return n
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// keyed returns the key of the log that the database has now.
func keyed(server *redistest.Server, what string) string {
	keys, _ := server.Do("KEYS", "tidings:*:"+what)
	return keys
}

func leaseOf(server *redistest.Server) string  { return keyed(server, "leader") }
func streamOf(server *redistest.Server) string { return keyed(server, "events") }

// writeSome writes rows numbered from n in one transaction, in one of many ways, and returns how many. It may be rolled back.
func writeSome(ctx context.Context, database *db.DB, random *rand.Rand, writer, n int) (rows int, err error) {
	isolation := []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}[random.IntN(4)]
	tx, err := database.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: isolation})
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	for range 1 + random.IntN(3) {
		some := 1 + random.IntN(3)
		if random.IntN(50) == 0 {
			some = 3000 // more than one batch
		}
		_, err = tx.Exec(ctx, `insert into notes (writer, n, filler) select $1, i, repeat('x', $4) from generate_series($2::int, $3::int) i order by i`, writer, n+rows, n+rows+some-1, random.IntN(200))
		if err != nil {
			return 0, err
		}
		rows += some
		if random.IntN(4) == 0 {
			pause(ctx, time.Duration(random.IntN(30))*time.Millisecond)
		}
	}
	if random.IntN(6) == 0 {
		return 0, tx.Rollback(ctx)
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, err
	}
	pause(ctx, time.Duration(random.IntN(40))*time.Millisecond)
	return rows, nil
}

// written returns the number that a writer's next row has, after a commit of which it is not known whether it was.
func written(ctx context.Context, database *db.DB, writer int) (next int, err error) {
	err = database.Pool.QueryRow(ctx, `select coalesce(max(n), 0) + 1 from notes where writer = $1`, writer).Scan(&next)
	if errors.Is(err, pgx.ErrNoRows) {
		return 1, nil
	}
	return next, err
}
