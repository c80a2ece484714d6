package db

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Session is a user who is signed in.
type Session struct {
	ID           string
	User         User
	Expires      time.Time
	RefreshToken string // a new one; empty where none was asked for
}

// maxSessions is how many sessions a user has: of more, those that were not used for the longest time end.
const maxSessions = 100

// CreateSession begins a session of an account whose password was found to be right. It is ErrNoSession if the password has been changed
// since.
func (a *Accounts) CreateSession(ctx context.Context, account Account) (s Session, err error) {
	err = a.do(ctx, "begin a session", func(tx pgx.Tx) error {
		if err := lockAccount(ctx, tx, account); err != nil {
			return err
		}
		const longestUnused = `id = any (array(select id from sessions where user_id = $1 and expires_at > now() order by used_at desc, id offset $2))`
		if err := endSessions(ctx, tx, account.ID, longestUnused, account.ID, maxSessions-1); err != nil {
			return err
		}
		s, err = a.begin(ctx, tx, account.User)
		return err
	})
	return s, err
}

// begin adds a session, and deletes some that have expired.
func (a *Accounts) begin(ctx context.Context, tx pgx.Tx, user User) (Session, error) {
	s := Session{User: user}
	err := tx.QueryRow(ctx, `insert into sessions (user_id, expires_at) values ($1, now() + make_interval(secs => $2)) returning id::text, expires_at`,
		user.ID, a.lifetime().Seconds()).Scan(&s.ID, &s.Expires)
	if err != nil {
		return s, err
	}
	var hash []byte
	s.RefreshToken, hash = newRefreshToken()
	if _, err := tx.Exec(ctx, `insert into refresh_tokens (hash, session_id) values ($1, $2)`, hash, s.ID); err != nil {
		return s, err
	}
	return s, forget(ctx, tx)
}

// newRefreshToken makes a token, and what is kept of it.
func newRefreshToken() (token string, hash []byte) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	token = base64.RawURLEncoding.EncodeToString(secret)
	return token, hashOf(token)
}

func hashOf(token string) []byte {
	hash := sha256.Sum256([]byte(token))
	return hash[:]
}

// Refresh uses a refresh token, and gives another one for it. It is ErrNoSession where the token is none or its session has ended, and
// ErrReused where it was used before, longer ago than Grace.
func (a *Accounts) Refresh(ctx context.Context, token string) (s Session, err error) {
	var reused bool
	err = a.do(ctx, "refresh a session", func(tx pgx.Tx) error {
		s, reused, err = a.open(ctx, tx, token)
		if err != nil || reused {
			return err
		}
		var hash []byte
		s.RefreshToken, hash = newRefreshToken()
		_, err = tx.Exec(ctx, `with used as (update refresh_tokens set used_at = clock_timestamp() where hash = $1 and used_at is null),
			refreshed as (update sessions set used_at = clock_timestamp() where id = $3)
			insert into refresh_tokens (hash, session_id, issued_at) values ($2, $3, clock_timestamp())`, hashOf(token), hash, s.ID)
		if err != nil {
			return err
		}
		return forget(ctx, tx)
	})
	if err == nil && reused {
		err = ErrReused
	}
	return s, err
}

// SessionOf returns the session of a refresh token that could be used now, without using it. A token that was used before is treated
// as by Refresh.
func (a *Accounts) SessionOf(ctx context.Context, token string) (s Session, err error) {
	var reused bool
	err = a.do(ctx, "look for a session", func(tx pgx.Tx) error {
		s, reused, err = a.open(ctx, tx, token)
		return err
	})
	if err == nil && reused {
		err = ErrReused
	}
	return s, err
}

