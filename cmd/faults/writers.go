package main

import (
	"context"
	"math/rand/v2"
	"sync"
)

// writers are all who write. Each has a turn for every transaction, and no turn begins while the gate is closed.
type writers struct {
	stage *stage
	all   []*writer
	gate  sync.RWMutex
	stop  chan struct{}
	group sync.WaitGroup
}

func newWriters(s *stage, n int) *writers {
	w := &writers{stage: s, stop: make(chan struct{})}
	for range n {
		w.hire()
	}
	return w
}

// hire adds a writer, who does nothing by itself until start.
func (w *writers) hire() *writer {
	id := len(w.all) + 1
	one := &writer{id: id, stage: w.stage, random: rand.New(rand.NewPCG(rand.Uint64(), 0)), history: &history{writer: id}}
	w.all = append(w.all, one)
	return one
}

func (w *writers) start(ctx context.Context, n int) {
	for _, one := range w.all[:n] {
		w.group.Go(func() { one.run(ctx, w.stop) })
	}
}

// finish returns when no transaction is open, nor its outcome unknown.
func (w *writers) finish() {
	close(w.stop)
	w.group.Wait()
}

// rest returns when no transaction is open, and lets none begin until goOn. A turn that waits for a server that is not there
// is waited for, too.
func (w *writers) rest() { w.gate.Lock() }

func (w *writers) goOn() { w.gate.Unlock() }

// histories are all that was written.
func (w *writers) histories() []*history {
	var all []*history
	for _, one := range w.all {
		all = append(all, one.history)
	}
	return all
}

// refused is how often the database said no.
func (w *writers) refused() (n int) {
	for _, one := range w.all {
		n += one.refused
	}
	return n
}
