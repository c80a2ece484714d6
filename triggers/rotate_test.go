package triggers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"tidings/db/dbtest"
)

// eras is how many rotations an entry outlives.
const eras = 6

// expired is how tidings.since refuses a cursor that is too old.
const expired = "is older than what is kept"

func rotate(t *testing.T, c conn) bool {
	t.Helper()
	return get[bool](t, c, "select tidings.rotate(true)")
}

// rotateTimes rotates, and each time must succeed.
func rotateTimes(t *testing.T, c conn, n int) {
	t.Helper()
	for i := range n {
		if !rotate(t, c) {
			t.Fatalf("rotation %d did not happen", i)
		}
	}
}

// openQuiet has a server to itself, where no other transactions are open than the test's. A cursor has those of the whole
// server, and where one of them stayed open over the end of an era, that cursor may end before its time.
func openQuiet(t *testing.T) *live {
	t.Helper()
	return openLiveAt(t, dbtest.StartCluster(t, map[string]string{"autovacuum": "off", "jit": "off"}).URL())
}

func TestRotateForgets(t *testing.T) {
	t.Parallel()
	l := openQuiet(t)
	s := l.connect(t)
	run(t, s, items)
	if horizon := get[*string](t, s, "select tidings.horizon()::text"); horizon != nil {
		t.Errorf("the horizon of a new log is %s", *horizon)
	}
	var cursors []string
	highest := ""
	for i := range 3 * 8 {
		cursors = append(cursors, cursor(t, s))
		run(t, s, `insert into items values ($1, 'a'), (-$1, 'b')`, i+1)
		xid := get[string](t, s, "select xid::text from tidings.log order by xid desc limit 1")
		rotateTimes(t, s, 1)
		// Cursor i is followed by what was written in era i.
		for j, c := range cursors {
			if j <= i-eras {
				refused(t, s, "22023", expired, "select tidings.since('"+c+"')")
			} else if got := events(t, s, c); len(got) != 2*(i-j+1) {
				t.Errorf("after %d rotations, %d events since cursor %d", i+1, len(got), j)
			}
		}
		if n := get[int](t, s, "select count(*) from tidings.log where topic <> 'tidings'"); n != 2*min(i+1, eras) {
			t.Errorf("after %d rotations there are %d entries", i+1, n)
		}
		if horizon := get[*string](t, s, "select tidings.horizon()::text"); (horizon != nil) != (i >= eras) {
			t.Errorf("after %d rotations the horizon is %v", i+1, horizon)
		} else if horizon != nil {
			if *horizon == highest || get[bool](t, s, "select $1::text::xid8 >= $2::text::xid8", *horizon, xid) {
				t.Errorf("after %d rotations the horizon is %s; it was %s, and %s has just written", i+1, *horizon, highest, xid)
			}
			highest = *horizon
		}
	}
	if got := list[string](t, s, `select partition || ' ' || era || ' ' || current from tidings.log_partitions limit 2`); len(got) != 2 ||
		got[0] != "log_0 24 true" || got[1] != "log_7 23 false" {
		t.Errorf("tidings.log_partitions begins with %q", got)
	}
}

func TestRotateWhenItIsTime(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	rotates := func(want bool, age string) {
		t.Helper()
		run(t, s, `update tidings.eras set started_at = clock_timestamp() - $1::text::interval where era = (select max(era) from tidings.eras)`, age)
		if got := get[bool](t, s, "select tidings.rotate()"); got != want {
			t.Errorf("an era of %s: rotate returned %v", age, got)
		}
	}
	rotates(false, "0")
	rotates(false, "3 hours 59 minutes")
	rotates(true, "4 hours 1 minute")
	rotates(false, "0")
	run(t, s, `update tidings.settings set retention = '1 hour'`)
	rotates(false, "9 minutes")
	rotates(true, "11 minutes")
	run(t, s, `update tidings.settings set retention = '30 days'`)
	rotates(false, "4 days")
	rotates(true, "6 days")
	run(t, s, `begin; select tidings.rotate(true)`)
	if rotate(t, l.Pool) {
		t.Error("two rotations at once")
	}
	run(t, s, `commit`)
	refused(t, s, "23514", "retention", `update tidings.settings set retention = '59 seconds'`)
}

// Nobody has to call rotate for the log to take entries, and what is there stays until somebody does.
func TestNoRotationForDays(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	since := cursor(t, s)
	for i := range 10 {
		run(t, s, `insert into items values ($1, 'a')`, i)
		run(t, s, `update tidings.eras set started_at = started_at - interval '1 day'; update tidings.log set at = at - interval '1 day'`)
	}
	if got := events(t, s, since); len(got) != 10 {
		t.Errorf("%d events", len(got))
	}
	if !get[bool](t, s, `select tidings.rotate()`) {
		t.Error("an era of ten days did not end")
	}
	run(t, s, `insert into items values (10, 'a')`)
	if got := events(t, s, since); len(got) != 11 {
		t.Errorf("%d events", len(got))
	}
}

