package http_test

import (
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"tidings/db/dbtest"
	tidingshttp "tidings/http"
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

// Administrators tell all who follow a channel something, on all instances; nobody else can.
func TestGraphBroadcast(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name, role) values ('root', 'Root', 'admin'), ('mod', 'Mod', 'moderator')`)
	s, second := start(t, d.url, options{secret: secret}), start(t, d.url, options{secret: secret})
	admin := tokenOf(t, "2", time.Hour, nil)
	c, other, far := s.dial("messages"), s.dial("messages:5"), second.dial("messages")
	const say = `mutation { broadcast(input: {channel: "messages", type: "announcement", data: {text: "hello"}}) { type } }`
	s.graphFails("", say, "UNAUTHENTICATED", "administrators")
	s.graphFails(tokenOf(t, "1", time.Hour, nil), say, "FORBIDDEN", "administrators")
	s.graphFails(tokenOf(t, "3", time.Hour, nil), say, "FORBIDDEN", "administrators")
	s.graphFails(tokenOf(t, "99", time.Hour, nil), say, "FORBIDDEN", "administrators")
	s.graphAs(admin, say, `{"broadcast":{"type":"announcement"}}`)
	for _, c := range []*client{c, far} {
		if f := c.expect("announcement"); string(f.Data) != `{"text":"hello"}` || f.Cursor == "" || f.Channel != "messages" {
			t.Errorf("got %s", f.text)
		}
	}
	s.graphAs(admin, `mutation { broadcast(input: {channel: "messages:5", type: "wave", kept: false}) { type } }`, `{"broadcast":{"type":"wave"}}`)
	for _, c := range []*client{c, other, far} {
		if f := c.expect("wave"); string(f.Data) != `{}` || f.Cursor != "" || f.Channel != "messages:5" {
			t.Errorf("got %s", f.text)
		}
	}
	s.graphFails(admin, `mutation { broadcast(input: {channel: "nothing", type: "x"}) { type } }`, "BAD_USER_INPUT", "no channel 'nothing'")
	s.graphFails(admin, `mutation { broadcast(input: {channel: "messages", type: "reset"}) { type } }`, "BAD_USER_INPUT", "a meaning")
	s.graphFails(admin, `mutation { broadcast(input: {channel: ":", type: "x"}) { type } }`, "BAD_USER_INPUT", "channel")

	one := second.dialAs(tokenOf(t, "1", time.Hour, nil), "messages")
	one.expect("subscribed")
	s.graphFails(tokenOf(t, "1", time.Hour, nil), `mutation { disconnectUser(input: {user: "1"}) { user } }`, "FORBIDDEN", "administrators")
	s.graphAs(admin, `mutation { disconnectUser(input: {user: "1"}) { user } }`, `{"disconnectUser":{"user":"1"}}`)
	one.expectGoodbye(4005, "disconnected: an administrator has closed your connections; come back with your last cursor")
}

// Who types is told to the others in the channel, and to nobody else; it has no place among the events.
func TestTyping(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table quiet (id int primary key); select tidings.watch('quiet', read => 'public')`)
	s, second := start(t, d.url, options{secret: secret}), start(t, d.url, options{secret: secret})
	writer := s.dialAs(tokenOf(t, "1", time.Hour, nil), "comments:5")
	writer.expect("subscribed")
	reader, elsewhere, nobody := second.dial("comments:5"), second.dial("comments:6"), s.dial("comments")
	writer.send(`{"type":"typing","channel":"comments:5"}`)
	for _, c := range []*client{reader, nobody} {
		if f := c.expect("typing"); string(f.Data) != `{"user":"1"}` || f.Channel != "comments:5" || f.Cursor != "" || f.ID != "" {
			t.Errorf("got %s", f.text)
		}
	}
	writer.send(`{"type":"typing","channel":"quiet"}`)
	writer.expectError("forbidden")
	writer.send(`{"type":"typing","channel":"nothing"}`)
	writer.expectError("unknown_channel")
	nobody.send(`{"type":"typing","channel":"comments:5"}`)
	nobody.expectError("forbidden")
	for range 20 {
		writer.send(`{"type":"typing","channel":"comments:5"}`)
	}
	writer.expectError("rate_limited")
	elsewhere.send(`{"type":"ping"}`)
	elsewhere.expect("pong")
}

