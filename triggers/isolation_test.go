package triggers_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// A transaction that keeps its snapshot gets what was committed before it, or is told that it cannot.
func TestSinceKeepsItsSnapshot(t *testing.T) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			l := openLive(t)
			s, other := l.connect(t), l.connect(t)
			run(t, s, items)
			since := cursor(t, s)
			run(t, s, `insert into items values (1, 'a')`)
			tx, err := other.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(t.Context())
			run(t, tx, `select`)
			run(t, s, `insert into items values (2, 'b')`)
			run(t, tx, `savepoint s`)
			expect(t, tx, since, `item_added 1 {"id":1,"v":"a"}`)
			run(t, tx, `rollback to s`) // lets go of the log, so that it can be emptied
			rotateTimes(t, s, eras+1)
			refused(t, tx, "40001", "a part of the log was emptied since this transaction began", `select * from tidings.since($1)`, since)
		})
	}
}

func TestUpkeepNeedsReadCommitted(t *testing.T) {
	t.Parallel()
	l := openLive(t)
	s := l.connect(t)
	for _, level := range []string{"repeatable read", "serializable"} {
		for _, call := range []string{"tidings.rotate()", "tidings.rotate(true)", "tidings.settle()"} {
			run(t, s, "begin isolation level "+level)
			refused(t, s, "25000", "call it under READ COMMITTED", "select "+call)
			run(t, s, "rollback")
		}
	}
	if !rotate(t, s) {
		t.Error("under READ COMMITTED it did not rotate")
	}
}
