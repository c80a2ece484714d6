package main

import (
	"context"
	"sync"
	"time"
)

// A transaction that is rolled back leaves nothing on disk that anybody waits for. After a crash PostgreSQL may not know of
// it, and give its id to another transaction.
var killAmidRollbacks = fault{
	name: "kill-amid-rollbacks", title: "PostgreSQL killed (-9) amid rollbacks",
	about: "as above, and until the moment of the kill two more sessions write and roll back, as fast as they can",
	cause: func(ctx context.Context, s *stage) error {
		times := 0
		for ctx.Err() == nil {
			rolling, stop := context.WithCancel(ctx)
			var group sync.WaitGroup
			for range 2 {
				group.Go(func() { s.rollBack(rolling) })
			}
			pause(ctx, max(s.load.duration/8, time.Second))
			err := s.primary().kill()
			stop()
			group.Wait()
			if err != nil {
				return err
			}
			if err := s.primary().start(context.WithoutCancel(ctx)); err != nil {
				return err
			}
			times++
			pause(ctx, 500*time.Millisecond)
		}
		s.did(times)
		return nil
	},
}

// rollBack writes and rolls back until ctx or the connection ends.
func (s *stage) rollBack(ctx context.Context) {
	one, err := connect(ctx, s.primary().db)
	if err != nil {
		return
	}
	defer one.close()
	for err == nil && ctx.Err() == nil {
		if _, err = one.do(`begin`); err == nil {
			_, err = one.do(`insert into messages (writer, op, version, body) values (0, 0, 1, 'never')`)
		}
		if err == nil {
			_, err = one.do(`rollback`)
		}
	}
}
