package db

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/realtime"
)

// Revocations knows whose tokens are not to be taken any more: all that the database has, in memory, since it is asked with every
// token.
type Revocations struct {
	DB     *DB
	Logger *slog.Logger
	// Interval is how often they are read again, though nothing is heard of new ones; 30 s.
	Interval time.Duration

	mu       sync.Mutex
	loaded   bool
	users    map[string]time.Time    // tokens that were issued before are not valid
	sessions map[[2]string]time.Time // of a user: when they were revoked
	newest   time.Time
}

// errNotLoaded is for who comes before the first reading.
var errNotLoaded = &realtime.Error{Code: realtime.CodeUnavailable, Message: "whether the token is still valid cannot be said yet: try again"}

// Revoked reports whether a token that was issued then is not to be taken any more.
func (r *Revocations) Revoked(user, session string, issued time.Time) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded {
		return false, errNotLoaded
	}
	before, revoked := r.users[user]
	_, ended := r.sessions[[2]string{user, session}]
	return revoked && issued.Before(before) || session != "" && ended, nil
}

// Count is how many users' tokens, and how many sessions, are known to be revoked.
func (r *Revocations) Count() (users, sessions int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.users), len(r.sessions)
}

// Add takes what was revoked then, before it is read.
func (r *Revocations) Add(user, session string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(user, session, at)
}

// add takes one; mu is held.
func (r *Revocations) add(user, session string, notBefore time.Time) {
	if r.users == nil {
		r.users, r.sessions = make(map[string]time.Time), make(map[[2]string]time.Time)
	}
	switch {
	case session != "":
		r.sessions[[2]string{user, session}] = notBefore
	case r.users[user].Before(notBefore):
		r.users[user] = notBefore
	}
}

// Run reads them until ctx ends.
func (r *Revocations) Run(ctx context.Context) error {
	every := r.Interval
	if every == 0 {
		every = 30 * time.Second
	}
	for failures := 0; ; {
		err := r.load(ctx)
		wait := every
		switch {
		case ctx.Err() != nil:
			return nil // ctx ended
		case err == nil:
			failures = 0
		default:
			if failures++; failures == 1 {
				r.Logger.Warn("whose tokens were revoked cannot be read; trying again", "error", err)
			}
			wait = backoff(failures)
		}
		if !pause(ctx, wait) {
			return nil
		}
	}
}

// load reads those that are new, and a little more: who began earlier may have committed later.
func (r *Revocations) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r.mu.Lock()
	since := r.newest.Add(-time.Minute)
	r.mu.Unlock()
	rows, err := r.DB.Pool.Query(ctx, `select "user", session, not_before from tidings.revocations where not_before > $1`, since)
	if err != nil {
		return fmt.Errorf("read revocations: %w", explain(err))
	}
	type revocation struct {
		User, Session string
		NotBefore     time.Time
	}
	revoked, err := pgx.CollectRows(rows, pgx.RowToStructByPos[revocation])
	if err != nil {
		return fmt.Errorf("read revocations: %w", explain(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range revoked {
		r.add(x.User, x.Session, x.NotBefore)
		if x.NotBefore.After(r.newest) {
			r.newest = x.NotBefore
		}
	}
	r.loaded = true
	for key, at := range r.sessions {
		if time.Since(at) > sessionsFor {
			delete(r.sessions, key)
		}
	}
	return nil
}

// sessionsFor is for how long a session's end is remembered; tidings.revoke forgets it then as well. No token of it is valid any more.
const sessionsFor = 31 * 24 * time.Hour
