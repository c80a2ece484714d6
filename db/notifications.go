package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Notification is a row of notifications: what somebody else has done that concerns a user.
type Notification struct {
	ID, UserID int64
	Kind       string // comment, mention or reply
	ActorID    int64
	MessageID  int64
	CommentID  *int64 // nil: it is in the message itself
	CreatedAt  time.Time
	ReadAt     *time.Time // nil: the user has not read it
}

var notificationRows = relation[Notification]{"notifications", "user_id",
	[]string{"id", "user_id", "kind", "actor_id", "message_id", "comment_id", "created_at", "read_at"},
	func(n *Notification) (*int64, []any) {
		return &n.ID, []any{&n.ID, &n.UserID, &n.Kind, &n.ActorID, &n.MessageID, &n.CommentID, &n.CreatedAt, &n.ReadAt}
	}}

// Notifications returns notifications by id.
func (r *Reading) Notifications(ctx context.Context, ids []int64) (map[int64]Notification, error) {
	return notificationRows.byID(ctx, r, ids)
}

// ListNotifications returns a page of a user's notifications, or of those that the user has not read.
func (r *Reading) ListNotifications(ctx context.Context, user int64, unreadOnly bool, page Page) (Listed[Notification], error) {
	conditions := []condition{{"user_id = ?::bigint", user}}
	if unreadOnly {
		conditions[0].sql += " and read_at is null"
	}
	l := list[Notification]{relation: notificationRows, key: "created_at", keyType: "timestamptz", descending: page.Order == NewestFirst}
	lists, err := l.read(ctx, r, page, nil, conditions)
	return lists[0], err
}

// CountUnread returns how many notifications the user has not read.
func (r *Reading) CountUnread(ctx context.Context, user int64) (int, error) {
	counts, err := collect(ctx, r, "the number of notifications", `select count(*) from notifications where user_id = $1 and read_at is null`,
		[]any{user}, pgx.RowTo[int])
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// MarkNotificationRead says that the notification's user has read it. Somebody else's is ErrNotFound, as one that is not there.
func (c *Channel) MarkNotificationRead(ctx context.Context, actor Actor, id int64, once Once) (Notification, error) {
	n, err := write(ctx, c, actor, once, notificationRows, change{
		what: "mark notification", of: id, lock: "no key update",
		sql: `update notifications set read_at = coalesce(read_at, now()) where id = $1`, args: []any{id},
	})
	if errors.Is(err, ErrNotTheirs) {
		err = ErrNotFound
	}
	return n, err
}

// They are locked in the order of their ids, as the triggers do that delete them.
const markAllQuery = `
with marked as (
    update notifications set read_at = now()
     where id = any (array(select id from notifications where user_id = $1 and read_at is null and ($2::bigint is null or id <= $2)
                            order by id for no key update))
       and read_at is null
    returning 1)
select count(*) from marked`

// MarkAllNotificationsRead says that the user has read all notifications, up to an id if one is given, and returns how many were not
// read before.
func (c *Channel) MarkAllNotificationsRead(ctx context.Context, user int64, upTo *int64) (marked int, err error) {
	if err := c.DB.Pool.QueryRow(ctx, markAllQuery, user, upTo).Scan(&marked); err != nil {
		return 0, fmt.Errorf("mark notifications: %w", Unavailable(err))
	}
	return marked, nil
}
