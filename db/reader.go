package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"tidings/realtime"
)

// Sink takes what the reader reads; the hub is one.
type Sink interface {
	SetLineage(l realtime.Lineage)
	Start(at realtime.Cursor)
	Continue(at realtime.Cursor)
	Restart(at realtime.Cursor, reason realtime.Reset)
	Publish(b realtime.Batch)
	SetLive(live bool)
	SetTopics(topics []realtime.Topic)
	Signal(s realtime.Signal)
	Recheck()
}

// Reader follows the log and publishes what is new to its sink: when the doorbell rings, and every poll interval at
// the latest. Its position is a snapshot, so that start, reconnect and every read are the same: read what came since.
type Reader struct {
	DB     *DB
	Sink   Sink
	Logger *slog.Logger

	// PollInterval is the longest time between two reads; 1 s.
	PollInterval time.Duration
	// Timeout is how long the database may be silent in the middle of a read before the connection is given up; 5 s.
	// After a read that failed so, the next may take longer: a large one is sorted before its first row comes.
	Timeout time.Duration
	// NoListen switches the doorbell off, where LISTEN cannot work: the log is polled every PollInterval alone.
	NoListen bool
	// BeatInterval is how often, by all readers together, something is written that goes the way of all events; 5 s.
	// Negative: never.
	BeatInterval time.Duration
	// Disconnect is called when a user's connections are to be closed, or those of one session, if that is not empty; revoked says that the
	// tokens from before then are not valid any more. Nil: nobody's are.
	Disconnect func(user, session string, revoked bool, at time.Time)
	// Missed is called when what was to be done may not have been heard, since the log was forgotten meanwhile, or is another's. It does not
	// block. Nil: nobody wants to know.
	Missed func()
	// Relay has the log read by one reader for all; nil: each reads for itself.
	Relay Relay
	// Lagged is called with what a heartbeat of this reader's took, from before it was written until it was published, with locks held:
	// it does not block. Nil: nobody wants to know.
	Lagged func(time.Duration)
	// AuditInterval is how often what was read is compared with what the log has; 1 min.
	AuditInterval time.Duration

	bell     chan struct{}
	asked    chan struct{} // for the topics
	topicsMu sync.Mutex    // of reading them: who begins later has the last word
	name     string        // of this reader among all, for the listener's ping
	initOnce sync.Once

	entrySize atomic.Int64 // bytes of an entry of the last page; zero: none was read

	mu          sync.Mutex
	asking      []chan error // who waits for the topics
	listening   bool
	heard       time.Time // when the listener last heard anything
	pinged      time.Time // when the database last was asked to notify the listener
	role        Role
	roleChanged chan struct{} // is closed when it becomes following, or is no longer

	live     bool
	lastRead time.Time
	lag      time.Duration
	awake    bool
	turns    uint64
	beats    beats
	events   uint64 // read since the start
	audited  Audit
	counted  counted           // at the position of the last complete read
	problems map[string]string // of policies, that were complained about
}

func (r *Reader) init() {
	r.initOnce.Do(func() {
		r.bell = make(chan struct{}, 1)
		r.asked = make(chan struct{}, 1)
		r.roleChanged = make(chan struct{})
		r.name = strconv.FormatUint(rand.Uint64(), 36)
		if r.PollInterval == 0 {
			r.PollInterval = time.Second
		}
		if r.Timeout == 0 {
			r.Timeout = 5 * time.Second
		}
		if r.BeatInterval == 0 {
			r.BeatInterval = 5 * time.Second
		}
		if r.AuditInterval == 0 {
			r.AuditInterval = time.Minute
		}
		if r.Logger == nil {
			r.Logger = slog.New(slog.DiscardHandler)
		}
	})
}

// Name is the reader's among all that read the log: random, of this run.
func (r *Reader) Name() string {
	r.init()
	return r.name
}

