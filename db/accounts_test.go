package db_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
)

// accounts makes a store of accounts.
func accounts(t *testing.T) (*db.Accounts, *db.Channel, func(sql string, args ...any)) {
	t.Helper()
	c, run := channel(t, dbtest.Database(t))
	return &db.Accounts{DB: c.DB}, c, run
}

// revoked are the calls of tidings.revoke so far, as "user session".
const revoked = `select key || ' ' || coalesce(data ->> 'session', 'all') from tidings.log where topic = 'tidings' and type = 'disconnect' order by id`

// signUp adds a user whose password has a hash that is none.
func signUp(t *testing.T, a *db.Accounts, name string) db.Session {
	t.Helper()
	s, err := a.SignUp(t.Context(), name, name, "hash of "+name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func refresh(t *testing.T, a *db.Accounts, token string) db.Session {
	t.Helper()
	s, err := a.Refresh(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantNoSession(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, db.ErrNoSession) {
		t.Errorf("%s: got %v, want ErrNoSession", what, err)
	}
}

// later has tokens used longer ago than the grace.
const later = `update refresh_tokens set used_at = used_at - interval '11 seconds'`

// Who has signed up is found by the name, whatever its case, and has a session.
func TestSignUp(t *testing.T) {
	t.Parallel()
	a, c, run := accounts(t)
	s := signUp(t, a, "Ada")
	if s.User.ID == 0 || s.User.Username != "Ada" || s.User.Role != "member" || s.ID == "" || time.Until(s.Expires) < 29*24*time.Hour || len(s.RefreshToken) != 43 {
		t.Errorf("signed up %+v", s)
	}
	run(`insert into users (username, display_name) values ('boris', 'Boris')`) // who does not sign in here
	for name, id := range map[string]int64{"ADA": s.User.ID, "ada": s.User.ID, "boris": 0, "nobody": 0} {
		got, err := a.Credentials(t.Context(), name)
		if err != nil || got.ID != id || (id != 0) != (got.PasswordHash == "hash of Ada") {
			t.Errorf("the account of %s is %+v, %v", name, got, err)
		}
	}
	for _, wrong := range []struct{ username, displayName, column string }{
		{"aDA", "x", "username"}, {"with space", "x", "username"}, {strings.Repeat("x", 65), "x", "username"}, {"x", " ", "display_name"}, {"\x00", "x", ""},
	} {
		var invalid *db.InvalidError
		if _, err := a.SignUp(t.Context(), wrong.username, wrong.displayName, "hash"); !errors.As(err, &invalid) || invalid.Column != wrong.column {
			t.Errorf("signing up %q, %q: got %v", wrong.username, wrong.displayName, err)
		}
	}
	if got := ask[string](t, c, `select (select count(*) from users) || ' ' || (select count(*) from accounts) || ' ' || (select count(*) from sessions)`)[0]; got != "2 1 1" {
		t.Errorf("users, accounts and sessions: got %s", got)
	}
	// The token itself is nowhere.
	hash := sha256.Sum256([]byte(s.RefreshToken))
	if got := ask[[]byte](t, c, `select hash from refresh_tokens`)[0]; !slices.Equal(got, hash[:]) {
		t.Error("what is kept of a refresh token is not its hash")
	}
}

// Each refresh token is used once, and one that is used again, later, ends the session and is told of.
func TestRefreshRotates(t *testing.T) {
	t.Parallel()
	a, c, run := accounts(t)
	first, other := signUp(t, a, "ada"), signUp(t, a, "boris")
	second := refresh(t, a, first.RefreshToken)
	if second.ID != first.ID || second.User != first.User || second.RefreshToken == first.RefreshToken || !second.Expires.Equal(first.Expires) {
		t.Errorf("refreshed %+v to %+v", first, second)
	}
	third := refresh(t, a, second.RefreshToken)
	run(later)
	if got, err := a.Refresh(t.Context(), first.RefreshToken); !errors.Is(err, db.ErrReused) || got.ID != first.ID || got.RefreshToken != "" {
		t.Errorf("refreshed with a used token: %+v, %v", got, err)
	}
	for _, token := range []string{first.RefreshToken, second.RefreshToken, third.RefreshToken, "nonsense", ""} {
		if _, err := a.Refresh(t.Context(), token); !errors.Is(err, db.ErrNoSession) || errors.Is(err, db.ErrReused) {
			t.Errorf("refreshed what has ended: %v", err)
		}
	}
	refresh(t, a, other.RefreshToken) // nobody else is concerned
	if got := ask[string](t, c, revoked); !slices.Equal(got, []string{"1 " + first.ID}) {
		t.Errorf("revoked: %v", got)
	}
}

// A client that has not heard the answer asks again and goes on, unless it is not to.
func TestRefreshGrace(t *testing.T) {
	t.Parallel()
	a, _, run := accounts(t)
	s := signUp(t, a, "ada")
	lost := refresh(t, a, s.RefreshToken)
	run(`update refresh_tokens set used_at = used_at - interval '5 seconds'`)
	heard := refresh(t, a, s.RefreshToken)
	if heard.ID != s.ID || heard.RefreshToken == lost.RefreshToken {
		t.Errorf("refreshed again to %+v", heard)
	}
	refresh(t, a, heard.RefreshToken)
	refresh(t, a, lost.RefreshToken) // of two who asked, each goes on
	run(`update refresh_tokens set used_at = used_at - interval '6 seconds'`)
	if _, err := a.Refresh(t.Context(), s.RefreshToken); !errors.Is(err, db.ErrReused) { // the grace is not longer for having been used
		t.Errorf("refreshed after the grace: %v", err)
	}

	strict := &db.Accounts{DB: a.DB, Grace: -1}
	s = signUp(t, a, "boris")
	refresh(t, strict, s.RefreshToken)
	if _, err := strict.Refresh(t.Context(), s.RefreshToken); !errors.Is(err, db.ErrReused) {
		t.Errorf("refreshed without a grace: %v", err)
	}
}

// Of many who refresh with the same token at once, all go on within the grace; without one, one does.
func TestRefreshAtOnce(t *testing.T) {
	t.Parallel()
	a, c, _ := accounts(t)
	for _, tt := range []struct {
		name  string
		grace time.Duration
		want  func(refreshed, reused, ended int) bool
	}{
		{"graceful", time.Minute, func(refreshed, _, _ int) bool { return refreshed == 8 }},
		{"strict", -1, func(refreshed, reused, ended int) bool { return refreshed == 1 && reused == 1 && ended == 6 }},
	} {
		s := signUp(t, a, tt.name)
		store := &db.Accounts{DB: a.DB, Grace: tt.grace}
		var mu sync.Mutex
		var refreshed, reused, ended int
		tokens := make(map[string]bool)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				next, err := store.Refresh(t.Context(), s.RefreshToken)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					refreshed++
					tokens[next.RefreshToken] = true
				case errors.Is(err, db.ErrReused):
					reused++
				case errors.Is(err, db.ErrNoSession):
					ended++
				default:
					t.Error(err)
				}
			})
		}
		group.Wait()
		if !tt.want(refreshed, reused, ended) || len(tokens) != refreshed {
			t.Errorf("%s: %d refreshed, with %d tokens, %d reused, %d ended", tt.name, refreshed, len(tokens), reused, ended)
		}
	}
	if got := ask[int](t, c, `select count(*)::int from refresh_tokens`)[0]; got != 2+8+1 {
		t.Errorf("got %d tokens", got)
	}
}

