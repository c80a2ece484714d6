package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"
)

// writer writes one random transaction after another, and remembers what each did. A commit that it does not hear the end
// of is looked up before it goes on.
type writer struct {
	id      int
	stage   *stage
	random  *rand.Rand
	history *history
	session *session

	number  int64 // of its last change
	pending *transaction
	rows    [tables][]int64 // its own rows, as far as it knows
	refused int             // statements that the database refused
}

// run writes until stop is closed. It ends with no outcome unknown.
func (w *writer) run(ctx context.Context, stop <-chan struct{}) {
	defer w.disconnect()
	for ctx.Err() == nil {
		stopping := false
		select {
		case <-stop:
			stopping = true
		default:
		}
		if stopping && w.pending == nil {
			return
		}
		if !w.turn(ctx, stopping) {
			w.disconnect()
			pause(ctx, 50*time.Millisecond+rand.N(100*time.Millisecond))
			continue
		}
		pause(ctx, rand.N(2*w.stage.load.rest()))
	}
}

// turn writes one transaction. It returns false if the connection is not to be used any more.
func (w *writer) turn(ctx context.Context, stopping bool) bool {
	w.stage.writers.gate.RLock()
	defer w.stage.writers.gate.RUnlock()
	if w.session == nil && !w.connect(ctx) {
		return false
	}
	if stopping {
		return true
	}
	return w.write(func() error { return w.improvise(ctx) }, w.random.IntN(7) == 0)
}

func (w *writer) disconnect() {
	if w.session != nil {
		w.session.close()
		w.session = nil
	}
}

// connect connects, and finds out what became of the last transaction. The lock is held by the session before, until the
// database is done with that.
func (w *writer) connect(ctx context.Context) bool {
	s, err := connect(ctx, w.stage.primary().db)
	if err != nil {
		return false
	}
	w.session = s
	if _, err = s.do(`select 1::bigint from (select pg_advisory_lock($1)) as locked`, w.id); err != nil {
		return false
	}
	if w.pending == nil {
		return true
	}
	found, err := s.do(`select tx from ledger where writer = $1 and tx = $2`, w.id, w.pending.number)
	if err != nil {
		return false
	}
	w.settle(len(found) == 1)
	return true
}

// settle notes the outcome of the pending transaction.
func (w *writer) settle(is bool) {
	t := w.pending
	w.pending = nil
	t.ended = w.stage.now()
	t.outcome = rolledBack
	if is {
		t.outcome = committed
		for _, c := range t.changes {
			if own := &w.rows[c.table]; c.id&3 == eventID(added) {
				*own = append(*own, c.row)
			}
		}
	}
}

// write runs what body writes in a transaction.
func (w *writer) write(body func() error, rollback bool) bool {
	t := &transaction{number: int64(len(w.history.all())) + 1, began: w.stage.now()}
	w.pending = t
	w.history.add(t)
	if _, err := w.session.do(`begin`); err != nil {
		return false
	}
	early := w.random.IntN(2) == 0
	err := error(nil)
	if early {
		err = w.sign(t)
	}
	if err == nil {
		err = body()
	}
	if err == nil && !early {
		err = w.sign(t)
	}
	if err != nil {
		if !refused(err) {
			return false
		}
		w.refused++
		w.stage.workshop.say("writer %d: %s", w.id, err)
		rollback = true
	}
	if rollback {
		if _, err := w.session.do(`rollback`); err != nil {
			return false
		}
		w.settle(false)
		return true
	}
	if _, err := w.session.do(`commit`); err != nil {
		return false
	}
	w.settle(true)
	return true
}

// sign has the transaction write itself into the ledger.
func (w *writer) sign(t *transaction) error {
	_, err := w.session.do(`insert into ledger (writer, tx) values ($1, $2)`, w.id, t.number)
	return err
}

// refused reports whether the database is there, and said no.
func refused(err error) bool {
	var answer interface{ SQLState() string }
	if !errors.As(err, &answer) {
		return false
	}
	class := answer.SQLState()[:2]
	return class != "57" && class != "08" && !strings.HasPrefix(answer.SQLState(), "25P03") // shutting down, connection
}
