package http_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
	"tidings/http/graph"
)

// hasher hashes at little cost, and counts how often it does.
type hasher struct {
	tidingshttp.Argon2
	calls atomic.Int64
}

func (h *hasher) Hash(ctx context.Context, password string) (string, error) {
	h.calls.Add(1)
	return h.Argon2.Hash(ctx, password)
}

func (h *hasher) Verify(ctx context.Context, password, hash string) (bool, error) {
	h.calls.Add(1)
	return h.Argon2.Verify(ctx, password, hash)
}

func newAccounts(o tidingshttp.AccountOptions) (*tidingshttp.Accounts, *hasher) {
	h := &hasher{Argon2: tidingshttp.Argon2{Memory: 64, Iterations: 1}}
	return &tidingshttp.Accounts{Signer: &tidingshttp.Signer{Secret: []byte(secret)}, Hasher: h, Options: o}, h
}

// signedIn is what is answered to who has signed in.
type signedIn struct {
	User struct {
		ID, Username, DisplayName, Role string
	}
	AccessToken  string
	ExpiresAt    time.Time
	RefreshToken string
}

// refused is an answer that something was not done.
type refused struct {
	Error struct {
		Code, Message, Field string
		RetryAfter           int
	}
}

// auth sends a body to what is below /auth.
func (s *service) auth(path, body string, header http.Header) answer {
	s.t.Helper()
	all := http.Header{"Content-Type": {"application/json"}}
	for name, values := range header {
		all[name] = values
	}
	return s.send("POST", "/auth/"+path, strings.NewReader(body), all)
}

func (s *service) signs(path, body string, header http.Header) signedIn {
	s.t.Helper()
	a := s.auth(path, body, header)
	if a.status != http.StatusOK || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		s.t.Fatalf("%s %s: got %d, %v, %s", path, body, a.status, a.header, a.body)
	}
	return decode[signedIn](s.t, a.body)
}

func (s *service) authFails(path, body string, header http.Header, status int, code, field string) refused {
	s.t.Helper()
	a := s.auth(path, body, header)
	r := decode[refused](s.t, a.body)
	if a.status != status || r.Error.Code != code || r.Error.Field != field || r.Error.Message == "" || a.header.Get("Cache-Control") != "no-store" {
		s.t.Errorf("%s %.200s: got %d %.500s, want %d, %s %q", path, body, a.status, a.body, status, code, field)
	}
	if retry, _ := strconv.Atoi(a.header.Get("Retry-After")); retry != r.Error.RetryAfter || (status == http.StatusTooManyRequests) != (retry > 0) && status != http.StatusServiceUnavailable {
		s.t.Errorf("%s: Retry-After is %q in %s", path, a.header.Get("Retry-After"), a.body)
	}
	return r
}

func (s *service) done(path, body string, header http.Header) {
	s.t.Helper()
	if a := s.auth(path, body, header); a.status != http.StatusNoContent || a.body != "" {
		s.t.Fatalf("%s %s: got %d, %s", path, body, a.status, a.body)
	}
}

func refreshBody(token string) string { return `{"refreshToken":"` + token + `"}` }