// A transaction that is still open has its entries in a partition that is due: it is not emptied.
func TestRotateWaitsForOpenTransactions(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, late := l.connect(t), l.connect(t)
	run(t, s, items)
	since := cursor(t, s)
	run(t, late, `begin; insert into items values (1, 'late')`)
	rotateTimes(t, s, eras)
	for range 3 {
		if rotate(t, s) {
			t.Fatal("rotate emptied a partition that an open transaction has written to")
		}
	}
	run(t, s, `insert into items values (2, 'soon')`)
	expect(t, s, since, `item_added 2 {"id":2,"v":"soon"}`)
	run(t, late, `update items set v = 'later' where id = 1; commit`)
	expect(t, s, since, `
		item_added 1 {"id":1,"v":"late"}
		item_added 2 {"id":2,"v":"soon"}
		item_updated 1 {"id":1,"v":"later"}`)
	rotateTimes(t, s, 1)
	refused(t, s, "22023", expired, "select tidings.since('"+since+"')")
}

// A rotation that is rolled back, say because its server died, has moved the sequence on all the same. The era that began
// so is as long as any other, and what is kept is kept for its time.
func TestRotateRolledBack(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	since := cursor(t, s)
	var want []string
	for i := range 2 * eras {
		// All this is within a moment, and the retention is a day.
		run(t, s, `begin; select tidings.rotate(true); rollback`)
		run(t, s, `insert into items values ($1, 'a')`, i)
		want = append(want, fmt.Sprintf(`item_added %d {"id":%[1]d,"v":"a"}`, i))
		run(t, s, `select tidings.rotate()`)
	}
	expect(t, s, since, strings.Join(want, "\n"))
}

// Nothing was written for a hundred eras; what was forgotten before that is forgotten still.
func TestHorizonIsKept(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items)
	since := cursor(t, s)
	run(t, s, `insert into items values (1, 'a')`)
	rotateTimes(t, s, eras+1)
	refused(t, s, "22023", expired, "select tidings.since('"+since+"')")
	run(t, s, `do $$ begin for i in 1..110 loop perform tidings.rotate(true); end loop; end $$`)
	refused(t, s, "22023", expired, "select tidings.since('"+since+"')")
}

// A transaction has been open since before what is forgotten, without a part in it. The cursor of now is good.
func TestHorizonAndOpenTransaction(t *testing.T) {
	t.Parallel()
	l := openQuiet(t)
	s, old := l.connect(t), l.connect(t)
	run(t, s, items)
	run(t, old, `begin; select pg_current_xact_id()`)
	run(t, s, `insert into items values (1, 'a')`)
	rotateTimes(t, s, eras+1)
	since := cursor(t, s)
	run(t, s, `insert into items values (2, 'b')`)
	expect(t, s, since, `item_added 2 {"id":2,"v":"b"}`)
	run(t, old, `rollback`)
}

// Rotations change nothing for writers, and a reader that keeps up reads everything once.
func TestRotateUnderWriters(t *testing.T) {
	t.Parallel()
	const writers, rotations = 8, 40
	l := openQuiet(t)
	s := l.connect(t)
	run(t, s, `create table items (n int); select tidings.watch('items')`)

	var mu sync.Mutex
	committed := map[int]bool{}
	group, ctx := errgroup.WithContext(t.Context())
	writing, stop := context.WithCancel(ctx)
	unread := semaphore.NewWeighted(20_000) // rows: faster than it can read, the reader could not keep up
	since := cursor(t, s)
	for w := range writers {
		c := l.connect(t)
		run(t, c, `set lock_timeout = '3s'`) // longer than any wait should be
		group.Go(func() error {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for n := w * 1_000_000; unread.Acquire(writing, maxItems) == nil; {
				wrote, err := writeItems(ctx, c, random, &n)
				if err != nil {
					return fmt.Errorf("writer %d: %w", w, err)
				}
				unread.Release(int64(maxItems - len(wrote)))
				mu.Lock()
				for _, n := range wrote {
					committed[n] = true
				}
				mu.Unlock()
			}
			return nil
		})
	}

	t.Cleanup(func() { stop(); _ = group.Wait() }) // where the test has failed

	read := map[int]int{}
	keepUp := func() (n int) {
		next, got := follow(t, s, since)
		for _, e := range got {
			read[e.n]++
		}
		since = next
		unread.Release(int64(len(got)))
		return len(got)
	}
	// No transaction is open for more than three eras, so that six eras are time enough to read them all.
	var ends []string
	rotated := 0
	for tries := 0; rotated < rotations && ctx.Err() == nil; tries++ {
		if tries > 100*rotations {
			t.Fatalf("%d of %d rotations happened", rotated, tries)
		}
		if rotate(t, s) {
			rotated++
			ends = append(ends, get[string](t, s, "select pg_snapshot_xmax(pg_current_snapshot())::text"))
		}
		for ctx.Err() == nil {
			n := keepUp()
			if n > 0 && (rotated < 3 || get[bool](t, s, `select pg_snapshot_xmin(tidings.position_snapshot(split_part($1, '-', 2))) >= $2::text::xid8`, since, ends[rotated-3])) {
				break
			}
		}
	}
	stop()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	keepUp()
	t.Logf("%d rows in %d eras", len(committed), rotated)

	for n, times := range read {
		if times != 1 || !committed[n] {
			t.Errorf("row %d was read %d times; committed: %v", n, times, committed[n])
		}
	}
	if lost := len(committed) - len(read); lost > 0 {
		t.Errorf("%d of %d rows were not read", lost, len(committed))
	}
	if n := get[int](t, s, `select count(*) from tidings.log where tableoid::regclass = format('tidings.log_%s', ((select max(era) from tidings.eras) + 1) & 7)::regclass`); n > 0 {
		t.Errorf("%d entries are in the partition that comes next", n)
	}
	if horizon := get[*string](t, s, "select tidings.horizon()::text"); horizon == nil {
		t.Error("there is no horizon")
	}
}

