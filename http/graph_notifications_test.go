package http_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidings/http/graph"
)

// Users read their notifications, and mark them.
func TestGraphNotifications(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.conversation()
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	ada, boris := token(t, "1", time.Hour), token(t, "2", time.Hour)
	d.exec(`truncate notifications restart identity`)
	s.graphAs(boris, `mutation { createComment(input: {messageId: 3, content: "well, @chloe"}) { comment { id } } }`, `{"createComment":{"comment":{"id":"4"}}}`)
	d.exec(`insert into messages (author_id, title, content) values (3, 'for @ada', '')`)

	s.graphAs(ada, `{ notifications { unreadCount nodes { id kind actor { username } message { title } comment { content } readAt } pageInfo { hasNextPage } } }`,
		`{"notifications":{"unreadCount":2,"nodes":[
			{"id":"3","kind":"MENTION","actor":{"username":"chloe"},"message":{"title":"for @ada"},"comment":null,"readAt":null},
			{"id":"2","kind":"COMMENT","actor":{"username":"Boris"},"message":{"title":"Three"},"comment":{"content":"well, @chloe"},"readAt":null}],"pageInfo":{"hasNextPage":false}}}`)
	s.graphAs(boris, `{ notifications { unreadCount nodes { id } edges { cursor } } }`, `{"notifications":{"unreadCount":0,"nodes":[],"edges":[]}}`)
	s.graphAs(ada, `mutation { markNotificationRead(input: {id: 3, clientMutationId: "x"}) { notification { id kind } clientMutationId } }`,
		`{"markNotificationRead":{"notification":{"id":"3","kind":"MENTION"},"clientMutationId":"x"}}`)
	s.graphAs(ada, `{ notifications(unreadOnly: true) { unreadCount nodes { id } } all: notifications { nodes { id } } }`,
		`{"notifications":{"unreadCount":1,"nodes":[{"id":"2"}]},"all":{"nodes":[{"id":"3"},{"id":"2"}]}}`)
	s.graphAs(ada, `mutation { markAllNotificationsRead(input: {upTo: 1}) { marked } }`, `{"markAllNotificationsRead":{"marked":0}}`)
	s.graphAs(ada, `mutation { markAllNotificationsRead(input: {clientMutationId: "y"}) { marked clientMutationId } }`, `{"markAllNotificationsRead":{"marked":1,"clientMutationId":"y"}}`)
	s.graphAs(ada, `{ notifications { unreadCount } }`, `{"notifications":{"unreadCount":0}}`)

	for _, tt := range []struct{ token, document, code string }{
		{"", `{ notifications { unreadCount } }`, graph.CodeUnauthenticated},
		{"", `mutation { markNotificationRead(input: {id: 2}) { notification { id } } }`, graph.CodeUnauthenticated},
		{"", `mutation { markAllNotificationsRead(input: {}) { marked } }`, graph.CodeUnauthenticated},
		{boris, `mutation { markNotificationRead(input: {id: 2}) { notification { id } } }`, graph.CodeNotFound},
		{boris, `mutation { markNotificationRead(input: {id: 99}) { notification { id } } }`, graph.CodeNotFound},
		{ada, `{ notifications(first: 1000) { unreadCount } }`, graph.CodeBadInput},
		{ada, `{ notifications(after: "x") { unreadCount } }`, graph.CodeBadInput},
	} {
		s.graphFails(tt.token, tt.document, tt.code, "")
	}
	development := start(t, d.url, options{})
	development.graphFails("", `mutation { markAllNotificationsRead(input: {}) { marked } }`, graph.CodeUnauthenticated, "send a token")
}

