package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// tourTables are what a tour needs besides the channel: a table with row security, of which each user may read what is hers.
const tourTables = `
create table notes (id int primary key, owner text, title text);
alter table notes enable row level security;
create policy own on notes using (owner = tidings.user_id());
select tidings.watch('notes')`

// tourist is a user who has signed up.
type tourist struct {
	t             testing.TB
	at, id        string
	name, token   string
	refresh, pass string
}

// post sends JSON, and returns the answer, which must have the status.
func (u *tourist) post(path string, status int, body any) map[string]any {
	u.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		u.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(u.t.Context(), "POST", "http://"+u.at+path, bytes.NewReader(text))
	if err != nil {
		u.t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Content-Type", "application/json")
	if u.token != "" {
		request.Header.Set("Authorization", "Bearer "+u.token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		u.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]any
	if status != http.StatusNoContent {
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			u.t.Fatalf("%s: %v", path, err)
		}
	}
	if response.StatusCode != status {
		u.t.Fatalf("%s %s is answered with %d %v", path, text, response.StatusCode, answer)
	}
	return answer
}

// graph returns the data of a GraphQL request as JSON. What the database does not answer is asked again.
func (u *tourist) graph(query string) string {
	u.t.Helper()
	var answer map[string]any
	eventually(u.t, "the database answers", func() bool {
		answer = u.post("/graphql", 200, map[string]string{"query": query})
		return !strings.Contains(fmt.Sprint(answer["errors"]), "UNAVAILABLE")
	})
	if answer["errors"] != nil {
		u.t.Fatalf("%s is answered with %v", query, answer["errors"])
	}
	data, err := json.Marshal(answer["data"])
	if err != nil {
		u.t.Fatal(err)
	}
	return string(data)
}

// session takes over the tokens of an answer.
func (u *tourist) session(answer map[string]any) {
	u.token, u.refresh = answer["accessToken"].(string), answer["refreshToken"].(string)
	u.id = answer["user"].(map[string]any)["id"].(string)
}

func signUp(t testing.TB, at, name string) *tourist {
	t.Helper()
	u := &tourist{t: t, at: at, name: name, pass: "correct horse battery"}
	u.session(u.post("/auth/sign-up", 200, map[string]string{"username": name, "password": u.pass, "displayName": name}))
	return u
}

// follow connects to channels, and returns when it is subscribed to all of them.
func (u *tourist) follow(query string, channels int) *tourClient {
	u.t.Helper()
	ws, _, err := websocket.DefaultDialer.DialContext(u.t.Context(), "ws://"+u.at+"/ws?"+query, http.Header{"Authorization": {"Bearer " + u.token}})
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = ws.Close() })
	c := &tourClient{client: client{u.t, ws}}
	for range channels {
		c.hear("subscribed", "")
	}
	return c
}

// tourClient notes what it hears.
type tourClient struct {
	client
	cursor string
	heard  []string // type and title, of events
	titles []string // of rows that were loaded
}

// hear reads until something of this type and title comes.
func (c *tourClient) hear(typ, title string) frame {
	c.t.Helper()
	for end := time.Now().Add(patience); ; {
		f, err := c.read()
		if err != nil || time.Now().After(end) {
			c.t.Fatalf("%s %q does not come, but %q: %v", typ, title, c.heard, err)
		}
		if f.Cursor != "" {
			c.cursor = f.Cursor
		}
		if f.Type == "row" {
			c.titles = append(c.titles, f.Data.Title)
		} else if f.ID != "" {
			c.heard = append(c.heard, f.Type+" "+f.Data.Title)
		}
		if f.Type == typ && f.Data.Title == title {
			return f
		}
	}
}

