package db_test

import (
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

// What one of many should do is done by one after the other, and by whoever is left.
func TestOnDuty(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	readers := make([]*db.Reader, 2)
	var ended errgroup.Group
	for n := range readers {
		// Each writes what is due; which of them comes to it is by chance.
		readers[n] = &db.Reader{DB: database, BeatInterval: 100 * time.Millisecond, Timeout: 3 * time.Second}
		hub := realtime.NewHub(readers[n], realtime.Options{})
		readers[n].Sink = hub
		ended.Go(func() error { return readers[n].Run(t.Context()) })
		await(t, "a heartbeat to be heard", func() bool { return hub.Live() && readers[n].Status().Lag > 0 })
	}
	t.Cleanup(func() {
		if err := ended.Wait(); err != nil {
			t.Error(err)
		}
	})
	for _, n := range []int{0, 1, 0} {
		await(t, "each to be the only one on duty, in turn", func() bool { return readers[n].OnDuty() && !readers[1-n].OnDuty() })
	}
	silent := &db.Reader{DB: database, BeatInterval: -1}
	if !silent.OnDuty() {
		t.Error("one that hears no heartbeats leaves it to others")
	}
}
