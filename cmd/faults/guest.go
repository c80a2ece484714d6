package main

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"
)

// guest is what a client knows who follows nothing but who is online. Each guest is a user of her own, and is gone now and then for so long
// that it is told.
type guest struct {
	online map[int64]bool
	rows   map[int64]bool // until all have come
	untrue int            // how often she was told what she knew already: something was told twice, or not at all
}

func newGuest() *guest { return &guest{online: make(map[int64]bool), rows: make(map[int64]bool)} }

// guestsOf is how many guests there are besides so many clients.
func guestsOf(clients int) int { return max(4, clients/10) }

// hear takes what is said of presence, and returns false if it is something else.
func (g *guest) hear(f frame) bool {
	user, _ := strconv.ParseInt(f.Data.User, 10, 64)
	switch f.Type {
	case "row":
		g.rows[user] = true
	case "loaded":
		g.online, g.rows = g.rows, make(map[int64]bool)
	case "user_online":
		g.tell(user, true)
	case "user_offline":
		g.tell(user, false)
	default:
		return false
	}
	return true
}

// hearPresence has the guest hear a frame, and returns false if it is none of presence.
func (c *client) hearPresence(f frame) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.guest.hear(f) {
		return false
	}
	if f.Cursor != "" && f.Type != "loaded" {
		c.cursor = f.Cursor
	}
	return true
}

func (g *guest) tell(user int64, online bool) {
	if g.online[user] == online {
		g.untrue++
	}
	if online {
		g.online[user] = true
	} else {
		delete(g.online, user)
	}
}

// misled is how many users are not as the guest believes.
func (g *guest) misled(present map[int64]bool) (n int) {
	for user := range g.online {
		if !present[user] {
			n++
		}
	}
	for user := range present {
		if !g.online[user] {
			n++
		}
	}
	return n
}

// absence is how long a guest stays away: every other time for longer than the grace.
func absence() time.Duration { return rand.N(2 * grace) }

// grace is how long a user stays online without a connection.
const grace = 2 * time.Second

// presenceLimit is how long it may take until everybody believes what is so. By the documents that is what it takes to notice that an instance
// is dead, for one that has itself been heard for as long, and the grace: some 15 seconds, on a machine that is not busy.
const presenceLimit = 30 * time.Second

// misled is how many users are not as the guests who are connected believe, summed over these, and how much all were told wrongly.
func (c *crowd) misled() (n int) {
	present := make(map[int64]bool)
	for _, one := range c.clients {
		one.mu.Lock()
		if one.user != 0 && one.leave != nil {
			present[one.user] = true
		}
		one.mu.Unlock()
	}
	for _, one := range c.clients {
		if one.guest == nil {
			continue
		}
		one.mu.Lock()
		n += one.guest.untrue
		if one.leave != nil {
			n += one.guest.misled(present)
		}
		one.mu.Unlock()
	}
	return n
}

// countPresence counts when all guests had the time to hear of what is so, and again when half of them have left.
func (s *stage) countPresence(ctx context.Context, r *row) error {
	if err := s.awaitPresence(ctx, r); err != nil {
		return err
	}
	s.crowd.sendAway(ctx, func(n int) bool { return s.crowd.clients[n].guest != nil && n%2 == 0 })
	return s.awaitPresence(ctx, r)
}

// awaitPresence returns when all guests believe what is so, or had the time to, and counts how much they do not.
func (s *stage) awaitPresence(ctx context.Context, r *row) error {
	begun := time.Now()
	misled := s.crowd.misled()
	for ; misled > 0 && time.Since(begun) < presenceLimit; misled = s.crowd.misled() {
		if !pause(ctx, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	r.misled = max(r.misled, misled)
	return nil
}
