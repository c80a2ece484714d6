// Package redis carries what one instance reads of the log to all the others, so that PostgreSQL is read once, however many instances
// there are: the one that leads writes each batch that it publishes to a Redis stream, and the others follow that.
//
// What it promises: nothing. Redis may lose what it has, stop, or come back empty: who follows compares each batch's position with its own, and
// reads the log where a batch does not follow. An entry's id only helps to find it. Two that lead at a time, which a Redis that was split
// allows, do no harm for the same reason.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"tidings/realtime"
)

// Relay is an instance's part in it.
type Relay struct {
	// URL says where Redis is, as CheckURL takes it.
	URL string
	// Name is the instance's among all.
	Name   string
	Logger *slog.Logger
	// OnNudge is called, while this instance leads, when another has somebody who waits for what is in the log; nil: nothing is done.
	OnNudge func()
	// Lease is after what silence of the one that leads another takes its place; 2 s.
	Lease time.Duration
	// Timeout is how long Redis may take to answer; 2 s.
	Timeout time.Duration
	// StreamBytes is how much the stream keeps for those who have missed something; 256 MiB. StreamAge is for how long; 1 h.
	StreamBytes int64
	StreamAge   time.Duration

	initOnce sync.Once
	nudged   chan struct{}
	term     atomic.Pointer[term]

	mu     sync.Mutex
	client rueidis.Client // nil: it could not be reached yet
}

// followWait is how long an entry is waited for before the one that leads is looked after.
const followWait = 500 * time.Millisecond

func (r *Relay) init() {
	r.initOnce.Do(func() {
		r.nudged = make(chan struct{}, 1)
		if r.Lease == 0 {
			r.Lease = 2 * time.Second
		}
		if r.Timeout == 0 {
			r.Timeout = 2 * time.Second
		}
		if r.StreamBytes == 0 {
			r.StreamBytes = 256 << 20
		}
		if r.StreamAge == 0 {
			r.StreamAge = time.Hour
		}
		if r.Name == "" {
			r.Name = strconv.FormatUint(rand.Uint64(), 36)
		}
		if r.Logger == nil {
			r.Logger = slog.New(slog.DiscardHandler)
		}
	})
}

// UserRules are what a user of Redis needs, as ACL SETUSER takes them.
const UserRules = "~tidings:* &tidings:* +@connection +eval +evalsha +get +set +del +pexpire +rpush +lpop +lindex +xadd +xlen +xtrim +xrange +xrevrange +xread +mget +publish +subscribe +cluster|slots +cluster|shards"

// CheckURL says what is wrong with a URL, without connecting and without repeating any of it. It is redis://user:password@host:port/db, or
// rediss:// for TLS; ?addr=host:port names further nodes of a cluster or, with ?master_set=name, further Sentinels.
func CheckURL(url string) error {
	_, err := options(url)
	return err
}

func options(url string) (rueidis.ClientOption, error) {
	option, err := rueidis.ParseURL(url)
	if err != nil {
		return option, errors.New("it cannot be read as a URL such as redis://user:password@host:6379/0, rediss:// for TLS, or unix:///path") // not repeated: it has a password
	}
	if option.Sentinel.MasterSet != "" {
		// The URL's user is Redis's; Sentinels are asked as the same one.
		option.Sentinel.Username, option.Sentinel.Password, option.Sentinel.TLSConfig = option.Username, option.Password, option.TLSConfig
	}
	option.DisableCache = true
	option.DisableRetry = true // who asks knows what to do instead
	return option, nil
}

// connect returns the client, making it if Redis could not be reached before.
func (r *Relay) connect() (rueidis.Client, error) {
	r.init()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		return r.client, nil
	}
	option, err := options(r.URL)
	if err != nil {
		return nil, err
	}
	option.ClientName = "tidings"
	option.Dialer.Timeout = r.Timeout
	option.Dialer.KeepAlive = time.Second // it pings as often
	option.ConnWriteTimeout = r.Timeout
	client, err := rueidis.NewClient(option)
	if err != nil {
		return nil, r.lost(err)
	}
	r.client = client
	return client, nil
}

// Close ends the connections; whoever uses it again makes new ones.
func (r *Relay) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		r.client.Close()
		r.client = nil
	}
}

// pingScript does what leading takes, and changes nothing.
//
// KEYS: the lease, the stream, the marks, one that nothing else uses.
var pingScript = rueidis.NewLuaScript(usable + `
redis.call('GET', KEYS[1])
redis.call('SET', KEYS[4], '', 'PX', 1)
return 1
`)

// Ping reports whether Redis can be used, for a log: one that answers may be full, or somebody's replica, or not let this user write. If it cannot,
// it is looked for anew the next time: its name may be that of another server now. Where it is full, the stream gives way: nobody leads who would
// see to that.
func (r *Relay) Ping(ctx context.Context, origin string) error {
	client, err := r.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	keys := keysOf(origin)
	if err := pingScript.Exec(ctx, client, []string{keys.leader, keys.stream, keys.marks, keys.ping}, nil).Error(); err != nil {
		if isFull(err) {
			r.yield(ctx, client, keys)
		}
		r.Close()
		return r.lost(err)
	}
	return nil
}

// keys are what Redis knows things by. All of a database's are in the same slot of a cluster.
type keys struct {
	leader string // who leads: a lease
	state  string // how far that one is: a proof
	stream string
	marks  string // entries at which the stream may be cut
	nudge  string // a channel, to have it read now
	ping   string // is written to see whether that can be done
}

// keysOf names them for a log: of another database, or of another timeline of this one, nothing can be used.
func keysOf(origin string) keys {
	prefix := fmt.Sprintf("tidings:{%s}:%d:", origin, format)
	return keys{leader: prefix + "leader", state: prefix + "state", stream: prefix + "events", marks: prefix + "marks", nudge: prefix + "nudge", ping: prefix + "ping"}
}

// entryID is an entry's id in the stream: the xmax of where it ends, and a number that grows. So it is known where to look for what comes behind
// a cursor: who has seen a position of a higher xmax has seen that entry.
type entryID struct {
	xmax, n uint64
}

func (id entryID) String() string {
	return strconv.FormatUint(id.xmax, 10) + "-" + strconv.FormatUint(id.n, 10)
}

func parseEntryID(text string) (id entryID, err error) {
	if _, err = fmt.Sscanf(text, "%d-%d", &id.xmax, &id.n); err != nil {
		return id, fmt.Errorf("%q is not an entry's id", text)
	}
	return id, nil
}

func (id entryID) before(other entryID) bool {
	return id.xmax < other.xmax || id.xmax == other.xmax && id.n < other.n
}

// next is the id of an entry that ends at the cursor. The number is the time, so that it grows also where the stream was lost.
func (id entryID) next(to realtime.Cursor) entryID {
	return entryID{xmax: max(to.End().Xmax, id.xmax), n: max(uint64(time.Now().UnixMicro()), id.n+1)} //nolint:gosec // after 1970
}

// proof says that all up to a position was published, and by whom it was proven when. No two have the same name. Of what was written to the
// stream until then, the last entry has the id, or a lower one.
type proof struct {
	name string // empty: nothing is proven
	last entryID
	at   realtime.Cursor
}

func (p proof) String() string { return p.name + " " + p.last.String() + " " + p.at.String() }

func parseProof(text string) (p proof, err error) {
	part := strings.Split(text, " ")
	if len(part) != 3 {
		return p, fmt.Errorf("%q is not a proof", text)
	}
	p.name = part[0]
	if p.last, err = parseEntryID(part[1]); err == nil {
		p.at, err = realtime.ParseCursor(part[2])
	}
	return p, err
}
