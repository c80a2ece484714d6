package http_test

import (
	"testing"
	"time"
)

// Users are for who may read messages; others are told who they are themselves, and who wrote what they may read.
func TestGraphUsersAreNotForEverybody(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	id := d.message("x")
	d.comment(id, "x")
	d.exec(`select tidings.watch('messages', event => 'message', key => 'id', read => 'signed_in')`)
	s := start(t, d.url, options{secret: secret})
	for _, document := range []string{`{ users { nodes { username role } } }`, `{ user(id: 1) { username } }`, `{ user(username: "ada") { username } }`} {
		s.graphFails("", document, "FORBIDDEN", "not public")
	}
	s.graph(`{ comments { nodes { author { username } } } me { id } }`, `{"comments":{"nodes":[{"author":{"username":"ada"}}]},"me":null}`)
	one := token(t, "1", time.Hour)
	s.graphAs(one, `{ users { nodes { username } } }`, `{"users":{"nodes":[{"username":"ada"}]}}`)
	d.exec(`select tidings.watch('messages', event => 'message', key => 'id', read => 'owner:author_id')`)
	s.refreshTopics()
	s.graphFails(one, `{ users { nodes { username } } }`, "FORBIDDEN", "all rows")
	s.graphAs(one, `{ me { username } }`, `{"me":{"username":"ada"}}`)
}
