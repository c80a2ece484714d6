package http_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"tidings/db"
	"tidings/http/graph"
)

// crowded is a database of some users, in which an instance tells who is connected to it.
func crowded(t *testing.T) (*database, *db.Presence) {
	t.Helper()
	d := newDatabase(t)
	d.conversation()
	d.exec(`update tidings.streams set read = 'public' where topic = 'presence'`)
	opened, err := db.Open(t.Context(), d.url)
	if err != nil {
		t.Fatal(err)
	}
	p := &db.Presence{DB: opened, Interval: 10 * time.Millisecond, Heartbeat: 200 * time.Millisecond, DeadAfter: 5 * time.Second, Grace: -1}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		opened.Close()
	})
	return d, p
}

func (d *database) awaitOnline(users int) {
	d.t.Helper()
	eventually(d.t, "those are online who should be", func() bool {
		return query[int](d, `select count(*)::int from tidings.presence where online`) == users
	})
}

func TestPresenceInGraphQL(t *testing.T) {
	t.Parallel()
	d, p := crowded(t)
	s := start(t, d.url, options{})
	s.graph(`{ onlineUsers { nodes { username } } users { nodes { online lastSeen } } }`,
		`{"onlineUsers":{"nodes":[]},"users":{"nodes":[{"online":false,"lastSeen":null},{"online":false,"lastSeen":null},{"online":false,"lastSeen":null}]}}`)
	for _, user := range []string{"3", "1", "2", "02", "github|7", "99999999999999999999"} {
		p.Arrive(user)
	}
	d.awaitOnline(6)
	s.graph(`{ onlineUsers { nodes { username online lastSeen } pageInfo { hasNextPage } } }`, `{"onlineUsers":{"pageInfo":{"hasNextPage":false},"nodes":[
		{"username":"ada","online":true,"lastSeen":null},{"username":"Boris","online":true,"lastSeen":null},{"username":"chloe","online":true,"lastSeen":null}]}}`)

	var page struct {
		OnlineUsers struct{ PageInfo struct{ EndCursor string } }
	}
	a := s.ask(graphRequest{Query: `{ onlineUsers(first: 2) { nodes { id } pageInfo { endCursor } } }`}, nil)
	if err := json.Unmarshal(a.Data, &page); err != nil {
		t.Fatal(err, a.Errors)
	}
	p.Leave("1") // somebody on the first page
	d.awaitOnline(5)
	s.graph(`{ onlineUsers(first: 2, after: "`+page.OnlineUsers.PageInfo.EndCursor+`") { nodes { username } pageInfo { hasNextPage } } }`,
		`{"onlineUsers":{"nodes":[{"username":"chloe"}],"pageInfo":{"hasNextPage":false}}}`)

	var user struct {
		User struct {
			Online   bool
			LastSeen *time.Time
		}
	}
	a = s.ask(graphRequest{Query: `{ user(id: 1) { online lastSeen } }`}, nil)
	if err := json.Unmarshal(a.Data, &user); err != nil {
		t.Fatal(err, a.Errors)
	}
	if seen := query[time.Time](d, `select last_seen from tidings.last_seen`); user.User.Online || user.User.LastSeen == nil || !user.User.LastSeen.Equal(seen) {
		t.Errorf("got %+v, want that she was seen at %s", user, seen)
	}
	s.graphFails("", `{ onlineUsers(first: 101) { nodes { id } } }`, graph.CodeBadInput, "first")

	d.exec(`update tidings.streams set read = 'signed_in' where topic = 'presence'`)
	eventually(t, "it is no longer public", func() bool {
		return len(s.ask(graphRequest{Query: `{ onlineUsers { nodes { id } } }`}, nil).Errors) == 1
	})
	for _, document := range []string{`{ onlineUsers { nodes { id } } }`, `{ user(id: 1) { online } }`, `{ user(id: 1) { lastSeen } }`} {
		s.graphFails("", document, graph.CodeForbidden, "sign in")
	}
}

// Who is online takes one statement, however many are asked for.
func TestPresenceStatements(t *testing.T) {
	t.Parallel()
	d, p := crowded(t)
	s := start(t, d.url, options{})
	d.exec(`insert into users (username, display_name) select 'user' || i, 'User' from generate_series(1, 90) i`)
	p.Arrive("1")
	p.Arrive("5")
	d.awaitOnline(2)
	for document, want := range map[string]uint64{
		`{ users(first: 1) { nodes { online lastSeen } } }`:                                     2,
		`{ users(first: 100) { nodes { online lastSeen } } }`:                                   2,
		`{ onlineUsers { nodes { online lastSeen } } }`:                                         2,
		`{ messages { nodes { author { online } comments { nodes { author { online } } } } } }`: 6,
	} {
		before := s.server.Graph.Stats().Statements
		if a := s.ask(graphRequest{Query: document}, nil); len(a.Errors) > 0 {
			t.Fatal(a.Errors)
		}
		if got := s.server.Graph.Stats().Statements - before; got != want {
			t.Errorf("%s: %d statements, want %d", document, got, want)
		}
	}
}

