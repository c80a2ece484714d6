package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"golang.org/x/sync/errgroup"

	"tidings/realtime"
)

// leadScript asks to lead: it returns the last entry of the stream, and how many bytes there ever were, or nothing if another instance leads.
// A lease of this instance's is one of an earlier term, or one that was given by a call whose answer was lost.
//
// KEYS: the lease, the stream, the marks. ARGV: the term, its lease in ms, the instance.
var leadScript = rueidis.NewLuaScript(usable + `
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[3] + 1) ~= ARGV[3] .. '/' then return {} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if last then return {last[1], last[2][2]} end
redis.call('DEL', KEYS[3])
return {'0-0', '0'}
`)

// usable looks whether the stream and its marks can be read, and written by what Redis 6.2 has, in which such a range is new, too.
const usable = `
local some = redis.pcall('XRANGE', KEYS[2], '(0-0', '+', 'COUNT', 1)
if some.err then
    return redis.error_reply(string.find(some.err, 'Invalid stream ID', 1, true) and 'ERR Redis 6.2 or newer is needed' or some.err)
end
redis.call('LINDEX', KEYS[3], 0)
`

// writeScript renews the lease, says how far the instance is, and writes entries: who does not lead any more writes nothing. An entry that is
// there already was written by a call whose answer was lost. Then it forgets what is too old, or too much, up to the marks that were left
// for that: nothing is looked at but those. In all scripts what needs memory comes first: where Redis has none, it stops one at its first
// change only.
//
// KEYS: the lease, the stream, the marks, the state. ARGV: the term, its lease in ms, its state, the stream's age in ms, its bytes, the
// time before which all is too old, the bytes that there were ever, a mark or nothing; then each entry's id, those bytes up to it, and its record.
var writeScript = rueidis.NewLuaScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[4], ARGV[3], 'PX', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for i = 9, #ARGV, 3 do
    local added = redis.pcall('XADD', KEYS[2], ARGV[i], 'n', ARGV[i + 1], 'r', ARGV[i + 2])
    if type(added) == 'table' and added.err and not string.find(added.err, 'equal or smaller', 1, true) then return added end
end
if ARGV[8] ~= '' then redis.call('RPUSH', KEYS[3], ARGV[8]) end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
for _ = 1, 100 do
    local mark = redis.call('LINDEX', KEYS[3], 0)
    if not mark then break end
    local id, bytes, at = string.match(mark, '(%S+) (%S+) (%S+)')
    if tonumber(ARGV[7]) - tonumber(bytes) < tonumber(ARGV[5]) and tonumber(at) >= tonumber(ARGV[6]) then break end
    redis.call('XTRIM', KEYS[2], 'MINID', id)
    redis.call('LPOP', KEYS[3])
end
return 1
`)

// yieldScript forgets the older half of the stream, where Redis's memory is full: others may need it more.
var yieldScript = rueidis.NewLuaScript(`
local length = redis.call('XLEN', KEYS[1])
if length < 2 then return 0 end
return redis.call('XTRIM', KEYS[1], 'MAXLEN', math.floor(length / 2))
`)

// resignScript lets another lead.
var resignScript = rueidis.NewLuaScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.pcall('XADD', KEYS[2], ARGV[2], 'n', ARGV[3], 'r', ARGV[4])
return 1
`)

// Limits of what waits to be written, and of one call.
const (
	maxQueueBytes = 64 << 20
	maxCallBytes  = 1 << 20
	maxCall       = 200 // entries
	markBytes     = 1 << 20
)

// errSlow ends a term.
var errSlow = errors.New("Redis does not take as much as is written") //nolint:staticcheck // a name

// errDeposed ends a term.
var errDeposed = errors.New("the lease is another's, or gone")

