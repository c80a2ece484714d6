package http_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	tidingshttp "tidings/http"
	"tidings/http/graph"
)

// listens is a client of /ws that has the channels.
func (s *service) listens(token string, channels ...string) *hearing {
	s.t.Helper()
	h := s.hearSocket("/ws", asking{token: token, channel: channels[0]})
	if got := h.hear(); got.Type != "subscribed" {
		s.t.Fatalf("got %s", got.text)
	}
	return h
}

// markers tells markers apart.
var markers atomic.Int64

// marker writes a marker that there was not before, and returns which.
func (d *database) marker(channel string) string {
	d.t.Helper()
	of := fmt.Sprint(channel, " ", markers.Add(1))
	d.exec(`select tidings.broadcast($1, 'marker', json_build_object('of', $2::text))`, channel, of)
	return of
}

// tells checks what a client is told before the marker of the channel, which is written now.
func (d *database) tells(what string, h *hearing, channel string, want ...string) {
	d.t.Helper()
	if got := h.marked(d.marker(channel)); got != strings.Join(want, ", ") {
		d.t.Errorf("%s: got %.1000q, want %.1000q", what, got, strings.Join(want, ", "))
	}
}

// tellsAll is tells, in any order: which row of a statement comes first is PostgreSQL's.
func (d *database) tellsAll(what string, h *hearing, channel string, want []string) {
	d.t.Helper()
	got := strings.Split(h.marked(d.marker(channel)), ", ")
	slices.Sort(got)
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		d.t.Errorf("%s: got %d lines, want %d; the first of them %q and %q", what, len(got), len(want), got[:min(5, len(got))], want[:min(5, len(want))])
	}
}

// loses checks what a client is told before it is told that it has the channel no more.
func (h *hearing) loses(what string, want ...string) {
	h.t.Helper()
	if got := h.marked("nothing"); got != strings.Join(append(want, no), ", ") {
		h.t.Errorf("%s: got %.1000q, want %.1000q and the loss", what, got, want)
	}
}

