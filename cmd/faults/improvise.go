package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"
)

// improvise makes a few changes, some of them in a savepoint, some of which is rolled back; now and then it takes its time
// before the commit, so that transactions that began later are committed earlier.
func (w *writer) improvise(ctx context.Context) error {
	steps := 1 + w.random.IntN(3)
	for range steps {
		if w.random.IntN(5) > 0 {
			if err := w.step(); err != nil {
				return err
			}
			continue
		}
		if _, err := w.session.do(`savepoint s`); err != nil {
			return err
		}
		kept := len(w.pending.changes)
		if err := w.step(); err != nil {
			return err
		}
		end := `release savepoint s`
		if w.random.IntN(2) == 0 {
			end = `rollback to savepoint s`
			w.pending.changes = w.pending.changes[:kept]
		}
		if _, err := w.session.do(end); err != nil {
			return err
		}
	}
	switch w.random.IntN(10) {
	case 0:
		pause(ctx, rand.N(600*time.Millisecond))
	case 1, 2:
		// Last, since all others wait for the row's lock.
		return w.updateHot(1 + w.random.Int64N(hotRows))
	}
	return nil
}

func (w *writer) step() error {
	switch w.random.IntN(12) {
	case 0, 1:
		return w.insertMessages(1)
	case 2:
		return w.insertMessages(2 + w.random.IntN(8))
	case 3, 4:
		return w.insertComments(1+w.random.IntN(4), 1+w.random.Int64N(commentKeys))
	case 5:
		return w.updateMessages(w.some(messages))
	case 6:
		return w.moveComments(w.some(comments), 1+w.random.Int64N(commentKeys))
	case 7, 8:
		return w.insertPrivate(w.somewhere(), 1+w.random.IntN(4), w.somebody())
	case 9:
		t := w.somewhere()
		return w.givePrivate(t, w.some(t), w.somebody())
	case 10:
		return w.deletePrivate(w.somewhere())
	default:
		return w.deleteRows(table(w.random.IntN(2)))
	}
}

// some picks a few of the writer's own rows.
func (w *writer) some(t table) []int64 {
	own := w.rows[t]
	if len(own) == 0 {
		return nil
	}
	from := w.random.IntN(len(own))
	return own[from:min(len(own), from+1+w.random.IntN(4))]
}

// numbers are those of the next changes.
func (w *writer) numbers(n int) []int64 {
	var numbers []int64
	for range n {
		w.number++
		numbers = append(numbers, w.number)
	}
	return numbers
}

// body is short, and now and then long.
func (w *writer) body() string {
	if w.random.IntN(50) == 0 {
		return strings.Repeat("long ", 4000)
	}
	return strings.Repeat("short ", w.random.IntN(20))
}

// note remembers a change. Its version is doubled, so that the deletion of a row comes after its last change.
func (w *writer) note(t table, k kind, row, number, version, key, oldKey int64) {
	c := change{id: newEventID(t, k, w.id, number), table: t, row: row, number: number, version: 2 * version, key: key, oldKey: oldKey}
	if k == deleted {
		c.version++
	}
	w.pending.changes = append(w.pending.changes, c)
}

func (w *writer) insertMessages(n int) error {
	rows, err := w.session.do(`insert into messages (writer, op, version, body) select $1, op, 1, $3 from unnest($2::bigint[]) as op
		returning id, op`, w.id, w.numbers(n), w.body())
	for _, r := range rows {
		w.note(messages, added, r[0], r[1], 1, r[0], r[0])
	}
	return err
}

func (w *writer) insertComments(n int, key int64) error {
	rows, err := w.session.do(`insert into comments (message_id, writer, op, version, body) select $4, $1, op, 1, $3 from unnest($2::bigint[]) as op
		returning id, op`, w.id, w.numbers(n), w.body(), key)
	for _, r := range rows {
		w.note(comments, added, r[0], r[1], 1, key, key)
	}
	return err
}

func (w *writer) updateMessages(ids []int64) error {
	rows, err := w.session.do(`update messages as m set op = v.op, version = m.version + 1
		from unnest($2::bigint[], $3::bigint[]) as v(id, op) where m.id = v.id and m.writer = $1
		returning m.id, m.op, m.version`, w.id, ids, w.numbers(len(ids)))
	for _, r := range rows {
		w.note(messages, updated, r[0], r[1], r[2], r[0], r[0])
	}
	return err
}

func (w *writer) updateHot(id int64) error {
	rows, err := w.session.do(`update messages set writer = $1, op = $2, version = version + 1 where id = $3 returning id, op, version`,
		w.id, w.numbers(1)[0], id)
	for _, r := range rows {
		w.note(messages, updated, r[0], r[1], r[2], r[0], r[0])
	}
	return err
}

// moveComments moves comments to another message: both channels are told.
func (w *writer) moveComments(ids []int64, key int64) error {
	rows, err := w.session.do(`update comments as c set op = v.op, version = c.version + 1, message_id = $4
		from unnest($2::bigint[], $3::bigint[]) as v(id, op), (select id, message_id from comments) as before
		where c.id = v.id and before.id = c.id and c.writer = $1
		returning c.id, c.op, c.version, before.message_id`, w.id, ids, w.numbers(len(ids)), key)
	for _, r := range rows {
		w.note(comments, updated, r[0], r[1], r[2], key, r[3])
	}
	return err
}

func (w *writer) deleteRows(t table) error {
	ids := w.some(t)
	statement := `delete from messages where id = any ($2) and writer = $1 returning id, op, version, id`
	if t == comments {
		statement = `delete from comments where id = any ($2) and writer = $1 returning id, op, version, message_id`
	}
	rows, err := w.session.do(statement, w.id, ids)
	for _, r := range rows {
		w.note(t, deleted, r[0], r[1], r[2], r[3], r[3])
	}
	return err
}
