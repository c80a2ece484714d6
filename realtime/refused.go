package realtime

import (
	"maps"
	"sync"
)

// refusals counts what subscribers were refused, by why. Its lock is taken with any of the others held.
type refusals struct {
	mu     sync.Mutex
	byCode map[Code]uint64
}

func (r *refusals) add(code Code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byCode == nil {
		r.byCode = make(map[Code]uint64)
	}
	r.byCode[code]++
}

func (r *refusals) totals() map[Code]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.byCode)
}
