package db

import (
	"context"
	"fmt"
	"strings"

	"tidings/realtime"
)

const loadQuery = `
select null::text[], tidings.origin(), pg_current_snapshot()::text
union all
select place, row_key, data from tidings.load($1, $2, $3, $4, $5, $6)`

// Load implements realtime.Loader, by one statement.
func (r *Reader) Load(ctx context.Context, page realtime.Page) (loaded realtime.Loaded, err error) {
	ctx, progress, stop := watched(ctx, 2*r.Timeout)
	defer stop()
	rows, err := r.DB.Pool.Query(ctx, loadQuery, page.Channel.Topic, orNull(page.Channel.Key), page.After, page.Backward,
		int64(page.MaxRows)+1, int64(page.MaxBytes))
	if err != nil {
		return realtime.Loaded{}, fmt.Errorf("load %s: %w", page.Channel, silent(ctx, explain(err), 2*r.Timeout))
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
		return realtime.Loaded{}, fmt.Errorf("load %s: %w", page.Channel, silent(ctx, explain(err), 2*r.Timeout))
	}
	loaded.More = loaded.More || bytes > page.MaxBytes // no more were asked for
	if !loaded.More {
		loaded.Next = nil
	}
	return loaded, nil
}

// rowOverhead is what a row counts for besides its data, here and in tidings.load.
const rowOverhead = 256
