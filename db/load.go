package db

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"tidings/realtime"
)

const loadQuery = `
select null::text[], tidings.origin(), pg_current_snapshot()::text
union all
select place, row_key, data from tidings.load($1, $2, $3, $4, $5, $6)`

// Load implements realtime.Loader, by one statement.
func (r *Reader) Load(ctx context.Context, page realtime.Page) (loaded realtime.Loaded, err error) {
	r.init()
	ctx, progress, stop := watched(ctx, 2*r.Timeout)
	defer stop()
	rows, err := r.DB.Pool.Query(ctx, loadQuery, page.Channel.Topic, orNull(page.Channel.Key), page.After, page.Backward,
		int64(page.MaxRows)+1, int64(page.MaxBytes))
	if err != nil {
		return realtime.Loaded{}, r.notLoaded(ctx, page, err)
	}
	defer rows.Close()
	bytes := 0
	for first := true; rows.Next(); first = false {
		progress()
		var place []string
		var key, data *string
		if err := rows.Scan(&place, &key, &data); err != nil {
			return realtime.Loaded{}, fmt.Errorf("load %s: %w", page.Channel, err)
		}
		if first {
			loaded.At.Origin = *key
			if loaded.At.Seen, err = realtime.ParseSnapshot(*data); err != nil {
				return realtime.Loaded{}, fmt.Errorf("load %s: %w", page.Channel, err)
			}
			continue
		}
		if len(loaded.Rows) == page.MaxRows || bytes > page.MaxBytes {
			loaded.More = true
			break
		}
		e := &realtime.Event{Topic: page.Channel.Topic, Type: realtime.TypeRow, Omitted: data == nil}
		if key != nil {
			e.Key, e.Keyed = strings.Clone(*key), true
		}
		if data != nil {
			e.Data = []byte(*data)
		}
		bytes += len(e.Data) + rowOverhead
		loaded.Rows = append(loaded.Rows, e)
		loaded.Next = place
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return realtime.Loaded{}, r.notLoaded(ctx, page, err)
	}
	loaded.More = loaded.More || bytes > page.MaxBytes // no more were asked for
	if !loaded.More {
		loaded.Next = nil
	}
	return loaded, nil
}

// notLoaded says why there is no page. Where trying again would not help, it is for the client to know.
func (r *Reader) notLoaded(ctx context.Context, page realtime.Page, err error) error {
	var refused *pgconn.PgError
	class := ""
	if errors.As(err, &refused) {
		class = refused.Code[:2]
	}
	switch {
	case class == "22" && page.After != nil: // data exception
		return fmt.Errorf("load %s: %w: %w", page.Channel, realtime.ErrPlace, err)
	case class == "42" && refused.Code == "42P01": // undefined_table
		return realtime.Errorf(realtime.CodeUnknownChannel, "there is no channel %q any more", page.Channel)
	case class == "22" || class == "42": // syntax error or access rule violation
		r.Logger.Warn("the rows of a channel cannot be read", "channel", page.Channel.String(), "error", err)
		return realtime.Errorf(realtime.CodeUnavailable, "the rows of channel %q cannot be read: the service's log says why", page.Channel)
	}
	return fmt.Errorf("load %s: %w", page.Channel, silent(ctx, explain(err), 2*r.Timeout))
}

// rowOverhead is what a row counts for besides its data, here and in tidings.load.
const rowOverhead = 256
