package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// listening is a session that takes what the notifying table's trigger sends, and counts it.
type listening struct {
	heard  atomic.Int64
	cancel context.CancelFunc
	group  sync.WaitGroup
}

func (p *postgres) listen(ctx context.Context) (*listening, error) {
	pooled, err := p.db.Pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	conn := pooled.Hijack() // a connection that listens never goes back to the pool
	if _, err := conn.Exec(ctx, `listen bench`); err != nil {
		_ = conn.Close(ctx) // it is of no use
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := &listening{}
	ctx, l.cancel = context.WithCancel(ctx)
	l.group.Go(func() {
		for {
			if _, err := conn.WaitForNotification(ctx); err != nil {
				_ = conn.Close(context.WithoutCancel(ctx)) // the error says that it is closed, or that we are
				return
			}
			l.heard.Add(1)
		}
	})
	return l, nil
}

// await returns when so many notifications have been heard, or none has come for a while.
func (l *listening) await(ctx context.Context, n int64) error {
	return awaitProgress(ctx, func() (int64, bool) {
		heard := l.heard.Load()
		return heard, heard >= n
	})
}

func (l *listening) close() {
	l.cancel()
	l.group.Wait()
}

// patience is how long nothing may happen before it is taken for the end.
const patience = 10 * time.Second

// awaitProgress returns when the state says that all is there, or has not changed for a while.
func awaitProgress(ctx context.Context, state func() (progress int64, complete bool)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last, since := int64(-1), time.Now()
	for {
		progress, complete := state()
		switch {
		case complete:
			return nil
		case progress != last:
			last, since = progress, time.Now()
		case time.Since(since) > patience:
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
