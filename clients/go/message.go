package tidings

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Message is one thing that a Follow tells.
type Message struct {
	Kind Kind
	// Type is the service's word for it: message_added, typing, reset.
	Type string
	// Channel is what it is about: of an event the most precise one, messages:5 where messages is followed. "": none.
	Channel string
	// ID names an event in its database, for as long as it is kept; it says nothing about the order.
	ID string
	// Cursor is the place behind the message: a Follow that begins with it as Options.Since goes on there. It is opaque. "" where there is
	// none yet, as long as a Follow would have to begin anew: while the rows come first, and after a reset until the channel is live.
	Cursor string
	// At is when an event was written, in microseconds. Commits may come in another order.
	At time.Time
	// Data is the row of an event, by columns; of a deleted one its last state. Nil for a truncation, and where it is omitted. Of a signal it
	// is what was said.
	Data json.RawMessage
	// MovedFrom is the channel that the row has left, where an update moved it to another key.
	MovedFrom string
	// Omitted says that the row is too large to be sent.
	Omitted bool
	// Rows is all that the channel has. A row that is too large to be sent is null.
	Rows []json.RawMessage
	// Reason is why there is a reset: malformed, foreign, future or expired.
	Reason string
	// Text is the service's sentence about a reset.
	Text string
	// Err is why a channel is lost.
	Err *Error
	// Raw is the frame as the service sent it. Nil for rows that were loaded page by page.
	Raw json.RawMessage
}

// Kind is what a message is.
type Kind int

// The kinds. Whoever keeps what a channel has looks at Event, Rows and Reset; the others may be ignored.
const (
	Event  Kind = iota // a row's change, a truncation, or what was broadcast to be kept; it has an ID
	Signal             // what is kept nowhere: typing, and broadcasts that are not to be kept
	Rows               // all that a channel has: it replaces what was known of it
	Live               // what is committed in the channel from now on is told; again after each break
	Reset              // events of the channel may be missing: what was known of it is to be loaded afresh
	Place              // nothing but a newer cursor: in a quiet channel it comes instead of one that grows old
	Lost               // with Options.Partial: the channel cannot be had, or not any more; Err says why
)

func (k Kind) String() string {
	return [...]string{"event", "signal", "rows", "live", "reset", "place", "lost"}[k]
}

// Action is what happened to a row.
type Action string

// The actions.
const (
	Added     Action = "added"
	Updated   Action = "updated"
	Deleted   Action = "deleted"
	Truncated Action = "truncated" // all rows were deleted at once; there is no data
)

// Action is what an event of a watched table tells of; "" of anything else.
func (m Message) Action() Action {
	if m.Kind != Event {
		return ""
	}
	switch action := Action(m.Type[strings.LastIndexByte(m.Type, '_')+1:]); action {
	case Added, Updated, Deleted, Truncated:
		return action
	}
	return ""
}

// Decode reads the data into what is pointed to, as encoding/json does; of kind Rows, all rows into a slice. Without data it does nothing.
func (m Message) Decode(into any) error {
	if m.Kind == Rows {
		return decodeRows(m.Channel, m.Rows, into)
	}
	if len(m.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(m.Data, into); err != nil {
		return fmt.Errorf("read %s of channel %s: %w", m.Type, m.Channel, err)
	}
	return nil
}

func decodeRows(channel string, rows []json.RawMessage, into any) error {
	text, err := json.Marshal(rows)
	if rows == nil {
		text = []byte("[]")
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("read the rows of channel %s: %w", channel, err)
	}
	return nil
}

// frame is what the service says.
type frame struct {
	Type      string          `json:"type"`
	Channel   string          `json:"channel"`
	ID        string          `json:"id"`
	Cursor    string          `json:"cursor"`
	At        time.Time       `json:"at"`
	Data      json.RawMessage `json:"data"`
	MovedFrom string          `json:"moved_from"`
	Omitted   bool            `json:"omitted"`
	Reason    string          `json:"reason"`
	Message   string          `json:"message"`
	Code      Code            `json:"code"`

	raw []byte
}

func parseFrame(text []byte) (*frame, error) {
	f := &frame{raw: text}
	if err := json.Unmarshal(text, f); err != nil {
		return nil, err
	}
	if string(f.Data) == "null" {
		f.Data = nil
	}
	return f, nil
}

func (f *frame) message(kind Kind) Message {
	return Message{Kind: kind, Type: f.Type, Channel: f.Channel, ID: f.ID, At: f.At, Data: f.Data, MovedFrom: f.MovedFrom, Omitted: f.Omitted,
		Reason: f.Reason, Text: f.Message, Raw: f.raw}
}