// Rows that come to be readable are told as added and those that stop as deleted: one, more than an entry of the log holds, with another
// key, and where the policy looks at columns that do not go out.
func TestRowsStopBeingReadable(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table papers (id int primary key, shelf int, owner text, body text, secret text not null default '');
		create table hidden (id int primary key, owner text, body text);
		alter table papers enable row level security;
		alter table hidden enable row level security;
		create policy own on papers for select using (owner = tidings.user_id());
		create policy own on hidden for select using (owner = tidings.user_id());
		select tidings.watch('papers', key => 'shelf', event => 'paper'), tidings.watch('hidden', columns => '{id,body}')`)
	s := start(t, d.url, options{secret: secret})
	one, two := tokenOf(t, "1", time.Hour, nil), tokenOf(t, "2", time.Hour, nil)
	past := s.listens(one, "papers").since(d)
	a, b := s.listens(one, "papers"), s.listens(two, "papers")
	onOne, onTwo := s.listens(one, "papers:1"), s.listens(two, "papers:2")
	hides, seeks := s.listens(one, "hidden"), s.listens(two, "hidden")

	d.exec(`insert into papers values (1, 1, '1', 'x')`)
	d.exec(`update papers set owner = '2', shelf = 2, body = 'y'`)
	d.exec(`update papers set shelf = 1`)
	d.exec(`update papers set owner = '1', secret = 'z'`)
	d.exec(`insert into hidden values (1, '1', 'x')`)
	d.exec(`update hidden set owner = '2', body = 'y'`)
	d.exec(`update hidden set owner = '3'`)
	d.tells("a", a, "papers", "added x", "deleted x", "added y")
	d.tells("b", b, "papers", "added y", "updated y", "deleted y")
	d.tells("shelf 1 of 1", onOne, "papers:1", "added x", "deleted x", "added y")
	d.tells("shelf 2 of 2", onTwo, "papers:2", "added y", "updated y")
	d.tells("hidden from 2", hides, "hidden", "added x", "deleted x")
	d.tells("hidden from 1", seeks, "hidden", "added y", "deleted y")

	// More than an entry holds: every third one is another's then, and one in two moves.
	d.exec(`delete from papers`)
	const n = 600
	d.exec(`insert into papers select i, 1, '1', 'p' || i, repeat('s', 200) from generate_series(1, $1::int) i`, n)
	if entries := query[int](d, `select count(*) from tidings.log where topic = 'papers' and type = 'paper_added' and rows is not null and data::text::int > 1`); entries < 3 {
		t.Errorf("%d entries, want several", entries)
	}
	d.exec(`update papers set shelf = 2 where id % 2 = 0; update papers set owner = case when id % 3 = 0 then '2' else owner end, shelf = 3 - shelf`)
	var wantA, wantB, wantOne, wantTwo []string
	for i := range n {
		wantA, wantOne = append(wantA, fmt.Sprint("added p", i+1)), append(wantOne, fmt.Sprint("added p", i+1))
	}
	for i := 2; i <= n; i += 2 {
		wantA, wantOne = append(wantA, fmt.Sprint("updated p", i)), append(wantOne, fmt.Sprint("updated p", i))
	}
	for i := 1; i <= n; i++ {
		p := fmt.Sprint(" p", i)
		if i%3 > 0 {
			wantA, wantOne = append(wantA, "updated"+p), append(wantOne, "updated"+p)
			continue
		}
		wantA, wantB = append(wantA, "deleted"+p), append(wantB, "added"+p)
		if i%2 == 1 { // was on shelf 1, and is on 2
			wantOne, wantTwo = append(wantOne, "deleted"+p), append(wantTwo, "added"+p)
		}
	}
	d.tellsAll("a, many", a, "papers", append(wantA, "deleted y"))
	d.tellsAll("b, many", b, "papers", wantB)
	d.tellsAll("shelf 1, many", onOne, "papers:1", append(wantOne, "deleted y"))
	d.tellsAll("shelf 2, many", onTwo, "papers:2", wantTwo)

	// Who was away, and comes back to another instance, is told the same.
	other := start(t, d.url, options{secret: secret})
	back := other.hearSocket("/ws", asking{token: one, channel: "papers", since: past})
	d.tellsAll("a, behind a cursor", back, "papers", append([]string{"added x", "deleted x", "added y", "deleted y"}, wantA...))
	back = other.hearEvents(asking{token: two, channel: "papers", since: past})
	d.tellsAll("b, behind another's cursor", back, "papers", append([]string{"added y", "updated y", "deleted y"}, wantB...))
}

// since is a cursor of now.
func (h *hearing) since(d *database) string { return query[string](d, `select tidings.cursor()`) }

// A channel is lost when it is no more for its subscriber: at once, and nothing that is written afterwards is told. Who may have it again
// goes on behind his cursor.
func TestChannelsAreLost(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table guests (name text); insert into guests values ('1');
		create function may_enter(claims jsonb, topic text, key text) returns boolean language sql stable security definer as
			$$ select exists (select from public.guests where name = tidings.user_id()) $$;
		create table rooms (id int primary key, owner text, body text);
		select tidings.watch('rooms', read => 'public')`)
	s := start(t, d.url, options{secret: secret})
	other := start(t, d.url, options{secret: secret})
	one, two := tokenOf(t, "1", time.Hour, nil), tokenOf(t, "2", time.Hour, nil)
	n := 0
	write := func(owner string) string {
		n++
		d.exec(`insert into rooms values ($1, $2, $3)`, n, owner, fmt.Sprint("row ", n))
		return fmt.Sprint("added row ", n)
	}
	for round := range 3 { // what is told before and after must not depend on who is faster
		what := func(change string) string { return fmt.Sprint(change, ", round ", round) }
		d.exec(`alter table rooms disable row level security; select tidings.watch('rooms', read => 'public')`)
		s.refreshTopics()
		other.refreshTopics()
		nobody, a, b, far := s.listens("", "rooms"), s.listens(one, "rooms"), s.listens(two, "rooms"), other.listens("", "rooms")
		all := write("1")
		d.exec(`select tidings.watch('rooms', read => 'signed_in')`)
		signed := write("1")
		nobody.loses(what("signed_in"), all)
		far.loses(what("signed_in, elsewhere"), all)
		d.exec(`select tidings.watch('rooms', read => 'owner:owner')`)
		ones, twos := write("1"), write("2")
		d.tells(what("owner"), a, "rooms", all, signed, ones)
		d.tells(what("owner"), b, "rooms", all, signed, twos)
		cursor := a.since(d)
		d.exec(`select tidings.watch('rooms', read => 'policy:public.may_enter')`)
		b.loses(what("policy"))
		policed := write("2")
		d.tells(what("policy"), a, "rooms", policed)
		other.refreshTopics()
		b = other.hearSocket("/ws", asking{token: two, channel: "rooms", since: cursor})
		b.loses(what("policy, behind a cursor"))

		// The policy lets another one in, and then its table does.
		d.exec(`create or replace function may_enter(claims jsonb, topic text, key text) returns boolean language sql stable security definer as
			$$ select tidings.user_id() = '2' $$; select tidings.recheck()`)
		a.loses(what("another policy"))
		b = s.hearSocket("/ws", asking{token: two, channel: "rooms", since: cursor})
		d.tells(what("another policy"), b, "rooms", policed)
		d.exec(`create or replace function may_enter(claims jsonb, topic text, key text) returns boolean language sql stable security definer as
			$$ select exists (select from public.guests where name = tidings.user_id()) $$; select tidings.recheck()`)
		b.loses(what("the first policy"))
		a, far = s.listens(one, "rooms"), other.listens(one, "rooms")
		d.exec(`delete from guests; select tidings.recheck()`)
		a.loses(what("the policy's table"))
		far.loses(what("the policy's table, elsewhere"))
		if h := s.hearSocket("/ws", asking{token: one, channel: "rooms"}); h.marked("rooms") != no {
			t.Error("who was just put out comes in again")
		}
		d.exec(`insert into guests values ('1'); select tidings.recheck()`)

		// Row security is switched on while the table is public.
		d.exec(`select tidings.watch('rooms', read => 'public')`)
		s.refreshTopics()
		nobody, a = s.listens("", "rooms"), s.listens(one, "rooms")
		all = write("1")
		d.exec(`drop policy if exists own on rooms; create policy own on rooms for select using (owner = tidings.user_id()); alter table rooms enable row level security`)
		ones = write("1")
		write("2")
		d.tells(what("row security"), nobody, "rooms", all)
		d.tells(what("row security"), a, "rooms", all, ones)
		d.exec(`alter table rooms disable row level security`)
		again := write("2")
		d.tells(what("no row security"), nobody, "rooms", again)
		d.exec(`select tidings.unwatch('rooms')`)
		if got := nobody.marked("rooms"); got != unknown {
			t.Errorf("unwatched: got %s", got)
		}
	}
}