// Who signs up writes with the token, goes on with the session, and ends it.
func TestAccounts(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	accounts, _ := newAccounts(tidingshttp.AccountOptions{})
	s := start(t, d.url, options{accounts: accounts, graph: &graph.Options{}})
	dora := s.signs("sign-up", `{"username":"Dora","password":"correct horse","displayName":"Dora D."}`, nil)
	if dora.User.Username != "Dora" || dora.User.DisplayName != "Dora D." || dora.User.Role != "member" || time.Until(dora.ExpiresAt) < 14*time.Minute {
		t.Errorf("signed up: %+v", dora)
	}
	if emil := s.signs("sign-up", `{"username":"emil","password":"correct horse"}`, nil); emil.User.DisplayName != "emil" {
		t.Errorf("signed up: %+v", emil)
	}
	s.graphAs(dora.AccessToken, `mutation { createMessage(input: {title: "Hello", content: ""}) { message { author { username role } } } }`,
		`{"createMessage":{"message":{"author":{"username":"Dora","role":"MEMBER"}}}}`)

	again := s.signs("sign-in", `{"username":"dORA","password":"correct horse"}`, nil)
	if again.User != dora.User || again.RefreshToken == dora.RefreshToken {
		t.Errorf("signed in: %+v", again)
	}
	next := s.signs("refresh", refreshBody(again.RefreshToken), nil)
	if next.User != dora.User || next.RefreshToken == again.RefreshToken || next.AccessToken == again.AccessToken {
		t.Errorf("refreshed: %+v", next)
	}
	s.done("sign-out", `{}`, authorization(next.AccessToken))
	s.authFails("refresh", refreshBody(next.RefreshToken), nil, http.StatusUnauthorized, "unauthenticated", "")
	s.done("sign-out", refreshBody(next.RefreshToken), nil) // has ended before
	s.done("sign-out", `{}`, authorization(next.AccessToken))
	s.authFails("sign-out", `{"everywhere":true}`, authorization(next.AccessToken), http.StatusUnauthorized, "unauthenticated", "")
	s.authFails("sign-out", `{"refreshToken":"x","everywhere":true}`, nil, http.StatusUnauthorized, "unauthenticated", "")
	s.authFails("sign-out", `{}`, nil, http.StatusUnauthorized, "unauthenticated", "")
	s.authFails("sign-out", `{}`, authorization("nonsense"), http.StatusUnauthorized, "unauthenticated", "")
	s.authFails("sign-out", `{}`, authorization(token(t, "2", time.Hour)), http.StatusUnauthorized, "unauthenticated", "") // by the same secret, and not ours

	third := s.signs("sign-in", `{"username":"dora","password":"correct horse"}`, nil)
	s.done("sign-out", `{"everywhere":true,"refreshToken":"`+third.RefreshToken+`"}`, nil)
	for _, ended := range []signedIn{dora, third} {
		s.authFails("refresh", refreshBody(ended.RefreshToken), nil, http.StatusUnauthorized, "unauthenticated", "")
	}

	// A token that is used again, later, ends the session.
	fourth := s.signs("sign-in", `{"username":"dora","password":"correct horse"}`, nil)
	fifth := s.signs("refresh", refreshBody(fourth.RefreshToken), nil)
	s.signs("refresh", refreshBody(fourth.RefreshToken), nil) // an answer was lost
	d.exec(`update refresh_tokens set used_at = used_at - interval '1 minute'`)
	s.authFails("refresh", refreshBody(fourth.RefreshToken), nil, http.StatusUnauthorized, "unauthenticated", "")
	s.authFails("refresh", refreshBody(fifth.RefreshToken), nil, http.StatusUnauthorized, "unauthenticated", "")
}

func TestPasswordChange(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	accounts, _ := newAccounts(tidingshttp.AccountOptions{NameFailures: 2, NamePause: time.Hour})
	s := start(t, d.url, options{accounts: accounts})
	first := s.signs("sign-up", `{"username":"dora","password":"correct horse"}`, nil)
	second := s.signs("sign-in", `{"username":"dora","password":"correct horse"}`, nil)
	change := func(current, next string) string {
		return fmt.Sprintf(`{"currentPassword":%q,"newPassword":%q}`, current, next)
	}
	s.authFails("password", change("correct horse", "battery staple"), nil, http.StatusUnauthorized, "unauthenticated", "")
	s.authFails("password", change("correct horse", "short"), authorization(second.AccessToken), http.StatusBadRequest, "bad_user_input", "newPassword")
	s.authFails("password", change("", "battery staple"), authorization(second.AccessToken), http.StatusBadRequest, "bad_user_input", "currentPassword")
	s.authFails("password", change("wrong horse", "battery staple"), authorization(second.AccessToken), http.StatusBadRequest, "bad_user_input", "currentPassword")
	s.done("password", change("correct horse", "battery staple"), authorization(second.AccessToken))
	s.authFails("refresh", refreshBody(first.RefreshToken), nil, http.StatusUnauthorized, "unauthenticated", "")
	s.authFails("password", change("battery staple", "another staple"), authorization(first.AccessToken), http.StatusUnauthorized, "unauthenticated", "")
	s.signs("refresh", refreshBody(second.RefreshToken), nil)
	s.authFails("sign-in", `{"username":"dora","password":"correct horse"}`, nil, http.StatusUnauthorized, "unauthenticated", "")
	s.signs("sign-in", `{"username":"dora","password":"battery staple"}`, nil)
	// Who has the token may not guess the password for ever.
	for range 2 {
		s.authFails("password", change("wrong horse", "battery staple"), authorization(second.AccessToken), http.StatusBadRequest, "bad_user_input", "currentPassword")
	}
	s.authFails("password", change("battery staple", "another staple"), authorization(second.AccessToken), http.StatusTooManyRequests, "too_many_attempts", "")
	d.exec(`delete from users where username = 'dora'`)
	s.authFails("password", change("battery staple", "another staple"), authorization(second.AccessToken), http.StatusUnauthorized, "unauthenticated", "")
}

