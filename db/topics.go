package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/realtime"
)

// topicsPause is the shortest time between two readings of what is watched: however many clients ask for channels that
// are not there, the database is asked a few times a second.
const topicsPause = 100 * time.Millisecond

// RefreshTopics returns when what is watched has been read after the call.
func (r *Reader) RefreshTopics(ctx context.Context) error {
	answer := make(chan error, 1)
	r.askTopics(answer)
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askTopics has the topics read, and the answer, if not nil, sent what came of it. It does not block.
func (r *Reader) askTopics(answer chan error) {
	r.init()
	if answer != nil {
		r.mu.Lock()
		r.asking = append(r.asking, answer)
		r.mu.Unlock()
	}
	select {
	case r.asked <- struct{}{}:
	default:
	}
}

// followTopics reads what is watched whenever somebody asks; all who ask in the meantime are answered together.
func (r *Reader) followTopics(ctx context.Context) error {
	complained := false
	for {
		select {
		case <-ctx.Done():
			return nil // ctx ended
		case <-r.asked:
		}
		r.mu.Lock()
		asking := r.asking
		r.asking = nil
		r.mu.Unlock()

		err := r.readTopics(ctx)
		if err != nil && ctx.Err() == nil && !complained && r.Status().Live { // otherwise it has been said that the database cannot be read
			r.Logger.Warn("what is watched cannot be read", "error", err)
			complained = true
		}
		complained = complained && err != nil
		for _, answer := range asking {
			answer <- err
		}
		if !pause(ctx, topicsPause) {
			return nil // ctx ended
		}
	}
}

func (r *Reader) readTopics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return r.loadTopics(ctx, r.DB.Pool)
}

const topicsQuery = `
select w.topic, w.key is not null, w.read, coalesce(tidings.guard_kind(w), ''), w.claims, w.columns, coalesce(w.key = tidings.owner_column(w), false), w.typing, false
  from tidings.watches w join pg_class c on c.oid = w.relation
union all
select s.topic, s.keyed, s.read, '', null, null, false, false, s.load is not null
  from tidings.streams s`

func (r *Reader) loadTopics(ctx context.Context, q querier) error {
	r.topicsMu.Lock()
	defer r.topicsMu.Unlock()
	rows, err := q.Query(ctx, topicsQuery)
	if err != nil {
		return fmt.Errorf("read watches: %w", explain(err))
	}
	topics, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t realtime.Topic, err error) {
		err = row.Scan(&t.Name, &t.Keyed, &t.Read, &t.Guard, &t.Claims, &t.Columns, &t.OwnKeys, &t.Typing, &t.Listed)
		return t, err
	})
	if err != nil {
		return fmt.Errorf("read watches: %w", explain(err))
	}
	r.Sink.SetTopics(topics)
	return nil
}