// A session ends when its time is over, however it is refreshed.
func TestSessionExpires(t *testing.T) {
	t.Parallel()
	a, c, run := accounts(t)
	a.Lifetime = time.Hour
	s := refresh(t, a, signUp(t, a, "ada").RefreshToken)
	if left := time.Until(s.Expires); left > time.Hour || left < 50*time.Minute {
		t.Errorf("a session of an hour has %s left", left)
	}
	run(`update sessions set expires_at = now()`)
	_, err := a.Refresh(t.Context(), s.RefreshToken)
	wantNoSession(t, "refresh", err)
	_, err = a.SessionOf(t.Context(), s.RefreshToken)
	wantNoSession(t, "session", err)
	wantNoSession(t, "end all", a.EndAllSessions(t.Context(), s.User.ID, s.ID))
	account, err := a.CredentialsOf(t.Context(), s.User.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantNoSession(t, "change password", a.ChangePassword(t.Context(), account, s.ID, "new"))
	if got := ask[string](t, c, `select password_hash from accounts`)[0]; got != account.PasswordHash {
		t.Errorf("the hash is %q", got)
	}
}

// A session is ended by itself, or with all of its user's.
func TestEndSessions(t *testing.T) {
	t.Parallel()
	a, c, _ := accounts(t)
	first, other := signUp(t, a, "ada"), signUp(t, a, "boris")
	account, err := a.Credentials(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	var sessions []db.Session
	for range 3 {
		s, err := a.CreateSession(t.Context(), account)
		if err != nil || s.User != account.User {
			t.Fatalf("%+v, %v", s, err)
		}
		sessions = append(sessions, s)
	}
	for range 2 { // again is no error
		if err := a.EndSession(t.Context(), first.User.ID, first.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.EndSession(t.Context(), other.User.ID, sessions[0].ID); err != nil { // is not theirs
		t.Fatal(err)
	}
	wantNoSession(t, "end all of another user", a.EndAllSessions(t.Context(), other.User.ID, sessions[0].ID))
	wantNoSession(t, "end all by one that has ended", a.EndAllSessions(t.Context(), first.User.ID, first.ID))
	_, err = a.Refresh(t.Context(), first.RefreshToken)
	wantNoSession(t, "refresh", err)
	for i := range sessions {
		sessions[i] = refresh(t, a, sessions[i].RefreshToken)
	}
	if err := a.EndAllSessions(t.Context(), first.User.ID, sessions[1].ID); err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		_, err := a.Refresh(t.Context(), s.RefreshToken)
		wantNoSession(t, "refresh", err)
	}
	refresh(t, a, other.RefreshToken)
	if got := ask[string](t, c, revoked); !slices.Equal(got, []string{"1 " + first.ID, "1 all"}) {
		t.Errorf("revoked: %v", got)
	}
}

// A new password ends all sessions but the one that sets it, also one that is being begun with the old password.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	a, c, _ := accounts(t)
	first := signUp(t, a, "ada")
	old, err := a.Credentials(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.CreateSession(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.ChangePassword(t.Context(), old, second.ID, "new"); err != nil {
		t.Fatal(err)
	}
	_, err = a.Refresh(t.Context(), first.RefreshToken)
	wantNoSession(t, "refresh", err)
	refresh(t, a, second.RefreshToken)
	_, err = a.CreateSession(t.Context(), old)
	wantNoSession(t, "begin with the old password", err)
	wantNoSession(t, "change from the old password", a.ChangePassword(t.Context(), old, second.ID, "newer"))
	now, err := a.CredentialsOf(t.Context(), first.User.ID)
	if err != nil || now.PasswordHash != "new" {
		t.Errorf("the account is %+v, %v", now, err)
	}
	if got := ask[string](t, c, revoked); !slices.Equal(got, []string{"1 " + first.ID}) {
		t.Errorf("revoked: %v", got)
	}
}

// Whoever signs in ever again has a bounded number of sessions, and what has expired is deleted a few rows at a time.
func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	a, c, run := accounts(t)
	s := signUp(t, a, "ada")
	account, err := a.Credentials(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	run(`insert into sessions (user_id, expires_at, used_at) select 1, now() + interval '1 day', now() - i * interval '1 minute' from generate_series(1, 110) i`)
	if _, err := a.CreateSession(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	if got := ask[int](t, c, `select count(*)::int from sessions where expires_at > now()`)[0]; got != 100 {
		t.Errorf("got %d sessions", got)
	}
	s = refresh(t, a, s.RefreshToken) // the one that was used last is among them

	run(`delete from sessions where id <> $1::uuid`, s.ID)
	run(`insert into sessions (user_id, expires_at) select 1, now() - interval '1 day' from generate_series(1, 30)`)
	run(`insert into refresh_tokens (hash, session_id) select sha256((s.id::text || i)::bytea), s.id from sessions s, generate_series(1, 5) i where expires_at < now()`)
	left := func() string {
		return ask[string](t, c, `select (select count(*) from sessions) || ' ' || (select count(*) from refresh_tokens where session_id in (select id from sessions where expires_at < now()))`)[0]
	}
	before := 150
	for n := range 40 {
		s = refresh(t, a, s.RefreshToken)
		var sessions, tokens int
		if _, err := fmt.Sscan(left(), &sessions, &tokens); err != nil {
			t.Fatal(err)
		}
		if tokens < before-20 || tokens == before && before > 0 {
			t.Fatalf("refresh %d left %d of %d old tokens", n, tokens, before)
		}
		if before = tokens; sessions == 1 {
			return
		}
	}
	t.Errorf("sessions and tokens left: %s", left())
}

// A user who is deleted has nothing left.
func TestAccountsGoWithUsers(t *testing.T) {
	t.Parallel()
	a, c, run := accounts(t)
	s := signUp(t, a, "ada")
	run(`delete from users`)
	_, err := a.Refresh(t.Context(), s.RefreshToken)
	wantNoSession(t, "refresh", err)
	if got := ask[int](t, c, `select (select count(*) from sessions)::int + (select count(*) from refresh_tokens)::int`)[0]; got != 0 {
		t.Errorf("%d rows are left", got)
	}
}

// Whatever is done to one account at the same time, nothing stands in another's way.
func TestAccountsAtOnce(t *testing.T) {
	t.Parallel()
	a, _, _ := accounts(t)
	id := signUp(t, a, "ada").User.ID
	var group sync.WaitGroup
	for worker := range 6 {
		group.Go(func() {
			for i := range 15 {
				account, err := a.CredentialsOf(t.Context(), id)
				if err != nil {
					t.Error(err)
					return
				}
				s, err := a.CreateSession(t.Context(), account)
				if err == nil {
					s, err = a.Refresh(t.Context(), s.RefreshToken)
				}
				switch {
				case err != nil:
				case i%5 == 0:
					err = a.EndAllSessions(t.Context(), id, s.ID)
				case i%5 == 1:
					err = a.ChangePassword(t.Context(), account, s.ID, fmt.Sprint(worker, i))
				case i%5 == 2:
					err = a.EndSession(t.Context(), id, s.ID)
				}
				if err != nil && !errors.Is(err, db.ErrNoSession) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// A user whose tokens are revoked in psql has to sign in again, and can.
func TestRevokedUserRefreshes(t *testing.T) {
	t.Parallel()
	a, _, run := accounts(t)
	s := signUp(t, a, "ada")
	run(`select tidings.revoke($1)`, strconv.FormatInt(s.User.ID, 10))
	_, err := a.Refresh(t.Context(), s.RefreshToken)
	wantNoSession(t, "refresh", err)
	account, err := a.Credentials(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.CreateSession(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	wantNoSession(t, "change the password by the session from before", a.ChangePassword(t.Context(), account, s.ID, "another hash"))
	next := refresh(t, a, again.RefreshToken)
	run(`select tidings.revoke($1, $2)`, strconv.FormatInt(s.User.ID, 10), again.ID)
	_, err = a.Refresh(t.Context(), next.RefreshToken)
	wantNoSession(t, "refresh", err)
}
