package graph

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"tidings/db"
)

// An edge's cursor is its place in the list's order, and the order: so it stays good whatever is written, and one of another order is
// noticed. It is not to be confused with a live cursor, which is a position in the log.

func edgeCursor(order db.Order, place db.Place) string {
	text, _ := json.Marshal([]any{order, place.Key, place.ID}) // can always be
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseEdgeCursor(argument, cursor string, order db.Order) (*db.Place, error) {
	var place db.Place
	var of db.Order
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || json.Unmarshal(text, &[]any{&of, &place.Key, &place.ID}) != nil || place.Key == "" {
		return nil, badInput(argument, "is an edge's cursor, not %q", cursor)
	}
	if of != order {
		return nil, badInput(argument, "is the cursor of a list in another order")
	}
	return &place, nil
}

// window is the part of a connection that is asked for.
type window struct {
	first  *int
	after  *string
	last   *int
	before *string
}

// page reads the arguments.
func (w window) page(options *Options, order db.Order) (page db.Page, err error) {
	page.Limit, page.Order = options.DefaultPageSize, order
	for _, size := range []struct {
		name  string
		value *int
	}{{"first", w.first}, {"last", w.last}} {
		switch {
		case size.value == nil:
		case *size.value < 0 || *size.value > options.MaxPageSize:
			return page, badInput(size.name, "is a number from 0 to %d, not %d", options.MaxPageSize, *size.value)
		default:
			page.Limit = *size.value
		}
	}
	if w.first != nil && w.last != nil {
		return page, badInput("last", "cannot be given beside first")
	}
	page.FromEnd = w.last != nil
	if w.after != nil {
		if page.After, err = parseEdgeCursor("after", *w.after, order); err != nil {
			return page, err
		}
	}
	if w.before != nil {
		page.Before, err = parseEdgeCursor("before", *w.before, order)
	}
	return page, err
}

// key tells pages apart.
func (w window) key(name string, order Order) any {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	number := func(n *int) int {
		if n == nil {
			return -1
		}
		return *n
	}
	return fmt.Sprint(name, " ", order, " ", number(w.first), " ", text(w.after), " ", number(w.last), " ", text(w.before))
}

func (o Order) inDatabase() db.Order {
	if o == OrderOldestFirst {
		return db.OldestFirst
	}
	return db.NewestFirst
}

func (o UserOrder) inDatabase() db.Order {
	switch o {
	case UserOrderNewestFirst:
		return db.NewestFirst
	case UserOrderOldestFirst:
		return db.OldestFirst
	}
	return db.ByName
}

func pageInfo(page db.Page, places []db.Place, more bool) *PageInfo {
	info := &PageInfo{HasNextPage: more, HasPreviousPage: page.After != nil}
	if page.FromEnd {
		info.HasNextPage, info.HasPreviousPage = page.Before != nil, more
	}
	if len(places) > 0 {
		start, end := edgeCursor(page.Order, places[0]), edgeCursor(page.Order, places[len(places)-1])
		info.StartCursor, info.EndCursor = &start, &end
	}
	return info
}

func userConnection(page db.Page, listed db.Listed[db.User], all []*User) *UserConnection {
	c := &UserConnection{Nodes: all, Edges: make([]*UserEdge, len(all)), PageInfo: pageInfo(page, listed.Places, listed.More)}
	for i, u := range all {
		c.Edges[i] = &UserEdge{Node: u, Cursor: edgeCursor(page.Order, listed.Places[i])}
	}
	return c
}

func messageConnection(page db.Page, listed db.Listed[db.Message], all []*Message) *MessageConnection {
	c := &MessageConnection{Nodes: all, Edges: make([]*MessageEdge, len(all)), PageInfo: pageInfo(page, listed.Places, listed.More)}
	for i, m := range all {
		c.Edges[i] = &MessageEdge{Node: m, Cursor: edgeCursor(page.Order, listed.Places[i])}
	}
	return c
}

func commentConnection(page db.Page, listed db.Listed[db.Comment], all []*Comment) *CommentConnection {
	c := &CommentConnection{Nodes: all, Edges: make([]*CommentEdge, len(all)), PageInfo: pageInfo(page, listed.Places, listed.More)}
	for i, m := range all {
		c.Edges[i] = &CommentEdge{Node: m, Cursor: edgeCursor(page.Order, listed.Places[i])}
	}
	return c
}

// nested reads a page of a list of each of the siblings, and makes siblings of all that is in the pages.
func nested[T, Row, To, Connection any](ctx context.Context, with *siblings[T], topic string, key any, id func(T) int64, page db.Page,
	read func(r *db.Reading, ctx context.Context, ids []int64, page db.Page) (map[int64]db.Listed[Row], error),
	wrap func([]Row) []To, connect func(db.Page, db.Listed[Row], []To) Connection) (map[int64]Connection, error) {

	return do(&with.once, key, func() (map[int64]Connection, error) {
		r, err := of(ctx).mayRead(ctx, topic)
		if err != nil {
			return nil, err
		}
		ids := ids(with.all, id)
		lists, err := read(r, ctx, ids, page)
		if err != nil {
			return nil, err
		}
		var rows []Row
		for _, id := range ids {
			rows = append(rows, lists[id].Rows...)
		}
		all := wrap(rows)
		connections := make(map[int64]Connection, len(ids))
		for _, id := range ids {
			n := len(lists[id].Rows)
			connections[id] = connect(page, lists[id], all[:n:n])
			all = all[n:]
		}
		return connections, nil
	})
}

// Comments is a page of what was said of it.
func (m *Message) Comments(ctx context.Context, first *int, after *string, last *int, before *string, order Order) (*CommentConnection, error) {
	w := window{first, after, last, before}
	page, err := w.page(optionsOf(ctx), order.inDatabase())
	if err != nil {
		return nil, err
	}
	connections, err := nested(ctx, m.with, comments, w.key(comments, order), messageID, page, (*db.Reading).CommentsOn, newComments, commentConnection)
	return connections[m.ID], err
}

// Messages is a page of what the user has written.
func (u *User) Messages(ctx context.Context, first *int, after *string, last *int, before *string, order Order) (*MessageConnection, error) {
	w := window{first, after, last, before}
	page, err := w.page(optionsOf(ctx), order.inDatabase())
	if err != nil {
		return nil, err
	}
	connections, err := nested(ctx, u.with, messages, w.key(messages, order), userID, page, (*db.Reading).MessagesBy, newMessages, messageConnection)
	return connections[u.ID], err
}
