package graph

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"tidings/db"
	"tidings/realtime"
)

// activity is the topic of who does what.
const activity = "activity"

// Activity is what somebody did.
type Activity struct {
	Action ActivityAction
	Title  *string
	Count  int
	At     time.Time

	did  deed
	with *siblings[*Activity]
}

// deed is an activity as it stands in an event.
type deed struct {
	Actor   *int64  `json:"actor"`
	Message *int64  `json:"message"`
	Comment *int64  `json:"comment"`
	Title   *string `json:"title"`
	Count   *int    `json:"count"`
}

// Actor is who did it; nil: nobody knows, or that one has been deleted.
func (a *Activity) Actor(ctx context.Context) (*User, error) {
	if a.did.Actor == nil {
		return nil, nil
	}
	byID, err := related(ctx, a.with, users, func(a *Activity) int64 { return orZero(a.did.Actor) }, (*db.Reading).Users, newUsers, userID)
	return byID[*a.did.Actor], err
}

// Message is what it was done to; nil: it has been deleted, or there is none.
func (a *Activity) Message(ctx context.Context) (*Message, error) {
	if a.did.Message == nil {
		return nil, nil
	}
	byID, err := related(ctx, a.with, messages, func(a *Activity) int64 { return orZero(a.did.Message) }, (*db.Reading).Messages, newMessages, messageID)
	return byID[*a.did.Message], err
}

// Comment is what it was done to; nil: it has been deleted, or there is none.
func (a *Activity) Comment(ctx context.Context) (*Comment, error) {
	if a.did.Comment == nil {
		return nil, nil
	}
	byID, err := related(ctx, a.with, comments, func(a *Activity) int64 { return orZero(a.did.Comment) }, (*db.Reading).Comments, newComments, commentID)
	return byID[*a.did.Comment], err
}

func (subscriptions) Activity(ctx context.Context, _ *int64, _ *string) (<-chan *Activity, error) {
	return planOf(ctx).activities, nil
}

// isActivity reports whether an event of the topic is an activity: a person in psql may tell something else there.
func isActivity(e *realtime.Event) bool { return actionOf(e).IsValid() }

func actionOf(e *realtime.Event) ActivityAction { return ActivityAction(strings.ToUpper(e.Type)) }

// feedActivities makes siblings of what the events tell.
func feedActivities(events []*realtime.Event, to chan<- *Activity) []feed {
	feeds := make([]feed, len(events))
	with := &siblings[*Activity]{}
	for i, e := range events {
		a := &Activity{Action: actionOf(e), Count: 1, At: e.At, with: with}
		if err := json.Unmarshal(e.Data, &a.did); err != nil {
			feeds[i].err = errorf(CodeInternal, "event %s cannot be understood: %s", e.ID, err)
			continue
		}
		a.Title = a.did.Title
		if a.did.Count != nil {
			a.Count = *a.did.Count
		}
		with.all = append(with.all, a)
		feeds[i].send = func() { to <- a }
	}
	return feeds
}
