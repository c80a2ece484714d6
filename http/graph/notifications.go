package graph

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"tidings/db"
)

// notifications is the topic of the table, of which nobody may read any rows but his own.
const notifications = "notifications"

// Notification is a row of notifications.
type Notification struct {
	db.Notification
	with *siblings[*Notification]
}

// NotificationConnection is a page of a user's notifications.
type NotificationConnection struct {
	Edges    []*NotificationEdge
	Nodes    []*Notification
	PageInfo *PageInfo
	user     int64
}

func newNotifications(rows []db.Notification) []*Notification {
	return together(rows, func(row db.Notification, with *siblings[*Notification]) *Notification {
		return &Notification{row, with}
	})
}

// viewerOf is whose notifications are meant.
func viewerOf(v Viewer) (int64, error) {
	id := v.UserID()
	if id == 0 {
		return 0, errorf(CodeUnauthenticated, "only who has signed in has notifications: send a token")
	}
	return id, nil
}

func (queries) Notifications(ctx context.Context, first *int, after *string, unreadOnly bool) (*NotificationConnection, error) {
	user, err := viewerOf(of(ctx).viewer)
	if err != nil {
		return nil, err
	}
	page, err := window{first: first, after: after}.page(optionsOf(ctx), db.NewestFirst)
	if err != nil {
		return nil, err
	}
	if err := partial(of(ctx).hub.Topic(notifications)); err != nil {
		return nil, err
	}
	r, err := of(ctx).reading()
	if err != nil {
		return nil, err
	}
	listed, err := r.ListNotifications(ctx, user, unreadOnly, page)
	if err != nil {
		return nil, err
	}
	all := newNotifications(listed.Rows)
	c := &NotificationConnection{Nodes: all, Edges: make([]*NotificationEdge, len(all)), PageInfo: pageInfo(page, listed.Places, listed.More), user: user}
	for i, n := range all {
		c.Edges[i] = &NotificationEdge{Node: n, Cursor: edgeCursor(page.Order, listed.Places[i])}
	}
	return c, nil
}

// UnreadCount is how many notifications the user has not read.
func (c *NotificationConnection) UnreadCount(ctx context.Context) (int, error) {
	r, err := of(ctx).reading()
	if err != nil {
		return 0, err
	}
	return do(&of(ctx).once, "unread notifications", func() (int, error) { return r.CountUnread(ctx, c.user) })
}

// Kind is why it was made.
func (n *Notification) Kind() NotificationKind {
	return NotificationKind(strings.ToUpper(n.Notification.Kind))
}

// Actor is who has done it; nil: that one has been deleted.
func (n *Notification) Actor(ctx context.Context) (*User, error) {
	byID, err := related(ctx, n.with, users, func(n *Notification) int64 { return n.ActorID }, (*db.Reading).Users, newUsers, userID)
	return byID[n.ActorID], err
}

// Message is where; nil: it has been deleted.
func (n *Notification) Message(ctx context.Context) (*Message, error) {
	byID, err := related(ctx, n.with, messages, func(n *Notification) int64 { return n.MessageID }, (*db.Reading).Messages, newMessages, messageID)
	return byID[n.MessageID], err
}

// Comment is in which comment; nil: in none, or it has been deleted.
func (n *Notification) Comment(ctx context.Context) (*Comment, error) {
	if n.CommentID == nil {
		return nil, nil
	}
	byID, err := related(ctx, n.with, comments, func(n *Notification) int64 { return orZero(n.CommentID) }, (*db.Reading).Comments, newComments, commentID)
	return byID[*n.CommentID], err
}

func commentID(c *Comment) int64 { return c.ID }

// orZero is the id, or that of no row.
func orZero(id *int64) int64 {
	if id == nil {
		return 0
	}
	return *id
}

func (mutations) MarkNotificationRead(ctx context.Context, input MarkNotificationReadInput) (*MarkNotificationReadPayload, error) {
	s, who, once, err := begin(ctx, input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	n, err := s.store.MarkNotificationRead(ctx, who, input.ID, once)
	if err != nil {
		return nil, err
	}
	return &MarkNotificationReadPayload{Notification: newNotifications([]db.Notification{n})[0], ClientMutationID: input.ClientMutationID}, nil
}

func (mutations) MarkAllNotificationsRead(ctx context.Context, input MarkAllNotificationsReadInput) (*MarkAllNotificationsReadPayload, error) {
	s, _, _, err := begin(ctx, input.ClientMutationID, input)
	if err != nil {
		return nil, err
	}
	user, err := viewerOf(s.viewer)
	if err != nil {
		return nil, err
	}
	marked, err := s.store.MarkAllNotificationsRead(ctx, user, input.UpTo)
	if err != nil {
		return nil, err
	}
	return &MarkAllNotificationsReadPayload{Marked: marked, ClientMutationID: input.ClientMutationID}, nil
}

func (subscriptions) NotificationAdded(ctx context.Context, _ *string) (<-chan *Notification, error) {
	return planOf(ctx).notifications, nil
}

// notificationRow is a row as it stands in an event.
type notificationRow struct {
	ID        *int64     `json:"id"`
	UserID    *int64     `json:"user_id"`
	Kind      *string    `json:"kind"`
	ActorID   *int64     `json:"actor_id"`
	MessageID *int64     `json:"message_id"`
	CommentID *int64     `json:"comment_id"`
	CreatedAt *time.Time `json:"created_at"`
	ReadAt    *time.Time `json:"read_at"`
}

func decodeNotification(data []byte) (n db.Notification, id int64, whole bool, err error) {
	var r notificationRow
	if err = json.Unmarshal(data, &r); err != nil || r.ID == nil {
		return n, 0, false, orNoID(err)
	}
	if r.UserID == nil || r.Kind == nil || r.ActorID == nil || r.MessageID == nil || r.CreatedAt == nil {
		return n, *r.ID, false, nil
	}
	return db.Notification{ID: *r.ID, UserID: *r.UserID, Kind: *r.Kind, ActorID: *r.ActorID, MessageID: *r.MessageID, CommentID: r.CommentID,
		CreatedAt: *r.CreatedAt, ReadAt: r.ReadAt}, *r.ID, true, nil
}