// term is the time for which an instance leads.
type term struct {
	relay *Relay
	keys  keys
	name  string // the instance's and, of its terms, this one's: a call of an earlier term's that comes late does nothing

	mu     sync.Mutex
	queue  []item
	bytes  int
	last   realtime.Cursor // where the last batch ends that was queued
	read   realtime.Cursor // where the last batch ends that was published: from last to there nothing was written
	proven realtime.Cursor // all up to there was published
	proofs uint64
	slow   bool
	bell   chan struct{}

	// Of the goroutine that writes alone.
	id    entryID
	state string // how far all was published
	total int64  // bytes that were ever written to the stream
	// The last mark, at which the stream may be cut.
	marked   int64
	markedAt time.Time
}

// item is a record that waits to be written.
type item struct {
	record
	end  realtime.Cursor
	size int // in memory, about
}

// Lead calls do if nobody else leads, and has its ctx end when somebody else may. It returns whether it did, and what do returned or, if that
// did not end by itself, an error that is ErrLost.
func (r *Relay) Lead(ctx context.Context, origin string, do func(ctx context.Context) error) (led bool, err error) {
	client, err := r.connect()
	if err != nil {
		return false, err
	}
	asked := time.Now()
	t := &term{relay: r, keys: keysOf(origin), name: fmt.Sprintf("%s/%d", r.Name, asked.UnixNano()), bell: make(chan struct{}, 1)}
	asking, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	answer, err := leadScript.Exec(asking, client, []string{t.keys.leader, t.keys.stream, t.keys.marks}, []string{t.name, milliseconds(r.Lease), r.Name}).AsStrSlice()
	switch {
	case err != nil:
		return false, r.lost(err)
	case len(answer) < 2:
		return false, nil
	}
	if t.id, err = parseEntryID(answer[0]); err == nil {
		_, err = fmt.Sscan(answer[1], &t.total)
	}
	if err != nil {
		return false, r.lost(err)
	}

	r.term.Store(t)
	defer r.term.Store(nil)
	group, leading := errgroup.WithContext(ctx)
	group.Go(func() error { return t.write(leading, client, asked) })
	group.Go(func() error { return t.hearNudges(leading, client) })
	done := errors.New("done")
	var result error
	group.Go(func() error {
		result = do(leading)
		return done
	})
	err = group.Wait()
	t.resign(ctx, client)
	if errors.Is(err, done) || ctx.Err() != nil {
		return true, result
	}
	return true, r.lost(err)
}

func milliseconds(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// Publish has the others told of a batch that was published, if this instance leads. It does not block.
func (r *Relay) Publish(b realtime.Batch) {
	t := r.term.Load()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if b.From.Equal(t.read) && !t.last.IsZero() {
		t.read = b.To
		b.From = t.last // nothing was written in between
	} else {
		t.read = b.To
	}
	if len(b.Events) > 0 {
		size := 0
		for _, e := range b.Events {
			size += len(e.Data) + 128
		}
		t.push(item{record: record{batch: &b}, end: b.To, size: size})
		t.last = b.To
	} else if t.last.IsZero() || !b.From.Equal(t.last) {
		t.last = b.From
	}
}

// Proven says that all up to a position has been published, and was published a moment ago.
func (r *Relay) Proven(at realtime.Cursor) {
	t := r.term.Load()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.IsZero() && !t.last.Equal(at) && t.read.Equal(at) {
		t.push(item{record: record{batch: &realtime.Batch{From: t.last, To: at}}, end: at, size: 128})
		t.last = at
	}
	t.proven = at
	t.proofs++
}

// Signal has the others told a signal, if this instance leads. It does not block.
func (r *Relay) Signal(s realtime.Signal) {
	t := r.term.Load()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.push(item{record: record{signal: &s}, end: t.last, size: len(s.Data) + 128})
}

// push queues an item; t.mu is held.
func (t *term) push(i item) {
	t.bytes += i.size
	if t.bytes > maxQueueBytes {
		t.slow, t.queue = true, nil
	}
	if !t.slow {
		t.queue = append(t.queue, i)
	}
	t.ring()
}

// write writes what is queued, and renews the lease, which was asked for at the given time, until ctx ends or the lease is lost.
func (t *term) write(ctx context.Context, client rueidis.Client, renewed time.Time) error {
	lease := t.relay.Lease
	tick := time.NewTicker(min(lease/5, followWait)) // what is proven is told as often
	defer tick.Stop()
	var args []string
	for {
		if args == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-t.bell:
			case <-tick.C:
			}
			t.mu.Lock()
			slow := t.slow
			t.mu.Unlock()
			if slow {
				return errSlow
			}
			args = t.take()
		}
		begun := time.Now()
		// A call that is given up may be carried out all the same: whoever repeats it changes nothing.
		calling, cancel := context.WithDeadline(ctx, renewed.Add(lease))
		written, err := writeScript.Exec(calling, client, []string{t.keys.leader, t.keys.stream, t.keys.marks, t.keys.state}, args).AsInt64()
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && written == 0:
			return errDeposed
		case err == nil:
			renewed, args = begun, nil
		case time.Since(renewed) > lease*3/4:
			return err
		default:
			if isFull(err) {
				t.relay.yield(ctx, client, t.keys)
			}
			pauseFor(ctx, 20*time.Millisecond)
		}
	}
}