// open locks the session of a refresh token, so that of those who come with the same one, each sees what the one before has done. A
// token that was used is not taken again, unless that was just now: its session is ended then.
func (a *Accounts) open(ctx context.Context, tx pgx.Tx, token string) (s Session, reused bool, err error) {
	hash := hashOf(token)
	var expired bool
	_, columns := userRows.fields(&s.User)
	err = tx.QueryRow(ctx, `select session::text, expires_at, expires_at <= clock_timestamp() or exists (select from tidings.revocations r
			where r."user" = user_id::text and (r.session = s.session::text or r.session = '' and r.not_before >= s.begun)), `+userRows.list()+`
		from (select id as session, user_id, expires_at, created_at as begun from sessions where id = (select session_id from refresh_tokens where hash = $1) for update) s
		join users on id = user_id`, hash).Scan(append([]any{&s.ID, &s.Expires, &expired}, columns...)...)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && expired {
		return Session{}, false, ErrNoSession
	}
	if err != nil {
		return Session{}, false, err
	}
	// A statement of its own sees what was committed while the lock was waited for.
	err = tx.QueryRow(ctx, `select used_at is not null and used_at < clock_timestamp() - make_interval(secs => $2) from refresh_tokens where hash = $1`,
		hash, max(a.grace(), 0).Seconds()).Scan(&reused)
	if err != nil || !reused {
		return s, false, err
	}
	return s, true, endSessions(ctx, tx, s.User.ID, `id = $1`, s.ID)
}

// EndSession ends a session of a user. One that has ended stays so.
func (a *Accounts) EndSession(ctx context.Context, userID int64, session string) error {
	return a.do(ctx, "end a session", func(tx pgx.Tx) error {
		return endSessions(ctx, tx, userID, `user_id = $1 and id = $2`, userID, session)
	})
}

// EndAllSessions ends all sessions of a user, in the name of one of them. It is ErrNoSession if that one has ended.
func (a *Accounts) EndAllSessions(ctx context.Context, userID int64, session string) error {
	return a.do(ctx, "end all sessions", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select from accounts where user_id = $1 for update`, userID); err != nil {
			return err
		}
		if err := lockSession(ctx, tx, userID, session); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update sessions set expires_at = now() where user_id = $1 and expires_at > now()`, userID); err != nil {
			return err
		}
		return revoke(ctx, tx, userID, "")
	})
}

// lockSession is ErrNoSession if the session is not the user's, or has ended.
func lockSession(ctx context.Context, tx pgx.Tx, userID int64, session string) error {
	locked, err := tx.Exec(ctx, `select from sessions s where id = $1 and user_id = $2 and expires_at > clock_timestamp()
		and not exists (select from tidings.revocations r where r."user" = s.user_id::text and (r.session = s.id::text or r.session = '' and r.not_before >= s.created_at))
		for update of s`, session, userID)
	if err == nil && locked.RowsAffected() == 0 {
		err = ErrNoSession
	}
	return err
}

// endOthers ends all sessions of a user but one.
func endOthers(ctx context.Context, tx pgx.Tx, userID int64, session string) error {
	return endSessions(ctx, tx, userID, `user_id = $1 and id <> $2`, userID, session)
}

// endSessions ends those sessions of a user for which the condition holds.
func endSessions(ctx context.Context, tx pgx.Tx, userID int64, condition string, args ...any) error {
	rows, err := tx.Query(ctx, `update sessions set expires_at = now() where expires_at > now() and `+condition+` returning id::text`, args...)
	if err != nil {
		return err
	}
	ended, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, session := range ended {
		if err := revoke(ctx, tx, userID, session); err != nil {
			return err
		}
	}
	return nil
}

// revoke takes back what a session's tokens allow, or those of all sessions of the user where it is "", on every instance.
func revoke(ctx context.Context, tx pgx.Tx, userID int64, session string) error {
	var of *string
	if session != "" {
		of = &session
	}
	_, err := tx.Exec(ctx, `select tidings.revoke($1, $2)`, strconv.FormatInt(userID, 10), of)
	return err
}

// forget deletes some of what has expired: of a session its tokens first, so that no statement deletes many rows.
func forget(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `delete from refresh_tokens where hash = any (array(select hash from refresh_tokens
		where session_id in (select id from sessions where expires_at < now() order by expires_at limit 20) limit 20 for update skip locked))`)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `delete from sessions where id = any (array(select id from sessions s where expires_at < now()
		and not exists (select from refresh_tokens where session_id = s.id) order by expires_at limit 10 for update skip locked))`)
	return err
}
