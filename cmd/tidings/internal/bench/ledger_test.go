package bench

import (
	"testing"
	"time"
)

// Rows are due on a fixed schedule, however late they are taken.
func TestLedgerSchedule(t *testing.T) {
	t.Parallel()
	const begun = int64(3 * time.Second)
	l := newLedger(3, 100, begun, 100*time.Millisecond, time.Second)
	if got, want := l.scheduled(), int64(110); got != want {
		t.Errorf("%d rows are scheduled, want %d", got, want)
	}
	for number := range int64(110) {
		// The second half is taken late: all of it is still due when it was.
		now := begun
		if number >= 55 {
			now = l.end
		}
		r, ok := l.take(now)
		if want := begun + number*int64(10*time.Millisecond); !ok || r.number != number || r.due != want {
			t.Fatalf("got row %+v, %t; want number %d, due %d", r, ok, number, want)
		}
	}
	if r, ok := l.take(begun); ok {
		t.Errorf("after the last row there is row %+v", r)
	}
	if l.taken != 110 || l.warm != 10 {
		t.Errorf("%d rows are taken, %d of the warm-up; want 110, 10", l.taken, l.warm)
	}
	for channel, want := range []int64{37, 37, 36} {
		if got := l.of(int64(channel), l.taken); got != want {
			t.Errorf("channel %d has %d rows, want %d", channel, got, want)
		}
	}
}

// Long after the end, nothing is written any more, though it was due.
func TestLedgerOvertime(t *testing.T) {
	t.Parallel()
	l := newLedger(1, 1000, 0, 0, time.Second)
	if _, ok := l.take(l.end + int64(overtime) - 1); !ok {
		t.Error("a row that is a little late is not written")
	}
	if _, ok := l.take(l.end + int64(overtime)); ok {
		t.Error("a row is written long after the end")
	}
	if l.taken != 1 || l.scheduled() != 1000 {
		t.Errorf("%d of %d rows are taken, want 1 of 1000", l.taken, l.scheduled())
	}
}

// Without a rate a row is due when a writer takes it.
func TestLedgerWithoutRate(t *testing.T) {
	t.Parallel()
	l := newLedger(1, 0, 0, 0, time.Second)
	for _, now := range []int64{5, 7, l.end - 1} {
		if r, ok := l.take(now); !ok || r.due != now {
			t.Errorf("got %+v, %t; want a row that is due at %d", r, ok, now)
		}
	}
	if _, ok := l.take(l.end); ok {
		t.Error("a row is written after the end")
	}
	if l.scheduled() != 3 {
		t.Errorf("%d rows are scheduled, want those that were taken", l.scheduled())
	}
}

// Settled are rows that are committed without a gap.
func TestLedgerCommits(t *testing.T) {
	t.Parallel()
	l := newLedger(1, 0, 0, 0, time.Hour)
	if l.at(0) != nil || l.at(-1) != nil {
		t.Error("there is a row that nobody has taken")
	}
	const rows = 3 * int64(len(page{}))
	for range rows {
		l.take(1)
	}
	for number := rows - 1; number > 0; number-- {
		l.commit(number, 10+number)
	}
	if got := l.settled.Load(); got != 0 {
		t.Errorf("%d rows are settled while the first is not committed", got)
	}
	l.commit(0, 10)
	if got := l.settled.Load(); got != rows {
		t.Errorf("%d rows are settled, want %d", got, rows)
	}
	if l.at(rows) != nil {
		t.Error("there is a row that nobody has taken")
	}
	if got, want := l.at(2000).Load(), int64(2010); got != want {
		t.Errorf("row 2000 was committed at %d, want %d", got, want)
	}
}
