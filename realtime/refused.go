package realtime

import (
	"maps"
	"sync"
)

// tally counts what subscribers were refused, or told that was lost, by why. Its lock is taken with any of the others held.
type tally[K comparable] struct {
	mu sync.Mutex
	by map[K]uint64
}

func (t *tally[K]) add(why K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = make(map[K]uint64)
	}
	t.by[why]++
}

func (t *tally[K]) totals() map[K]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.by)
}
