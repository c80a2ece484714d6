package db

import (
	"context"
	"math/rand/v2"
	"time"
)

// beats are heartbeats: entries that are written, ring the doorbell, are read and published like all others, and that
// nobody can subscribe to. While they are heard, the whole way works; how long they take is the lag.
type beats struct {
	sent  map[int64]time.Time // by this reader: when their writing began
	early map[int64]time.Time // heard before the writer was told which entry it had written
	heard time.Time           // the last one, anybody's
}

// recent reports whether one was heard when it should have been.
func (b *beats) recent(every, timeout time.Duration) bool {
	return time.Since(b.heard) < 3*every+timeout
}

// beat writes a heartbeat from time to time, unless another instance has done so.
func (r *Reader) beat(ctx context.Context) error {
	complained := false
	for wait := rand.N(r.BeatInterval / 10); pause(ctx, wait); wait = r.BeatInterval*4/5 + rand.N(r.BeatInterval*2/5) {
		err := r.beatOnce(ctx)
		if err != nil && ctx.Err() == nil && !complained && r.Status().Live { // otherwise it has been said that the database cannot be read
			r.Logger.Warn("no heartbeat can be written", "error", err)
			complained = true
		}
		complained = complained && err != nil
	}
	return nil // ctx ended
}

func (r *Reader) beatOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	begun := time.Now()
	var entry *int64
	if err := r.DB.Pool.QueryRow(ctx, `select tidings.beat($1)`, r.BeatInterval*7/10).Scan(&entry); err != nil {
		return explain(err)
	}
	if entry == nil {
		return nil // another instance's will be heard
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := &r.beats
	if heard, ok := b.early[*entry]; ok {
		r.lags(heard.Sub(begun))
		delete(b.early, *entry)
		return nil
	}
	if b.sent == nil || len(b.sent) > 100 { // of which nothing was heard
		b.sent = make(map[int64]time.Time)
	}
	b.sent[*entry] = begun
	return nil
}

// lags notes what a heartbeat took; r.mu is held.
func (r *Reader) lags(lag time.Duration) {
	r.lag = lag
	if r.Lagged != nil {
		r.Lagged(lag)
	}
}

// beatHeard is called when a heartbeat has been published; r.mu is held.
func (r *Reader) beatHeard(entry int64) {
	b := &r.beats
	b.heard = time.Now()
	if begun, own := b.sent[entry]; own {
		r.lags(b.heard.Sub(begun))
		delete(b.sent, entry)
		return
	}
	if b.early == nil || len(b.early) > 100 { // another instance's
		b.early = make(map[int64]time.Time)
	}
	b.early[entry] = b.heard
}
