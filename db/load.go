package db

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"tidings/realtime"
)

// loadQuery reads pages in one statement, and so at one position. The first row says which.
func loadQuery(pages []realtime.Page) (sql string, args []any) {
	var b strings.Builder
	b.WriteString(`select -1, null::text[], tidings.origin(), tidings.position()::text`)
	for i, p := range pages {
		n := len(args)
		fmt.Fprintf(&b, "\nunion all select %d, place, row_key, data from tidings.load($%d, $%d, $%d, $%d, $%d, $%d, $%d::text::jsonb, $%d)",
			i, n+1, n+2, n+3, n+4, n+5, n+6, n+7, n+8)
		claims, user := "{}", (*string)(nil) // whatever the database says of the topic by now, it is not read as the service
		if p.Rights != nil {
			claims, user = string(p.Rights.Claims), orNull(p.Rights.User)
		}
		args = append(args, p.Channel.Topic, orNull(p.Channel.Key), p.After, p.Backward, int64(p.MaxRows)+1, int64(p.MaxBytes), claims, user)
	}
	return b.String(), args
}

// Load implements realtime.Loader, by one statement.
func (r *Reader) Load(ctx context.Context, pages ...realtime.Page) ([]realtime.Loaded, error) {
	r.init()
	ctx, progress, stop := watched(ctx, 2*r.Timeout)
	defer stop()
	sql, args := loadQuery(pages)
	rows, err := r.DB.Pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, r.notLoaded(ctx, pages[0], err)
	}
	defer rows.Close()
	loaded := make([]realtime.Loaded, len(pages))
	bytes := make([]int, len(pages))
	total := 0
	for rows.Next() {
		progress()
		var i int
		var place []string
		var key, data *string
		if err := rows.Scan(&i, &place, &key, &data); err != nil {
			return nil, fmt.Errorf("load %s: %w", pages[0].Channel, err)
		}
		if i < 0 {
			at := realtime.Cursor{Origin: *key}
			if at.Seen, err = realtime.ParseSnapshot(*data); err != nil {
				return nil, fmt.Errorf("load %s: %w", pages[0].Channel, err)
			}
			for i := range loaded {
				loaded[i].At = at
			}
			continue
		}
		page, l := pages[i], &loaded[i]
		if len(l.Rows) == page.MaxRows || bytes[i] > page.MaxBytes || len(pages) > 1 && total > page.MaxBytes {
			l.More = true
			if len(pages) > 1 {
				break // together they are too much
			}
			continue
		}
		e := &realtime.Event{Topic: page.Channel.Topic, Type: realtime.TypeRow, Omitted: data == nil}
		if key != nil {
			e.Key, e.Keyed = *key, true
		}
		if data != nil {
			e.Data = readable([]byte(*data))
		}
		bytes[i] += len(e.Data) + rowOverhead
		total += len(e.Data) + rowOverhead
		l.Rows = append(l.Rows, e)
		l.Next = place
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, r.notLoaded(ctx, pages[0], err)
	}
	for i := range loaded {
		l := &loaded[i]
		if l.More = l.More || bytes[i] > pages[i].MaxBytes; !l.More { // no more were asked for
			l.Next = nil
		}
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
