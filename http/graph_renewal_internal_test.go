package http

import (
	"context"
	"sync"
	"testing"
	"time"

	"tidings/realtime"
)

// Of two renewals at once the second is not done in the middle of the first, after which the connection would be of one user, and its
// operations of another.
func TestRenewalsAreApart(t *testing.T) {
	t.Parallel()
	inMiddle, goOn := make(chan struct{}), make(chan struct{})
	s := &Server{
		Hub: realtime.NewHub(nil, realtime.Options{}),
		Authenticate: func(_ context.Context, token string) (*realtime.Identity, error) {
			return &realtime.Identity{User: token}, nil
		},
		Revoked: func(user, _ string, _ time.Time) (bool, error) {
			if user == "first" {
				close(inMiddle)
				<-goOn
			}
			return false, nil
		},
	}
	s.init()
	c := &wsConn{conn: conn{server: s, dialect: graphDialect, ctx: t.Context()}}
	g := &graphWS{conn: c, ops: s.newOperations(func() {})}
	c.feed = g.ops
	var group sync.WaitGroup
	renew := func(token string) (done chan struct{}) {
		done = make(chan struct{})
		group.Go(func() {
			defer close(done)
			if _, err := g.renew(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
		return done
	}
	renew("first")
	<-inMiddle
	select {
	case <-renew("second"):
		t.Error("the second is done in the middle of the first")
	case <-time.After(50 * time.Millisecond): // it waits
	}
	close(goOn)
	group.Wait()
	if of, by := c.Identity().Name(), g.ops.identity.Name(); of != "second" || by != "second" || g.token != "second" {
		t.Errorf("the connection is %s's by %s's token, and its operations %s's", of, g.token, by)
	}
}
