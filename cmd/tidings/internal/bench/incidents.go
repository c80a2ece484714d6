package bench

import (
	"maps"
	"sync"
)

// incidents are what should not happen to a subscriber: how often each did, by its name.
type incidents struct {
	mu    sync.Mutex
	count map[string]int64 // nil: none yet
}

func (i *incidents) note(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.count == nil {
		i.count = make(map[string]int64)
	}
	i.count[name]++
}

// all is never nil.
func (i *incidents) all() map[string]int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := make(map[string]int64)
	maps.Copy(all, i.count)
	return all
}
