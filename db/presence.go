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
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"tidings/realtime"
)

// presenceTopic is the topic of who is online.
const presenceTopic = "presence"

// Presence says in the database which users are connected to this instance. What follows from that for all instances together is
// decided there, and told as events: who comes is told at once, who goes when a grace has passed.
//
// However many come and go, an instance sends a statement each Interval at most, and one each Heartbeat when nobody does.
type Presence struct {
	DB     *DB
	Logger *slog.Logger

	// Interval is the shortest time between two statements with changes: what comes meanwhile is told together; 200 ms.
	Interval time.Duration
	// Heartbeat is how often the instance says that it is there; 2 s.
	Heartbeat time.Duration
	// DeadAfter is after what silence others take the instance for dead; 6 s. Its users go offline a Heartbeat later, or
	// when their grace has passed, if that is later. At least three times Heartbeat: less is taken for that.
	DeadAfter time.Duration
	// Grace is how long a user stays online without a connection; 5 s. Negative: not at all.
	Grace time.Duration
	// CheckInterval is how often all is told though nothing has changed: whatever somebody does to the tables, it comes right; 1 min. With
	// more than 12,000 users it is less often, 5 ms for each, since the database tells all of it under the lock of all changes.
	CheckInterval time.Duration
	// Timeout is how long the database may take for a statement; 5 s. After one that took longer, the next may.
	Timeout time.Duration

	initOnce   sync.Once
	name       string        // of this instance
	wake       chan struct{} // something has changed
	statements atomic.Uint64

	mu      sync.Mutex
	here    map[string]int32    // the users' connections
	changed map[string]struct{} // the users whose connections are others than was told
	telling bool                // what has changed is being told
	live    bool
	foreign bool // the database's encoding is one that may lack characters
}

func (p *Presence) init() {
	p.initOnce.Do(func() {
		def := func(d *time.Duration, value time.Duration) {
			if *d == 0 {
				*d = value
			}
		}
		def(&p.Interval, 200*time.Millisecond)
		def(&p.Heartbeat, 2*time.Second)
		def(&p.DeadAfter, 6*time.Second)
		def(&p.Grace, 5*time.Second)
		def(&p.CheckInterval, time.Minute)
		def(&p.Timeout, 5*time.Second)
		p.DeadAfter = max(p.DeadAfter, 3*p.Heartbeat)
		p.Grace = max(p.Grace, 0)
		if p.Logger == nil {
			p.Logger = slog.New(slog.DiscardHandler)
		}
		p.name = strconv.FormatUint(rand.Uint64(), 36)
		p.wake = make(chan struct{}, 1)
		p.here = make(map[string]int32)
		p.changed = make(map[string]struct{})
	})
}

// Arrive says that a connection of the user was opened. It does not block. A user whose name cannot be a channel's key is nobody.
func (p *Presence) Arrive(user string) { p.count(user, 1) }

// Leave says that a connection of the user was closed, of which Arrive was told. It does not block.
func (p *Presence) Leave(user string) { p.count(user, -1) }

