package db

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// User is a row of users.
type User struct {
	ID          int64
	Username    string
	DisplayName string
	Role        string // member, moderator or admin
	CreatedAt   time.Time
}

// Message is a row of messages.
type Message struct {
	ID, AuthorID         int64
	Title, Content       string
	CreatedAt, UpdatedAt time.Time
}

// Comment is a row of comments.
type Comment struct {
	ID, MessageID, AuthorID int64
	Content                 string
	CreatedAt, UpdatedAt    time.Time
}

// RoleAdmin is the role of users who may do everything; moderators may change what others have written.
const (
	RoleAdmin     = "admin"
	RoleModerator = "moderator"
)

// relation is a table of which rows are read as T: its id, and where each of its columns is put.
type relation[T any] struct {
	table   string
	owner   string // the column with the id of the user whose row it is
	columns []string
	fields  func(*T) (id *int64, columns []any)
}

var (
	userRows = relation[User]{"users", "id", []string{"id", "username", "display_name", "role", "created_at"},
		func(u *User) (*int64, []any) {
			return &u.ID, []any{&u.ID, &u.Username, &u.DisplayName, &u.Role, &u.CreatedAt}
		}}
	messageRows = relation[Message]{"messages", "author_id", []string{"id", "author_id", "title", "content", "created_at", "updated_at"},
		func(m *Message) (*int64, []any) {
			return &m.ID, []any{&m.ID, &m.AuthorID, &m.Title, &m.Content, &m.CreatedAt, &m.UpdatedAt}
		}}
	commentRows = relation[Comment]{"comments", "author_id", []string{"id", "message_id", "author_id", "content", "created_at", "updated_at"},
		func(c *Comment) (*int64, []any) {
			return &c.ID, []any{&c.ID, &c.MessageID, &c.AuthorID, &c.Content, &c.CreatedAt, &c.UpdatedAt}
		}}
)

// list is the columns as SQL.
func (r relation[T]) list() string { return strings.Join(r.columns, ", ") }

// scan reads a row that has nothing but the columns.
func (r relation[T]) scan(row pgx.CollectableRow) (value T, err error) {
	_, columns := r.fields(&value)
	err = row.Scan(columns...)
	return value, err
}

// byID reads rows by their ids. What there is not is not in the map.
func (r relation[T]) byID(ctx context.Context, reading *Reading, ids []int64) (map[int64]T, error) {
	sql := fmt.Sprintf("select %s from %s where id = any ($1::bigint[])", r.list(), r.table)
	rows, err := collect(ctx, reading, r.table, sql, []any{ids}, r.scan)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]T, len(rows))
	for _, row := range rows {
		id, _ := r.fields(&row)
		byID[*id] = row
	}
	return byID, nil
}

// Users returns users by id.
func (r *Reading) Users(ctx context.Context, ids []int64) (map[int64]User, error) {
	return userRows.byID(ctx, r, ids)
}

// Messages returns messages by id.
func (r *Reading) Messages(ctx context.Context, ids []int64) (map[int64]Message, error) {
	return messageRows.byID(ctx, r, ids)
}

// Comments returns comments by id.
func (r *Reading) Comments(ctx context.Context, ids []int64) (map[int64]Comment, error) {
	return commentRows.byID(ctx, r, ids)
}

// UserNamed returns the user of the name; nil: there is none.
func (r *Reading) UserNamed(ctx context.Context, username string) (*User, error) {
	sql := fmt.Sprintf("select %s from users where lower(username) = lower($1)", userRows.list())
	users, err := collect(ctx, r, "a user", sql, []any{username}, userRows.scan)
	if err != nil || len(users) == 0 {
		return nil, err
	}
	return &users[0], nil
}

// UserFilter says which users are listed. Zero fields do not count.
type UserFilter struct {
	Text string // in the username or the display name, without regard to case
}

func userList(order Order) list[User] {
	if order == ByName {
		return list[User]{relation: userRows, key: "lower(username)", keyType: "text"}
	}
	return list[User]{relation: userRows, key: "created_at", keyType: "timestamptz", descending: order == NewestFirst}
}

