package db

import (
	"context"
	"encoding/json"
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
	// AuditInterval is how often what was read is compared with what the log has; 1 min.
	AuditInterval time.Duration

	bell     chan struct{}
	asked    chan struct{} // for the topics
	topicsMu sync.Mutex    // of reading them: who begins later has the last word
	name     string        // of this reader among all, for the listener's ping
	initOnce sync.Once

	entrySize atomic.Int64 // bytes of an entry of the last page; zero: none was read

	mu        sync.Mutex
	asking    []chan error // who waits for the topics
	listening bool
	heard     time.Time // when the listener last heard anything
	pinged    time.Time // when the database last was asked to notify the listener
	live      bool
	lastRead  time.Time
	lag       time.Duration
	awake     bool
	turns     uint64
	beats     beats
	events    uint64 // read since the start
	audited   Audit
	counted   counted           // at the position of the last complete read
	problems  map[string]string // of policies, that were complained about
}

// Batches that are published while a read goes on have about this many bytes and events at most, so that one large
// transaction is not held in memory.
const (
	batchBytes  = 256 << 10
	batchEvents = 1000
)

func (r *Reader) init() {
	r.initOnce.Do(func() {
		r.bell = make(chan struct{}, 1)
		r.asked = make(chan struct{}, 1)
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
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

// Status is how the reader is doing.
type Status struct {
	Live      bool          // the last read was complete, and recent
	Listening bool          // the doorbell is heard, or switched off
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
		Live:      r.live && time.Since(r.lastRead) < 2*r.PollInterval+time.Second,
		Listening: r.NoListen || r.listening && time.Since(r.heard) < silenceLimit,
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

// follow reads on one connection after another.
func (r *Reader) follow(ctx context.Context) error {
	var position realtime.Cursor
	timeout := r.Timeout
	failures := 0
	for {
		err := r.followConn(ctx, &position, &timeout, func() {
			if failures > 0 {
				r.Logger.Info("reading the log again", "attempts", failures)
			}
			failures = 0
		})
		r.setLive(false)
		if ctx.Err() != nil {
			return nil // ctx ended
		}
		if failures == 0 {
			r.Logger.Error("the log cannot be read; trying again", "error", err)
		} else {
			r.Logger.Debug("the log cannot be read yet", "error", err, "attempts", failures)
		}
		failures++
		if !pause(ctx, backoff(failures)) {
			return nil
		}
	}
}

// backoff is the time before the nth attempt: from 50 ms to 2 s, and up to half of it less, so that instances do not
// come back in step.
func backoff(n int) time.Duration {
	d := min(50*time.Millisecond<<min(n, 10), 2*time.Second)
	return d - rand.N(d/2)
}

// pause waits, and returns false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *Reader) followConn(ctx context.Context, position *realtime.Cursor, timeout *time.Duration, ok func()) error {
	conn, err := r.DB.connect(ctx, "reader")
	if err != nil {
		return err
	}
	defer closeConn(conn)
	backend, err := r.begin(ctx, conn, position)
	if err != nil {
		return err
	}
	var attention attention
	if err := r.say(ctx, conn, &attention, true); err != nil {
		return err
	}
	poll := time.NewTimer(r.PollInterval)
	defer poll.Stop()
	for {
		begun := time.Now()
		transactions, err := r.readOnce(ctx, conn, backend, position, *timeout, attention.saw)
		if err != nil {
			if errors.Is(err, errSilent) {
				*timeout = min(2**timeout, time.Minute)
				r.DB.Pool.Reset() // what has become of this connection may have become of others
			}
			return err
		}
		*timeout = r.Timeout
		attention.took = time.Since(begun)
		r.setLive(true)
		ok()
		if err := r.attend(ctx, conn, &attention, transactions); err != nil {
			return err
		}

		bell := r.bell
		if !attention.asleep {
			bell = nil // it is rung for others
		}
		poll.Reset(r.wait(&attention))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-bell:
		case <-poll.C:
			if err := r.ping(ctx, conn); err != nil {
				return err
			}
		}
	}
}

// closeConn closes without waiting for a peer that does not answer.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the connection is given up in any case
}

// begin makes sure that the position means something in this database, and sets it at the start. It returns the backend
// that it asked.
func (r *Reader) begin(ctx context.Context, conn *pgx.Conn, position *realtime.Cursor) (backend string, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var settled, origin, snapshot string
	if err = conn.QueryRow(ctx, `select tidings.settle()`).Scan(&settled); err == nil {
		err = conn.QueryRow(ctx, `select `+thisBackend+`, tidings.origin(), tidings.position()::text`).Scan(&backend, &origin, &snapshot)
	}
	if err != nil {
		return "", fmt.Errorf("begin at the log: %w", explain(err))
	}
	now, err := realtime.ParseSnapshot(snapshot)
	if err != nil {
		return "", fmt.Errorf("begin at the log: %w", err)
	}
	lineage, err := loadLineage(ctx, conn)
	if err != nil {
		return "", err
	}
	r.Sink.SetLineage(lineage)
	switch settled {
	case "copied":
		r.Logger.Warn("this database is a copy of another: its log was emptied, and cursors of the other are answered with reset")
	case "promoted":
		r.Logger.Warn("this database is on a new timeline: a standby was promoted, or a backup restored; cursors of what was lost are answered with reset")
	}
	switch adopted, reason := lineage.Adopt(*position, origin); {
	case position.IsZero():
		*position = realtime.Cursor{Origin: origin, Seen: now}
		if err := r.beginEarlier(ctx, conn, position); err != nil {
			return "", err
		}
		r.Sink.Start(*position)
	case reason != "":
		*position = realtime.Cursor{Origin: origin, Seen: now}
		r.Sink.Restart(*position, reason)
	case position.Origin != origin:
		*position = adopted
		r.Sink.Continue(*position)
	}
	return backend, r.loadTopics(ctx, conn)
}

// beginEarlier moves the start of the first read a little back, so that the clients of an instance that was restarted
// find what they lack in memory.
func (r *Reader) beginEarlier(ctx context.Context, conn *pgx.Conn, position *realtime.Cursor) error {
	var snapshot string
	err := conn.QueryRow(ctx, `
		select p.seen::text from tidings.positions p
		 where p.at > clock_timestamp() - interval '1 minute'
		   and pg_snapshot_xmin(p.seen) > coalesce(tidings.horizon(), '0') order by p.at limit 1`).Scan(&snapshot)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("begin at the log: %w", explain(err))
	}
	position.Seen, err = realtime.ParseSnapshot(snapshot)
	return err
}

