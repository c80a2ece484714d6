package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tidings/realtime"
)

// Whose a connection is, and for how long: a token runs out while a connection is open, and a user may be sent away.

// Presence hears who is there.
type Presence interface {
	Arrive(user string)
	Leave(user string)
}

// tenure is a connection's identity. The connection's mu is needed.
type tenure struct {
	identity *realtime.Identity
	person   *person     // the identity's; nil: nobody's
	timer    *time.Timer // warns, and then ends it; nil: the identity has no end
	over     bool
}

// Identity is whose the connection is; nil: nobody's.
func (c *conn) Identity() *realtime.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tenure.identity
}

func (c *conn) person() *person {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tenure.person
}

// identify says whose the connection is from now on, or why it cannot be.
func (c *conn) identify(id *realtime.Identity) *refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.tenure
	if t.over {
		return nil
	}
	if id.Name() != t.identity.Name() {
		var next *person
		if id != nil {
			if next = c.server.enter(id.User); next == nil {
				return tooManyOfUser
			}
			c.server.arrive(id.User)
		}
		c.leavePerson()
		t.person = next
	}
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	t.identity = id
	if id == nil || id.Expires.IsZero() {
		return nil
	}
	left := time.Until(id.Expires)
	warning := min(c.server.options.TokenWarning, left/2)
	t.timer = time.AfterFunc(left-warning, func() { c.expiring(id) })
	return nil
}

// leavePerson ends what the connection has to do with its user; mu is held.
func (c *conn) leavePerson() {
	if p := c.tenure.person; p != nil {
		c.server.exit(p)
		if c.server.Presence != nil {
			c.server.Presence.Leave(p.user)
		}
	}
}

func (s *Server) arrive(user string) {
	if s.Presence != nil {
		s.Presence.Arrive(user)
	}
}

// expiring warns the client that the token runs out, and then ends the connection.
func (c *conn) expiring(id *realtime.Identity) {
	c.mu.Lock()
	still := !c.tenure.over && c.tenure.identity == id
	if still {
		c.tenure.timer = time.AfterFunc(time.Until(id.Expires), func() {
			if c.Identity() == id {
				c.expel(goodbyeExpired)
			}
		})
	}
	c.mu.Unlock()
	if still {
		c.say(c.dialect.word(nil, wordExpiring, "", id.Expires))
	}
}

// expelTime is how long a client has to hear why it is sent away, though it read nothing.
const expelTime = 5 * time.Second

// expel says goodbye to whom nothing more is to be told, and then ends the connection, whether that was heard or not. What is queued for
// him is dropped, what is being done for him is broken off, and what he says from now on is not done.
func (c *conn) expel(g goodbye) {
	c.expelled.Store(true)
	c.feed.Close()
	c.leave(g)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tenure.over {
		return
	}
	if c.tenure.timer != nil {
		c.tenure.timer.Stop()
	}
	c.tenure.timer = time.AfterFunc(expelTime, c.wire.abort)
}

// endTenure is called when the connection has ended.
func (c *conn) endTenure() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tenure.over {
		return
	}
	c.tenure.over = true
	if c.tenure.timer != nil {
		c.tenure.timer.Stop()
	}
	c.leavePerson()
}

// Disconnect closes the connections of a user, or of one of his sessions, if that is not empty. Revoked says that he is not to come back
// with the same tokens.
func (s *Server) Disconnect(user, session string, revoked bool) {
	s.init() // the log may be read before anybody is served
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		id := c.Identity()
		if id == nil || id.User != user || session != "" && id.Session != session {
			continue
		}
		if revoked {
			s.reassure(c) // it may have a token from later on
		} else {
			c.expel(goodbyeDisconnected)
		}
	}
}

// reassure ends a connection whose token was revoked after it was looked at, and before the connection was known.
func (s *Server) reassure(c *conn) {
	id := c.Identity()
	if id == nil || s.Revoked == nil {
		return
	}
	if revoked, err := s.Revoked(id.User, id.Session, id.Issued); err != nil || revoked {
		c.expel(goodbyeRevoked)
	}
}

// cookieName is the cookie that a page of the service's own has its token in.
const cookieName = "tidings_token"

// tokenOf is the token that a request brings: in the header, in the parameter token, or in a cookie, which counts for pages of the
// service's own or of an origin that is allowed by its name.
func (s *Server) tokenOf(r *http.Request) string {
	if token := bearer(r.Header.Get("Authorization")); token != "" {
		return token
	}
	if token := r.URL.Query().Get("token"); token != "" {
		return token
	}
	if cookie, err := r.Cookie(cookieName); err == nil && s.origins.trusts(r) {
		return cookie.Value
	}
	return ""
}

// identify finds out who sends a request.
func (s *Server) identify(r *http.Request) (*realtime.Identity, *refusal) {
	id, refused := s.identifyToken(r.Context(), s.tokenOf(r))
	if refused != nil {
		s.refused(refused.code, s.address(r), r.URL.Path)
	}
	return id, refused
}

// identifyToken finds out whose a token is; nobody's, if it is empty.
func (s *Server) identifyToken(ctx context.Context, token string) (*realtime.Identity, *refusal) {
	if token == "" {
		return nil, nil
	}
	if s.Authenticate == nil {
		return nil, &refusal{status: http.StatusUnauthorized, code: "unauthenticated", message: "no tokens are taken here: nobody signs in to this service"}
	}
	id, err := s.Authenticate(ctx, token)
	var known *realtime.Error
	switch {
	case errors.As(err, &known):
		return nil, refusalOf(known)
	case err != nil:
		return nil, &refusal{status: http.StatusUnauthorized, code: "unauthenticated", message: fmt.Sprintf("the token is not valid: %s", err)}
	}
	return id, nil
}
