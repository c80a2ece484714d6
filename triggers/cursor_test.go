package triggers_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// numbered is an event of a table whose rows have a number n.
type numbered struct {
	id string // of the log: entry, or entry-row
	n  int
}

// follow reads what is new since a cursor, and returns the cursor from which to go on.
func follow(t *testing.T, c conn, since string) (next string, events []numbered) {
	t.Helper()
	rows, err := c.Query(t.Context(), `select c.now, s.id, (s.data ->> 'n')::int
		from tidings.cursor() as c (now) left join tidings.since($1) with ordinality as s on true order by s.ordinality`, since)
	if err != nil {
		t.Fatal(explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var id *string // null where nothing is new
		var n *int
		if err := rows.Scan(&next, &id, &n); err != nil {
			t.Fatal(err)
		}
		if id != nil {
			events = append(events, numbered{*id, *n})
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(explain(err))
	}
	return next, events
}

// numbersAfter returns the rows' numbers.
func numbersAfter(t *testing.T, c conn, since string) (numbers []int) {
	t.Helper()
	_, events := follow(t, c, since)
	for _, e := range events {
		numbers = append(numbers, e.n)
	}
	return numbers
}

// session is one of several writers whose steps are interleaved.
type session struct {
	conn    *pgx.Conn
	open    bool
	began   int   // when, in steps
	pending []int // rows of the open transaction
	saved   int   // how many of them there were at the savepoint; -1: there is none
}

// history is what was committed, and when.
type history struct {
	committed []int
	began     map[int]int // of the row's transaction
	ended     map[int]int
}

// step does one random thing.
func (s *session) step(t *testing.T, random *rand.Rand, now int, next *int, h *history) {
	t.Helper()
	insert := func() {
		rows := 1 + random.IntN(3)
		run(t, s.conn, `insert into items select generate_series($1::int, $2::int)`, *next, *next+rows-1)
		for range rows {
			s.pending = append(s.pending, *next)
			*next++
		}
	}
	end := func() {
		for _, n := range s.pending {
			h.committed = append(h.committed, n)
			h.began[n], h.ended[n] = s.began, now
		}
		s.open, s.pending = false, nil
	}
	if !s.open {
		s.saved, s.began = -1, now
		switch random.IntN(4) {
		case 0:
			insert()
			end()
		case 1:
			run(t, s.conn, `begin isolation level repeatable read; select from items limit 1`)
			s.open = true
		default:
			run(t, s.conn, `begin`)
			s.open = true
		}
		return
	}
	switch k := random.IntN(12); {
	case k < 5:
		insert()
	case k == 5:
		run(t, s.conn, `select pg_current_xact_id()`)
	case k == 6:
		run(t, s.conn, `savepoint s`)
		s.saved = len(s.pending)
	case k == 7 && s.saved >= 0:
		run(t, s.conn, `rollback to s`)
		s.pending = s.pending[:s.saved]
	case k == 8:
		run(t, s.conn, `rollback`)
		s.open, s.pending = false, nil
	case k > 8:
		run(t, s.conn, `commit`)
		end()
	}
}

// Whoever goes from cursor to cursor gets every committed event once and no other, whatever transactions are open for
// however long; from any cursor of the way, and from any event in the middle of a read, the rest comes once.
func TestCursorChain(t *testing.T) {
	t.Parallel()
	const seeds, steps, writers = 12, 150, 6
	l := openLive(t)
	reader := l.connect(t)
	run(t, reader, `create table items (n int); select tidings.watch('items')`)
	sessions := make([]*session, writers)
	for i := range sessions {
		sessions[i] = &session{conn: l.connect(t)}
	}
	next := 0
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, seed))
			h := &history{began: map[int]int{}, ended: map[int]int{}}
			type resume struct {
				cursor string
				read   int   // events that came before
				first  []int // what comes first, in order: the rest of the read
			}
			var resumes []resume
			var got []int
			at := cursor(t, reader)
			read := func() {
				to, events := follow(t, reader, at)
				resumes = append(resumes, resume{at, len(got), nil})
				var numbers []int
				for _, e := range events {
					numbers = append(numbers, e.n)
				}
				origin, seen, _ := strings.Cut(at, "-")
				_, upto, _ := strings.Cut(to, "-")
				for i, e := range events {
					if random.IntN(3) == 0 {
						midway := strings.Join([]string{origin, seen, upto, strings.Replace(e.id, "-", ".", 1)}, "-")
						resumes = append(resumes, resume{midway, len(got) + i + 1, numbers[i+1:]})
					}
				}
				got, at = append(got, numbers...), to
			}
			for now := range steps {
				sessions[random.IntN(writers)].step(t, random, now, &next, h)
				if random.IntN(4) == 0 {
					read()
				}
			}
			for _, s := range sessions {
				for s.open {
					s.step(t, random, steps, &next, h)
				}
			}
			read()

			if a, b := slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(h.committed)); !slices.Equal(a, b) {
				t.Fatalf("read %d, committed %d:\n%v\n%v", len(a), len(b), a, b)
			}
			checkOrder(t, got, h)
			for _, r := range resumes {
				rest := numbersAfter(t, reader, r.cursor)
				if len(rest) < len(r.first) || !slices.Equal(rest[:len(r.first)], r.first) {
					t.Errorf("cursor %s is followed by %v, want %v first", r.cursor, rest, r.first)
				}
				checkOrder(t, rest, h)
				if !slices.Equal(slices.Sorted(slices.Values(rest)), slices.Sorted(slices.Values(got[r.read:]))) {
					t.Errorf("cursor %s is followed by %v, want %v", r.cursor, rest, got[r.read:])
				}
			}
		})
	}
}

