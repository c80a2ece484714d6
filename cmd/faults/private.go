package main

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// users are who signs in, 1 to this. Several clients are the same user.
const users = 4

// userOf is who the nth client is: a third of them have signed in.
func userOf(n int) int64 {
	if n%3 != 0 {
		return 0
	}
	return int64(1 + n/12%users)
}

// privateChannelsOf spreads those who have signed in over the private tables.
func privateChannelsOf(n int) []string {
	return [][]string{{"notes"}, {"drafts"}, {"drafts", "notes"}, append(channelsOf(n), "notes")}[n/3%4]
}

// header is what the client sends when it connects, with a token such as the service's accounts make.
func (w *workshop) header(c *client) http.Header {
	if c.user == 0 {
		return nil
	}
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "tidings", "aud": "tidings", "sub": strconv.FormatInt(c.user, 10), "sid": fmt.Sprint("client ", c.number),
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString([]byte(w.secret))
	if err != nil {
		c.crowd.strange("no token could be made: %s", err)
	}
	return http.Header{"Authorization": {"Bearer " + token}}
}

// readable reports whether the user may read a row of the private table.
func (t table) readable(owner, user int64) bool {
	return user != 0 && owner == user || t == notes && owner == 0 && user != 0
}

// toldTo is as what the user is to be told of the change; 0: not at all.
func (c *change) toldTo(user int64) eventID {
	if !c.table.private() {
		return c.id
	}
	switch now, was := c.table.readable(c.owner, user), c.table.readable(c.oldOwner, user); {
	case now && was:
		return c.id
	case now:
		return c.come
	case was:
		return c.gone
	}
	return 0
}

// ids are all as which somebody is told of the change.
func (c *change) ids() []eventID {
	if c.come == 0 {
		return []eventID{c.id}
	}
	return []eventID{c.id, c.come, c.gone}
}

// somewhere is one of the private tables, and somebody whose a row is to be.
func (w *writer) somewhere() table { return notes + table(w.random.IntN(2)) }

func (w *writer) somebody() int64 { return w.random.Int64N(users + 1) }

// notePrivate remembers a change of a private row.
func (w *writer) notePrivate(t table, k kind, row, number, version, owner, oldOwner, oldNumber int64) {
	w.note(t, k, row, number, version, row, row)
	c := &w.pending.changes[len(w.pending.changes)-1]
	c.owner, c.oldOwner = owner, oldOwner
	if k == updated {
		c.come, c.gone = newEventID(t, added, w.id, number), newEventID(t, deleted, w.id, oldNumber)
	}
}

func (w *writer) insertPrivate(t table, n int, owner int64) error {
	rows, err := w.session.do(`insert into `+topics[t]+` (owner, writer, op, version, body) select $4, $1, op, 1, $3 from unnest($2::bigint[]) as op
		returning id, op`, w.id, w.numbers(n), w.body(), owner)
	for _, r := range rows {
		w.notePrivate(t, added, r[0], r[1], 1, owner, owner, 0)
	}
	return err
}

// givePrivate gives rows to somebody, who may have them already.
func (w *writer) givePrivate(t table, ids []int64, owner int64) error {
	rows, err := w.session.do(`update `+topics[t]+` as p set op = v.op, version = p.version + 1, owner = $4
		from unnest($2::bigint[], $3::bigint[]) as v(id, op), (select id, owner, op from `+topics[t]+`) as before
		where p.id = v.id and before.id = p.id and p.writer = $1
		returning p.id, p.op, p.version, before.owner, before.op`, w.id, ids, w.numbers(len(ids)), owner)
	for _, r := range rows {
		w.notePrivate(t, updated, r[0], r[1], r[2], owner, r[3], r[4])
	}
	return err
}

func (w *writer) deletePrivate(t table) error {
	rows, err := w.session.do(`delete from `+topics[t]+` where id = any ($2) and writer = $1 returning id, op, version, owner`, w.id, w.some(t))
	for _, r := range rows {
		w.notePrivate(t, deleted, r[0], r[1], r[2], r[3], r[3], 0)
	}
	return err
}
