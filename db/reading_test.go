package db_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
)

// with adds a parameter to a database's address.
func with(t *testing.T, address, name, value string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set(name, value)
	u.RawQuery = query.Encode()
	return u.String()
}

// held keeps a lock in a transaction of its own, until it is released.
func held(t *testing.T, c *db.Channel, sql string) (release func()) {
	t.Helper()
	conn, err := c.DB.ConnectReader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closing := sync.OnceFunc(func() { _ = conn.Close(context.Background()) })
	t.Cleanup(closing)
	if _, err := conn.Exec(t.Context(), "begin; "+sql); err != nil {
		t.Fatal(err)
	}
	return closing
}

// blocked waits until so many sessions wait for a lock.
func blocked(t *testing.T, observer *db.Channel, n int) {
	t.Helper()
	await(t, fmt.Sprintf("%d sessions to wait for a lock", n), func() bool {
		return ask[int](t, observer, `select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)[0] >= n
	})
}

// versioned is a message or a comment of which the content is a number that counts its changes.
type versioned struct {
	Version string `json:"content"`
	Author  int64  `json:"author_id"`
}

// apply does to a table what the events say, strictly.
func apply(rows map[int64]versioned, kind string, data []byte) error {
	var row struct {
		ID int64 `json:"id"`
		versioned
	}
	if err := json.Unmarshal(data, &row); err != nil {
		return err
	}
	was, there := rows[row.ID]
	switch {
	case kind == "added" && !there:
		rows[row.ID] = row.versioned
	case kind == "updated" && there:
		before, err := strconv.Atoi(was.Version)
		if err != nil || row.Version != strconv.Itoa(before+1) {
			return fmt.Errorf("row %d is changed from %q to %q", row.ID, was.Version, row.Version)
		}
		rows[row.ID] = row.versioned
	case kind == "deleted" && was == row.versioned:
		delete(rows, row.ID)
	default:
		return fmt.Errorf("row %d is %s: it is %+v, and was %t there", row.ID, kind, was, there)
	}
	return nil
}

// changeVersioned makes one random transaction, which may be rolled back.
func changeVersioned(ctx context.Context, c *db.Channel, random *rand.Rand) error {
	tx, err := c.DB.Pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	for range 1 + random.IntN(4) {
		sql := []string{
			`insert into messages (author_id, title, content) select 1 + n % 3, 'title', '0' from generate_series(0, $1::int) n`,
			`insert into comments (message_id, author_id, content) select id, 1, '0' from messages order by random() limit $1 for key share skip locked`,
			`update messages set content = content::int + 1 where id in (select id from messages order by random() limit $1 for update skip locked)`,
			`update comments set content = content::int + 1 where id in (select id from comments order by random() limit $1 for update skip locked)`,
			`delete from comments where id in (select id from comments order by random() limit $1 for update skip locked)`,
			`delete from messages where id in (select id from messages order by random() limit $1 for update skip locked)`,
		}[random.IntN(6)]
		if _, err := tx.Exec(ctx, sql, 1+random.IntN(4)); err != nil {
			return err
		}
	}
	if random.IntN(4) == 0 {
		return tx.Rollback(ctx)
	}
	return tx.Commit(ctx)
}

// image is what a snapshot has seen, and where.
type image struct {
	tables map[string]map[int64]versioned
	cursor string
}

func (i image) String() string { return fmt.Sprintf("%v at %s", i.tables, i.cursor) }

// look reads all in one snapshot, in a random order and some of it twice.
func look(t *testing.T, c *db.Channel, random *rand.Rand) image {
	t.Helper()
	r := c.ReadSnapshot()
	defer r.Close()
	ctx := t.Context()
	all := db.Page{Limit: 100000, Order: db.Order(random.IntN(2))}
	i := image{tables: map[string]map[int64]versioned{"message": {}, "comment": {}}}
	steps := []func() error{
		func() (err error) {
			i.cursor, err = r.Cursor(ctx)
			return err
		},
		func() error {
			listed, err := r.ListMessages(ctx, all, db.MessageFilter{})
			for _, m := range listed.Rows {
				i.tables["message"][m.ID] = versioned{m.Content, m.AuthorID}
			}
			return err
		},
		func() error {
			listed, err := r.ListComments(ctx, all, db.CommentFilter{})
			for _, m := range listed.Rows {
				i.tables["comment"][m.ID] = versioned{m.Content, m.AuthorID}
			}
			return err
		},
	}
	for _, n := range random.Perm(len(steps)) {
		if err := steps[n](); err != nil {
			t.Fatal(err)
		}
	}
	counts, err := r.CountMessages(ctx, []int64{1, 2, 3})
	if n := counts[1] + counts[2] + counts[3]; err != nil || n != len(i.tables["message"]) {
		t.Errorf("%d messages are counted, %d were read, %v", n, len(i.tables["message"]), err)
	}
	if again, err := r.Cursor(ctx); err != nil || again != i.cursor {
		t.Errorf("the cursor was %s and is %s, %v", i.cursor, again, err)
	}
	return i
}

// What a snapshot has seen and what came since its cursor are together what there is, nothing of it twice.
func TestSnapshotAndCursor(t *testing.T) {
	t.Parallel()
	c, run := channel(t, with(t, dbtest.Database(t), "pool_max_conns", "10"))
	run(`insert into users (username, display_name) select 'user' || n, 'User' from generate_series(1, 3) n`)
	run(`insert into messages (author_id, title, content) select 1, 'title', '0' from generate_series(1, 20) n`)
	seed, rounds := rand.Uint64(), transactions(t, 20)
	may := make(chan struct{}, 100) // one for each transaction
	var writers, pending sync.WaitGroup
	for n := range 6 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			for range may {
				if err := changeVersioned(t.Context(), c, random); err != nil && !conflicting(err) {
					t.Error(err)
				}
				pending.Done()
			}
		})
	}
	defer writers.Wait()
	defer close(may)
	random := rand.New(rand.NewPCG(seed, 100))
	looked, changes := 0, 0
	for range rounds {
		var images []image
		for range 16 {
			for range 6 {
				pending.Add(1)
				may <- struct{}{}
			}
			images = append(images, look(t, c, random))
		}
		pending.Wait()
		want := look(t, c, random)
		for _, got := range images {
			looked++
			changes += complete(t, c, got, want)
		}
	}
	t.Logf("%d images were completed by %d changes", looked, changes)
}

// complete applies what came after an image, which is then to be the same as another.
func complete(t *testing.T, c *db.Channel, got, want image) (changes int) {
	t.Helper()
	rows, err := c.DB.Pool.Query(t.Context(), `select type, data from tidings.since($1) where topic in ('messages', 'comments')`, got.cursor) //nolint:rowserrcheck // ForEachRow does
	if err != nil {
		t.Fatal(err)
	}
	var kind string
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&kind, &data}, func() error {
		changes++
		table, what := kind[:len("message")], kind[len("message_"):]
		return apply(got.tables[table], what, data)
	})
	if err != nil {
		t.Fatalf("after %s: %v", got.cursor, err)
	}
	for table, rows := range want.tables {
		if !maps.Equal(rows, got.tables[table]) {
			t.Fatalf("after %s, at %s, %s: got %v, want %v", got.cursor, want.cursor, table, got.tables[table], rows)
		}
	}
	return changes
}

// conflicting reports whether it was a conflict with another writer.
func conflicting(err error) bool { return errors.Is(db.Unavailable(err), db.ErrUnavailable) }

// A reading sees what is committed when each statement begins, a snapshot what was when its first began.
func TestReadings(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	fill(run, 3, 5, 0)
	count := func(r *db.Reading) int {
		t.Helper()
		listed, err := r.ListMessages(t.Context(), db.Page{Limit: 100}, db.MessageFilter{})
		if err != nil {
			t.Fatal(err)
		}
		return len(listed.Rows)
	}
	now, then := c.Read(), c.ReadSnapshot()
	defer now.Close()
	defer then.Close()
	add := func() { run(`insert into messages (author_id, title, content) values (1, 'one more', '')`) }
	add() // before the first statement
	for n := range 3 {
		if a, b := count(now), count(then); a != 6+n || b != 6 {
			t.Errorf("got %d and %d, want %d and 6", a, b, 6+n)
		}
		add()
	}
	if a, b := now.Statements(), then.Statements(); a != 3 || b != 3 {
		t.Errorf("got %d and %d statements, want 3", a, b)
	}
}

// Closing gives the connection back, whoever else closes or reads.
func TestReadingClose(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	observer, run := channel(t, address)
	fill(run, 3, 5, 0)
	database, err := db.Open(t.Context(), with(t, address, "pool_max_conns", "1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	c := &db.Channel{DB: database}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 20 {
		r := c.ReadSnapshot()
		if n := database.Pool.Stat().AcquiredConns(); n != 0 {
			t.Fatalf("%d connections are taken before the first statement", n)
		}
		if _, err := r.Cursor(ctx); err != nil {
			t.Fatal(err)
		}
		if n := database.Pool.Stat().AcquiredConns(); n != 1 {
			t.Fatalf("%d connections are taken by a snapshot", n)
		}
		var all sync.WaitGroup
		for n := range 8 {
			all.Go(func() {
				if n%4 == 3 {
					r.Close()
					return
				}
				if users, err := r.Users(ctx, []int64{1}); err == nil && len(users) != 1 || errors.Is(err, db.ErrUnavailable) {
					t.Errorf("got %v, %v", users, err)
				}
			})
		}
		all.Wait()
		r.Close()
		if _, err := r.Users(ctx, []int64{1}); err == nil || errors.Is(err, db.ErrUnavailable) {
			t.Errorf("a closed reading: got %v", err)
		}
		if n := database.Pool.Stat().AcquiredConns(); n != 0 {
			t.Fatalf("%d connections are taken by a closed reading", n)
		}
	}

	// It waits for a statement that runs.
	release := held(t, observer, `lock table users`)
	r := c.ReadSnapshot()
	got := make(chan error, 2)
	go func() {
		_, err := r.Users(ctx, []int64{1})
		got <- err
	}()
	blocked(t, observer, 1)
	go func() {
		r.Close()
		got <- nil
	}()
	release()
	for range 2 {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
	if n := database.Pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are taken", n)
	}
}

// Whoever reads without a snapshot waits for nobody else's statement.
func TestReadingsAtOnce(t *testing.T) {
	t.Parallel()
	c, run := channel(t, dbtest.Database(t))
	fill(run, 3, 5, 0)
	release := held(t, c, `lock table messages`)
	r := c.Read()
	slow := make(chan error, 1)
	go func() {
		_, err := r.Messages(t.Context(), []int64{1})
		slow <- err
	}()
	blocked(t, c, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if users, err := r.Users(ctx, []int64{1}); err != nil || len(users) != 1 {
		t.Errorf("got %v, %v", users, err)
	}
	release()
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

// Errors say whether it is worth asking again, and whose time was up.
func TestReadingErrors(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	observer, run := channel(t, address)
	fill(run, 3, 5, 0)
	database, err := db.Open(t.Context(), with(t, with(t, address, "application_name", "torn"), "pool_max_conns", "1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	c := &db.Channel{DB: database}
	ctx := t.Context()
	works := func(after string) {
		t.Helper()
		r := c.ReadSnapshot()
		defer r.Close()
		if users, err := r.Users(ctx, []int64{1}); err != nil || len(users) != 1 {
			t.Errorf("after %s: got %v, %v", after, users, err)
		}
	}

	// The connection is lost between two statements.
	r := c.ReadSnapshot()
	if _, err := r.Cursor(ctx); err != nil {
		t.Fatal(err)
	}
	run(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'torn'`)
	for range 2 {
		if _, err := r.Users(ctx, []int64{1}); !errors.Is(err, db.ErrUnavailable) {
			t.Errorf("a lost connection: got %v", err)
		}
	}
	r.Close()
	works("a lost connection")

	// A deadline, and a caller that has gone, while a statement runs.
	release := held(t, observer, `lock table messages`)
	for _, r := range []*db.Reading{c.Read(), c.ReadSnapshot()} {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		_, err := r.Messages(short, []int64{1})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, db.ErrUnavailable) {
			t.Errorf("a deadline: got %v", err)
		}
		r.Close()
		gone, leave := context.WithCancel(ctx)
		r = c.ReadSnapshot()
		result := make(chan error, 1)
		go func() {
			_, err := r.Messages(gone, []int64{1})
			result <- err
		}()
		blocked(t, observer, 1)
		leave()
		if err := <-result; !errors.Is(err, context.Canceled) || errors.Is(err, db.ErrUnavailable) {
			t.Errorf("a caller that has gone: got %v", err)
		}
		r.Close()
		await(t, "nobody to wait for the lock", func() bool {
			return ask[int](t, observer, `select count(*)::int from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'torn'`)[0] == 0
		})
	}
	release()
	works("a deadline")

	// No connection is left.
	r = c.ReadSnapshot()
	if _, err := r.Cursor(ctx); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	waiting := c.ReadSnapshot()
	if _, err := waiting.Cursor(short); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("no connection is left: got %v", err)
	}
	waiting.Close()

	// What PostgreSQL refuses ends the snapshot.
	if _, err := r.ListUsers(ctx, db.Page{}, db.UserFilter{Text: "\x00"}); err == nil || errors.Is(err, db.ErrUnavailable) {
		t.Errorf("a NUL: got %v", err)
	}
	var refused *db.InvalidError
	if _, err := r.Users(ctx, []int64{1}); !errors.As(err, &refused) {
		t.Errorf("a snapshot that has ended: got %v, want why", err)
	}
	r.Close()
	works("a refusal")

	// What cannot be read is not the connection's fault.
	run(`alter table users drop constraint users_created_at_check`)
	run(`update users set created_at = 'infinity' where id = 2`)
	if _, err := c.Read().Users(ctx, []int64{2}); err == nil || errors.Is(err, db.ErrUnavailable) {
		t.Errorf("a time that Go has not: got %v", err)
	}
	database.Close()
	if _, err := c.Read().Users(ctx, slices.Repeat([]int64{1}, 2)); !errors.Is(err, db.ErrUnavailable) {
		t.Errorf("a closed pool: got %v", err)
	}
}