// ListUsers returns a page of the users.
func (r *Reading) ListUsers(ctx context.Context, page Page, filter UserFilter) (Listed[User], error) {
	var conditions []condition
	if filter.Text != "" {
		conditions = append(conditions, condition{"(username ilike ? or display_name ilike ?)", contains(filter.Text)})
	}
	lists, err := userList(page.Order).read(ctx, r, page, nil, conditions)
	return lists[0], err
}

// MessageFilter says which messages are listed. Zero fields do not count.
type MessageFilter struct {
	AuthorID                   *int64
	Text                       string // in the title or the content, without regard to case
	CreatedFrom, CreatedBefore *time.Time
}

func messageList(order Order) list[Message] {
	return list[Message]{relation: messageRows, parent: "author_id", key: "created_at", keyType: "timestamptz",
		descending: order == NewestFirst}
}

// ListMessages returns a page of the messages.
func (r *Reading) ListMessages(ctx context.Context, page Page, filter MessageFilter) (Listed[Message], error) {
	conditions := created(filter.CreatedFrom, filter.CreatedBefore)
	if filter.AuthorID != nil {
		conditions = append(conditions, condition{"author_id = ?::bigint", *filter.AuthorID})
	}
	if filter.Text != "" {
		conditions = append(conditions, condition{"(title ilike ? or content ilike ?)", contains(filter.Text)})
	}
	lists, err := messageList(page.Order).read(ctx, r, page, nil, conditions)
	return lists[0], err
}

// MessagesBy returns a page of the messages of each of the authors, by author.
func (r *Reading) MessagesBy(ctx context.Context, authors []int64, page Page) (map[int64]Listed[Message], error) {
	return messageList(page.Order).nested(ctx, r, page, authors)
}

// CommentFilter says which comments are listed. Zero fields do not count.
type CommentFilter struct {
	MessageID, AuthorID        *int64
	Text                       string // in the content, without regard to case
	CreatedFrom, CreatedBefore *time.Time
}

func commentList(order Order) list[Comment] {
	return list[Comment]{relation: commentRows, parent: "message_id", key: "created_at", keyType: "timestamptz",
		descending: order == NewestFirst}
}

// ListComments returns a page of the comments.
func (r *Reading) ListComments(ctx context.Context, page Page, filter CommentFilter) (Listed[Comment], error) {
	conditions := created(filter.CreatedFrom, filter.CreatedBefore)
	if filter.MessageID != nil {
		conditions = append(conditions, condition{"message_id = ?::bigint", *filter.MessageID})
	}
	if filter.AuthorID != nil {
		conditions = append(conditions, condition{"author_id = ?::bigint", *filter.AuthorID})
	}
	if filter.Text != "" {
		conditions = append(conditions, condition{"content ilike ?", contains(filter.Text)})
	}
	lists, err := commentList(page.Order).read(ctx, r, page, nil, conditions)
	return lists[0], err
}

// CommentsOn returns a page of the comments on each of the messages, by message.
func (r *Reading) CommentsOn(ctx context.Context, messages []int64, page Page) (map[int64]Listed[Comment], error) {
	return commentList(page.Order).nested(ctx, r, page, messages)
}

// CountComments returns how many comments there are on each of the messages.
func (r *Reading) CountComments(ctx context.Context, messages []int64) (map[int64]int, error) {
	return r.counts(ctx, "the number of comments", `select message_id, count(*) from comments where message_id = any ($1::bigint[]) group by 1`, messages)
}

// CountMessages returns how many messages each of the authors has written.
func (r *Reading) CountMessages(ctx context.Context, authors []int64) (map[int64]int, error) {
	return r.counts(ctx, "the number of messages", `select author_id, count(*) from messages where author_id = any ($1::bigint[]) group by 1`, authors)
}

func (r *Reading) counts(ctx context.Context, what, sql string, ids []int64) (map[int64]int, error) {
	type count struct {
		id int64
		n  int
	}
	rows, err := collect(ctx, r, what, sql, []any{ids}, func(row pgx.CollectableRow) (c count, err error) {
		return c, row.Scan(&c.id, &c.n)
	})
	counts := make(map[int64]int, len(rows))
	for _, c := range rows {
		counts[c.id] = c.n
	}
	return counts, err
}