// loadLineage reads which cursors of earlier timelines are good.
func loadLineage(ctx context.Context, conn *pgx.Conn) (realtime.Lineage, error) {
	rows, err := conn.Query(ctx, `select origin, seen::text from tidings.ancestors`)
	if err != nil {
		return nil, fmt.Errorf("read ancestors: %w", explain(err))
	}
	type ancestor struct{ origin, seen string }
	ancestors, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a ancestor, err error) {
		err = row.Scan(&a.origin, &a.seen)
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("read ancestors: %w", explain(err))
	}
	lineage := make(realtime.Lineage)
	for _, a := range ancestors {
		if lineage[a.origin], err = realtime.ParseSnapshot(a.seen); err != nil {
			return nil, fmt.Errorf("read ancestors: %w", err)
		}
	}
	return lineage, nil
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

// readOnce publishes all that is new, and returns about how many transactions that were.
func (r *Reader) readOnce(ctx context.Context, conn *pgx.Conn, backend string, position *realtime.Cursor, timeout time.Duration,
	saw func(realtime.Snapshot)) (transactions int, err error) {

	ctx, progress, stop := watched(ctx, timeout)
	defer stop()

	var batch realtime.Batch
	bytes := 0
	last := uint64(0)
	flush := func(to realtime.Cursor) {
		batch.From, batch.To = *position, to
		r.Sink.Publish(batch)
		for _, order := range r.count(batch) {
			r.obey(order)
		}
		*position = to
		batch, bytes = realtime.Batch{}, 0
	}
	stale := false // what can be subscribed to has changed: what follows is told by the new rules
	refresh := func() error {
		stale = false
		return r.readTopics(ctx)
	}
	scan := logScan{backend: backend, progress: progress, saw: saw}
	for end := false; !end; {
		var to realtime.Cursor
		take := func(e *realtime.Event) error {
			if e.Topic == ownTopic {
				stale = stale || e.Type == "topics"
			} else if stale {
				if n := len(batch.Events); n > 0 {
					flush(batch.Events[n-1].Cursor)
				}
				if err := refresh(); err != nil {
					return err
				}
			}
			batch.Events = append(batch.Events, e)
			if e.Xid != last {
				last = e.Xid
				transactions++
			}
			// What stands behind an order is told when that has been obeyed.
			order := e.Topic == ownTopic && e.Type != "beat"
			if bytes += len(e.Data); order || bytes >= batchBytes || len(batch.Events) >= batchEvents {
				flush(e.Cursor)
			}
			return nil
		}
		err := r.DB.readLog(ctx, conn, func(q querier) (err error) {
			to, end, err = scan.run(ctx, q, *position, take)
			return err
		})
		var unserved *realtime.ResetError
		switch {
		case errors.As(err, &unserved):
			return 0, r.restart(ctx, conn, position, unserved.Reason)
		case err != nil:
			return 0, silent(ctx, err, timeout)
		}
		flush(to)
		if stale {
			if err := refresh(); err != nil {
				return 0, err // to begin anew reads them, too
			}
		}
	}
	r.mu.Lock()
	r.lastRead = time.Now()
	r.counted.at, r.counted.events = *position, r.events
	r.mu.Unlock()
	return transactions, nil
}

