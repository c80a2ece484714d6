package tidings

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
)

// Table is a channel's rows as they are in the database, made of the messages of a Follow with Options.Rows. It is not to be used by
// several goroutines at the same time, and knows rows by a primary key that does not change.
type Table[K comparable, Row any] struct {
	// Channel is which one is meant, as it was given to Follow. Messages of others are passed over.
	Channel string
	// Key returns a row's primary key.
	Key func(Row) K

	rows map[K]Row
}

// ErrOmitted says that a row is too large to be sent, so that a Table is not as the database is.
var ErrOmitted = errors.New("a row is too large to be sent")

// Apply makes the rows be as they are after the message. After an error they are not.
func (t *Table[K, Row]) Apply(m Message) error {
	switch {
	case m.Kind == Rows && m.Channel == t.Channel:
		rows := make(map[K]Row, len(m.Rows))
		for _, text := range m.Rows {
			row, err := t.decode(m, text)
			if err != nil {
				return err
			}
			rows[t.Key(row)] = row
		}
		t.rows = rows
		return nil
	case m.Kind != Event || !t.concerns(m):
		return nil
	}
	action := m.Action()
	switch action {
	case "":
		return nil // a broadcast
	case Truncated:
		clear(t.rows)
		return nil
	}
	row, err := t.decode(m, m.Data)
	if err != nil {
		return err
	}
	if t.rows == nil {
		t.rows = make(map[K]Row)
	}
	if action == Deleted || m.MovedFrom == t.Channel && m.Channel != t.Channel {
		delete(t.rows, t.Key(row))
	} else {
		t.rows[t.Key(row)] = row
	}
	return nil
}

// concerns reports whether the event is of the table's channel: of the channel itself, of a key of its topic, of a row that has left it, or
// of all rows of the topic.
func (t *Table[K, Row]) concerns(m Message) bool {
	topic, _, keyed := strings.Cut(t.Channel, ":")
	if m.Action() == Truncated {
		return m.Channel == topic
	}
	of, _, _ := strings.Cut(m.Channel, ":")
	return m.Channel == t.Channel || !keyed && of == topic || m.MovedFrom != "" && m.MovedFrom == t.Channel
}

func (t *Table[K, Row]) decode(m Message, text json.RawMessage) (row Row, err error) {
	if len(text) == 0 || string(text) == "null" {
		return row, fmt.Errorf("channel %s: %w", m.Channel, ErrOmitted)
	}
	if err := json.Unmarshal(text, &row); err != nil {
		return row, fmt.Errorf("read a row of channel %s: %w", m.Channel, err)
	}
	return row, nil
}

// Len is the number of rows.
func (t *Table[K, Row]) Len() int { return len(t.rows) }

// Get returns the row with the key.
func (t *Table[K, Row]) Get(key K) (Row, bool) {
	row, ok := t.rows[key]
	return row, ok
}

// All returns the rows, in no order.
func (t *Table[K, Row]) All() iter.Seq2[K, Row] { return maps.All(t.rows) }
