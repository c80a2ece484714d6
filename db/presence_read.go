package db

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// PresenceOf is what is known of where a user is.
type PresenceOf struct {
	Online   bool
	LastSeen *time.Time // when the last connection was closed; nil: the user is online, or never was
}

// onlineIDs are the ids of the users who are online. Other issuers' users may have names that are no ids.
const onlineIDs = `id in (select case when p."user" ~ '^(0|[1-9][0-9]{0,17})$' then p."user"::bigint end from tidings.presence p where p.online = ?::boolean)`

// ListOnline returns a page of the users who are online.
func (r *Reading) ListOnline(ctx context.Context, page Page) (Listed[User], error) {
	lists, err := userList(page.Order).read(ctx, r, page, nil, []condition{{onlineIDs, true}})
	return lists[0], err
}

// Presence returns where users are, by id. Who was never here is not in the map.
func (r *Reading) Presence(ctx context.Context, ids []int64) (map[int64]PresenceOf, error) {
	type row struct {
		user string
		PresenceOf
	}
	users := make([]string, len(ids))
	for i, id := range ids {
		users[i] = strconv.FormatInt(id, 10)
	}
	rows, err := collect(ctx, r, "who is online",
		`select p."user", p.online, case when not p.online then p.last_seen end from tidings.presence p where p."user" = any ($1::text[])`,
		[]any{users}, func(raw pgx.CollectableRow) (got row, err error) {
			err = raw.Scan(&got.user, &got.Online, &got.LastSeen)
			return got, err
		})
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]PresenceOf, len(rows))
	for _, got := range rows {
		if id, err := strconv.ParseInt(got.user, 10, 64); err == nil {
			byID[id] = got.PresenceOf
		}
	}
	return byID, nil
}
