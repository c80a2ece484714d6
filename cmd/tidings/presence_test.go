package main_test

import (
	"slices"
	"syscall"
	"testing"

	"tidings/db/dbtest"
)

// witness is a user who comes or goes where nothing else is to be told: what was wrongly told would be told before.
const witness = 999

// An instance is killed: exactly those go offline who were connected to it alone and do not come back in time.
func TestPresenceOfAKilledInstance(t *testing.T) {
	t.Parallel()
	h := open(t, dbtest.Database(t))
	away, movers, others, both := from(101, 110), from(111, 116), from(201, 212), from(301, 308)
	h.come(0, slices.Concat(away, movers, both)...)
	h.expect("user_online", slices.Concat(away, movers, both)...)
	h.come(1, slices.Concat(both, others)...)
	h.expect("user_online", others...)
	h.expectOnline()

	h.kill(0)
	h.come(1, movers...) // within the grace
	h.expect("user_offline", away...)
	h.expectOnline()
	h.come(1, witness)
	h.expect("user_online", witness)

	// Who leaves and is back within the grace is not told of, whether by the same door or not.
	h.start(0)
	h.leave(1, others...)
	h.come(0, others[:6]...)
	h.come(1, others[6:]...)
	h.come(0, away...)
	h.expect("user_online", away...)
	h.expectOnline()
	h.leave(1, witness)
	h.expect("user_offline", witness)
	h.expectConnected()
	h.expectOnline()
}

// An instance is stopped, and its users move to the other one: it is told of none of them, however many connections they have.
func TestPresenceOfAStoppedInstance(t *testing.T) {
	t.Parallel()
	h := open(t, dbtest.Database(t))
	movers, both, away := from(101, 108), from(201, 204), from(301, 303)
	h.come(0, slices.Concat(movers, both, away)...)
	h.expect("user_online", slices.Concat(movers, both, away)...)
	h.come(1, both...)
	h.expectOnline()

	h.rooms[0].signal(syscall.SIGTERM)
	for _, user := range movers {
		<-h.guests[0][user].ended // it was asked to
		h.come(1, user)
	}
	h.rooms[0].wait()
	clear(h.guests[0])
	h.expect("user_offline", away...)
	h.expectOnline()
	h.start(0)
	h.come(0, witness)
	h.expect("user_online", witness)
	h.leave(0, witness)
	h.expect("user_offline", witness) // so whoever else were to be told of would have been
	h.expectConnected()
	h.expectOnline()
}

// PostgreSQL is restarted, and killed: of nobody who stays connected it is told that she goes or comes.
func TestPresenceOverPostgresRestarts(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	h := open(t, cluster.URL())
	first, second, both := from(101, 112), from(201, 212), from(301, 308)
	h.come(0, slices.Concat(first, both)...)
	h.expect("user_online", slices.Concat(first, both)...)
	h.come(1, slices.Concat(second, both, []int{witness})...)
	h.expect("user_online", slices.Concat(second, []int{witness})...)
	h.expectOnline()

	for _, end := range []func(){cluster.Stop, cluster.Kill} {
		end()
		// Meanwhile some come, and some go: that is told when it can be.
		h.leave(0, first[0])
		h.come(0, 401)
		cluster.Start()
		h.expect("user_online", 401)
		h.expect("user_offline", first[0])
		h.expectOnline()
		// When the next goes, all have been looked at.
		h.leave(1, witness)
		h.expect("user_offline", witness)
		h.come(1, witness)
		h.come(0, first[0])
		h.expect("user_online", witness, first[0])
		h.leave(0, 401)
		h.expect("user_offline", 401)
		h.expectConnected()
		h.expectOnline()
	}

	// Both at once: an instance is killed, and PostgreSQL before that is noticed.
	h.kill(0)
	cluster.Kill()
	cluster.Start()
	h.expect("user_offline", first...)
	h.leave(1, witness)
	h.expect("user_offline", witness)
	h.expectConnected()
	h.expectOnline()
}