// A token that runs out is warned of, can be renewed, and otherwise ends the connection.
func TestTokenThatRunsOut(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table private (id int primary key); select tidings.watch('private')`)
	s := start(t, d.url, options{secret: secret})
	c := s.dialAs("", "messages")
	c.expect("subscribed")
	c.send(`{"type":"subscribe","channel":"private"}`)
	c.expectError("forbidden")
	c.send(`{"type":"authenticate"}`)
	c.expectError("bad_request")
	c.send(`{"type":"authenticate","token":"x"}`)
	c.expectError("unauthenticated")
	c.send(`{"type":"authenticate","token":"` + tokenOf(t, "1", 14*time.Second, nil) + `"}`)
	if f := c.expect("authenticated"); !strings.Contains(f.text, `"user":"1"`) || !strings.Contains(f.text, `"expires_at":"`) {
		t.Errorf("got %s", f.text)
	}
	c.send(`{"type":"subscribe","channel":"private"}`)
	c.expect("subscribed")
	c.expect("token_expiring")
	c.send(`{"type":"authenticate","token":"` + tokenOf(t, "1", time.Hour, nil) + `"}`)
	c.expect("authenticated")
	d.exec(`insert into private values (1)`)
	c.expect("private_added")

	short := s.dialAs(tokenOf(t, "1", 12*time.Second, nil), "private")
	short.expect("subscribed")
	short.expect("token_expiring")
	short.expectGoodbye(4003, "token_expired: your token has run out; come back with a new one and your last cursor")
	d.exec(`insert into private values (2)`)
	c.expect("private_added")
	d.exec(`select tidings.revoke('1')`)
	c.expectGoodbye(4004, "revoked: your token is not valid any more; do not come back before you have signed in again")
	if _, err := s.connect(t.Context(), "channel=private&token="+tokenOf(t, "1", time.Hour, nil)); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a revoked token: %v", err)
	}
	later := s.dialAs(tokenOf(t, "1", time.Hour, jwt.MapClaims{"iat": time.Now().Add(time.Second).Unix()}), "private")
	later.expect("subscribed")
}

// Who is revoked while the service is cut off from the database is sent away when it is back, also if the log has forgotten it by then.
func TestRevokedWhileCutOff(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	d := install(t, cluster.URL())
	way, err := url.Parse(cluster.TCPURL())
	if err != nil {
		t.Fatal(err)
	}
	network := newCutter(t, way.Host)
	way.Host = network.addr
	s := start(t, way.String(), options{secret: secret})
	for user, forgotten := range map[string]bool{"1": false, "2": true} {
		c := s.dialAs(tokenOf(t, user, time.Hour, nil), "messages")
		c.expect("subscribed")
		network.refuse(true)
		d.exec(`select tidings.revoke($1)`, user)
		for i := 0; forgotten && i < 8; i++ {
			if !query[bool](d, `select tidings.rotate(true)`) {
				t.Fatal("the log was not rotated")
			}
		}
		network.refuse(false)
		f, err := readFrame(c.ws)
		for n := 0; err == nil && (f.Type == "reset" || f.Type == "subscribed") && n < 2; n++ {
			f, err = readFrame(c.ws)
		}
		if !websocket.IsCloseError(err, 4004) {
			t.Errorf("forgotten %t: got %s %v, want the goodbye 4004", forgotten, f.text, err)
		}
	}
}

// A user has so many connections and no more, by whatever transport; others have theirs.
func TestConnectionsOfUser(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d.url, options{secret: secret, server: tidingshttp.Options{MaxConnectionsPerUser: 2}})
	one, two := tokenOf(t, "1", time.Hour, nil), tokenOf(t, "2", time.Hour, nil)
	first, second := s.dialAs(one, "messages"), s.dialAs(one, "messages")
	first.expect("subscribed")
	second.expect("subscribed")
	s.dialAs(one, "messages").expectGoodbye(4007, "too_many_connections_of_user: you have as many connections as one may have; come back in 5 s")
	if a := s.request("GET", "/events?channel=messages", authorization(one)); a.status != 429 || a.header.Get("Retry-After") != "5" || !strings.Contains(a.body, "too_many_connections_of_user") {
		t.Errorf("got %d %v %s", a.status, a.header, a.body)
	}
	other := s.dialAs(two, "messages")
	other.expect("subscribed")
	other.send(`{"type":"authenticate","token":"` + one + `"}`)
	other.expectError("too_many_connections_of_user")
	nobody := s.dial("messages")
	nobody.send(`{"type":"authenticate","token":"` + one + `"}`)
	nobody.expectError("too_many_connections_of_user")
	c := s.graphSocket(transportWS)
	c.send(`{"type":"connection_init","payload":{"token":"` + one + `"}}`)
	c.expectGoodbye(4007, "too_many_connections_of_user")
	if err := first.ws.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is room for another", func() bool {
		nobody.send(`{"type":"authenticate","token":"` + one + `"}`)
		return nobody.next().Type == "authenticated"
	})
	s.dialAs(one, "messages").expectGoodbye(4007, "too_many_connections_of_user: you have as many connections as one may have; come back in 5 s")
	_, body := s.readyz()
	if body.Refused["too_many_connections_of_user"] < 6 {
		t.Errorf("the refusals are %v", body.Refused)
	}
	d.message("all go on")
	other.expectRow("message_added", "all go on")
}