// tour goes once around what the service does, with two users of a fresh database in which tourTables are watched. write writes past the
// service; midway is called in the middle, while clients are connected. What is kept nowhere is told only where the service listens.
func tour(t testing.TB, at string, write func(sql string), listens bool, midway func()) {
	t.Helper()
	eventually(t, "the service is ready", func() bool { return readyz(t, at) == 200 })
	ada, bo := signUp(t, at, "ada"), signUp(t, at, "bo")
	follower := ada.follow("channel=messages&channel=notes&channel=presence", 3)

	// Rows by the service and past it, of which some are others'.
	bo.graph(`mutation { createMessage(input: {title: "one", content: "@ada"}) { message { id } } }`)
	follower.hear("message_added", "one")
	note := func(id int, owner *tourist, title string) {
		write(fmt.Sprintf(`insert into notes values (%d, '%s', '%s')`, id, owner.id, title))
	}
	note(1, bo, "his")
	note(2, ada, "hers")
	follower.hear("note_added", "hers")
	if _, rows := get(t, "http://"+at+"/channels/notes?token="+ada.token); !strings.Contains(rows, `"hers"`) || strings.Contains(rows, `"his"`) {
		t.Errorf("the rows of notes are %s", rows)
	}
	if told := ada.graph(`{ notifications(first: 5) { nodes { kind } } messages(first: 5) { nodes { title author { username } } } }`); !strings.Contains(told, `"MENTION"`) ||
		!strings.Contains(told, `"title":"one"`) {
		t.Errorf("ada is told %s", told)
	}
	ada.graph(`mutation { markAllNotificationsRead(input: {}) { marked } }`)

	midway()
	eventually(t, "the service is ready again", func() bool { return readyz(t, at) == 200 })
	before := follower.cursor
	note(3, bo, "his too")
	note(4, ada, "hers too")
	bo.graph(`mutation { createMessage(input: {title: "two", content: "", clientMutationId: "two"}) { message { id } } }`)
	follower.hear("message_added", "two")

	// Who comes back is told what she missed.
	late := ada.follow("channel=messages&channel=notes&since="+before, 2)
	if !slices.Contains(late.heard, "message_added two") { // it may have come before the second channel's answer
		late.hear("message_added", "two")
	}
	want := []string{"message_added one", "note_added hers", "note_added hers too", "message_added two"}
	if got := slices.DeleteFunc(slices.Clone(follower.heard), func(s string) bool { return strings.HasPrefix(s, "user_") }); !slices.Equal(got, want) {
		t.Errorf("she heard %q, want %q", got, want)
	}
	if !slices.Equal(late.heard, want[2:]) {
		t.Errorf("back again she heard %q, want %q", late.heard, want[2:])
	}
	rows := ada.follow("channel=notes&snapshot=true", 1)
	if !slices.Equal(rows.titles, []string{"hers", "hers too"}) {
		t.Errorf("she is given %q", rows.titles)
	}

	// Who is here.
	guest := bo.follow("channel=messages", 1)
	for follower.hear("user_online", "").Data.User != bo.id {
	}
	if listens {
		if err := guest.ws.WriteJSON(map[string]string{"type": "typing", "channel": "messages"}); err != nil {
			t.Fatal(err)
		}
		follower.hear("typing", "")
	}

	// What administrators do.
	write(`update users set role = 'admin' where username = 'ada'`)
	if told := ada.graph(`{ service { instances { name } usersOnline log { bytes } watched { table } } }`); !strings.Contains(told, `"name"`) {
		t.Errorf("of the service is told %s", told)
	}
	ada.graph(`mutation { broadcast(input: {channel: "messages", type: "announcement", data: {title: "all"}}) { channel } }`)
	guest.hear("announcement", "all")
	ada.graph(fmt.Sprintf(`mutation { setRole(input: {userId: "%s", role: MODERATOR}) { user { role } } }`, bo.id))
	ada.graph(fmt.Sprintf(`mutation { disconnectUser(input: {user: "%s", revoke: true}) { user } }`, bo.id))
	for err := error(nil); err == nil; {
		_, err = guest.read()
	}

	// Whatever else is written, and the session's end.
	bo.token = ""
	bo.session(bo.post("/auth/sign-in", 200, map[string]string{"username": "bo", "password": bo.pass}))
	bo.graph(`mutation { createComment(input: {messageId: "1", content: "x"}) { comment { id } } updateComment(input: {id: "1", content: "y"}) { comment { id } }
		updateMessage(input: {id: "1", title: "one!"}) { message { title } } deleteComment(input: {id: "1"}) { id } deleteMessage(input: {id: "2"}) { id } }`)
	follower.hear("message_updated", "one!")
	follower.hear("message_deleted", "two")
	bo.session(bo.post("/auth/refresh", 200, map[string]string{"refreshToken": bo.refresh}))
	bo.post("/auth/password", 204, map[string]string{"currentPassword": bo.pass, "newPassword": "battery staple horse"})
	bo.post("/auth/sign-out", 204, map[string]bool{"everywhere": true})
	eventually(t, "the service is ready in the end", func() bool { return readyz(t, at) == 200 })
}