// checkOrder: the rows of a transaction stand in the order in which they were written, and a transaction that began when
// another had ended stands behind it.
func checkOrder(t *testing.T, got []int, h *history) {
	t.Helper()
	for i, a := range got {
		for _, b := range got[i+1:] {
			if h.ended[b] < h.began[a] {
				t.Errorf("row %d, committed at step %d, comes after row %d of a transaction that began at step %d", b, h.ended[b], a, h.began[a])
			}
			if h.began[a] == h.began[b] && h.ended[a] == h.ended[b] && a > b {
				t.Errorf("row %d comes before row %d of the same transaction", a, b)
			}
		}
	}
}

func TestSinceRefuses(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	other := openLive(t)
	run(t, l.Pool, items)
	run(t, l.Pool, `insert into items values (1, 'a')`)
	now := cursor(t, l.Pool)
	origin, position, _ := strings.Cut(now, "-")
	const parameter = "22023"
	for _, c := range []struct{ name, cursor, code, message string }{
		{"empty", "", parameter, "not a cursor"},
		{"words", "yesterday", parameter, "not a cursor"},
		{"no position", origin + "-", parameter, "not a cursor"},
		{"no origin", "-" + position, parameter, "not a cursor"},
		{"three parts", now + "-" + position, parameter, "not a cursor"},
		{"five parts", now + "-" + position + "-1-1", parameter, "not a cursor"},
		{"no entry", now + "-" + position + "-", parameter, "not a cursor"},
		{"no row", now + "-" + position + "-1.", parameter, "not a cursor"},
		{"negative row", now + "-" + position + "-1.-1", parameter, "not a cursor"},
		{"letters", origin + "-12a", parameter, "not a cursor"},
		{"white space", " " + now, parameter, "not a cursor"},
		{"line end", now + "\n", parameter, "not a cursor"},
		{"quotes", now + "'--", parameter, "not a cursor"},
		{"colons", origin + "-:", "", ""},
		{"commas", origin + "-1:2:,", "", ""},
		{"zero", origin + "-0", "", ""},
		{"running outside of its bounds", origin + "-5:2:9", "", ""},
		{"too large", origin + "-99999999999999999999", "", ""},
		{"too large an entry", now + "-" + position + "-99999999999999999999", "", ""},
		{"too large a row", now + "-" + position + "-1.99999999999", "", ""},
		{"another database's", cursor(t, other.Pool), parameter, "is from another database"},
		{"another's, midway", cursor(t, other.Pool) + "-" + position + "-1", parameter, "is from another database"},
		{"from the future", origin + "-900000000", parameter, "is from the future"},
		{"from the future by its bound", now + "-900000000-1", parameter, "is from the future"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, l.Pool, c.code, c.message, `select * from tidings.since($1)`, c.cursor)
		})
	}
}

// A cursor that is none is answered, never with silence.
func TestSinceOfHalfACursor(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	now := cursor(t, l.Pool)
	origin, _, _ := strings.Cut(now, "-")
	for _, c := range []struct {
		name   string
		cursor *string
	}{
		{"null", nil},
		{"the second position before the first", new(now + "-2-1")},
		{"the first position from the future", new(origin + "-900000000-5-1")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := l.Pool.Exec(t.Context(), `select * from tidings.since($1)`, c.cursor); err == nil {
				t.Error("it was served")
			}
		})
	}
}

// A position says nothing of transactions that left nothing in the log: after a crash, PostgreSQL may hand out their ids
// again.
func TestPositionIsOfTheLog(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	run(t, s, items+`insert into items values (1, 'a')`)
	// Not the whole position: a transaction of another test may be open at first, and then not.
	const highest = `select pg_snapshot_xmax(tidings.position())::text`
	before := get[string](t, s, highest)
	for range 5 {
		run(t, s, `begin; insert into items values (2, 'b'); rollback; begin; select pg_current_xact_id(); commit`)
	}
	if after := get[string](t, s, highest); after != before {
		t.Errorf("the position went from %s to %s", before, after)
	}
	run(t, s, `begin; select pg_current_xact_id()`) // an id below that of the next entry
	run(t, l.Pool, `insert into items values (3, 'c')`)
	within := cursor(t, s)
	run(t, s, `insert into items values (4, 'd'); commit`)
	expect(t, s, within, `item_added 4 {"id":4,"v":"d"}`)
	if after := get[string](t, s, highest); after == before || cursor(t, s) == within {
		t.Errorf("the position has stayed at %s", after)
	}
}

func TestPositionText(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	for snapshot, text := range map[string]string{
		"745:745:": "745", "745:750:": "745:5", "745:750:745": "745:5:0", "745:750:746,748": "745:5:1,3",
		"9223372036854775000:9223372036854775100:9223372036854775001": "9223372036854775000:100:1",
	} {
		if got := get[string](t, l.Pool, `select tidings.position_text($1::text::pg_snapshot)`, snapshot); got != text {
			t.Errorf("%s is %s, want %s", snapshot, got, text)
		}
		if got := get[string](t, l.Pool, `select tidings.position_snapshot($1)::text`, text); got != snapshot {
			t.Errorf("%s is %s, want %s", text, got, snapshot)
		}
	}
}
