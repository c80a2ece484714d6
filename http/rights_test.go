package http_test

import (
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// tokenOf is a token of a user, with more claims.
func tokenOf(t testing.TB, user string, expires time.Duration, more jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": user, "exp": time.Now().Add(expires).Unix(), "iat": time.Now().Add(-time.Minute).Unix()}
	maps.Copy(claims, more)
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// dialAs opens a WebSocket with a token.
func (s *service) dialAs(token string, channels ...string) *client {
	s.t.Helper()
	query := url.Values{"channel": channels}
	if token != "" {
		query.Set("token", token)
	}
	return s.dialQuery(query.Encode())
}

const notesWithRowSecurity = `
	create table notes (id int primary key, owner text, team text, shared boolean not null default false, body text);
	alter table notes enable row level security;
	create policy own on notes for select using (owner = tidings.user_id());
	create policy team on notes for select using (shared and team = tidings.claims() ->> 'team');
	select tidings.watch('notes')`

// Each client hears of the rows that row security lets it read, of those that come to be readable, and of those that are no more.
func TestRowSecurity(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(notesWithRowSecurity)
	s := start(t, d.url, options{secret: secret})
	one, two, eve := s.dialAs(tokenOf(t, "1", time.Hour, nil), "notes"), s.dialAs(tokenOf(t, "2", time.Hour, nil), "notes", "notes:1"),
		s.dialAs(tokenOf(t, "3", time.Hour, jwt.MapClaims{"team": "a"}), "notes:1", "messages")
	for _, c := range []*client{one, two, eve} {
		c.expect("subscribed")
	}
	two.expect("subscribed")
	eve.expect("subscribed")
	nobody := s.dialAs("", "notes")
	nobody.expectError("forbidden")
	d.exec(`insert into notes values (1, '1', 'a', false, 'a secret of 1')`)
	d.exec(`update notes set body = 'still'`)
	d.exec(`update notes set owner = '2', body = 'given to 2'`)
	d.exec(`update notes set shared = true, body = 'shared with a'`)
	d.exec(`delete from notes`)
	d.exec(`insert into notes values (2, '1', 'a', false, 'the last')`)
	d.message("the last")

	data := func(f frame) string { return strings.ReplaceAll(string(f.Data), " ", "") }
	check := func(c *client, typ, body string) {
		t.Helper()
		f := c.expect(typ)
		if !strings.Contains(data(f), `"body":"`+strings.ReplaceAll(body, " ", "")+`"`) {
			t.Errorf("got %s, want %s", f.text, body)
		}
	}
	check(one, "note_added", "a secret of 1")
	check(one, "note_updated", "still")
	check(one, "note_deleted", "still")
	check(one, "note_added", "the last")
	check(two, "note_added", "given to 2")
	check(two, "note_updated", "shared with a")
	check(two, "note_deleted", "shared with a")
	check(eve, "note_added", "shared with a")
	check(eve, "note_deleted", "shared with a")
	eve.expectRow("message_added", "the last")
	if got := s.load("notes", "token="+tokenOf(t, "2", time.Hour, nil)); len(got.Rows) != 0 {
		t.Errorf("2 loads %s", got.Rows)
	}
	if got := s.load("notes", "token="+tokenOf(t, "1", time.Hour, nil)); fmt.Sprint(len(got.Rows)) != "1" {
		t.Errorf("1 loads %s", got.Rows)
	}
}
