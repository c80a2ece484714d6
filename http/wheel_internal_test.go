package http

import (
	"testing"
	"time"
)

// A wheel without connections stands still at once, however long its ticks are, and each time.
func TestEmptyWheelStandsStill(t *testing.T) {
	t.Parallel()
	w := &wheel{}
	w.init(func() {}, 24*time.Hour)
	for range 3 {
		first, second := &wsConn{}, &wsConn{}
		w.add(first, time.Hour)
		w.add(second, 2*time.Hour)
		w.remove(first)
		w.add(first, 24*time.Hour)
		w.remove(second)
		w.remove(first)
		stood := make(chan struct{})
		go func() {
			w.group.Wait()
			close(stood)
		}()
		select {
		case <-stood:
		case <-time.After(10 * time.Second):
			t.Fatal("it goes on turning")
		}
	}
}