func (p *Presence) count(user string, by int32) {
	p.init()
	if _, err := realtime.ParseChannel(presenceTopic + ":" + user); err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.here[user] + by
	switch {
	case n < 0:
		return // nobody has arrived
	case n == 0:
		delete(p.here, user)
	default:
		p.here[user] = n
	}
	p.changed[user] = struct{}{}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// PresenceStatus is how presence is doing.
type PresenceStatus struct {
	Live       bool   // what was to be told is told; otherwise it will be
	Users      int    // that are connected to this instance
	Statements uint64 // sent since the start
}

// Status returns how presence is doing.
func (p *Presence) Status() PresenceStatus {
	p.init()
	p.mu.Lock()
	defer p.mu.Unlock()
	return PresenceStatus{Live: p.live && !p.telling && len(p.changed) == 0, Users: len(p.here), Statements: p.statements.Load()}
}

// Run tells until ctx ends; then it says that nobody is connected any more.
func (p *Presence) Run(ctx context.Context) error {
	p.init()
	timeout := p.Timeout
	for failures := 0; ; {
		err := p.tellOn(ctx, timeout, func() {
			if failures > 0 {
				p.Logger.Info("it is told again who is online", "attempts", failures)
			}
			failures = 0
			timeout = p.Timeout
		})
		p.setLive(false)
		if err == nil || ctx.Err() != nil {
			p.leave(ctx)
			return nil // ctx ended
		}
		if failures == 0 {
			p.Logger.Error("it cannot be told who is online; trying again", "error", err)
		} else {
			p.Logger.Debug("it cannot be told yet who is online", "error", err, "attempts", failures)
		}
		failures++
		if errors.Is(err, context.DeadlineExceeded) {
			timeout = min(2*timeout, time.Minute)
		}
		// Others must not take this instance for dead because it waits.
		if !pause(ctx, min(backoff(failures), p.Heartbeat/2)) {
			p.leave(ctx)
			return nil
		}
	}
}

// tellOn tells on one connection until ctx ends: first everything, then what changes.
func (p *Presence) tellOn(ctx context.Context, timeout time.Duration, ok func()) error {
	conn, err := p.DB.dial(ctx, "presence", nil)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	encoding := conn.PgConn().ParameterStatus("server_encoding")
	p.mu.Lock()
	p.foreign = encoding != "UTF8" && encoding != "SQL_ASCII"
	p.mu.Unlock()

	var checked, told time.Time
	for complete := true; ; complete = complete || time.Since(checked) > p.checkEvery() {
		users, connections := p.take(complete)
		said := time.Now()
		known, due, err := p.tell(ctx, conn, timeout, users, connections, complete)
		if err != nil {
			return err
		}
		timeout = p.Timeout
		p.setLive(known)
		ok()
		if complete {
			checked = said
		}
		if complete || len(users) > 0 {
			told = said
		}
		if complete = !known; complete {
			p.Logger.Warn("this instance was taken for dead: it tells anew who is connected")
			continue
		}
		wait := p.Heartbeat
		if due != nil {
			wait = min(wait, max(*due, p.Interval, p.Heartbeat/10))
		}
		if !p.wait(ctx, wait, p.Interval-time.Since(told)) {
			return nil
		}
	}
}

// checkEvery is how often all is told, with as many users as there are.
func (p *Presence) checkEvery() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.CheckInterval, time.Duration(len(p.here))*5*time.Millisecond)
}

// wait waits for so long, or for a change, then at least until another may be told. It returns false if ctx ended.
func (p *Presence) wait(ctx context.Context, long, least time.Duration) bool {
	until := time.Now().Add(long)
	timer := time.NewTimer(long)
	defer timer.Stop()
	wake := p.wake
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-wake:
			wake = nil
			timer.Reset(min(time.Until(until), max(least, 0)))
		}
	}
}

// take returns the users to be told of, and of each how many connections she has.
func (p *Presence) take(complete bool) (users []string, connections []int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add := func(user string, n int32) {
		if !p.foreign || ascii(user) {
			users, connections = append(users, user), append(connections, n)
		}
	}
	users, connections = []string{}, []int32{} // nil would be null
	if complete {
		for user, n := range p.here {
			add(user, n)
		}
	} else {
		for user := range p.changed {
			add(user, p.here[user])
		}
	}
	p.telling = true
	clear(p.changed) // should it not get there, everything is told anew
	return users, connections
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// tell sends a statement. That ctx ends does not break it off: what comes after it is to be the last.
func (p *Presence) tell(ctx context.Context, conn *pgx.Conn, timeout time.Duration, users []string, connections []int32, complete bool) (
	known bool, due *time.Duration, err error) {

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	p.statements.Add(1)
	err = conn.QueryRow(ctx, `select known, due from tidings.present($1, $2, $3, $4, $5, $6, $7)`,
		p.name, users, connections, complete, p.Heartbeat, p.DeadAfter, p.Grace).Scan(&known, &due)
	if err != nil {
		return false, nil, fmt.Errorf("tell who is online: %w", explain(err))
	}
	return known, due, nil
}

// leave says that nobody is connected to this instance any more. If that cannot be said, others find out.
func (p *Presence) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.Timeout)
	defer cancel()
	p.statements.Add(1)
	if _, err := p.DB.Pool.Exec(ctx, `select tidings.absent($1, $2)`, p.name, p.Grace); err != nil {
		p.Logger.Debug("it could not be told that nobody is connected any more", "error", explain(err))
	}
}

func (p *Presence) setLive(live bool) {
	p.mu.Lock()
	p.live, p.telling = live, false
	p.mu.Unlock()
}
