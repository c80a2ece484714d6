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
	// Learned is called with each that was not known before, once somebody may have come with such a token. Nil: nobody wants to know.
	Learned func(user, session string)

	initOnce sync.Once
	wake     chan struct{}

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

func (r *Revocations) init() {
	r.initOnce.Do(func() {
		r.users, r.sessions = make(map[string]time.Time), make(map[[2]string]time.Time)
		r.wake = make(chan struct{}, 1)
	})
}

// Add takes what was revoked then, before it is read.
func (r *Revocations) Add(user, session string, at time.Time) {
	r.init()
	r.mu.Lock()
	learned := r.add(user, session, at)
	r.mu.Unlock()
	if learned && r.Learned != nil {
		r.Learned(user, session)
	}
}

// add takes one, and reports whether that ends tokens that were valid; mu is held.
func (r *Revocations) add(user, session string, notBefore time.Time) bool {
	if session != "" {
		key := [2]string{user, session}
		_, known := r.sessions[key]
		r.sessions[key] = notBefore
		return !known
	}
	if !r.users[user].Before(notBefore) {
		return false
	}
	r.users[user] = notBefore
	return true
}

// Refresh has all be read again, since it is not known what was missed. It does not block.
func (r *Revocations) Refresh() {
	r.init()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run reads them until ctx ends.
func (r *Revocations) Run(ctx context.Context) error {
	r.init()
	every := r.Interval
	if every == 0 {
		every = 30 * time.Second
	}
	for failures, all := 0, true; ; {
		err := r.load(ctx, all)
		wait := every
		switch {
		case ctx.Err() != nil:
			return nil // ctx ended
		case err == nil:
			failures, all = 0, false
		default:
			if failures++; failures == 1 {
				r.Logger.Warn("whose tokens were revoked cannot be read; trying again", "error", err)
			}
			wait = backoff(failures)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.wake:
			all = true
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// revocation is a row of tidings.revocations.
type revocation struct {
	User, Session string
	NotBefore     time.Time
}

// load reads all, or those that are new, and a little more: who began earlier may have committed later.
func (r *Revocations) load(ctx context.Context, all bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var since time.Time
	if !all {
		r.mu.Lock()
		since = r.newest.Add(-time.Minute)
		r.mu.Unlock()
	}
	rows, err := r.DB.Pool.Query(ctx, `select "user", session, not_before from tidings.revocations where not_before > $1`, since)
	if err != nil {
		return fmt.Errorf("read revocations: %w", explain(err))
	}
	revoked, err := pgx.CollectRows(rows, pgx.RowToStructByPos[revocation])
	if err != nil {
		return fmt.Errorf("read revocations: %w", explain(err))
	}
	for _, x := range r.take(revoked) {
		r.Learned(x.User, x.Session)
	}
	return nil
}

// take takes what was read, and returns of what somebody is to be told.
func (r *Revocations) take(revoked []revocation) (learned []revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range revoked {
		if r.add(x.User, x.Session, x.NotBefore) && r.loaded && r.Learned != nil {
			learned = append(learned, x)
		}
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
	return learned
}

// sessionsFor is for how long a session's end is remembered; tidings.revoke forgets it then as well. No token of it is valid any more.
const sessionsFor = 31 * 24 * time.Hour
