package bench

import (
	"sync"
	"sync/atomic"
	"time"
)

// overtime is how long after the end rows are still written that were due before.
const overtime = 500 * time.Millisecond

// ledger is the schedule of the rows, and when each was committed. Rows are numbered from 0 without a gap, over all
// channels in turn: row n is row n/channels of channel n%channels.
type ledger struct {
	channels int64
	rate     float64 // rows a second; 0: a row is due when a writer is free
	begun    int64   // when the first row is due, as all moments here in the clock's nanoseconds
	measured int64   // the warm-up's end
	end      int64   // no row is due then or later

	settled atomic.Int64 // all rows with lower numbers are committed
	table   atomic.Pointer[[]*page]

	mu    sync.Mutex
	taken int64 // rows that writers have taken on
	warm  int64 // of these, due during the warm-up
	last  int64 // when the last one was committed
}

// page has the moments at which rows were committed; 0: not yet, or not known yet.
type page [1024]atomic.Int64

// row is one that a writer has taken on.
type row struct {
	number int64
	due    int64
}

func newLedger(channels int, rate float64, begun int64, warmup, duration time.Duration) *ledger {
	l := &ledger{
		channels: int64(channels), rate: rate,
		begun: begun, measured: begun + int64(warmup), end: begun + int64(warmup+duration),
	}
	l.table.Store(new([]*page))
	return l
}

// due is when a row is to be written.
func (l *ledger) due(number int64) int64 {
	return l.begun + int64(float64(number)*float64(time.Second)/l.rate)
}

// take gives a writer the next row; false if there is none any more.
func (l *ledger) take(now int64) (r row, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r = row{number: l.taken, due: now}
	limit := l.end
	if l.rate > 0 {
		r.due = l.due(r.number)
		limit += int64(overtime)
	}
	if r.due >= l.end || now >= limit {
		return row{}, false
	}
	if r.number%int64(len(page{})) == 0 {
		longer := append((*l.table.Load())[:r.number/int64(len(page{})):r.number/int64(len(page{}))], new(page))
		l.table.Store(&longer)
	}
	l.taken++
	if r.due < l.measured {
		l.warm++
	}
	return r, true
}

// commit notes that a row is committed.
func (l *ledger) commit(number, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at(number).Store(at)
	l.last = max(l.last, at)
	settled := l.settled.Load()
	for settled < l.taken && l.at(settled).Load() != 0 {
		settled++
	}
	l.settled.Store(settled)
}

// at is where a row's moment stands; nil if nobody has taken it on.
func (l *ledger) at(number int64) *atomic.Int64 {
	table := *l.table.Load()
	if number < 0 || number/int64(len(page{})) >= int64(len(table)) {
		return nil
	}
	return &table[number/int64(len(page{}))][number%int64(len(page{}))]
}

// of returns how many of the first n rows are a channel's.
func (l *ledger) of(channel, n int64) int64 {
	if n <= channel {
		return 0
	}
	return (n - channel + l.channels - 1) / l.channels
}

// scheduled is how many rows were due.
func (l *ledger) scheduled() int64 {
	if l.rate == 0 {
		return l.taken
	}
	n := int64(time.Duration(l.end-l.begun).Seconds() * l.rate) // but for what is rounded
	for n > 0 && l.due(n-1) >= l.end {
		n--
	}
	for l.due(n) < l.end {
		n++
	}
	return n
}
