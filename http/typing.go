package http

import (
	"encoding/json"
	"time"

	"golang.org/x/time/rate"

	"tidings/realtime"
)

// Who is writing something is told in notifications, each of which takes PostgreSQL's lock of commits: so there are few of them, and what
// is too much for all clients together is not told.
var (
	typingOfOne = rate.Every(time.Second) // and so many at once:
	typingBurst = 5
	typingOfAll = rate.Limit(50) // a second
)

// typing tells the others in a channel that the client is writing something there.
func (c *commands) typing(channel realtime.Channel) error {
	s, id := c.conn.server, c.conn.Identity()
	if err := s.Hub.MaySignal(id, channel); err != nil {
		return err
	}
	if err := s.Hub.Authorize(c.conn.ctx, id, channel); err != nil {
		return err
	}
	if c.typed == nil {
		c.typed = rate.NewLimiter(typingOfOne, typingBurst)
	}
	turn := c.typed.Reserve()
	if delay := turn.Delay(); delay > 0 {
		turn.Cancel()
		c.conn.refused(codeRateLimited)
		c.conn.answer(c.conn.dialect.tooSoon(nil, channel, delay))
		return nil
	}
	if s.Signal == nil || !s.signals.Allow() {
		return nil
	}
	data, _ := json.Marshal(map[string]string{"user": id.User}) // can always be
	err := s.Signal(c.conn.ctx, realtime.Signal{Channel: channel, Type: "typing", Data: data, From: id.User})
	if err != nil {
		return realtime.Errorf(realtime.CodeUnavailable, "it could not be told: the database does not answer")
	}
	return nil
}
