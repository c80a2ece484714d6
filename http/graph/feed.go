package graph

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"tidings/db"
	"tidings/realtime"
)

// feed is what one event gives to a plan.
type feed struct {
	send func()          // gives it to the resolver's channel
	err  *gqlerror.Error // instead: what can be said of the event
}

// feeds returns what the events give. The error is that of the database.
func (p *Plan) feeds(ctx context.Context, events []*realtime.Event) ([]feed, error) {
	switch p.target.topic {
	case messages:
		return feedRows(ctx, events, p.messages, decodeMessage, (*db.Reading).Messages,
			func(e *realtime.Event) (int64, error) { return strconv.ParseInt(e.Key, 10, 64) },
			func(row db.Message, with *siblings[*Message], cursor string) *Message {
				return &Message{row, with, cursor}
			})
	case comments:
		return feedRows(ctx, events, p.comments, decodeComment, (*db.Reading).Comments, nil,
			func(row db.Comment, with *siblings[*Comment], cursor string) *Comment {
				return &Comment{row, with, cursor}
			})
	case presence:
		return feedPresence(events, p.presence), nil
	case notifications:
		return feedRows(ctx, events, p.notifications, decodeNotification, (*db.Reading).Notifications, nil,
			func(row db.Notification, with *siblings[*Notification], _ string) *Notification {
				return &Notification{row, with}
			})
	case activity:
		return feedActivities(events, p.activities), nil
	}
	feeds := make([]feed, len(events))
	for i, e := range events {
		feeds[i].send = func() { p.events <- newEvent(e) }
	}
	return feeds, nil
}

// feedRows makes siblings of the events' rows. A row that an event lacks, or has not all columns of, is read by its id, where the viewer
// may read all rows as they stand: the event may be all that is for him.
func feedRows[Row, T any](ctx context.Context, events []*realtime.Event, to chan<- *T,
	decode func(data []byte) (row Row, id int64, whole bool, err error),
	read func(r *db.Reading, ctx context.Context, ids []int64) (map[int64]Row, error),
	idOf func(e *realtime.Event) (int64, error), // of an event without the row; nil: it cannot be known
	wrap func(row Row, with *siblings[*T], cursor string) *T) ([]feed, error) {

	feeds := make([]feed, len(events))
	rows := make([]Row, len(events))
	lacking := make(map[int]int64) // the ids of rows to be read
	for i, e := range events {
		switch {
		case e.Everywhere:
			feeds[i].err = errorf(CodeTruncated, "all rows of %s were deleted at once", e.Topic)
		case e.Data != nil:
			row, id, whole, err := decode(e.Data)
			switch {
			case err != nil:
				feeds[i].err = errorf(CodeInternal, "event %s cannot be understood: %s", e.ID, err)
			case whole:
				rows[i] = row
			default:
				lacking[i] = id
			}
		case idOf == nil:
			feeds[i].err = errorf(CodeOmitted, "event %s is of a row of %s that is too large to be sent", e.ID, e.Channel())
		default:
			id, err := idOf(e)
			if err != nil {
				feeds[i].err = errorf(CodeOmitted, "event %s is of a row of %s that is too large to be sent", e.ID, e.Channel())
			} else {
				lacking[i] = id
			}
		}
	}
	for i := range lacking {
		if e := events[i]; !of(ctx).mayComplete(e.Topic) {
			feeds[i].err = errorf(CodeOmitted, "event %s does not have all of a row of %s, which cannot be read", e.ID, e.Channel())
			delete(lacking, i)
		}
	}
	if len(lacking) > 0 {
		r, err := of(ctx).reading()
		if err != nil {
			return nil, err
		}
		var ids []int64
		for _, id := range lacking {
			ids = append(ids, id)
		}
		found, err := read(r, ctx, ids)
		if err != nil {
			return nil, err
		}
		for i, id := range lacking {
			row, there := found[id]
			if rows[i] = row; !there {
				feeds[i].err = errorf(CodeOmitted, "event %s is without the row %d of %s, which has been deleted since", events[i].ID, id, events[i].Topic)
			}
		}
	}
	with := &siblings[*T]{}
	for i, e := range events {
		if feeds[i].err != nil {
			continue
		}
		one := wrap(rows[i], with, e.Cursor.String())
		with.all = append(with.all, one)
		feeds[i].send = func() { to <- one }
	}
	return feeds, nil
}

// eventRow is a row as it stands in an event: columns that the watch leaves out are not there.
type eventRow struct {
	ID        *int64     `json:"id"`
	MessageID *int64     `json:"message_id"`
	AuthorID  *int64     `json:"author_id"`
	Title     *string    `json:"title"`
	Content   *string    `json:"content"`
	CreatedAt *time.Time `json:"created_at"`
	UpdatedAt *time.Time `json:"updated_at"`
}

func decodeMessage(data []byte) (m db.Message, id int64, whole bool, err error) {
	var r eventRow
	if err = json.Unmarshal(data, &r); err != nil || r.ID == nil {
		return m, 0, false, orNoID(err)
	}
	if r.AuthorID == nil || r.Title == nil || r.Content == nil || r.CreatedAt == nil || r.UpdatedAt == nil {
		return m, *r.ID, false, nil
	}
	return db.Message{ID: *r.ID, AuthorID: *r.AuthorID, Title: *r.Title, Content: *r.Content, CreatedAt: *r.CreatedAt, UpdatedAt: *r.UpdatedAt}, *r.ID, true, nil
}

func decodeComment(data []byte) (c db.Comment, id int64, whole bool, err error) {
	var r eventRow
	if err = json.Unmarshal(data, &r); err != nil || r.ID == nil {
		return c, 0, false, orNoID(err)
	}
	if r.MessageID == nil || r.AuthorID == nil || r.Content == nil || r.CreatedAt == nil || r.UpdatedAt == nil {
		return c, *r.ID, false, nil
	}
	return db.Comment{ID: *r.ID, MessageID: *r.MessageID, AuthorID: *r.AuthorID, Content: *r.Content, CreatedAt: *r.CreatedAt, UpdatedAt: *r.UpdatedAt}, *r.ID, true, nil
}

func orNoID(err error) error {
	if err == nil {
		err = inputErrorf("it has no id: the table's watch leaves it out")
	}
	return err
}

func newEvent(e *realtime.Event) *Event {
	out := &Event{
		ID: e.ID.String(), Type: e.Type, Channel: e.Channel().String(), Cursor: e.Cursor.String(), At: e.At,
		Data: JSON(e.Data), Omitted: e.Omitted,
	}
	if e.Moved {
		from := realtime.Channel{Topic: e.Topic, Key: e.OldKey}.String()
		out.MovedFrom = &from
	}
	return out
}
