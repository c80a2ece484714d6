package main_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	tidingshttp "tidings/http"
)

// guest is a user's connection to an instance, which stays until one of the two ends it.
type guest struct {
	user  int
	ws    *websocket.Conn
	ended chan struct{}
}

// arrive connects a user by /ws or by /graphql, and returns when the service knows who it is. It needs no database for that.
func arrive(t testing.TB, at string, user int, byGraphQL bool) *guest {
	t.Helper()
	token, _, err := (&tidingshttp.Signer{Secret: []byte(ownSecret), TTL: time.Hour}).Sign(int64(user), "session "+strconv.Itoa(user), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g := &guest{user: user, ended: make(chan struct{})}
	if byGraphQL {
		dialer := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}
		if g.ws, _, err = dialer.DialContext(ctx, "ws://"+at+"/graphql", nil); err == nil {
			err = g.ws.WriteJSON(map[string]any{"type": "connection_init", "payload": map[string]string{"token": token}})
		}
	} else {
		g.ws, _, err = websocket.DefaultDialer.DialContext(ctx, "ws://"+at+"/ws?channel=presence:"+strconv.Itoa(user),
			http.Header{"Authorization": {"Bearer " + token}})
	}
	if err == nil && byGraphQL {
		(&client{t, g.ws}).expect("connection_ack", "")
	}
	if err != nil {
		t.Fatalf("user %d: %v", user, err)
	}
	_ = g.ws.SetReadDeadline(time.Time{}) // a connection that is closed says so when it is read
	go func() {
		defer close(g.ended)
		for err := error(nil); err == nil; {
			_, _, err = g.ws.ReadMessage() // pings are answered meanwhile
		}
	}()
	t.Cleanup(g.leave)
	return g
}

// leave ends the connection without a goodbye.
func (g *guest) leave() {
	_ = g.ws.Close()
	<-g.ended
}

// connected reports whether neither side has ended the connection.
func (g *guest) connected() bool {
	select {
	case <-g.ended:
		return false
	default:
		return true
	}
}

// house is a database with users on two instances, and somebody who follows who comes and goes.
type house struct {
	t        testing.TB
	database string
	rooms    [2]*program
	at       [2]string
	guests   [2]map[int]*guest // by user
	follower *client           // on the second instance
}

// followerUser is who follows. It is the first that comes, and is not among the guests.
const followerUser = 500

// quickPresence has what is to be waited for come within seconds.
var quickPresence = []string{"--presence-grace=8s", "--presence-heartbeat=400ms", "--presence-dead-after=2s"}

func open(t testing.TB, database string) *house {
	t.Helper()
	h := &house{t: t, database: database}
	for n := range h.rooms {
		h.guests[n] = make(map[int]*guest)
		h.start(n)
	}
	self := arrive(t, h.at[1], followerUser, false)
	h.guests[1][followerUser] = self
	h.expectOnline()
	token, _, err := (&tidingshttp.Signer{Secret: []byte(ownSecret), TTL: time.Hour}).Sign(followerUser, "another", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h.follower = dial(t, "ws://"+h.at[1]+"/ws?channel=presence&token="+token)
	if f := h.follower.expect("row", ""); f.Data.User != strconv.Itoa(followerUser) {
		t.Fatalf("%+v is online, want %d alone", f, followerUser)
	}
	h.follower.expect("loaded", "")
	h.follower.expect("subscribed", "")
	return h
}

// start starts an instance, or starts it again.
func (h *house) start(n int) {
	h.t.Helper()
	h.rooms[n], h.at[n] = serve(h.t, environ(), append([]string{"--database-url", h.database}, quickPresence...)...)
}

// kill kills an instance. Whoever was connected to it alone is gone.
func (h *house) kill(n int) {
	h.t.Helper()
	h.rooms[n].signal(9)
	h.rooms[n].wait()
	clear(h.guests[n])
}

// come connects users to an instance, some by /ws and some by GraphQL.
func (h *house) come(n int, users ...int) {
	h.t.Helper()
	for _, user := range users {
		h.guests[n][user] = arrive(h.t, h.at[n], user, (user+n)%2 == 0)
	}
}

// leave ends users' connections to an instance.
func (h *house) leave(n int, users ...int) {
	h.t.Helper()
	for _, user := range users {
		h.guests[n][user].leave()
		delete(h.guests[n], user)
	}
}

// expect waits until the follower was told of these users, of each once, and of nobody else in between.
func (h *house) expect(typ string, users ...int) {
	h.t.Helper()
	due := make(map[string]bool)
	for _, user := range users {
		due[strconv.Itoa(user)] = true
	}
	for len(due) > 0 {
		f, err := h.follower.read()
		switch {
		case err != nil:
			h.t.Fatalf("%s of %v is still to be told: %v", typ, slices.Sorted(maps.Keys(due)), err)
		case f.Type == "cursor":
		case f.Type != typ || !due[f.Data.User]:
			h.t.Fatalf("got %s of %q, want %s of %v", f.Type, f.Data.User, typ, slices.Sorted(maps.Keys(due)))
		default:
			delete(due, f.Data.User)
		}
	}
}

// expectOnline waits until tidings.online shows those who are connected, with as many connections to as many instances as they have.
func (h *house) expectOnline() {
	h.t.Helper()
	connections, instances := make(map[int]int), make(map[int]int)
	for n := range h.guests {
		for user := range h.guests[n] {
			connections[user]++
			instances[user]++
		}
	}
	if h.follower != nil {
		connections[followerUser]++
	}
	var lines []string
	for _, user := range slices.Sorted(maps.Keys(connections)) {
		lines = append(lines, fmt.Sprintf("%d:%d:%d", user, connections[user], instances[user]))
	}
	want, got := strings.Join(lines, " "), ""
	h.t.Cleanup(func() {
		if h.t.Failed() && got != want {
			h.t.Logf("online are\n%s, want\n%s", got, want)
		}
	})
	eventually(h.t, "tidings.online is right", func() bool {
		got = ask[string](h.t, h.database, `select coalesce(string_agg(format('%s:%s:%s', "user", connections, instances), ' ' order by "user"::int), '') from tidings.online`)
		return got == want
	})
}

// expectConnected has all who did not leave still be connected.
func (h *house) expectConnected() {
	h.t.Helper()
	for n := range h.guests {
		for user, g := range h.guests[n] {
			if !g.connected() {
				h.t.Fatalf("user %d is no longer connected to instance %d", user, n)
			}
		}
	}
}

// from returns the users from the first to the last.
func from(first, last int) (users []int) {
	for user := first; user <= last; user++ {
		users = append(users, user)
	}
	return users
}