// What is wrong is said, and by which field.
func TestAccountsBadInput(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	accounts, h := newAccounts(tidingshttp.AccountOptions{})
	s := start(t, d.url, options{accounts: accounts})
	long := strings.Repeat("x", 1025)
	for _, tt := range []struct {
		path, body  string
		status      int
		code, field string
	}{
		{"sign-up", `{"username":"ADA","password":"correct horse"}`, 400, "bad_user_input", "username"},
		{"sign-up", `{"username":"a b","password":"correct horse"}`, 400, "bad_user_input", "username"},
		{"sign-up", `{"username":"","password":"correct horse"}`, 400, "bad_user_input", "username"},
		{"sign-up", `{"username":"a","password":"correct horse","displayName":" "}`, 400, "bad_user_input", "displayName"},
		{"sign-up", `{"username":"a\u0000","password":"correct horse"}`, 400, "bad_user_input", "username"},
		{"sign-up", `{"username":"a\u202eb","password":"correct horse"}`, 400, "bad_user_input", "username"},
		{"sign-up", `{"username":"a","password":"1234567"}`, 400, "bad_user_input", "password"},
		{"sign-up", `{"username":"a"}`, 400, "bad_user_input", "password"},
		{"sign-up", `{"username":"a","password":"` + long + `"}`, 400, "bad_user_input", "password"},
		{"sign-up", `{"username":"longusername","password":"LongUsername"}`, 400, "bad_user_input", "password"},
		{"sign-up", `{"username":"a","password":12345678}`, 400, "bad_request", "password"},
		{"sign-up", `{"username":"a","password":"correct horse","role":"admin"}`, 400, "bad_request", ""},
		{"sign-up", `{"username":"a","password":"` + strings.Repeat("x", 20_000) + `"}`, 413, "bad_request", ""},
		{"sign-up", "{\"username\":\"a\",\"password\":\"correct horse\xff\"}", 400, "bad_request", ""},
		{"sign-in", `{"password":"correct horse"}`, 400, "bad_user_input", "username"},
		{"sign-in", `{"username":"ada"}`, 400, "bad_user_input", "password"},
		{"sign-in", `{"username":"ada","password":"` + long + `"}`, 400, "bad_user_input", "password"},
		{"sign-in", `{"username":"ada","password":"correct horse"`, 400, "bad_request", ""},
		{"sign-in", `{"username":"ada","password":"correct horse"} {}`, 400, "bad_request", ""},
		{"sign-in", `[]`, 400, "bad_request", ""},
		{"sign-in", ``, 400, "bad_request", ""},
		{"refresh", `{}`, 401, "unauthenticated", ""},
		{"refresh", `{"refreshToken":"nonsense"}`, 401, "unauthenticated", ""},
		{"refresh", `{"refreshToken":null,"everywhere":true}`, 400, "bad_request", ""},
	} {
		if r := s.authFails(tt.path, tt.body, nil, tt.status, tt.code, tt.field); strings.Contains(r.Error.Message, "horse") {
			t.Errorf("the password is in %s", r.Error.Message)
		}
	}
	if n := h.calls.Load(); n != 2 {
		t.Errorf("hashed %d times, want 2: only what might be", n)
	}
	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"} {
		s.authFails("sign-in", `{"username":"ada","password":"correct horse"}`, http.Header{"Content-Type": {media}}, http.StatusUnsupportedMediaType, "bad_request", "")
	}
	if a := s.get("/auth/sign-in"); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("GET: got %d, %v", a.status, a.header)
	}
	if a := s.request("OPTIONS", "/auth/sign-in", http.Header{"Origin": {"http://localhost:3000"}}); a.status != http.StatusNoContent ||
		a.header.Get("Access-Control-Allow-Origin") != "http://localhost:3000" || a.header.Get("Access-Control-Allow-Methods") != "POST" || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("OPTIONS: got %d, %v", a.status, a.header)
	}
	if a := s.get("/auth/nothing"); a.status != http.StatusNotFound {
		t.Errorf("got %d", a.status)
	}
}

