package http_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Whoever a connection is of in the end, of his are all its subscriptions, though tokens come several at a time and while they begin.
func TestGraphRenewalsAtOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name) values ('boris', 'Boris'), ('chloe', 'Chloe')`)
	d.exec(`create table letters (id int primary key, owner text);
		alter table letters enable row level security;
		create policy own on letters for select using (owner = tidings.user_id());
		create function slowly(claims jsonb, topic text, key text) returns boolean language sql as $$ select pg_sleep(0.01) is not null $$;
		select tidings.watch('letters', read => 'policy:public.slowly')`)
	s := start(t, d.url, options{secret: secret})
	const connections, subscriptions, renewals = 10, 3, 6
	since := s.liveCursor()
	var clients []*graphClient
	for range connections {
		c := s.graphSocket(transportWS)
		c.send(fmt.Sprintf(`{"type":"connection_init","payload":{"token":%q}}`, token(t, "1", time.Hour)))
		c.expect("connection_ack")
		clients = append(clients, c)
	}
	for _, c := range clients {
		for i := range max(subscriptions, renewals) {
			if i < subscriptions {
				c.begin(fmt.Sprint("letters", i), `subscription ($since: String) { events(channels: ["letters"], since: $since) { data } }`,
					map[string]any{"since": since})
			}
			c.begin(fmt.Sprint("renewal", i), `mutation ($t: String!) { renewToken(input: {token: $t}) { expiresAt } }`,
				map[string]any{"t": token(t, fmt.Sprint(1+i%3), time.Hour)})
		}
	}
	var users []string
	for _, c := range clients {
		for range renewals {
			if a := c.result0(t); len(a.Errors) > 0 {
				t.Fatal(a.Errors)
			}
			c.expect("complete")
		}
		c.begin("me", `{ me { id } }`, nil)
		var data struct{ Me struct{ ID string } }
		if err := json.Unmarshal(c.result("me").Data, &data); err != nil {
			t.Fatal(err)
		}
		c.expect("complete")
		users = append(users, data.Me.ID)
	}
	s.awaitSubscriptions(connections * subscriptions)
	d.exec(`insert into letters values (1, '1'), (2, '2'), (3, '3')`)
	for i, c := range clients {
		for range subscriptions {
			if f := c.expect("next"); !strings.Contains(f.text, fmt.Sprintf(`"owner":"%s"`, users[i])) {
				t.Errorf("user %s is told %s", users[i], f.text)
			}
		}
	}
}