// isFull reports whether Redis has no memory left.
func isFull(err error) bool {
	_, answered := rueidis.IsRedisErr(err)
	return answered && strings.Contains(err.Error(), "OOM ")
}

func (r *Relay) yield(ctx context.Context, client rueidis.Client, k keys) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	_ = yieldScript.Exec(ctx, client, []string{k.stream}, nil).Error() // it is tried again, as long as Redis is full
}

// take encodes what is queued, as the script takes it.
func (t *term) take() []string {
	t.mu.Lock()
	n, size := 0, 0
	for n < min(len(t.queue), maxCall) && size < maxCallBytes {
		size += t.queue[n].size
		n++
	}
	queue := t.queue[:n]
	t.queue = t.queue[n:]
	t.bytes -= size
	t.mu.Unlock()

	now := time.Now()
	var entries []string
	for _, item := range queue {
		payload := appendRecord(nil, item.record)
		t.id = t.id.next(item.end)
		t.total += int64(len(payload))
		entries = append(entries, t.id.String(), fmt.Sprint(t.total), string(payload))
	}
	clear(queue) // its array may be kept for what comes next

	mark := ""
	if len(entries) > 0 && (t.total-t.marked >= markBytes || now.Sub(t.markedAt) >= time.Second) {
		mark = fmt.Sprintf("%s %d %d", t.id, t.total, now.UnixMilli())
		t.marked, t.markedAt = t.total, now
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) > 0 {
		t.ring()
	} else if t.proofs > 0 { // and all of it is written with this call
		t.state = proof{name: fmt.Sprintf("%s/%d", t.name, t.proofs), last: t.id, at: t.proven}.String()
	}
	r := t.relay
	return append([]string{
		t.name, milliseconds(r.Lease), t.state, milliseconds(r.StreamAge), fmt.Sprint(r.StreamBytes), fmt.Sprint(now.Add(-r.StreamAge).UnixMilli()),
		fmt.Sprint(t.total), mark,
	}, entries...)
}

// ring has what is queued written.
func (t *term) ring() {
	select {
	case t.bell <- struct{}{}:
	default:
	}
}

// resign lets another lead at once, if Redis can be told.
func (t *term) resign(ctx context.Context, client rueidis.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(t.relay.Timeout, time.Second))
	defer cancel()
	t.mu.Lock()
	end := t.last
	t.mu.Unlock()
	id := t.id.next(end)
	_ = resignScript.Exec(ctx, client, []string{t.keys.leader, t.keys.stream},
		[]string{t.name, id.String(), fmt.Sprint(t.total), string(appendRecord(nil, record{}))}).Error() // the lease ends in any case
}

// hearNudges has the log read when one that follows has somebody waiting.
func (t *term) hearNudges(ctx context.Context, client rueidis.Client) error {
	for ctx.Err() == nil {
		_ = client.Receive(ctx, client.B().Subscribe().Channel(t.keys.nudge).Build(), func(rueidis.PubSubMessage) {
			if t.relay.OnNudge != nil {
				t.relay.OnNudge()
			}
		}) // without it, what is waited for takes until the next read
		pauseFor(ctx, 100*time.Millisecond)
	}
	return nil
}

func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
