package bench

import (
	"runtime"
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms are of microseconds, up to an hour, exact to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest, 3) }

const longest = 3600 * 1e6

// record notes a time in nanoseconds. What is less than nothing is nothing: an event may come before its writer has heard
// that the row is committed.
func record(h *hdrhistogram.Histogram, nanoseconds int64) {
	_ = h.RecordValue(min(max(nanoseconds/1000, 0), longest)) // it is within the range
}

// latencies are those of all subscribers. One histogram each would be a gigabyte for ten thousand of them, so there are a
// few, that each takes the times of many, a dozen at a time.
type latencies []*shard

type shard struct {
	mu                   sync.Mutex
	fromDue, fromCommits *hdrhistogram.Histogram
}

func newLatencies() latencies {
	l := make(latencies, 2*runtime.GOMAXPROCS(0))
	for i := range l {
		l[i] = &shard{fromDue: newHistogram(), fromCommits: newHistogram()}
	}
	return l
}

// merged are all of them in one.
func (l latencies) merged() (fromDue, fromCommits *hdrhistogram.Histogram) {
	fromDue, fromCommits = newHistogram(), newHistogram()
	for _, s := range l {
		s.mu.Lock()
		fromDue.Merge(s.fromDue)
		fromCommits.Merge(s.fromCommits)
		s.mu.Unlock()
	}
	return fromDue, fromCommits
}

// batch holds the latencies of one subscriber, in nanoseconds, until they are worth a lock.
type batch struct {
	shard                *shard
	n                    int
	fromDue, fromCommits [16]int64
}

func (b *batch) add(fromDue, fromCommit int64) {
	b.fromDue[b.n], b.fromCommits[b.n] = fromDue, fromCommit
	if b.n++; b.n == len(b.fromDue) {
		b.flush()
	}
}

func (b *batch) flush() {
	b.shard.mu.Lock()
	defer b.shard.mu.Unlock()
	for i := range b.n {
		record(b.shard.fromDue, b.fromDue[i])
		record(b.shard.fromCommits, b.fromCommits[i])
	}
	b.n = 0
}
