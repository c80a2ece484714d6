package tidings_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	tidings "tidings/clients/go"
)

// issuer gives tokens, and remembers why they were asked for.
type issuer struct {
	mu    sync.Mutex
	asked []tidings.Why
	give  func(n int, why tidings.Why) (string, error)
}

func (i *issuer) token(_ context.Context, why tidings.Why) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, why)
	return i.give(len(i.asked), why)
}

func (i *issuer) reasons() []tidings.Why {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.asked)
}

// watchOffline counts how often a Follow is offline.
func watchOffline(o *tidings.Options) func() int {
	var mu sync.Mutex
	n := 0
	o.OnState = func(s tidings.State, _ error) {
		mu.Lock()
		defer mu.Unlock()
		if s == tidings.StateOffline {
			n++
		}
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// A token that runs out is replaced on the connection, and nothing breaks.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := serve(t, d)
	const lives = 15 * time.Second
	i := &issuer{give: func(_ int, why tidings.Why) (string, error) {
		if why == tidings.Connect {
			return token(t, "ada", lives), nil
		}
		return token(t, "ada", time.Hour), nil
	}}
	c := s.client()
	c.Token = i.token
	o := tidings.Options{Channels: []string{"secrets"}}
	offline := watchOffline(&o)
	over := time.After(lives + time.Second)
	f := follow(t, c, o)
	f.expect(tidings.Live)
	<-over
	d.exec(`insert into secrets values (1, 'told')`)
	if m := f.expect(tidings.Event); m.Type != "secret_added" {
		t.Errorf("got %+v", m)
	}
	if got := i.reasons(); !slices.Equal(got, []tidings.Why{tidings.Connect, tidings.Expiring}) || offline() != 0 {
		t.Errorf("tokens were asked for by %v, and it was offline %d times", got, offline())
	}
}

// Where there is no other token in time, the connection ends, and is taken up with one that there is then.
func TestTokenRunsOut(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := serve(t, d)
	broken := errors.New("the issuer does not answer")
	i := &issuer{give: func(_ int, why tidings.Why) (string, error) {
		switch why {
		case tidings.Connect:
			return token(t, "ada", 12*time.Second), nil
		case tidings.Expiring:
			return "", broken
		}
		return token(t, "ada", time.Hour), nil
	}}
	c := s.client()
	c.Token = i.token
	f := follow(t, c, tidings.Options{Channels: []string{"secrets"}})
	f.expect(tidings.Live)
	f.expectState(tidings.StateOffline)
	d.exec(`insert into secrets values (1, 'told')`)
	for m := f.next(); m.Kind != tidings.Event; m = f.next() {
		if m.Kind != tidings.Live {
			t.Errorf("got %+v", m)
		}
	}
	got := i.reasons()
	if !slices.Contains(got, tidings.Expiring) || got[len(got)-1] != tidings.Rejected {
		t.Errorf("tokens were asked for by %v", got)
	}
}

func TestTokenIsRejected(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	c := serve(t, d).client()
	i := &issuer{give: func(_ int, why tidings.Why) (string, error) {
		if why == tidings.Rejected {
			return token(t, "ada", time.Hour), nil
		}
		return "nonsense", nil
	}}
	c.Token = i.token
	o := tidings.Options{Channels: []string{"secrets"}}
	offline := watchOffline(&o)
	follow(t, c, o).expect(tidings.Live)
	if got := i.reasons(); !slices.Equal(got, []tidings.Why{tidings.Connect, tidings.Rejected}) || offline() != 0 {
		t.Errorf("tokens were asked for by %v, and it was offline %d times", got, offline())
	}
	if _, err := c.Load(t.Context(), "secrets", tidings.LoadOptions{}); err != nil {
		t.Errorf("a page: %v", err)
	}

	i = &issuer{give: func(int, tidings.Why) (string, error) { return "nonsense", nil }}
	c.Token = i.token
	if e := follow(t, c, o).refusal(tidings.CodeUnauthenticated); e.Status != 401 {
		t.Errorf("got %+v", e)
	}
	if got := i.reasons(); !slices.Equal(got, []tidings.Why{tidings.Connect, tidings.Rejected}) {
		t.Errorf("tokens were asked for by %v", got)
	}
	var refused *tidings.Error
	if _, err := c.Load(t.Context(), "secrets", tidings.LoadOptions{}); !errors.As(err, &refused) || refused.Code != tidings.CodeUnauthenticated {
		t.Errorf("a page: %v", err)
	}

	c.Token = (&issuer{give: func(n int, _ tidings.Why) (string, error) {
		if n < 3 {
			return "", errors.New("the issuer does not answer")
		}
		return token(t, "ada", time.Hour), nil
	}}).token
	f := follow(t, c, o)
	f.expectState(tidings.StateOffline)
	f.expect(tidings.Live)

	c.Token = (&issuer{give: func(int, tidings.Why) (string, error) { return "", tidings.ErrGiveUp }}).token
	if err := follow(t, c, o).end(); !errors.Is(err, tidings.ErrGiveUp) {
		t.Errorf("got %v", err)
	}
}

// Who is sent away comes back; whose token was revoked with another one, or not at all.
func TestSentAway(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	c := serve(t, d).client()
	i := &issuer{give: func(n int, why tidings.Why) (string, error) {
		if n == 3 && why == tidings.Rejected || n < 3 && why == tidings.Connect {
			return token(t, "ada", time.Hour), nil
		}
		return "", tidings.ErrGiveUp
	}}
	c.Token = i.token
	f := follow(t, c, tidings.Options{Channels: []string{"secrets"}})
	f.expect(tidings.Live)
	for n, statement := range []string{`select tidings.disconnect('ada')`, `select tidings.revoke('ada')`} {
		d.exec(statement)
		f.expectState(tidings.StateOffline)
		d.exec(`insert into secrets values ($1)`, n)
		m := f.next()
		for ; m.Kind == tidings.Live; m = f.next() { // of before
		}
		if m.Type != "secret_added" {
			t.Errorf("after %s: got %+v", statement, m)
		}
	}
	d.exec(`select tidings.revoke('ada')`)
	if err := f.end(); !errors.Is(err, tidings.ErrGiveUp) {
		t.Errorf("it ended with %v", err)
	}
	if got := i.reasons(); !slices.Equal(got, []tidings.Why{tidings.Connect, tidings.Connect, tidings.Rejected, tidings.Rejected}) {
		t.Errorf("tokens were asked for by %v", got)
	}

	c.Token = nil
	c.Header = map[string][]string{"Authorization": {"Bearer " + token(t, "eva", time.Hour)}}
	f = follow(t, c, tidings.Options{Channels: []string{"secrets"}})
	f.expect(tidings.Live)
	d.exec(`select tidings.revoke('eva')`)
	var bye *tidings.Goodbye
	if err := f.end(); !errors.As(err, &bye) || bye.Code != 4004 {
		t.Errorf("it ended with %v", err)
	}
}
