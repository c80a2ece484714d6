package main_test

import (
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"tidings/db/dbtest"
	tidingshttp "tidings/http"
)

// An instance hangs, and what was written meanwhile is forgotten, who was revoked and who may read what included: it finds out all the same.
func TestOrdersThatWereForgotten(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	succeed(t, environ(), "migrate", "up", "--public", "--database-url", address)
	for _, statement := range []string{
		`create function may(claims jsonb, topic text, key text) returns boolean stable language sql as 'select true'`,
		`create table secrets (id bigint primary key)`,
		`select tidings.watch('secrets', read => 'policy:public.may')`,
		`create table drafts (id bigint primary key, owner text)`,
		`select tidings.watch('drafts', read => 'signed_in')`,
	} {
		sql(t, address, statement)
	}
	// Neither does it hear of anything by LISTEN, nor ask policies again by itself before the test is over.
	p, at := serve(t, environ(), "--no-listen-notify", "--recheck-interval=1h", "--database-url", address)
	follow := func(user int64, session, channel string) *client {
		token, _, err := (&tidingshttp.Signer{Secret: []byte(ownSecret), TTL: time.Hour}).Sign(user, session, time.Now().Add(-time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, "ws://"+at+"/ws?"+url.Values{"channel": {channel}, "token": {token}}.Encode())
		c.expect("subscribed", "")
		return c
	}
	revoked, ended, another := follow(1, "first", "messages"), follow(2, "first", "messages"), follow(2, "second", "messages")
	secrets, drafts := follow(3, "first", "secrets"), follow(4, "first", "drafts")

	p.signal(syscall.SIGSTOP)
	sql(t, address, `select tidings.revoke('1'), tidings.revoke('2', 'first')`)
	sql(t, address, `create or replace function may(claims jsonb, topic text, key text) returns boolean stable language sql as 'select false'`)
	sql(t, address, `select tidings.recheck(), tidings.watch('drafts', read => 'owner:owner')`)
	for range 8 {
		if !ask[bool](t, address, `select tidings.rotate(true)`) {
			t.Fatal("the log was not rotated")
		}
	}
	p.signal(syscall.SIGCONT)

	for _, c := range []*client{another, drafts} {
		c.expect("reset", "")
		c.expect("subscribed", "")
	}
	secrets.expect("reset", "")
	sql(t, address, `insert into secrets values (1)`)
	sql(t, address, `insert into drafts values (1, '1'), (2, '4')`)
	sql(t, address, `select tidings.broadcast('messages', 'end', '{}')`)
	secrets.expect("error", "")
	if f := drafts.expect("draft_added", ""); f.Data.ID != 2 {
		t.Errorf("a user is told of draft %d, which is another's", f.Data.ID)
	}
	another.expect("end", "")
	for _, c := range []*client{revoked, ended} {
		err := error(nil)
		for range 5 {
			if _, err = c.read(); err != nil {
				break
			}
		}
		if !websocket.IsCloseError(err, 4004) {
			t.Errorf("got %v, want the goodbye 4004", err)
		}
	}
}
