package http_test

import (
	"testing"
	"time"

	"tidings/http/graph"
)

// What a watch leaves out is not to be had by GraphQL either, and nobody is told by a table what an event does not say.
func TestGraphColumnsThatDoNotGoOut(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name) values ('boris', 'Boris')`)
	d.message("seen")
	d.comment(1, "x")
	s := start(t, d.url, options{secret: secret})
	follow := s.graphInit()
	follow.follow(s, "public", `subscription ($since: String) { messageUpdated(since: $since) { id content } }`)
	s.awaitSubscriptions(1)

	d.exec(`select tidings.watch('messages', event => 'message', key => 'id', columns => '{id,title}', read => 'public')`)
	s.refreshTopics()
	d.exec(`update messages set content = 'a secret'`)
	if a := follow.result("public"); len(a.Errors) != 1 || a.Errors[0].code() != graph.CodeOmitted {
		t.Errorf("got %s %v", a.Data, a.Errors)
	}
	for _, document := range []string{`{ messages { nodes { title } } }`, `{ message(id: 1) { content } }`, `{ comments { nodes { message { content } } } }`} {
		s.graphFails("", document, graph.CodeForbidden, `not all columns of "messages" go out`)
	}
	follow.begin("late", `subscription { messageAdded { id } }`, nil)
	follow.expectFailure("late", graph.CodeForbidden)

	// All that the schema tells goes out.
	d.exec(`alter table messages add column internal text;
		select tidings.watch('messages', event => 'message', key => 'id', columns => '{id,author_id,title,content,created_at,updated_at}', read => 'public')`)
	s.refreshTopics()
	s.graph(`{ message(id: 1) { content } }`, `{"message":{"content":"a secret"}}`)
}

// Of a row that row security hides, a subscription is told nothing by the table, not even that it is there.
func TestGraphRowsThatAreHidden(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name) values ('boris', 'Boris')`)
	d.exec(`alter table messages enable row level security;
		create policy p on messages for select using (title not like 'hidden%');
		select tidings.watch('messages', event => 'message', key => 'id')`)
	s := start(t, d.url, options{secret: secret})
	id := d.message("seen")
	c := s.graphSocket(transportWS)
	c.send(`{"type":"connection_init","payload":{"token":"` + token(t, "2", time.Hour) + `"}}`)
	c.expect("connection_ack")
	c.follow(s, "1", `subscription ($since: String) { messageDeleted(since: $since) { id title content } }`)
	s.awaitSubscriptions(1)
	d.exec(`select tidings.watch('messages', event => 'message', key => 'id', columns => '{id,title}')`)
	d.exec(`update messages set title = 'hidden', content = 'a secret' where id = $1`, id)
	if a := c.result("1"); len(a.Errors) != 1 || a.Errors[0].code() != graph.CodeOmitted {
		t.Errorf("got %s %v", a.Data, a.Errors)
	}
	c.begin("2", `subscription { commentAdded(messageId: 99) { id } }`, nil)
	s.awaitSubscriptions(2) // as of a message that is there
}
