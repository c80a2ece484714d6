package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"tidings/db"
)

// subscriber follows one channel. What it counts is its goroutine's alone until that has ended, but for what is atomic.
type subscriber struct {
	crowd   *crowd
	channel int64
	name    string // the channel's

	account  account
	distinct atomic.Int64 // different rows that have come
	measured int64        // of these, not of the warm-up
	last     int64        // when the last of them came
	batch    batch
	cursor   []byte // of the last frame that had one
	joined   bool   // it has been subscribed once
	farewell bool   // the service has said that it ends the stream
}

// follow follows the channel until ctx ends, and comes back whenever the connection ends. The error is that of the first
// connection: what cannot be begun won't be measured.
func (s *subscriber) follow(ctx context.Context) error {
	defer s.batch.flush()
	for attempt := 0; ; attempt++ {
		err := s.connect(ctx, func() {
			attempt = 0
			if s.joined {
				s.crowd.reconnects.Add(1)
				return
			}
			s.joined = true
			s.crowd.join()
		})
		if ctx.Err() != nil {
			return nil // ctx ended
		}
		if !s.joined {
			return fmt.Errorf("a subscriber cannot be connected: %w%s", err, hint(err))
		}
		if !s.farewell {
			s.crowd.incidents.note(nameOf(err))
		}
		s.farewell = false
		// Who was cut off at the same time should not come back at the same time.
		if !pause(ctx, 20*time.Millisecond+rand.N(min(100*time.Millisecond<<min(attempt, 5), 2*time.Second))) {
			return nil // ctx ended
		}
	}
}

// connect follows the channel over one connection, to its end, and calls subscribed when the stream is live.
func (s *subscriber) connect(ctx context.Context, subscribed func()) error {
	stream, err := s.crowd.open(ctx, s)
	if err != nil {
		return err
	}
	defer stream.close()
	for {
		text, cursor, err := stream.next()
		if err != nil {
			return err
		}
		if text != nil {
			f, err := readFrame(text)
			if err != nil {
				return err
			}
			if f.cursor != nil {
				cursor = f.cursor
			}
			if err := s.hear(f, subscribed); err != nil {
				return err
			}
		}
		if cursor != nil {
			s.cursor = append(s.cursor[:0], cursor...)
		}
	}
}

// hear does what a frame asks for.
func (s *subscriber) hear(f frame, subscribed func()) error {
	switch f.kind {
	case db.BenchEvent:
		s.receive(&f.row)
	case "subscribed":
		subscribed()
	case "cursor":
	case "goodbye":
		s.farewell = true
		s.crowd.incidents.note("goodbye: " + f.code)
	case "error":
		if !s.joined {
			return &refusedError{code: f.code, message: f.message}
		}
		if f.code == "unavailable" { // the channel was not subscribed to
			return errors.New("error: " + f.code)
		}
		s.crowd.incidents.note("error: " + f.code)
	case "reset":
		s.crowd.incidents.note("reset: " + f.code)
	default:
		s.crowd.incidents.note("a frame that should not come: " + strconv.Quote(f.kind))
	}
	return nil
}

// receive takes a row in.
func (s *subscriber) receive(row *db.BenchRow) {
	ledger := s.crowd.ledger.Load()
	number := row.Sequence*s.crowd.channels + row.Channel
	if ledger == nil || row.Channel != s.channel || ledger.at(number) == nil {
		s.crowd.incidents.note("a row that nobody here has written to this channel")
		return
	}
	now := s.crowd.clock.now()
	if !s.account.receive(row.Sequence, number, row.Settled) {
		return
	}
	if row.SentAt >= ledger.measured {
		s.measured++
		s.last = now
		fromCommit := int64(0)
		if committed := ledger.at(number).Load(); committed != 0 {
			fromCommit = now - committed
		}
		s.batch.add(now-row.SentAt, fromCommit)
	}
	s.distinct.Store(s.account.received) // after all else: who reads it knows that the rest is done
}
