package redis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"tidings/realtime"
)

// Follow calls batch with each batch that ends behind a position, in order, until nobody leads, which is no error, or Redis cannot be used,
// which is ErrLost, or batch or proven returns an error. A batch may begin before the end of the one before, or behind it. Signal is called with
// each signal. Proven is called some times a second: with a position up to which the one that leads had published all when it was asked, once
// what it had written by then has been given to batch; or, where there is no such news, with the zero time.
func (r *Relay) Follow(ctx context.Context, origin string, at realtime.Cursor, batch func(ctx context.Context, b realtime.Batch) error,
	signal func(s realtime.Signal), proven func(ctx context.Context, at realtime.Cursor, asked time.Time) error) error {

	client, err := r.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var nudging sync.WaitGroup
	defer nudging.Wait()
	defer cancel()
	f := &follower{relay: r, client: client, keys: keysOf(origin), from: entryID{xmax: at.Seen.Xmax}, batch: batch, signal: signal, proven: proven}
	nudging.Go(func() { r.sendNudges(ctx, client, f.keys) })

	look := true // whether somebody leads, and what is proven
	var looked time.Time
	for {
		if look || time.Since(looked) > followWait {
			looked = time.Now()
			if leads, err := f.look(ctx, looked); err != nil || !leads {
				return err
			}
		}
		if !f.asked.IsZero() && !f.from.before(f.said.last) {
			if err := f.tell(ctx); err != nil {
				return err
			}
		}
		if look, err = f.next(ctx); err != nil {
			return err
		}
	}
}

// follower is one call of Follow.
type follower struct {
	relay  *Relay
	client rueidis.Client
	keys   keys
	batch  func(ctx context.Context, b realtime.Batch) error
	signal func(s realtime.Signal)
	proven func(ctx context.Context, at realtime.Cursor, asked time.Time) error

	from    entryID   // the last entry that was read
	current bool      // all that was there in the beginning has been read: signals from before are not told
	said    proof     // the latest
	asked   time.Time // when that was; zero: it has been told
}

// look looks whether somebody leads, and for a new proof, and says that there is no news where there is none that can be told at once.
func (f *follower) look(ctx context.Context, now time.Time) (leads bool, err error) {
	latest, leads, err := f.relay.leading(ctx, f.client, f.keys)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		return false, f.relay.lost(err)
	case !leads:
		return false, nil
	case f.asked.IsZero() && latest.name != "" && latest.name != f.said.name:
		f.said, f.asked = latest, now
	}
	if f.asked.IsZero() || f.from.before(f.said.last) {
		err = f.proven(ctx, f.said.at, time.Time{})
	}
	return true, err
}

// tell tells the latest proof.
func (f *follower) tell(ctx context.Context) error {
	when := f.asked
	f.asked = time.Time{}
	return f.proven(ctx, f.said.at, when)
}

// next takes the stream's next entries, and returns whether it is to be looked anew who leads. While a proof waits to be told, it does not
// wait for any.
func (f *follower) next(ctx context.Context) (look bool, err error) {
	const page = 64
	entries, err := f.relay.entries(ctx, f.client, f.keys, f.from, page, f.asked.IsZero())
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		return false, f.relay.lost(err)
	}
	for _, e := range entries {
		if f.from, err = parseEntryID(e.ID); err != nil {
			return false, f.relay.lost(err)
		}
		record, err := decodeRecord([]byte(e.FieldValues["r"]))
		switch {
		case err != nil:
			return false, f.relay.lost(err)
		case record.batch != nil:
			if err := f.batch(ctx, *record.batch); err != nil {
				return false, err
			}
			look = false
		case record.signal != nil:
			if f.current {
				f.signal(*record.signal)
			}
		default: // the one that led has gone
			look = true
		}
	}
	f.current = f.current || len(entries) < page
	if len(entries) > 0 {
		return look, nil
	}
	if !f.asked.IsZero() { // what it speaks of is not in the stream any more
		err = f.tell(ctx)
	}
	return true, err
}

// leading asks whether somebody leads, and what that one has proven.
func (r *Relay) leading(ctx context.Context, client rueidis.Client, keys keys) (p proof, leads bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	answers, err := client.Do(ctx, client.B().Mget().Key(keys.leader, keys.state).Build()).ToArray()
	if err != nil || answers[0].IsNil() {
		return p, false, err
	}
	if state, _ := answers[1].ToString(); state != "" {
		p, err = parseProof(state)
	}
	return p, true, err
}

// entries returns the stream's next entries and, if it is to wait, waits a while for one.
func (r *Relay) entries(ctx context.Context, client rueidis.Client, keys keys, from entryID, count int64, wait bool) ([]rueidis.XRangeEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, followWait+r.Timeout)
	defer cancel()
	command := client.B().Xread().Count(count).Streams().Key(keys.stream).Id(from.String()).Build()
	if wait {
		command = client.B().Xread().Count(count).Block(followWait.Milliseconds()).Streams().Key(keys.stream).Id(from.String()).Build()
	}
	streams, err := client.Do(ctx, command).AsXRead()
	if err != nil && !rueidis.IsRedisNil(err) {
		return nil, err
	}
	return streams[keys.stream], nil
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
	ctx, cancel := context.WithTimeout(ctx, r.Timeout) // what was read by then is returned
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
			return page, !page.To.Equal(from)
		}
		for _, e := range entries {
			next = "(" + e.ID
			payload := []byte(e.FieldValues["r"])
			looked += len(payload)
			record, err := decodeRecord(payload)
			if err != nil {
				return page, !page.To.Equal(from)
			}
			if record.batch == nil || page.To.Includes(record.batch.To) {
				continue
			}
			b, ok := record.batch.After(page.To)
			if !ok || upto.Xmax != 0 && !upto.Includes(b.To.End()) {
				return page, !page.To.Equal(from) // the log tells what lies in between
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
			return page, !page.To.Equal(from)
		}
	}
}
