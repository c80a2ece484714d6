package http_test

import (
	"fmt"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/errgroup"
)

// However many subscribe, row security is asked once for each event and set of rights, and each is told what is his.
func TestJudgedOncePerRights(t *testing.T) {
	t.Parallel()
	const subscribers, teams, rows = 1000, 5, 20
	d := newDatabase(t)
	d.exec(`create table notes (id int primary key, team text, shared boolean not null default false);
		alter table notes enable row level security;
		create policy team on notes for select using (shared or team = tidings.claims() ->> 'team');
		select tidings.watch('notes', claims => '{team}')`)
	s := start(t, d.url, options{secret: secret})
	team := func(n int) string { return "team " + strconv.Itoa(n%teams) }
	clients := make([]*client, subscribers)
	var group errgroup.Group
	group.SetLimit(16)
	for n := range clients {
		token := tokenOf(t, strconv.Itoa(n+1), time.Hour, jwt.MapClaims{"team": team(n)})
		group.Go(func() error {
			ws, err := s.connect(t.Context(), url.Values{"channel": {"notes"}, "token": {token}}.Encode())
			clients[n] = &client{t: t, ws: ws}
			return err
		})
	}
	err := group.Wait()
	t.Cleanup(func() {
		for _, c := range clients {
			if c.ws != nil {
				_ = c.ws.Close()
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.expect("subscribed")
	}

	var events uint64
	var want [teams][]string // what each team is told
	tell := func(team int, typ string, id int) {
		want[team%teams] = append(want[team%teams], fmt.Sprint(typ, " ", id))
	}
	for id := range rows {
		d.exec(`insert into notes values ($1, $2)`, id, team(id))
		tell(id, "note_added", id)
		events++
	}
	for id := range rows {
		d.exec(`update notes set team = $2 where id = $1`, id, team(id+1))
		tell(id, "note_deleted", id)
		tell(id+1, "note_added", id)
		events++
	}
	for id := range rows {
		d.exec(`delete from notes where id = $1`, id)
		tell(id+1, "note_deleted", id)
		events++
	}
	d.exec(`insert into notes values ($1, null, true)`, rows)
	for n := range teams {
		tell(n, "note_added", rows)
	}
	events++

	for n, c := range clients {
		for i, want := range want[n%teams] {
			f := c.next()
			var data struct{ ID int }
			if err := unmarshal(f, &data); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(f.Type, " ", data.ID); got != want {
				t.Fatalf("client %d, of %s: got %s as number %d, want %s", n, team(n), got, i, want)
			}
		}
	}
	if got := s.hub.Stats().Judged; got != teams*events {
		t.Errorf("row security was asked of %d events, want %d of %d each", got, teams, events)
	}
	if _, body := s.readyz(); body.Events.Judged != int(teams*events) {
		t.Errorf("/readyz says %+v, want %d judged", body.Events, teams*events)
	}
}
