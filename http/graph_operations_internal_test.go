package http

import (
	"sync/atomic"
	"testing"
)

// mute is the voice of operations that are told nothing.
type mute struct{}

func (mute) prefix(string) []byte                       { return nil }
func (mute) next(b, _, _, _ []byte) []byte              { return b }
func (mute) failed(b []byte, _ string, _ []byte) []byte { return b }
func (mute) complete(b []byte, _ string) []byte         { return b }
func (mute) position(b []byte, _, _ string) []byte      { return b }

// Who begins operations and ends them at once has no more executed at a time than others, and none of those left waiting; all that
// are not ended are executed.
func TestOperationsExecuting(t *testing.T) {
	t.Parallel()
	o := (&Server{options: Options{MaxOperations: 100}}).newOperations(func() {})
	var executing, most, executed atomic.Int32
	released := make(chan struct{})
	begin := func(id string) {
		op, _, _ := o.begin(t.Context(), id, mute{})
		if op == nil {
			t.Fatalf("%s cannot begin", id)
		}
		op.execute(func() {
			n := executing.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-released
			executing.Add(-1)
			executed.Add(1)
			op.end()
		})
	}
	for range 1000 {
		begin("hasty")
		o.stop("hasty")
	}
	if n := len(o.toExecute); n != 0 {
		t.Errorf("%d that have ended wait for their turn", n)
	}
	for range 1000 { // while nobody writes to a client that does not read
		op, _, _ := o.begin(t.Context(), "hasty", mute{})
		op.wake()
		o.stop("hasty")
	}
	if n := len(o.woken); n != 0 {
		t.Errorf("%d that have ended are to be looked at", n)
	}
	begun := o.executing
	for _, id := range []string{"a", "b", "c"} {
		begin(id)
	}
	close(released)
	o.group.Wait()
	if got := executed.Load(); got != int32(begun+3) {
		t.Errorf("%d were executed, want %d", got, begun+3)
	}
	if most.Load() > maxExecuting {
		t.Errorf("%d were executed at a time", most.Load())
	}
	o.Close()
}