// What there is not is answered so, with a reason.
func TestWithoutAccounts(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{})
	for _, path := range []string{"sign-up", "sign-in", "refresh", "sign-out", "password"} {
		if r := s.authFails(path, `{}`, nil, http.StatusNotFound, "not_found", ""); !strings.Contains(r.Error.Message, "--secret") {
			t.Errorf("%s: got %s", path, r.Error.Message)
		}
	}
	s.graphFails("", `mutation { signIn(input: {username: "ada", password: "correct horse"}) { user { id } } }`, graph.CodeNotFound, "no accounts here")

	closed, _ := newAccounts(tidingshttp.AccountOptions{SignUpClosed: true})
	s = start(t, d.url, options{accounts: closed})
	s.authFails("sign-up", `{"username":"dora","password":"correct horse"}`, nil, http.StatusForbidden, "forbidden", "")
	s.graphFails("", `mutation { signUp(input: {username: "dora", password: "correct horse"}) { user { id } } }`, graph.CodeForbidden, "--no-sign-up")
}

// Nobody guesses for ever, and the answers and their cost tell nobody which users there are.
func TestGuessing(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	accounts, h := newAccounts(tidingshttp.AccountOptions{NameFailures: 3, NamePause: time.Hour, AddressFailures: 8, AddressPause: time.Hour})
	s := start(t, d.url, options{accounts: accounts})
	s.signs("sign-up", `{"username":"dora","password":"correct horse"}`, nil)
	s.signs("sign-up", `{"username":"emil","password":"correct horse"}`, nil)
	guess := func(name string) string { return `{"username":"` + name + `","password":"wrong horse"}` }
	var answers []refused
	for _, name := range []string{"dora", "nobody", "ada"} { // who has an account, who is not there, and who has none
		before := h.calls.Load()
		for range 2 {
			answers = append(answers, s.authFails("sign-in", guess(name), nil, http.StatusUnauthorized, "unauthenticated", ""))
		}
		if n := h.calls.Load() - before; n != 2 {
			t.Errorf("%s: hashed %d times, want 2", name, n)
		}
	}
	for _, a := range answers {
		if a != answers[0] {
			t.Errorf("the answers are %v and %v", answers[0], a)
		}
	}
	s.signs("sign-in", `{"username":"dora","password":"correct horse"}`, nil) // whose failures are forgotten then: two more are not too many
	for range 2 {
		s.authFails("sign-in", guess("DORA"), nil, http.StatusUnauthorized, "unauthenticated", "")
	}
	// Eight from this address are enough, for whomever.
	before := h.calls.Load()
	r := s.authFails("sign-in", `{"username":"emil","password":"correct horse"}`, nil, http.StatusTooManyRequests, "too_many_attempts", "")
	if !strings.Contains(r.Error.Message, "your address") || r.Error.RetryAfter < 3500 || r.Error.RetryAfter > 3600 {
		t.Errorf("got %+v", r.Error)
	}
	if n := h.calls.Load() - before; n != 0 {
		t.Errorf("hashed %d times for who has to wait", n)
	}
	e := s.graphFails("", `mutation { signIn(input: {username: "emil", password: "correct horse"}) { user { id } } }`, graph.CodeTooManyAttempts, "your address")
	if after, _ := e.Extensions["retryAfter"].(float64); after < 3500 {
		t.Errorf("the extensions are %v", e.Extensions)
	}

	// A name is locked wherever the guesses come from, and for the right password, too.
	accounts, _ = newAccounts(tidingshttp.AccountOptions{NameFailures: 3, NamePause: time.Hour, SignUps: 2, SignUpPause: time.Hour})
	s = start(t, d.url, options{accounts: accounts})
	var group sync.WaitGroup
	var wrong, locked atomic.Int64
	for range 12 {
		group.Go(func() {
			switch s.auth("sign-in", guess("dora"), nil).status {
			case http.StatusUnauthorized:
				wrong.Add(1)
			case http.StatusTooManyRequests:
				locked.Add(1)
			}
		})
	}
	group.Wait()
	if wrong.Load() != 3 || locked.Load() != 9 {
		t.Errorf("of 12 guesses at once, %d were made and %d refused", wrong.Load(), locked.Load())
	}
	r = s.authFails("sign-in", `{"username":"dora","password":"correct horse"}`, nil, http.StatusTooManyRequests, "too_many_attempts", "")
	if !strings.Contains(r.Error.Message, "this user") {
		t.Errorf("got %+v", r.Error)
	}
	s.signs("sign-in", `{"username":"emil","password":"correct horse"}`, nil)

	s.signs("sign-up", `{"username":"fred","password":"correct horse"}`, nil)
	s.authFails("sign-up", `{"username":"fred","password":"correct horse"}`, nil, http.StatusBadRequest, "bad_user_input", "username")
	s.authFails("sign-up", `{"username":"gina","password":"correct horse"}`, nil, http.StatusTooManyRequests, "too_many_attempts", "")
}