// Pages fit together, and take the same number of statements, however many rows they have.
func TestGraphNotificationPages(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.conversation()
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	ada := token(t, "1", time.Hour)
	d.exec(`truncate notifications`)
	var got, want []string
	counts := make(map[uint64]bool)
	for n := range 7 {
		want = append(want, fmt.Sprint(d.from(2+n%2, 1)))
	}
	slices.Reverse(want)
	after := "null"
	for {
		before := s.server.Graph.Stats().Statements
		a := s.ask(graphRequest{Query: `{ notifications(first: 3, after: ` + after + `) { unreadCount nodes { actor { username } message { author { username } } comment { id author { username } } }
			pageInfo { hasNextPage hasPreviousPage endCursor } } }`}, authorization(ada))
		counts[s.server.Graph.Stats().Statements-before] = true
		var page struct {
			Notifications struct {
				UnreadCount int
				Nodes       []struct{ Comment struct{ ID string } }
				PageInfo    struct {
					HasNextPage bool
					EndCursor   string
				}
			}
		}
		decodeData(t, a, &page)
		if n := page.Notifications.UnreadCount; n != 7 {
			t.Errorf("%d are unread", n)
		}
		for _, node := range page.Notifications.Nodes {
			got = append(got, node.Comment.ID)
		}
		if !page.Notifications.PageInfo.HasNextPage {
			break
		}
		after = `"` + page.Notifications.PageInfo.EndCursor + `"`
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(counts) != 1 {
		t.Errorf("pages take %v statements", counts)
	}
}

// from writes a comment of a user and returns its id.
func (d *database) from(user, message int) int64 {
	d.t.Helper()
	return query[int64](d, `insert into comments (message_id, author_id, content) values ($1, $2, 'x') returning id`, message, user)
}

// Who has signed in hears what concerns him, whoever writes it, and nothing that concerns others.
func TestGraphNotificationAdded(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.conversation()
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{}})
	const document = `subscription ($since: String) { notificationAdded(since: $since) { kind actor { username } message { title } comment { content author { username } } readAt } }`
	clients := make(map[string]*graphClient)
	since := s.liveCursor()
	for _, user := range []string{"1", "2"} {
		c := s.graphSocket(transportWS)
		c.send(`{"type":"connection_init","payload":{"token":"` + token(t, user, time.Hour) + `"}}`)
		c.expect("connection_ack")
		c.begin("1", document, map[string]any{"since": since})
		clients[user] = c
	}
	d.exec(`insert into comments (message_id, author_id, content) values (1, 3, 'well, @Boris')`)
	d.exec(`update notifications set read_at = now()`)
	d.exec(`insert into messages (author_id, title, content) values (3, 'new', '@boris @ada')`)
	clients["1"].expectResult("1", `{"notificationAdded":{"kind":"COMMENT","actor":{"username":"chloe"},"message":{"title":"One"},"comment":{"content":"well, @Boris","author":{"username":"chloe"}},"readAt":null}}`)
	clients["2"].expectResult("1", `{"notificationAdded":{"kind":"MENTION","actor":{"username":"chloe"},"message":{"title":"One"},"comment":{"content":"well, @Boris","author":{"username":"chloe"}},"readAt":null}}`)
	for _, user := range []string{"1", "2"} {
		clients[user].expectResult("1", `{"notificationAdded":{"kind":"MENTION","actor":{"username":"chloe"},"message":{"title":"new"},"comment":null,"readAt":null}}`)
	}
	if plans := s.server.Graph.Stats().Plans; plans != 1 {
		t.Errorf("there are %d plans, want one for both", plans)
	}
	nobody := s.graphInit()
	nobody.begin("1", document, nil)
	nobody.expectFailure("1", graph.CodeUnauthenticated)
}

// What anybody does can be followed, or what one user does.
func TestGraphActivity(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.conversation()
	s := start(t, d.url, options{})
	c := s.graphInit()
	since := map[string]any{"since": s.liveCursor()}
	const fields = `action actor { username } message { id title } comment { content } title count`
	c.begin("all", `subscription ($since: String) { activity(since: $since) { `+fields+` } }`, since)
	d.exec(`insert into comments (message_id, author_id, content) values (1, 2, 'first')`)
	c.expectResult("all", `{"activity":{"action":"COMMENT_WRITTEN","actor":{"username":"Boris"},"message":{"id":"1","title":"One"},"comment":{"content":"first"},"title":null,"count":1}}`)
	d.exec(`select tidings.emit_one('activity', 'announcement', null, '{}')`) // is no activity
	d.exec(`delete from messages where id = 2`)
	c.expectResult("all", `{"activity":{"action":"MESSAGE_REMOVED","actor":{"username":"Boris"},"message":null,"comment":null,"title":"Two","count":1}}`)
	d.exec(`insert into users (username, display_name) values ('dora', 'Dora')`)
	c.expectResult("all", `{"activity":{"action":"USER_JOINED","actor":{"username":"dora"},"message":null,"comment":null,"title":null,"count":1}}`)
	c.send(`{"type":"complete","id":"all"}`)

	one := s.graphInit()
	one.begin("1", `subscription ($since: String) { activity(actorId: 3, since: $since) { `+fields+` at } }`, nil)
	one.begin("2", `subscription { activity(actorId: "x") { count } }`, nil)
	one.expectFailure("2", graph.CodeBadInput)
	one.send(`{"type":"complete","id":"1"}`)
	one.begin("3", `subscription ($since: String) { activity(actorId: 3, since: $since) { action count } }`, since)
	d.exec(`insert into messages (author_id, title, content) select 3, 'x', 'y' from generate_series(1, 1200)`)
	d.exec(`begin; set local "tidings.user" = '3'; delete from messages where title = 'x'; commit`)
	told := map[string]int{}
	for told["MESSAGE_REMOVED"] < 1200 {
		var a struct {
			Activity struct {
				Action string
				Count  int
			}
		}
		decodeData(t, one.result("3"), &a)
		told[a.Activity.Action] += a.Activity.Count
	}
	if told["MESSAGE_WRITTEN"] != 1000 { // who wrote the others is not known together
		t.Errorf("told was %v", told)
	}
}

// decode reads the data of an answer without errors.
func decodeData(t *testing.T, a graphAnswer, data any) {
	t.Helper()
	if len(a.Errors) > 0 {
		t.Fatal(a.Errors)
	}
	if err := json.Unmarshal(a.Data, data); err != nil {
		t.Fatal(err)
	}
}
