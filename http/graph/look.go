package graph

import (
	"context"
	"errors"
	"sync"
	"time"

	"tidings/db"
)

// Who may look on how the service is doing, and what all who do have in common.

const (
	// lookTimeout is how long the database may take for what is told of it: who looks on while it is restarting waits no longer for the rest.
	lookTimeout = 1500 * time.Millisecond
	// trustedFor is how long somebody who was an administrator may look on while it cannot be asked whether he still is.
	trustedFor = 10 * time.Minute
	// newestFor is how long what the database knows is good enough: half of the time between two looks.
	newestFor = 500 * time.Millisecond
)

// admins are those who were found to be administrators, and when.
type admins struct {
	mu    sync.Mutex
	known map[int64]time.Time
}

func (a *admins) found(id int64, admin bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !admin {
		delete(a.known, id)
		return
	}
	if a.known == nil {
		a.known = make(map[int64]time.Time)
	}
	a.known[id] = time.Now()
}

func (a *admins) were(id int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, known := a.known[id]
	return known && time.Since(at) < trustedFor
}

// overviews are what the database knew when it was last asked, which all who look on at the same time share: what it costs does not
// depend on how many they are.
type overviews struct {
	mu   sync.Mutex
	at   time.Time
	last db.Overview
	err  error
}

// newest is what the database knows, or did so a moment ago.
func (o *overviews) newest(ctx context.Context, read func(context.Context) (db.Overview, error)) (db.Overview, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.at) > newestFor {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout) // others wait for it, too
		defer cancel()
		o.last, o.err = read(ctx)
		o.at = time.Now()
	}
	return o.last, o.err
}

// mayLookOn says why the viewer is not told how the service is doing; nil: he is. Where the database cannot be asked whether he is an
// administrator still, that is the problem, and he is told nothing of what it has.
func (s *session) mayLookOn(ctx context.Context) (problem, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	err = s.mayAdminister(ctx)
	late := errors.Is(err, context.DeadlineExceeded)
	switch {
	case !late && !errors.Is(err, db.ErrUnavailable):
		return nil, err
	case s.admins.were(s.viewer.UserID()):
		return err, nil
	case late:
		return nil, db.ErrUnavailable // it is not that too much was asked for
	}
	return nil, err
}
