package db_test

import (
	"errors"
	"fmt"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
)

func notificationID(n db.Notification) int64 { return n.ID }

// A user's notifications are read page by page, and marked.
func TestNotificationList(t *testing.T) {
	t.Parallel()
	c, run := writing(t, dbtest.Database(t))
	ctx := t.Context()
	run(`truncate notifications restart identity`)
	run(`insert into notifications (user_id, kind, actor_id, message_id, comment_id, created_at, read_at)
		select 1 + n % 2, 'comment', 3, 1, 1, '2026-01-01'::timestamptz + n / 5 * interval '1 second', case when n % 3 = 0 then now() end from generate_series(1, 60) n`)
	for _, unread := range []bool{false, true} {
		want := ask[int64](t, c, `select id from notifications where user_id = 2 and (read_at is null or not $1) order by created_at desc, id desc`, unread)
		var got []int64
		page := db.Page{Limit: 7}
		for {
			r := c.Read()
			listed, err := r.ListNotifications(ctx, 2, unread, page)
			if err != nil {
				t.Fatal(err)
			}
			if n := r.Statements(); n != 1 {
				t.Errorf("a page takes %d statements", n)
			}
			got = append(got, partOf(listed, notificationID).ids...)
			if !listed.More {
				break
			}
			page.After = &listed.Places[len(listed.Places)-1]
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("unread %v: got %v, want %v", unread, got, want)
		}
	}
	unread := func(user int64) int {
		n, err := c.Read().CountUnread(ctx, user)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := unread(2); n != 20 {
		t.Fatalf("%d are unread, want 20", n)
	}
	n, err := c.MarkNotificationRead(ctx, by(2), 1, db.Once{Key: "key"})
	if err != nil || n.ID != 1 || n.UserID != 2 || n.ReadAt == nil || n.Kind != "comment" || n.ActorID != 3 || n.MessageID != 1 || *n.CommentID != 1 {
		t.Errorf("marked %+v, %v", n, err)
	}
	again, err := c.MarkNotificationRead(ctx, by(2), 1, db.Once{})
	if err != nil || !again.ReadAt.Equal(*n.ReadAt) {
		t.Errorf("marked again %+v, %v", again, err)
	}
	for _, id := range []int64{2, 99} {
		if _, err := c.MarkNotificationRead(ctx, by(2), id, db.Once{}); !errors.Is(err, db.ErrNotFound) {
			t.Errorf("%d was marked: %v", id, err)
		}
	}
	upTo := int64(31)
	for i, want := range []int{10, 0} {
		if n, err := c.MarkAllNotificationsRead(ctx, 2, &upTo); err != nil || n != want {
			t.Errorf("time %d: %d were marked, %v, want %d", i+1, n, err, want)
		}
	}
	if n, err := c.MarkAllNotificationsRead(ctx, 2, nil); err != nil || n != 9 || unread(2) != 0 || unread(1) != 20 {
		t.Errorf("%d were marked, %v; %d and %d are left", n, err, unread(2), unread(1))
	}
	found, err := c.Read().Notifications(ctx, []int64{1, 2, 99})
	if err != nil || len(found) != 2 {
		t.Errorf("by id: got %v, %v", found, err)
	}
}
