package graph

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidings/db"
)

// However many look on, the database is asked once in a while; that one of them has gone is nothing to the others.
func TestOverviewIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o overviews
		reads := 0
		read := func(ctx context.Context) (db.Overview, error) {
			reads++
			return db.Overview{Online: reads}, ctx.Err()
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		look := func(want int) {
			t.Helper()
			var lookers sync.WaitGroup
			for range 20 {
				lookers.Go(func() {
					if got, err := o.newest(gone, read); err != nil || got.Online != want {
						t.Errorf("got what was read by the %d. reading, %v, want that of the %d.", got.Online, err, want)
					}
				})
			}
			lookers.Wait()
		}
		look(1)
		look(1)
		time.Sleep(newestFor + 1) //nolint:forbidigo // in a synctest bubble
		look(2)
	})
}
