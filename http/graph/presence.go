package graph

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"tidings/db"
	"tidings/realtime"
)

// The types of presence's events.
const (
	userOnline  = "user_online"
	userOffline = "user_offline"
)

// PresenceChange is that a user came online, or went offline.
type PresenceChange struct {
	UserID string
	Online bool
	At     time.Time
	with   *siblings[*PresenceChange]
}

// feedPresence makes siblings of the events' changes.
func feedPresence(events []*realtime.Event, to chan<- *PresenceChange) []feed {
	feeds := make([]feed, len(events))
	with := &siblings[*PresenceChange]{}
	for i, e := range events {
		var row struct {
			User     string    `json:"user"`
			Since    time.Time `json:"since"`
			LastSeen time.Time `json:"last_seen"`
		}
		if err := json.Unmarshal(e.Data, &row); err != nil {
			feeds[i].err = errorf(CodeInternal, "event %s cannot be understood: %s", e.ID, err)
			continue
		}
		change := &PresenceChange{UserID: row.User, Online: e.Type == userOnline, At: row.LastSeen, with: with}
		if change.Online {
			change.At = row.Since
		}
		with.all = append(with.all, change)
		feeds[i].send = func() { to <- change }
	}
	return feeds
}

// rowID is the id of the user's row; 0: tokens name users by something else.
func (c *PresenceChange) rowID() int64 {
	id, err := strconv.ParseInt(c.UserID, 10, 64)
	if err != nil || strconv.FormatInt(id, 10) != c.UserID {
		return 0
	}
	return id
}

// User is who it is; nil: there is no such user in the table.
func (c *PresenceChange) User(ctx context.Context) (*User, error) {
	if c.rowID() == 0 {
		return nil, nil
	}
	byID, err := related(ctx, c.with, users, (*PresenceChange).rowID, (*db.Reading).Users, newUsers, userID)
	return byID[c.rowID()], err
}

// Online is whether the user is.
func (u *User) Online(ctx context.Context) (bool, error) {
	p, err := u.presence(ctx)
	return p.Online, err
}

// LastSeen is when the user was here last; nil: is here, or never was.
func (u *User) LastSeen(ctx context.Context) (*time.Time, error) {
	p, err := u.presence(ctx)
	return p.LastSeen, err
}

func (u *User) presence(ctx context.Context) (db.PresenceOf, error) {
	byID, err := do(&u.with.once, presence, func() (map[int64]db.PresenceOf, error) {
		r, err := of(ctx).mayRead(ctx, presence)
		if err != nil {
			return nil, err
		}
		return r.Presence(ctx, ids(u.with.all, userID))
	})
	return byID[u.ID], err
}
