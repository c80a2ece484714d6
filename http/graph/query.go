package graph

import (
	"context"

	"tidings/db"
)

// resolvers are the roots of the schema's operations.
type resolvers struct{}

func (resolvers) Query() QueryResolver               { return queries{} }
func (resolvers) Mutation() MutationResolver         { return mutations{} }
func (resolvers) Subscription() SubscriptionResolver { return subscriptions{} }

type queries struct{}

func (queries) LiveCursor(ctx context.Context) (string, error) { return of(ctx).liveCursor(ctx) }

func (queries) Me(ctx context.Context) (*User, error) {
	id := of(ctx).viewer.UserID()
	if id == 0 {
		return nil, nil
	}
	r, err := of(ctx).reading()
	if err != nil {
		return nil, err
	}
	return oneOf(ctx, r, id, (*db.Reading).Users, newUsers)
}

// one reads a row by its id; nil: there is none.
func one[Row, To any](ctx context.Context, topic string, id int64, read func(r *db.Reading, ctx context.Context, ids []int64) (map[int64]Row, error),
	wrap func([]Row) []*To) (*To, error) {

	r, err := of(ctx).mayRead(ctx, topic)
	if err != nil {
		return nil, err
	}
	return oneOf(ctx, r, id, read, wrap)
}

func oneOf[Row, To any](ctx context.Context, r *db.Reading, id int64, read func(r *db.Reading, ctx context.Context, ids []int64) (map[int64]Row, error),
	wrap func([]Row) []*To) (*To, error) {

	rows, err := read(r, ctx, []int64{id})
	if err != nil {
		return nil, err
	}
	row, there := rows[id]
	if !there {
		return nil, nil
	}
	return wrap([]Row{row})[0], nil
}

func (queries) User(ctx context.Context, id *int64, username *string) (*User, error) {
	switch {
	case (id == nil) == (username == nil):
		return nil, badInput("id", "or username is to be given, and not both")
	case id != nil:
		return one(ctx, users, *id, (*db.Reading).Users, newUsers)
	}
	r, err := of(ctx).mayRead(ctx, users)
	if err != nil {
		return nil, err
	}
	u, err := r.UserNamed(ctx, *username)
	if u == nil || err != nil {
		return nil, err
	}
	return newUsers([]db.User{*u})[0], nil
}

func (queries) Message(ctx context.Context, id int64) (*Message, error) {
	return one(ctx, messages, id, (*db.Reading).Messages, newMessages)
}

func (queries) Comment(ctx context.Context, id int64) (*Comment, error) {
	return one(ctx, comments, id, (*db.Reading).Comments, newComments)
}

func (queries) Users(ctx context.Context, first *int, after *string, last *int, before *string, filter *UserFilter, order UserOrder) (*UserConnection, error) {
	if filter == nil {
		filter = &UserFilter{}
	}
	page, err := window{first, after, last, before}.page(optionsOf(ctx), order.inDatabase())
	if err != nil {
		return nil, err
	}
	r, err := of(ctx).mayRead(ctx, users)
	if err != nil {
		return nil, err
	}
	listed, err := r.ListUsers(ctx, page, db.UserFilter{Text: value(filter.Text)})
	if err != nil {
		return nil, err
	}
	return userConnection(page, listed, newUsers(listed.Rows)), nil
}

func (queries) OnlineUsers(ctx context.Context, first *int, after *string) (*UserConnection, error) {
	page, err := window{first: first, after: after}.page(optionsOf(ctx), db.ByName)
	if err != nil {
		return nil, err
	}
	r, err := of(ctx).mayRead(ctx, presence)
	if err != nil {
		return nil, err
	}
	listed, err := r.ListOnline(ctx, page)
	if err != nil {
		return nil, err
	}
	return userConnection(page, listed, newUsers(listed.Rows)), nil
}

func (queries) Messages(ctx context.Context, first *int, after *string, last *int, before *string, filter *MessageFilter, order Order) (*MessageConnection, error) {
	if filter == nil {
		filter = &MessageFilter{}
	}
	page, err := window{first, after, last, before}.page(optionsOf(ctx), order.inDatabase())
	if err != nil {
		return nil, err
	}
	r, err := of(ctx).mayRead(ctx, messages)
	if err != nil {
		return nil, err
	}
	listed, err := r.ListMessages(ctx, page, db.MessageFilter{
		AuthorID: filter.AuthorID, Text: value(filter.Text), CreatedFrom: filter.CreatedFrom, CreatedBefore: filter.CreatedBefore,
	})
	if err != nil {
		return nil, err
	}
	return messageConnection(page, listed, newMessages(listed.Rows)), nil
}

func (queries) Comments(ctx context.Context, first *int, after *string, last *int, before *string, filter *CommentFilter, order Order) (*CommentConnection, error) {
	if filter == nil {
		filter = &CommentFilter{}
	}
	page, err := window{first, after, last, before}.page(optionsOf(ctx), order.inDatabase())
	if err != nil {
		return nil, err
	}
	r, err := of(ctx).mayRead(ctx, comments)
	if err != nil {
		return nil, err
	}
	listed, err := r.ListComments(ctx, page, db.CommentFilter{
		MessageID: filter.MessageID, AuthorID: filter.AuthorID, Text: value(filter.Text),
		CreatedFrom: filter.CreatedFrom, CreatedBefore: filter.CreatedBefore,
	})
	if err != nil {
		return nil, err
	}
	return commentConnection(page, listed, newComments(listed.Rows)), nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
