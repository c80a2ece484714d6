package http

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// attempts bounds how often something may fail, by a key: so many times at once, and then once in a while. What is being tried counts as
// failed until it is done, so that who tries many things at a time has no more tries than others.
type attempts struct {
	burst int           // how many times at once
	pause time.Duration // after which one more is allowed
	max   int           // how many keys are remembered

	mu   sync.Mutex
	keys map[string]*tries
}

// tries are those of one key.
type tries struct {
	limiter *rate.Limiter // has a token for each failure that is allowed
	now     int           // being tried
}

func newAttempts(burst int, pause time.Duration, maxKeys int) *attempts {
	return &attempts{burst: burst, pause: pause, max: maxKeys, keys: make(map[string]*tries)}
}

// begin returns 0 if something may be tried, which is then ended; otherwise how long to wait.
func (a *attempts) begin(key string, now time.Time) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.keys[key]
	if t == nil {
		if len(a.keys) >= a.max {
			a.makeRoom(now)
		}
		t = &tries{limiter: rate.NewLimiter(rate.Every(a.pause), a.burst)}
		a.keys[key] = t
	}
	if missing := float64(t.now) + 1 - t.limiter.TokensAt(now); missing > 0 {
		return max(time.Duration(missing*float64(a.pause)), time.Millisecond)
	}
	t.now++
	return 0
}

// outcome is what came of a try.
type outcome int

const (
	undecided outcome = iota // it counts for nothing
	failed
	succeeded // what has failed before is forgotten
)

// end says what came of what was begun.
func (a *attempts) end(key string, now time.Time, o outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.keys[key]
	t.now--
	switch o {
	case failed:
		t.limiter.AllowN(now, 1)
	case succeeded:
		t.limiter = rate.NewLimiter(rate.Every(a.pause), a.burst)
	}
	if t.nothing(now) {
		delete(a.keys, key)
	}
}

// nothing reports whether nothing is to be remembered.
func (t *tries) nothing(now time.Time) bool {
	return t.now == 0 && t.limiter.TokensAt(now) >= float64(t.limiter.Burst())
}

// sample is how many keys are looked at to make room for one.
const sample = 32

// makeRoom forgets, of some keys, those of which nothing is to be remembered; if there are none, the one that has failed least. What is
// being tried is not forgotten.
func (a *attempts) makeRoom(now time.Time) {
	var least string
	most, seen := -1.0, 0
	for key, t := range a.keys {
		if t.nothing(now) {
			delete(a.keys, key)
			continue
		}
		if left := t.limiter.TokensAt(now); t.now == 0 && left > most {
			least, most = key, left
		}
		if seen++; seen == sample {
			break
		}
	}
	if len(a.keys) >= a.max {
		delete(a.keys, least)
	}
}

// addressKey is what an address is known by: of IPv6 its network, since whoever has one address there has all of them.
func addressKey(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap(); ip.Is6() {
		network, _ := ip.Prefix(64)
		return network.Masked().String()
	}
	return ip.String()
}

// maxNameKey is how much of a name is remembered: more than one that there can be has.
const maxNameKey = 256

// nameKey is what a username is known by.
func nameKey(username string) string {
	key := strings.ToLower(username)
	return key[:min(len(key), maxNameKey)]
}