func TestPresenceChanged(t *testing.T) {
	t.Parallel()
	d, p := crowded(t)
	s := start(t, d.url, options{})
	c := s.graphInit()
	c.follow(s, "all", `subscription ($since: String) { presenceChanged(since: $since) { userId online at user { username online } } }`)
	c.follow(s, "one", `subscription ($since: String) { presenceChanged(userId: 2, since: $since) { userId online user { username lastSeen } } }`)
	s.awaitSubscriptions(2)
	begun := query[time.Time](d, `select clock_timestamp()`)
	changed := func(a graphAnswer) (at time.Time) {
		t.Helper()
		var data struct{ PresenceChanged struct{ At time.Time } }
		if err := json.Unmarshal(a.Data, &data); err != nil {
			t.Fatal(err)
		}
		return data.PresenceChanged.At
	}
	p.Arrive("1")
	a := c.result("all")
	if at := changed(a); at.Before(begun) || !sameJSON(t, string(a.Data), `{"presenceChanged":{"userId":"1","online":true,"at":"`+at.Format("2006-01-02T15:04:05.000000Z")+`","user":{"username":"ada","online":true}}}`) {
		t.Errorf("got %s %v", a.Data, a.Errors)
	}
	d.exec(`select tidings.broadcast('presence', 'announcement')`) // is none of it
	p.Arrive("github|7")
	a = c.result("all")
	if !sameJSON(t, string(a.Data), `{"presenceChanged":{"userId":"github|7","online":true,"at":"`+changed(a).Format("2006-01-02T15:04:05.000000Z")+`","user":null}}`) {
		t.Errorf("got %s %v", a.Data, a.Errors)
	}
	p.Leave("1")
	a = c.result("all")
	seen := query[time.Time](d, `select last_seen from tidings.last_seen`)
	if !sameJSON(t, string(a.Data), `{"presenceChanged":{"userId":"1","online":false,"at":"`+seen.UTC().Format("2006-01-02T15:04:05.000000Z")+`","user":{"username":"ada","online":false}}}`) {
		t.Errorf("got %s %v", a.Data, a.Errors)
	}
	c.send(`{"type":"complete","id":"all"}`)
	s.awaitSubscriptions(1)
	p.Arrive("2")
	c.expectResult("one", `{"presenceChanged":{"userId":"2","online":true,"user":{"username":"Boris","lastSeen":null}}}`)

	c.begin("bad", `subscription { presenceChanged(userId: "github|7") { online } }`, nil)
	c.expectFailure("bad", graph.CodeBadInput)
}

// The list at subscribe, and what changes it, on a WebSocket and as pages.
func TestPresenceChannel(t *testing.T) {
	t.Parallel()
	d, p := crowded(t)
	s := start(t, d.url, options{})
	p.Arrive("1")
	p.Arrive("2")
	d.awaitOnline(2)
	c := s.dialQuery("channel=presence")
	var loaded []string
	for range 2 {
		loaded = append(loaded, string(c.expect("row").Data))
	}
	c.expect("loaded")
	c.expect("subscribed")
	if rows, _, _ := s.loadAll("presence", ""); len(rows) != 2 || rows[0] != loaded[0] || rows[1] != loaded[1] {
		t.Errorf("got %q, want %q", rows, loaded)
	}
	one := s.dialQuery("channel=presence:2")
	if f := one.expect("row"); string(f.Data) != loaded[1] {
		t.Errorf("got %s, want %s", f.Data, loaded[1])
	}
	one.expect("loaded")
	one.expect("subscribed")
	p.Leave("2")
	for _, c := range []*client{c, one} {
		f := c.expect("user_offline")
		var data struct {
			User     string    `json:"user"`
			Online   bool      `json:"online"`
			LastSeen time.Time `json:"last_seen"`
		}
		if err := json.Unmarshal(f.Data, &data); err != nil || f.Channel != "presence:2" || data.User != "2" || data.Online || data.LastSeen.IsZero() {
			t.Errorf("got %+v: %s", f, f.Data)
		}
		if rows, _, _ := s.loadAll("presence:2", ""); len(rows) != 1 || rows[0] != string(f.Data) {
			t.Errorf("loaded %q, want %s", rows, f.Data)
		}
	}
	if rows, _, _ := s.loadAll("presence", ""); len(rows) != 1 || rows[0] != loaded[0] {
		t.Errorf("got %q, want %q", rows, loaded[:1])
	}
}

// Whoever has signed in is online for as long as any connection of hers is open, of whatever transport.
func TestPresenceOfConnections(t *testing.T) {
	t.Parallel()
	d, p := crowded(t)
	s := start(t, d.url, options{secret: secret, presence: p})
	s.dial("messages") // nobody's
	header := authorization(token(t, "1", time.Hour))
	connections := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprintf("user 1 has %d connections", n), func() bool {
			return query[int](d, `select coalesce(sum(connections), 0)::int from tidings.online where "user" = '1'`) == n
		})
	}
	socket, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+s.addr+"/ws?channel=messages", header)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	connections(1)
	g := s.graphSocket(transportWS)
	g.send(`{"type":"connection_init","payload":{"authorization":"` + header.Get("Authorization") + `"}}`)
	g.expect("connection_ack")
	connections(2)
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/events?channel=messages", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	stream, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	connections(3)
	_ = socket.Close()
	connections(2)
	cut()
	connections(1)
	_ = g.ws.Close()
	connections(0)
	eventually(t, "it is told once that she came and went", func() bool {
		return query[string](d, `select string_agg(key || ' ' || type, ', ' order by id) from tidings.log where topic = 'presence'`) == "1 user_online, 1 user_offline"
	})
}