// cookies are those of an answer, by their names.
func cookies(a answer) map[string]*http.Cookie {
	found := make(map[string]*http.Cookie)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		found[c.Name] = c
	}
	return found
}

func cookieHeader(cookies ...*http.Cookie) http.Header {
	var pairs []string
	for _, c := range cookies {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return http.Header{"Cookie": {strings.Join(pairs, "; ")}}
}

// A page of the service has its tokens in cookies, which pages of others have no use of.
func TestCookies(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	accounts, _ := newAccounts(tidingshttp.AccountOptions{})
	s := start(t, d.url, options{accounts: accounts, server: tidingshttp.Options{AllowedOrigins: []string{"https://app.example.com"}}})
	check := func(a answer) (access, refresh *http.Cookie) {
		t.Helper()
		body := decode[signedIn](t, a.body)
		set := cookies(a)
		access, refresh = set["tidings_token"], set["tidings_refresh"]
		if a.status != http.StatusOK || access == nil || refresh == nil || body.AccessToken != "" || body.RefreshToken != "" || body.User.Username != "dora" {
			t.Fatalf("got %d, %v, %s", a.status, set, a.body)
		}
		for c, path := range map[*http.Cookie]string{access: "/", refresh: "/auth"} {
			if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != path || c.Secure || c.Domain != "" || c.Value == "" {
				t.Errorf("a cookie is %v", c)
			}
		}
		if left := time.Until(access.Expires); left < 14*time.Minute || left > 15*time.Minute || time.Until(refresh.Expires) < 29*24*time.Hour {
			t.Errorf("the cookies expire at %s and %s", access.Expires, refresh.Expires)
		}
		return access, refresh
	}
	own := func(h http.Header) http.Header {
		h = h.Clone()
		h.Set("Origin", "http://"+s.addr)
		h.Set("Sec-Fetch-Site", "same-origin")
		return h
	}
	_, first := check(s.auth("sign-up", `{"username":"dora","password":"correct horse","cookie":true}`, own(http.Header{})))
	access, refresh := check(s.auth("refresh", `{}`, own(cookieHeader(first))))
	s.done("password", `{"currentPassword":"correct horse","newPassword":"battery staple"}`, own(cookieHeader(access)))

	for name, h := range map[string]http.Header{
		"cross-site":         {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://app.example.com"}},
		"same-site":          {"Sec-Fetch-Site": {"same-site"}, "Origin": {"http://localhost:3000"}},
		"by origin":          {"Origin": {"http://localhost:3000"}}, // may connect, and is another
		"of an allowed page": {"Origin": {"https://app.example.com"}},
	} {
		h["Cookie"] = cookieHeader(access, refresh)["Cookie"]
		s.authFails("refresh", `{}`, h, http.StatusUnauthorized, "unauthenticated", "")
		s.authFails("sign-out", `{}`, h, http.StatusUnauthorized, "unauthenticated", "")
		s.authFails("password", `{"currentPassword":"battery staple","newPassword":"correct horse"}`, h, http.StatusUnauthorized, "unauthenticated", "")
		s.authFails("sign-in", `{"username":"dora","password":"battery staple","cookie":true}`, h, http.StatusForbidden, "forbidden", "")
		if got := s.signs("sign-in", `{"username":"dora","password":"battery staple"}`, h); got.AccessToken == "" {
			t.Errorf("%s: got no token", name)
		}
	}
	evil := http.Header{"Origin": {"https://evil.example"}}
	s.authFails("sign-in", `{"username":"dora","password":"battery staple"}`, evil, http.StatusForbidden, "origin_not_allowed", "")

	// Tokens that are asked for as cookies do not come out otherwise, and the other way round.
	access, refresh = check(s.auth("refresh", `{"refreshToken":"`+refresh.Value+`","cookie":true}`, nil))
	a := s.auth("sign-out", `{}`, own(cookieHeader(access, refresh)))
	if set := cookies(a); a.status != http.StatusNoContent || set["tidings_token"] == nil || set["tidings_token"].MaxAge >= 0 || set["tidings_refresh"] == nil || set["tidings_refresh"].MaxAge >= 0 || set["tidings_refresh"].Path != "/auth" {
		t.Errorf("got %d, %v", a.status, set)
	}
	s.authFails("refresh", `{}`, own(cookieHeader(refresh)), http.StatusUnauthorized, "unauthenticated", "")
}

// By GraphQL it is the same.
func TestGraphAccounts(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	accounts, _ := newAccounts(tidingshttp.AccountOptions{})
	s := start(t, d.url, options{accounts: accounts, graph: &graph.Options{}})
	type payload struct {
		User   struct{ ID, Username, DisplayName, Role string }
		Tokens struct {
			AccessToken, RefreshToken string
			ExpiresAt                 time.Time
		}
	}
	sign := func(mutation, input string) payload {
		t.Helper()
		a := s.ask(graphRequest{Query: `mutation { it: ` + mutation + `(input: ` + input + `) { user { id username displayName role } tokens { accessToken refreshToken expiresAt } } }`}, nil)
		if len(a.Errors) > 0 {
			t.Fatalf("%s: %v", mutation, a.Errors)
		}
		return decode[struct{ It payload }](t, string(a.Data)).It
	}
	first := sign("signUp", `{username: "dora", password: "correct horse"}`)
	if first.User.Username != "dora" || first.User.DisplayName != "dora" || first.User.Role != "MEMBER" || time.Until(first.Tokens.ExpiresAt) < 14*time.Minute {
		t.Errorf("signed up: %+v", first)
	}
	second := sign("signIn", `{username: "DORA", password: "correct horse"}`)
	next := sign("refreshSession", `{refreshToken: "`+second.Tokens.RefreshToken+`"}`)
	if next.User != first.User || next.Tokens.RefreshToken == second.Tokens.RefreshToken {
		t.Errorf("refreshed: %+v", next)
	}
	s.graphAs(next.Tokens.AccessToken, `{ me { username } }`, `{"me":{"username":"dora"}}`)
	const change = `mutation { changePassword(input: {currentPassword: "correct horse", newPassword: "battery staple"}) { user { username } } }`
	s.graphFails("", change, graph.CodeUnauthenticated, "access token")
	s.graphAs(next.Tokens.AccessToken, change, `{"changePassword":{"user":{"username":"dora"}}}`)
	s.graphFails("", `mutation { refreshSession(input: {refreshToken: "`+first.Tokens.RefreshToken+`"}) { user { id } } }`, graph.CodeUnauthenticated, "sign in again")
	if e := s.graphFails(next.Tokens.AccessToken, change, graph.CodeBadInput, "is wrong"); e.Extensions["field"] != "currentPassword" {
		t.Errorf("the extensions are %v", e.Extensions)
	}
	if e := s.graphFails("", `mutation { signUp(input: {username: "Dora", password: "correct horse"}) { user { id } } }`, graph.CodeBadInput, "username is taken"); e.Extensions["field"] != "username" {
		t.Errorf("the extensions are %v", e.Extensions)
	}
	s.graphFails("", `mutation { signIn(input: {username: "dora", password: "correct horse"}) { user { id } } }`, graph.CodeUnauthenticated, "wrong")
	s.graphFails("", `mutation { signOut { everywhere } }`, graph.CodeUnauthenticated, "access token")
	s.graphAs(next.Tokens.AccessToken, `mutation { signOut { everywhere } }`, `{"signOut":{"everywhere":false}}`)
	s.graphFails("", `mutation { refreshSession(input: {refreshToken: "`+next.Tokens.RefreshToken+`"}) { user { id } } }`, graph.CodeUnauthenticated, "sign in again")

	// On a WebSocket the token is that of connection_init.
	third := sign("signIn", `{username: "dora", password: "battery staple"}`)
	c := s.graphSocket(transportWS)
	c.send(`{"type":"connection_init","payload":{"token":"` + third.Tokens.AccessToken + `"}}`)
	c.expect("connection_ack")
	c.begin("1", `mutation { signOut(input: {everywhere: true}) { everywhere } }`, nil)
	c.untilGoodbye(4403, "revoked") // behind the answer or before it
	s.authFails("refresh", refreshBody(third.Tokens.RefreshToken), nil, http.StatusUnauthorized, "unauthenticated", "")
}

// Neither passwords nor tokens are in the log.
func TestAccountsLog(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	var text bytes.Buffer
	var mu sync.Mutex
	accounts, _ := newAccounts(tidingshttp.AccountOptions{})
	accounts.Logger = slog.New(slog.NewJSONHandler(lockedWriter{&mu, &text}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := start(t, d.url, options{accounts: accounts, logger: accounts.Logger})
	first := s.signs("sign-up", `{"username":"dora","password":"correct horse"}`, nil)
	s.signs("refresh", refreshBody(first.RefreshToken), nil)
	d.exec(`update refresh_tokens set used_at = used_at - interval '1 minute'`)
	s.authFails("refresh", refreshBody(first.RefreshToken), nil, http.StatusUnauthorized, "unauthenticated", "")
	d.exec(`update accounts set password_hash = 'nonsense'`)
	s.authFails("sign-in", `{"username":"dora","password":"correct horse"}`, nil, http.StatusInternalServerError, "internal", "")
	mu.Lock()
	defer mu.Unlock()
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(text.String()), "\n"), func(line string) bool { return strings.Contains(line, `"code"`) }) // what was refused
	if len(lines) != 2 || !strings.Contains(lines[0], "used twice") || !strings.Contains(lines[0], `"user":2`) || !strings.Contains(lines[1], "/auth/sign-in") {
		t.Errorf("the log is %s", text.String())
	}
	for _, hidden := range []string{"horse", first.RefreshToken, first.AccessToken} {
		if strings.Contains(text.String(), hidden) {
			t.Errorf("the log has %q: %s", hidden, text.String())
		}
	}
	if !json.Valid([]byte(lines[0])) {
		t.Error("the log is no JSON")
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}

// untilGoodbye reads what comes, up to a goodbye.
func (c *graphClient) untilGoodbye(code int, reason string) {
	c.t.Helper()
	for {
		_, err := c.read()
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed) && closed.Code == code && strings.HasPrefix(closed.Text, reason):
			return
		case err != nil:
			c.t.Fatalf("want a goodbye %d %s: %v", code, reason, err)
		}
	}
}