// maxItems is how many rows writeItems may write.
const maxItems = 3 * 5

// writeItems inserts some rows in one transaction, whose numbers follow n, and returns those that were committed.
func writeItems(ctx context.Context, c *pgx.Conn, random *rand.Rand, n *int) (wrote []int, err error) {
	tx, err := c.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	for range 1 + random.IntN(3) {
		rows := 1 + random.IntN(5)
		if _, err := tx.Exec(ctx, `insert into items select generate_series($1::int, $2::int)`, *n, *n+rows-1); err != nil {
			return nil, err
		}
		for range rows {
			wrote = append(wrote, *n)
			*n++
		}
	}
	if random.IntN(5) == 0 {
		return nil, tx.Rollback(ctx)
	}
	return wrote, tx.Commit(ctx)
}

// A log that has grown large is forgotten before its time.
func TestRotateBySize(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	run(t, l.Pool, `create table items (id serial primary key, name text); select tidings.watch('items')`)
	run(t, l.Pool, `update tidings.settings set max_bytes = 7 << 20`)
	const size = 100_000
	rotations := 0
	for range 120 { // 12 MB, that do not compress
		run(t, l.Pool, `insert into items (name) select string_agg(md5(random()::text), '') from generate_series(1, $1)`, size/32)
		if get[bool](t, l.Pool, `select tidings.rotate()`) {
			rotations++
		}
	}
	if rotations < 8 || rotations > 13 {
		t.Errorf("%d rotations, want one a megabyte", rotations)
	}
	if bytes := get[int64](t, l.Pool, `select sum(bytes) from tidings.log_partitions`); bytes > 9<<20 {
		t.Errorf("the log has %d bytes, want about %d", bytes, 7<<20)
	}
}

// What a session has prepared and cached for one partition gives way to the next, in a transaction that is open as well; and whoever
// watched a table, whoever rotates writes to the next.
func TestRotateMovesWriters(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, open := l.connect(t), l.connect(t)
	run(t, s, items+`create table others (id int primary key); select tidings.watch('others')`)
	since := cursor(t, s)
	where := func(id int) string {
		t.Helper()
		return get[string](t, s, `select tableoid::regclass::text from tidings.log where topic = 'items' and key = $1`, fmt.Sprint(id))
	}
	var want []string
	insert := func(c conn, id int) {
		t.Helper()
		run(t, c, `insert into items values ($1, 'a')`, id)
		want = append(want, fmt.Sprintf(`item_added %d {"id":%[1]d,"v":"a"}`, id))
	}
	insert(s, 1)
	run(t, open, `begin`)
	insert(open, 2)
	run(t, s, `drop table others`) // without unwatch
	if !rotate(t, s) {
		t.Fatal("no rotation")
	}
	insert(s, 3)
	insert(open, 4)
	run(t, open, `commit`)
	run(t, s, `begin; select tidings.rotate(true); rollback`)
	insert(s, 5)
	for id, partition := range map[int]string{1: "tidings.log_0", 2: "tidings.log_0", 3: "tidings.log_1", 4: "tidings.log_1", 5: "tidings.log_1"} {
		if got := where(id); got != partition {
			t.Errorf("row %d is in %s, want %s", id, got, partition)
		}
	}
	if got := events(t, s, since); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("got\n%s\nwant\n%s", lines(got), lines(want))
	}
}

// A table that is being watched waits for a rotation, and the rotation does not wait for it.
func TestRotateBesideWatch(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s, other := l.connect(t), l.connect(t)
	run(t, s, items+`create table others (id int primary key)`)
	run(t, other, `begin; select tidings.watch('others')`)
	if rotate(t, s) {
		t.Error("rotated while a table was being watched")
	}
	run(t, other, `commit`)
	rotateTimes(t, s, 1)
	run(t, s, `insert into others values (1)`)
	if got := get[string](t, s, `select tableoid::regclass::text from tidings.log where topic = 'others'`); got != "tidings.log_1" {
		t.Errorf("the row is in %s", got)
	}
}
