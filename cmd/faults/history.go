package main

import (
	"sync"
	"time"
)

// table is one of those that are watched.
type table uint8

const (
	messages table = iota
	comments
	notes  // by row security, whose they are or everybody's who has signed in
	drafts // whose they are: the watch says so
	tables // how many there are
)

// topics are the tables' names, and events begin with the singular.
var topics = [tables]string{"messages", "comments", "notes", "drafts"}

// private reports whether not everybody may have all of the table's rows.
func (t table) private() bool { return t == notes || t == drafts }

// kind is what was done to a row.
type kind uint8

const (
	added kind = iota
	updated
	deleted
)

// eventID is what a client can tell an event by: the table, what was done, and the writer and number in the row. A deleted
// row has those of the last change before.
type eventID uint64

func newEventID(t table, k kind, writer int, number int64) eventID {
	return eventID(writer)<<48 | eventID(number)<<4 | eventID(t)<<2 | eventID(k)
}

// change is one row's change, as its writer made it.
type change struct {
	id      eventID
	table   table
	row     int64
	version int64 // grows with every change of the row; twice what stands in it, one more where it was deleted
	key     int64 // of the channel
	oldKey  int64 // the one that the change has moved it from, or the same
	number  int64

	owner, oldOwner int64   // of a private table's row, as key and oldKey; 0: everybody's
	come, gone      eventID // of an update of such a row, for who could not read it before, and cannot behind it; 0: it is none
}

type outcome uint8

const (
	unknown outcome = iota // the connection broke while it was committed
	committed
	rolledBack
)

// transaction is one that a writer began. Times are on the stage's clock.
type transaction struct {
	number  int64
	began   time.Duration // before its first statement was sent
	ended   time.Duration // after its outcome was known
	outcome outcome
	changes []change
}

// history is what one writer has done, in order. It is read once the writer rests.
type history struct {
	mu           sync.Mutex
	writer       int
	transactions []*transaction
}

func (h *history) add(t *transaction) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.transactions = append(h.transactions, t)
}

func (h *history) all() []*transaction {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.transactions
}
