package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidings/realtime"
)

// fact is a change that was committed.
type fact struct {
	change
	writer int
	order  int // among all that its writer has committed
	xid    uint64
	began  time.Duration
	ended  time.Duration
}

// truth is what the database says was committed.
type truth struct {
	facts    []fact
	index    map[eventID]int
	vanished map[eventID]bool // acknowledged, and not there any more
	lostTx   int              // acknowledged transactions that are not there any more
	wanted   map[string]*wanted
}

// wanted is what a user who follows some channels is to be told.
type wanted struct {
	facts []int
	as    []eventID // by the fact's index; 0: not at all
}

// learnTruth reads the ledger: a transaction was committed if it stands there, whatever the writer believes.
func learnTruth(ctx context.Context, c *cluster, histories []*history) (*truth, error) {
	type name struct{ writer, number int64 }
	ledger := make(map[name]uint64)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rows, err := c.db.Pool.Query(ctx, `select writer::bigint, tx, xid::text::bigint from ledger`)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n name
		var xid int64
		if err := rows.Scan(&n.writer, &n.number, &xid); err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		ledger[n] = uint64(xid)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return newTruth(histories, func(writer int, number int64) (uint64, bool) {
		xid, is := ledger[name{int64(writer), number}]
		return xid, is
	})
}

func newTruth(histories []*history, ledger func(writer int, number int64) (xid uint64, is bool)) (*truth, error) {
	t := &truth{index: make(map[eventID]int), vanished: make(map[eventID]bool), wanted: make(map[string]*wanted)}
	for _, h := range histories {
		order := 0
		for _, tx := range h.all() {
			xid, is := ledger(h.writer, tx.number)
			switch {
			case is && tx.outcome == rolledBack:
				return nil, fmt.Errorf("writer %d's transaction %d was rolled back, and stands in the ledger", h.writer, tx.number)
			case !is && tx.outcome == committed:
				t.lostTx++
				for _, c := range tx.changes {
					for _, id := range c.ids() {
						t.vanished[id] = true
					}
				}
			}
			if !is {
				continue
			}
			for _, c := range tx.changes {
				for _, id := range c.ids() {
					t.index[id] = len(t.facts)
				}
				t.facts = append(t.facts, fact{change: c, writer: h.writer, order: order, xid: xid, began: tx.began, ended: tx.ended})
				order++
			}
		}
	}
	return t, nil
}

// wants returns what a user who follows the channels is to be told.
func (t *truth) wants(user int64, channels []string) *wanted {
	signature := fmt.Sprint(user, " ", strings.Join(channels, " "))
	if w := t.wanted[signature]; w != nil {
		return w
	}
	w := &wanted{as: make([]eventID, len(t.facts))}
	for i := range t.facts {
		f := &t.facts[i]
		if !slices.ContainsFunc(channels, f.in) {
			continue
		}
		if w.as[i] = f.toldTo(user); w.as[i] != 0 {
			w.facts = append(w.facts, i)
		}
	}
	t.wanted[signature] = w
	return w
}

// in reports whether the channel has the event.
func (f *fact) in(channel string) bool {
	topic, key, keyed := strings.Cut(channel, ":")
	if topic != topics[f.table] {
		return false
	}
	return !keyed || key == strconv.FormatInt(f.key, 10) || key == strconv.FormatInt(f.oldKey, 10)
}

// sayLost says of which transactions the lost events were.
func (t *truth) sayLost(facts []int) string {
	events, ids := make(map[int]bool), make(map[uint64]bool)
	for _, f := range facts {
		events[f] = true
		ids[t.facts[f].xid] = true
	}
	return fmt.Sprintf("lost are %d events, of the transactions %v", len(events), slices.Sorted(maps.Keys(ids)))
}

// position is what a cursor covers. Clients must not look into it; we do, to know what is due after a reset.
func position(cursor string) (realtime.Snapshot, error) {
	c, err := realtime.ParseCursor(cursor)
	return c.Seen, err
}