// restart goes on from now, where what came since the position cannot be read any more.
func (r *Reader) restart(ctx context.Context, conn *pgx.Conn, position *realtime.Cursor, reason realtime.Reset) error {
	var snapshot string
	if err := conn.QueryRow(ctx, `select tidings.position()::text`).Scan(&snapshot); err != nil {
		return fmt.Errorf("restart at the log: %w", explain(err))
	}
	now, err := realtime.ParseSnapshot(snapshot)
	if err != nil {
		return fmt.Errorf("restart at the log: %w", err)
	}
	r.Logger.Warn("events since the last read are gone; every client is told to load afresh", "reason", reason)
	*position = realtime.Cursor{Origin: position.Origin, Seen: now}
	r.mu.Lock()
	r.counted.restarts++
	r.mu.Unlock()
	r.Sink.Restart(*position, reason)
	return nil
}

// count counts what has been published, and returns what servers are told to do.
func (r *Reader) count(b realtime.Batch) (orders []*realtime.Event) {
	if len(b.Events) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range b.Events {
		switch {
		case e.Topic != ownTopic:
			r.events++
		case e.Type == "beat":
			r.beatHeard(e.ID.Entry)
		default:
			orders = append(orders, e)
		}
	}
	return orders
}

// obey does what servers are told to do by the log.
func (r *Reader) obey(e *realtime.Event) {
	switch e.Type {
	case "disconnect":
		var order struct {
			Session, Reason string
		}
		_ = json.Unmarshal(e.Data, &order) // what is missing is empty
		if r.Disconnect != nil {
			r.Disconnect(e.Key, order.Session, order.Reason == "revoked", e.At)
		}
	case "recheck":
		r.Sink.Recheck()
	}
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

// Read implements realtime.Log on the pool.
func (r *Reader) Read(ctx context.Context, from realtime.Cursor, upto realtime.Snapshot, topics []string, maxBytes int) (
	events []*realtime.Event, to realtime.Cursor, end bool, err error) {

	ctx, progress, stop := watched(ctx, 2*r.Timeout)
	defer stop()
	tx, err := r.DB.Pool.BeginTx(ctx, beginRead)
	if err != nil {
		return nil, from, false, fmt.Errorf("read log: %w", silent(ctx, explain(err), 2*r.Timeout))
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing was written
	bytes, entries := 0, 0
	last := int64(0)
	scan := logScan{upto: upto, topics: topics, limit: r.pageEntries(maxBytes), progress: progress}
	to, end, err = scan.run(ctx, tx, from, func(e *realtime.Event) error {
		events = append(events, e)
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
	return events, to, end, silent(ctx, err, 2*r.Timeout)
}