// Users are sent away, and come back with the tokens that are still good.
func TestDisconnectAndRevoke(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table members (id int primary key, body text); select tidings.watch('members')`)
	s, other := start(t, d.url, options{secret: secret}), start(t, d.url, options{secret: secret})
	open := func(s *service, token string) map[string]*hearing {
		all := make(map[string]*hearing)
		for name, transport := range transports {
			all[name] = transport(s, asking{token: token, channel: "members"})
		}
		s.awaitSubscriptions(2 * len(transports))
		return all
	}
	one, two := tokenOf(t, "1", time.Hour, nil), tokenOf(t, "2", time.Hour, nil)
	bystanders := []map[string]*hearing{openAll(s, two, "members"), openAll(other, two, "members")}
	for _, tt := range []struct{ sql, code string }{{`select tidings.disconnect('1')`, "disconnected"}, {`select tidings.revoke('1')`, "revoked"}} {
		for _, victims := range []map[string]*hearing{open(s, one), open(other, one)} {
			defer func() {
				for name, h := range victims {
					if got := h.goodbye(); !strings.Contains(got, tt.code) && !strings.HasPrefix(name, "GraphQL") {
						t.Errorf("%s, %s: got %s", tt.sql, name, got)
					}
				}
			}()
		}
		d.exec(tt.sql)
		s.awaitSubscriptions(len(transports))
		other.awaitSubscriptions(len(transports))
	}
	again := tokenOf(t, "1", time.Hour, jwt.MapClaims{"iat": time.Now().Add(2 * time.Second).Unix()})
	for _, s := range []*service{s, other} {
		for name, transport := range transports {
			if h := transport(s, asking{token: one, channel: "members"}); h.refused != "unauthenticated" {
				t.Errorf("%s takes a revoked token: %q", name, h.refused)
			}
			if h := transport(s, asking{token: again, channel: "members"}); h.refused != "" {
				t.Errorf("%s refuses a token that was issued later: %q", name, h.refused)
			}
		}
		if got := s.loads("members", one); got != "!unauthenticated" {
			t.Errorf("a revoked token loads: %q", got)
		}
		if got := s.loads("members", again); got != "" {
			t.Errorf("a token that was issued later does not load: %q", got)
		}
	}
	d.exec(`insert into members values (1, 'still here')`)
	for _, all := range bystanders {
		for name, h := range all {
			if got := h.hearRow(); got.line() != "added still here" {
				t.Errorf("%s: got %s", name, got.text)
			}
		}
	}
}

// openAll is a client over each transport.
func openAll(s *service, token, channel string) map[string]*hearing {
	all := make(map[string]*hearing)
	for name, transport := range transports {
		all[name] = transport(s, asking{token: token, channel: channel})
	}
	s.awaitSubscriptions(len(all))
	return all
}

// hearRow is what the client is told next, beside that it has subscribed.
func (h *hearing) hearRow() heard {
	h.t.Helper()
	for {
		if e := h.hear(); e.Type != "subscribed" {
			return e
		}
	}
}

// goodbye reads until the end, and returns what is said there.
func (h *hearing) goodbye() string {
	h.t.Helper()
	for last := ""; ; {
		e, err := h.next()
		if err != nil {
			return last + " " + err.Error()
		}
		last = e.text
	}
}

// Who is warned that his token runs out gives another one, or is told goodbye; who gives another user's keeps what is for that one.
func TestTokensRunOut(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name) values ('boris', 'Boris');
		create table members (id int primary key, body text); create table inbox (id int primary key, owner text, body text);
		select tidings.watch('members'), tidings.watch('inbox', key => 'owner', event => 'inbox', read => 'owner:owner')`)
	s := start(t, d.url, options{secret: secret, server: tidingshttp.Options{TokenWarning: 30 * time.Second}})
	c := s.dialAs(tokenOf(t, "1", 15*time.Second, nil), "members")
	c.expect("subscribed")
	stays := s.dialAs(tokenOf(t, "1", 15*time.Second, nil), "members")
	stays.expect("subscribed")
	turns := s.dialAs(tokenOf(t, "1", time.Hour, nil), "members", "inbox:1", "inbox")
	for range 3 {
		turns.expect("subscribed")
	}
	g := s.graphSocket(transportWS)
	g.send(`{"type":"connection_init","payload":{"token":"` + tokenOf(t, "1", time.Hour, nil) + `"}}`)
	g.expect("connection_ack")
	g.begin("members", eventsDocument, map[string]any{"channels": "members"})
	g.begin("inbox", eventsDocument, map[string]any{"channels": "inbox:1"})
	g.begin("nested", `subscription { messageAdded { title comments { nodes { content } } commentCount } }`, nil)
	s.awaitSubscriptions(2 + 3 + 3)

	for _, c := range []*client{c, stays} {
		c.expect("token_expiring")
	}
	stays.send(`{"type":"authenticate","token":"garbage"}`)
	stays.expectError("unauthenticated")
	stays.send(`{"type":"authenticate","token":"` + tokenOf(t, "1", time.Hour, nil) + `"}`)
	stays.expect("authenticated")
	c.expectGoodbye(4003, "token_expired")

	turns.send(`{"type":"authenticate","token":"` + tokenOf(t, "2", time.Hour, nil) + `"}`)
	for range 2 { // in whatever order
		if f := turns.next(); f.Type != "authenticated" && (f.Code != "forbidden" || f.Channel != "inbox:1") {
			t.Errorf("got %s", f.text)
		}
	}
	// Nothing that is nested in what another follows is for user 2, either.
	d.exec(`create function may_enter(claims jsonb, topic text, key text) returns boolean language sql as $$ select tidings.user_id() = '1' $$;
		select tidings.watch('comments', key => 'message_id', read => 'policy:public.may_enter')`)
	s.refreshTopics()
	g.begin("followed as 1", `subscription { messageAdded { title commentCount } }`, nil)
	s.awaitSubscriptions(1 + 2 + 4)
	g.begin("renew", `mutation ($token: String!) { renewToken(input: {token: $token}) { expiresAt } }`, map[string]any{"token": tokenOf(t, "2", time.Hour, nil)})
	lost, renewed := map[string]bool{}, false
	for !renewed || len(lost) < 3 {
		switch f := g.expectAny("error", "next", "complete"); {
		case f.Type == "error":
			if !strings.Contains(f.text, graph.CodeForbidden) {
				t.Errorf("got %s", f.text)
			}
			lost[f.ID] = true
		case f.ID == "renew":
			renewed = true
		default:
			t.Errorf("got %s", f.text)
		}
	}
	for _, id := range []string{"inbox", "nested", "followed as 1"} {
		if !lost[id] {
			t.Errorf("%s goes on; lost are %v", id, lost)
		}
	}

	d.message("after")
	d.exec(`insert into inbox values (1, '1', 'to 1'), (2, '2', 'to 2')`)
	d.exec(`insert into members values (1, 'x')`)
	if f := turns.expect("inbox_added"); !strings.Contains(f.text, "to 2") {
		t.Errorf("got %s", f.text)
	}
	for _, c := range []*client{turns, stays} {
		c.expect("member_added")
	}
	if f := g.expectAny("next", "error"); f.ID != "members" || !strings.Contains(f.text, "member_added") {
		t.Errorf("got %s", f.text)
	}
	if got := s.loads(url.PathEscape("inbox"), tokenOf(t, "2", time.Hour, nil)); got != "to 2" {
		t.Errorf("loaded %q", got)
	}
}

// expectAny reads the next message of one of the types, but for the end of an operation.
func (c *graphClient) expectAny(types ...string) graphFrame {
	c.t.Helper()
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatal(err)
		}
		for _, typ := range types {
			if f.Type == typ && typ != "complete" {
				return f
			}
		}
		if f.Type != "ping" && f.Type != "complete" {
			c.t.Fatalf("got %s", f.text)
		}
	}
}

// Events from when a table had an owner's column are nobody's when it has row security instead, and hide no others.
func TestRowSecurityInPlaceOfOwners(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`create table letters (id int primary key, owner text, body text); select tidings.watch('letters', read => 'owner:owner')`)
	s := start(t, d.url, options{secret: secret})
	past := query[string](d, `select tidings.cursor()`)
	d.exec(`insert into letters values (1, '1', 'before')`)
	d.exec(`alter table letters enable row level security; create policy own on letters for select using (owner = tidings.user_id()); select tidings.watch('letters')`)
	d.exec(`insert into letters values (2, '1', 'after'), (3, '2', 'not his')`)
	s.refreshTopics()
	d.tells("behind a cursor", s.hearSocket("/ws", asking{token: tokenOf(t, "1", time.Hour, nil), channel: "letters", since: past}), "letters", "added after")
}
