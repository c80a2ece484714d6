package graph

import (
	"context"
	"time"

	"tidings/db"
)

// The application's topics, and its table of users, which is none: who may read messages may read it, and who may read what somebody
// wrote or did, may read who that is.
const (
	messages = "messages"
	comments = "comments"
	users    = "users"
	presence = "presence" // a stream, which no table feeds
)

// siblings are rows that were read together. What is asked of one of them is asked of all, so it is read for all at once: that
// a query takes the same number of statements however many rows it returns is not a matter of waiting for others to ask, as it is
// with a loader that collects keys for a while.
type siblings[T any] struct {
	all  []T
	once once
}

// User is a row of users.
type User struct {
	db.User
	with *siblings[*User]
}

// Message is a row of messages.
type Message struct {
	db.Message
	with   *siblings[*Message]
	cursor string // behind the event that told of it; empty: none did
}

// Comment is a row of comments.
type Comment struct {
	db.Comment
	with   *siblings[*Comment]
	cursor string // as Message's
}

// Event is a change of a row of a watched table.
type Event struct {
	ID, Type, Channel, Cursor string
	At                        time.Time
	Data                      JSON
	Omitted                   bool
	MovedFrom                 *string
}

// together makes siblings of rows.
func together[Row, T any](rows []Row, wrap func(row Row, with *siblings[*T]) *T) []*T {
	with := &siblings[*T]{all: make([]*T, len(rows))}
	for i, row := range rows {
		with.all[i] = wrap(row, with)
	}
	return with.all
}

func newUsers(rows []db.User) []*User {
	return together(rows, func(row db.User, with *siblings[*User]) *User { return &User{User: row, with: with} })
}

func newMessages(rows []db.Message) []*Message {
	return together(rows, func(row db.Message, with *siblings[*Message]) *Message { return &Message{Message: row, with: with} })
}

func newComments(rows []db.Comment) []*Comment {
	return together(rows, func(row db.Comment, with *siblings[*Comment]) *Comment { return &Comment{Comment: row, with: with} })
}

// ids are those of the siblings, each once.
func ids[T any](all []T, id func(T) int64) []int64 {
	seen := make(map[int64]bool, len(all))
	list := make([]int64, 0, len(all))
	for _, one := range all {
		if id := id(one); !seen[id] {
			seen[id] = true
			list = append(list, id)
		}
	}
	return list
}

// related reads what the siblings have as an id, and makes siblings of it.
func related[T, Row, To any](ctx context.Context, with *siblings[T], topic string, id func(T) int64,
	read func(r *db.Reading, ctx context.Context, ids []int64) (map[int64]Row, error), wrap func([]Row) []To, toID func(To) int64) (map[int64]To, error) {

	return do(&with.once, topic, func() (map[int64]To, error) {
		r, err := of(ctx).reading()
		if topic != users {
			r, err = of(ctx).mayRead(ctx, topic)
		}
		if err != nil {
			return nil, err
		}
		ids := ids(with.all, id)
		byID, err := read(r, ctx, ids)
		if err != nil {
			return nil, err
		}
		rows := make([]Row, 0, len(byID))
		for _, id := range ids {
			if row, there := byID[id]; there {
				rows = append(rows, row)
			}
		}
		found := make(map[int64]To, len(rows))
		for _, one := range wrap(rows) {
			found[toID(one)] = one
		}
		return found, nil
	})
}

func userID(u *User) int64       { return u.ID }
func messageID(m *Message) int64 { return m.ID }

// Author is who wrote it; nil: that one has been deleted.
func (m *Message) Author(ctx context.Context) (*User, error) {
	byID, err := related(ctx, m.with, users, func(m *Message) int64 { return m.AuthorID }, (*db.Reading).Users, newUsers, userID)
	return byID[m.AuthorID], err
}

// Author is who wrote it; nil: that one has been deleted.
func (c *Comment) Author(ctx context.Context) (*User, error) {
	byID, err := related(ctx, c.with, users, func(c *Comment) int64 { return c.AuthorID }, (*db.Reading).Users, newUsers, userID)
	return byID[c.AuthorID], err
}

// Message is what it is said of; nil: it has been deleted.
func (c *Comment) Message(ctx context.Context) (*Message, error) {
	byID, err := related(ctx, c.with, messages, func(c *Comment) int64 { return c.MessageID }, (*db.Reading).Messages, newMessages, messageID)
	return byID[c.MessageID], err
}

// CommentCount is how many comments it has.
func (m *Message) CommentCount(ctx context.Context) (int, error) {
	counts, err := do(&m.with.once, "comment count", func() (map[int64]int, error) {
		r, err := of(ctx).mayRead(ctx, comments)
		if err != nil {
			return nil, err
		}
		return r.CountComments(ctx, ids(m.with.all, messageID))
	})
	return counts[m.ID], err
}

// MessageCount is how many messages the user has written.
func (u *User) MessageCount(ctx context.Context) (int, error) {
	counts, err := do(&u.with.once, "message count", func() (map[int64]int, error) {
		r, err := of(ctx).mayRead(ctx, messages)
		if err != nil {
			return nil, err
		}
		return r.CountMessages(ctx, ids(u.with.all, userID))
	})
	return counts[u.ID], err
}

// LiveCursor is the position that goes with it.
func (m *Message) LiveCursor(ctx context.Context) (*string, error) { return liveCursor(ctx, m.cursor) }

// LiveCursor is the position that goes with it.
func (c *Comment) LiveCursor(ctx context.Context) (*string, error) { return liveCursor(ctx, c.cursor) }

func liveCursor(ctx context.Context, told string) (*string, error) {
	switch {
	case told != "":
		return &told, nil
	case of(ctx).kind != ofQuery:
		return nil, nil
	}
	cursor, err := of(ctx).liveCursor(ctx)
	return &cursor, err
}
