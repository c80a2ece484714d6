package redis

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"tidings/realtime"
)

// Follow calls batch with each batch that ends behind a position, in order, until nobody leads, which is no error, or Redis cannot be used,
// which is ErrLost, or batch or proven returns an error. A batch may begin before the end of the one before, or behind it. Signal is called with
// each signal, and proven some times a second with the last position up to which all was published, fresh if the one that leads has said
// so since the last time.
func (r *Relay) Follow(ctx context.Context, origin string, at realtime.Cursor, batch func(ctx context.Context, b realtime.Batch) error,
	signal func(s realtime.Signal), proven func(ctx context.Context, at realtime.Cursor, fresh bool) error) error {

	client, err := r.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var nudging sync.WaitGroup
	defer nudging.Wait()
	defer cancel()
	keys := keysOf(origin)
	nudging.Go(func() { r.sendNudges(ctx, client, keys) })

	from := entryID{xmax: at.Seen.Xmax}.String()
	const page = 64
	current := false // all that was there in the beginning has been read: signals from before are not told
	var proofs string
	var position realtime.Cursor
	for {
		asking, cancel := context.WithTimeout(ctx, followWait+r.Timeout)
		streams, err := client.Do(asking, client.B().Xread().Count(page).Block(followWait.Milliseconds()).Streams().Key(keys.stream).Id(from).Build()).AsXRead()
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !rueidis.IsRedisNil(err):
			return r.lost(err)
		}
		entries := streams[keys.stream]
		vacant := false
		for _, e := range entries {
			from = e.ID
			record, err := decodeRecord([]byte(e.FieldValues["r"]))
			switch {
			case err != nil:
				return r.lost(err)
			case record.batch != nil:
				if err := batch(ctx, *record.batch); err != nil {
					return err
				}
				vacant = false
			case record.signal != nil:
				if current {
					signal(*record.signal)
				}
			default:
				vacant = true
			}
		}
		current = current || len(entries) < page
		if len(entries) > 0 && !vacant {
			continue
		}
		asking, cancel = context.WithTimeout(ctx, r.Timeout)
		answers, err := client.Do(asking, client.B().Mget().Key(keys.leader, keys.state).Build()).ToArray()
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return r.lost(err)
		}
		if answers[0].IsNil() {
			return nil
		}
		state, _ := answers[1].ToString() // without one: nothing is proven
		fresh := state != "" && state != proofs
		if fresh {
			proofs = state
			_, text, _ := strings.Cut(state, " ")
			if position, err = realtime.ParseCursor(text); err != nil {
				return r.lost(err)
			}
		}
		if err := proven(ctx, position, fresh); err != nil {
			return err
		}
	}
}

// Nudge has the one that leads read the log now, if this instance follows it. It does not block.
func (r *Relay) Nudge() {
	r.init()
	select {
	case r.nudged <- struct{}{}:
	default:
	}
}

// nudgePause is the shortest time between two nudges.
const nudgePause = 2 * time.Millisecond

func (r *Relay) sendNudges(ctx context.Context, client rueidis.Client, keys keys) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.nudged:
		}
		asking, cancel := context.WithTimeout(ctx, r.Timeout)
		_ = client.Do(asking, client.B().Publish().Channel(keys.nudge).Message("").Build()).Error() // it reads by itself before long
		cancel()
		pauseFor(ctx, nudgePause)
	}
}

// Read returns events as realtime.Log does. It returns false where the stream does not tell what came behind the cursor: the log does.
func (r *Relay) Read(ctx context.Context, from realtime.Cursor, upto realtime.Snapshot, topics []string, maxBytes int) (realtime.LogPage, bool) {
	client, err := r.connect()
	if err != nil {
		return realtime.LogPage{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*r.Timeout)
	defer cancel()
	keys := keysOf(from.Origin)
	const count = 64
	wanted := make(map[string]bool, len(topics))
	for _, t := range topics {
		wanted[t] = true
	}
	page := realtime.LogPage{To: from, Relayed: true}
	next := "(" + entryID{xmax: from.Seen.Xmax}.String()
	bytes, looked := 0, 0
	for {
		entries, err := client.Do(ctx, client.B().Xrange().Key(keys.stream).Start(next).End("+").Count(count).Build()).AsXRange()
		if err != nil {
			return page, !sameCursor(page.To, from)
		}
		for _, e := range entries {
			next = "(" + e.ID
			payload := []byte(e.FieldValues["r"])
			looked += len(payload)
			record, err := decodeRecord(payload)
			if err != nil {
				return page, !sameCursor(page.To, from)
			}
			if record.batch == nil || page.To.Includes(record.batch.To) {
				continue
			}
			b, ok := record.batch.After(page.To)
			if !ok || upto.Xmax != 0 && !upto.Includes(b.To.End()) {
				return page, !sameCursor(page.To, from) // the log tells what lies in between
			}
			for _, e := range b.Events {
				if topics == nil || wanted[e.Topic] {
					page.Events = append(page.Events, e)
					bytes += len(e.Data)
				}
			}
			page.To = b.To
			switch {
			case upto.Xmax != 0 && !b.To.Midway() && b.To.Seen.Includes(upto):
				page.End = true
				return page, true
			case bytes >= maxBytes || looked >= 16*maxBytes:
				return page, true
			}
		}
		if len(entries) < count {
			page.End = upto.Xmax == 0
			return page, !sameCursor(page.To, from)
		}
	}
}
