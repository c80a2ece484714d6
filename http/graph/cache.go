package graph

import (
	"container/list"
	"context"
	"sync"
)

// cache keeps what was used last, up to a size.
type cache[T any] struct {
	max  int
	size func(T) int

	mu      sync.Mutex
	entries map[string]*list.Element
	order   list.List // of *entry[T], the one used last in front
	total   int
}

type entry[T any] struct {
	key   string
	value T
	size  int
}

func newCache[T any](max int, size func(T) int) *cache[T] {
	return &cache[T]{max: max, size: size, entries: make(map[string]*list.Element)}
}

// Get implements graphql.Cache.
func (c *cache[T]) Get(_ context.Context, key string) (value T, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*entry[T]).value, true
}

// Add implements graphql.Cache. What is larger than a sixteenth of the cache is not kept.
func (c *cache[T]) Add(_ context.Context, key string, value T) {
	size := len(key) + c.size(value)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.entries[key]; there || size > c.max/16 {
		return
	}
	c.entries[key] = c.order.PushFront(&entry[T]{key, value, size})
	for c.total += size; c.total > c.max; {
		last := c.order.Remove(c.order.Back()).(*entry[T])
		delete(c.entries, last.key)
		c.total -= last.size
	}
}