// Nudge has the log read now. It does not block.
func (r *Reader) Nudge() {
	r.init()
	if following, _ := r.following(); following {
		r.Relay.Nudge()
		return
	}
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

// Status is how the reader is doing.
type Status struct {
	Role      Role
	Live      bool          // the last read was complete, and recent
	Listening bool          // the doorbell is heard, or switched off, or need not be
	Awake     bool          // it reads all the time, and writers need not ring the doorbell
	Turns     uint64        // how often it has woken up or fallen asleep
	Beating   bool          // what was written lately to be heard was, or nothing is
	LastRead  time.Time     // when the last complete read ended; zero: never
	Lag       time.Duration // from before the writing of the last beat to its publishing; zero: unknown
	Events    uint64        // read since the start
	Audited   Audit
}

// Status returns how the reader is doing. What cannot be proved of the present is false.
func (r *Reader) Status() Status {
	r.init()
	r.mu.Lock()
	defer r.mu.Unlock()
	return Status{
		Role:      r.role,
		Live:      r.live && time.Since(r.lastRead) < r.proofLimit(),
		Listening: r.NoListen || r.role == RoleFollowing || r.listening && time.Since(r.heard) < silenceLimit,
		Awake:     r.awake,
		Turns:     r.turns,
		Beating:   r.BeatInterval < 0 || r.beats.recent(r.BeatInterval, r.Timeout),
		LastRead:  r.lastRead,
		Lag:       r.lag,
		Events:    r.events,
		Audited:   r.audited,
	}
}

// Run follows the log until ctx ends.
func (r *Reader) Run(ctx context.Context) error {
	r.init()
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return r.follow(running) })
	group.Go(func() error { return r.upkeep(running) })
	group.Go(func() error { return r.audit(running) })
	if r.BeatInterval > 0 {
		group.Go(func() error { return r.beat(running) })
	}
	group.Go(func() error { return r.followTopics(running) })
	if !r.NoListen {
		group.Go(func() error { return r.listen(running) })
	}
	err := group.Wait()
	r.leave(ctx)
	if ctx.Err() != nil {
		return nil // ctx ended
	}
	return err
}

// closeConn closes without waiting for a peer that does not answer.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the connection is given up in any case
}

var errSilent = errors.New("the database has stopped answering")

// watched returns a context that is cancelled when progress has not been called for the timeout, and stop, to be called
// in the end.
func watched(ctx context.Context, timeout time.Duration) (_ context.Context, progress, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(timeout, func() { cancel(errSilent) })
	return ctx, func() { timer.Reset(timeout) }, func() {
		timer.Stop()
		cancel(nil)
	}
}

// silent says so, where a watched context was why a read ended.
func silent(ctx context.Context, err error, timeout time.Duration) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return fmt.Errorf("read log: %w for %s", errSilent, timeout)
	}
	return err
}

func (r *Reader) setLive(live bool) {
	r.mu.Lock()
	changed := r.live != live
	r.live = live
	if changed && live {
		r.beats.heard = time.Now() // from here on they are waited for
	}
	r.mu.Unlock()
	if changed {
		r.Sink.SetLive(live)
	}
}

// pageEntries is for how many entries of the log a page asks: for as many as have about so many bytes, if they are like
// those of the last page. What a page brings beyond its bytes is thrown away, and what it lacks is another page.
func (r *Reader) pageEntries(bytes int) int {
	const least, most, usual = 16, 4096, 512 // usual is in bytes
	size := int(r.entrySize.Load())
	if size == 0 {
		size = usual
	}
	return min(max(bytes/size, least), most)
}

// Read implements realtime.Log, by the relay as far as that reaches back, otherwise on the pool.
func (r *Reader) Read(ctx context.Context, from realtime.Cursor, upto realtime.Snapshot, topics []string, maxBytes int) (realtime.LogPage, error) {
	if r.relays() {
		if page, ok := r.Relay.Read(ctx, from, upto, topics, maxBytes); ok {
			return page, nil
		}
	}
	ctx, progress, stop := watched(ctx, 2*r.Timeout)
	defer stop()
	tx, err := r.DB.Pool.BeginTx(ctx, beginRead)
	if err != nil {
		return realtime.LogPage{}, fmt.Errorf("read log: %w", silent(ctx, explain(err), 2*r.Timeout))
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing was written
	var page realtime.LogPage
	bytes, entries := 0, 0
	last := int64(0)
	scan := logScan{upto: upto, topics: topics, limit: r.pageEntries(maxBytes), progress: progress}
	page.To, page.End, err = scan.run(ctx, tx, from, func(e *realtime.Event) error {
		page.Events = append(page.Events, e)
		if e.ID.Entry != last {
			last = e.ID.Entry
			entries++
		}
		if bytes += len(e.Data); bytes >= maxBytes {
			return errStop
		}
		return nil
	})
	if entries > 0 {
		r.entrySize.Store(int64(max(bytes/entries, 1)))
	}
	return page, silent(ctx, err, 2*r.Timeout)
}
