package realtime_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/realtime"
)

// patience is how long anything may take.
const patience = 30 * time.Second

// court is a source whose rows say who may read them, and which answers when it is told to.
type court struct {
	*tape
	judge  func(ctx context.Context, questions []realtime.Judging) ([][]bool, error)
	permit func(asks []realtime.Ask) []bool
}

func (c *court) Judge(ctx context.Context, questions []realtime.Judging) ([][]bool, error) {
	if c.judge != nil {
		return c.judge(ctx, questions)
	}
	return rule(questions), nil
}

func (c *court) Permit(_ context.Context, asks []realtime.Ask) ([]bool, error) {
	return c.permit(asks), nil
}

// rule is the answer: a row is JSON, a text with the letters of the users who may read it.
func rule(questions []realtime.Judging) [][]bool {
	answers := make([][]bool, len(questions))
	for i, q := range questions {
		for _, row := range q.Rows {
			answers[i] = append(answers[i], row != nil && q.Rights.User != "" && strings.Contains(string(row), q.Rights.User))
		}
	}
	return answers
}

// open runs a hub with a topic for each guard.
func (c *court) open(t *testing.T, options realtime.Options) *realtime.Hub {
	t.Helper()
	c.tape = &tape{}
	h := realtime.NewHub(c, options)
	c.hub = h
	h.SetTopics([]realtime.Topic{
		{Name: "notes", Keyed: true, Read: "public", Guard: realtime.GuardRows}, {Name: "messages", Keyed: true, Read: "public"},
		{Name: "rooms", Keyed: true, Read: "policy:public.may_enter"},
	})
	h.Start(c.at(0))
	h.SetLive(true)
	runHub(t, h)
	return h
}

// runHub runs the hub until the test ends.
func runHub(t *testing.T, h *realtime.Hub) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// publish writes events, each a transaction, in one batch.
func (l *tape) publish(events ...*realtime.Event) {
	l.mu.Lock()
	from := len(l.events)
	for _, e := range events {
		i := len(l.events)
		e.ID, e.Xid, e.Cursor = realtime.ID{Entry: int64(i + 1)}, uint64(i+1), l.at(i+1)
		l.events = append(l.events, e)
	}
	to := len(l.events)
	l.mu.Unlock()
	l.hub.Publish(realtime.Batch{From: l.at(from), To: l.at(to), Events: events})
}

func note(typ, key, now, was string) *realtime.Event {
	e := &realtime.Event{Topic: "notes", Type: "note_" + typ, Key: key, Keyed: true, Data: []byte(`"` + now + `"`), Guard: &realtime.Guard{}}
	if typ == "updated" {
		e.Guard.Was = []byte(`"` + was + `"`)
	}
	return e
}

func person(user string) *realtime.Identity {
	if user == "" {
		return nil
	}
	return &realtime.Identity{User: user}
}

// follower is a subscriber that waits for what it is told.
type follower struct {
	t     *testing.T
	sub   *realtime.Subscriber
	woken chan struct{}
	queue []realtime.Item
}

func follow(t *testing.T, h *realtime.Hub, id *realtime.Identity) *follower {
	f := &follower{t: t, woken: make(chan struct{}, 1)}
	f.sub = h.NewSubscriber(id, func() {
		select {
		case f.woken <- struct{}{}:
		default:
		}
	})
	return f
}

// take returns what there is, after it has waited for something.
func (f *follower) take(ctx context.Context) []realtime.Item {
	for {
		items, behind := f.sub.Take(nil)
		for behind {
			more, err := f.sub.Next(ctx)
			if err != nil {
				return nil
			}
			items, behind = append(items, more...), len(more) > 0
		}
		if len(items) > 0 {
			return items
		}
		select {
		case <-f.woken:
		case <-ctx.Done():
			return nil
		}
	}
}

// next returns the next item.
func (f *follower) next() realtime.Item {
	f.t.Helper()
	if len(f.queue) == 0 {
		ctx, cancel := context.WithTimeout(f.t.Context(), patience)
		defer cancel()
		if f.queue = f.take(ctx); len(f.queue) == 0 {
			f.t.Fatal("nothing comes")
		}
	}
	i := f.queue[0]
	f.queue = f.queue[1:]
	return i
}

func (f *follower) expectNotice(kind realtime.NoticeKind, code realtime.Code) {
	f.t.Helper()
	switch i := f.next(); {
	case i.Notice == nil || i.Notice.Kind != kind:
		f.t.Fatalf("got %+v %+v, want the notice %d", i, i.Notice, kind)
	case code != "" && (i.Notice.Err == nil || i.Notice.Err.Code != code):
		f.t.Fatalf("got %+v, want %s", i.Notice.Err, code)
	}
}

func (f *follower) expectEvents(types ...string) {
	f.t.Helper()
	var got []string
	for len(got) < len(types) {
		i := f.next()
		if i.Run == nil {
			f.t.Fatalf("got %+v, want events", i.Notice)
		}
		for _, e := range i.Run.Events {
			got = append(got, e.Type)
		}
	}
	if !slices.Equal(got, types) {
		f.t.Fatalf("got %q, want %q", got, types)
	}
}

// told is what a user who has the channels is to be told of an event; empty: nothing.
func told(e *realtime.Event, user string, has []realtime.Channel) string {
	if e.Open {
		return e.Type
	}
	reads := func(row []byte) bool { return user != "" && strings.Contains(string(row), user) }
	now, was := reads(e.Data), reads(e.Guard.Was)
	old := e.Key
	if e.Moved {
		old = e.OldKey
	}
	for _, c := range has {
		at := func(key string) bool { return c.Key == "" || c.Key == key }
		switch update := e.Type == "note_updated"; {
		case !update && now && at(e.Key):
			return e.Type + " " + e.Key
		case update && now && was && (at(e.Key) || at(old)):
			return e.Type + " " + e.Key
		case update && now && !was && at(e.Key):
			return "note_added " + e.Key
		case update && was && !now && at(old):
			return "note_deleted " + old
		}
	}
	return ""
}

// Events are judged late, in any order and not at the first attempt, while subscribers with different rights come and go, fall behind
// and read slowly: each is told exactly what its rights allow, once and in order.
func TestJudgedLateAndInAnyOrder(t *testing.T) {
	t.Parallel()
	const events = 3000
	type call struct {
		questions []realtime.Judging
		answer    chan error
	}
	calls := make(chan call)
	c := &court{judge: func(ctx context.Context, questions []realtime.Judging) ([][]bool, error) {
		mine := call{questions, make(chan error)}
		for _, step := range []func() (error, bool){
			func() (error, bool) {
				select {
				case calls <- mine:
					return nil, true
				case <-ctx.Done():
					return ctx.Err(), false
				}
			},
			func() (error, bool) {
				select {
				case err := <-mine.answer:
					return err, err == nil
				case <-ctx.Done():
					return ctx.Err(), false
				}
			},
		} {
			if err, good := step(); !good {
				return nil, err
			}
		}
		return rule(questions), nil
	}}
	h := c.open(t, realtime.Options{QueueBytes: 6000, RecentBytes: 100_000, Readers: 2})

	// Two may be asked at a time: who comes first waits for the second, if there is one, and is answered after it half of the time.
	stop := make(chan struct{})
	var courtroom sync.WaitGroup
	courtroom.Go(func() {
		random := rand.New(rand.NewPCG(1, 1))
		errs := 4
		answer := func(c call) {
			var err error
			if errs > 0 && random.IntN(20) == 0 {
				errs--
				err = errors.New("the database does not answer")
			}
			c.answer <- err
		}
		var waits []call
		for {
			next := calls
			idle := make(chan struct{})
			if len(waits) == 2 || len(waits) == 1 && random.IntN(2) == 0 {
				next = nil
			}
			if len(waits) > 0 {
				close(idle) // somebody can be answered
			}
			if next != nil && len(waits) > 0 {
				select {
				case c := <-next:
					waits = append(waits, c)
					continue
				default:
				}
				next = nil
			}
			select {
			case c := <-next:
				waits = append(waits, c)
			case <-idle:
				n := random.IntN(len(waits))
				answer(waits[n])
				waits = slices.Delete(waits, n, n+1)
			case <-stop:
				return
			}
		}
	})

	users := []string{"a", "b", "c", ""}
	sets := [][]realtime.Channel{channels("notes"), channels("notes:1"), channels("notes:2", "notes:3"), channels("notes", "notes:1")}
	var readers sync.WaitGroup
	ctx := t.Context()
	heard := make([][]string, 2*len(users)*len(sets))
	for n := range heard {
		user, has := users[n%len(users)], sets[n/len(users)%len(sets)]
		readers.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(n)))
			cursor, done := c.at(0).String(), false
			for !done {
				f := follow(t, h, person(user))
				f.sub.Subscribe(ctx, has, realtime.SubscribeOptions{Since: cursor})
				for take := random.IntN(300); take >= 0 && !done; {
					items := f.take(ctx)
					if len(items) == 0 {
						t.Error("it has ended too early")
						return
					}
					for _, i := range items {
						if i.Notice != nil {
							if i.Notice.Kind == realtime.NoticeReset || i.Notice.Kind == realtime.NoticeError {
								t.Errorf("reader %d was told %+v", n, i.Notice)
								return
							}
							continue
						}
						for _, e := range i.Run.Events {
							line := e.Type + " " + e.Key
							if done = e.Open; done {
								line = e.Type
							}
							heard[n] = append(heard[n], fmt.Sprint(e.ID.Entry, " ", line))
							cursor = e.Cursor.String()
							take--
						}
					}
					if random.IntN(30) == 0 {
						f.sub.Refresh()
					}
				}
				f.sub.Close()
			}
		})
	}
	random := rand.New(rand.NewPCG(3, 3))
	letters := func() string { return []string{"", "a", "b", "ab", "bc", "abc", "c"}[random.IntN(7)] }
	var all []*realtime.Event
	for len(all) < events {
		var batch []*realtime.Event
		for range 1 + random.IntN(10) {
			key := fmt.Sprint(1 + random.IntN(3))
			e := note([]string{"added", "updated", "updated", "deleted"}[random.IntN(4)], key, letters(), letters())
			if old := fmt.Sprint(1 + random.IntN(3)); e.Type == "note_updated" && old != key && random.IntN(2) == 0 {
				e.Moved, e.OldKey = true, old
			}
			batch = append(batch, e)
		}
		all = append(all, batch...)
		c.publish(batch...)
	}
	// All hear that it is over.
	end := &realtime.Event{Topic: "notes", Type: "over", Everywhere: true, Open: true}
	all = append(all, end)
	c.publish(end)
	readers.Wait()
	close(stop)
	courtroom.Wait()
	for n := range heard {
		user, has := users[n%len(users)], sets[n/len(users)%len(sets)]
		var want []string
		for _, e := range all {
			if line := told(e, user, has); line != "" {
				want = append(want, fmt.Sprint(e.ID.Entry, " ", line))
			}
		}
		for i := range max(len(want), len(heard[n])) {
			if i >= len(want) || i >= len(heard[n]) || want[i] != heard[n][i] {
				t.Errorf("reader %d (%q, %v) was told %d things, want %d; from the %dth on\n%q, want\n%q", n, user, has, len(heard[n]), len(want), i,
					heard[n][i:min(i+5, len(heard[n]))], want[i:min(i+5, len(want))])
				break
			}
		}
	}
}

// However many follow, row security is asked once for all who have the same rights, and not again for who comes back.
func TestRowSecurityIsAskedOncePerRights(t *testing.T) {
	t.Parallel()
	const rights, each, events = 5, 200, 3
	var mu sync.Mutex
	questions, rows := 0, 0
	c := &court{judge: func(_ context.Context, asked []realtime.Judging) ([][]bool, error) {
		mu.Lock()
		defer mu.Unlock()
		questions += len(asked)
		for _, q := range asked {
			rows += len(q.Rows)
		}
		return rule(asked), nil
	}}
	h := c.open(t, realtime.Options{})
	var followers []*follower
	add := func(user string, options realtime.SubscribeOptions) *follower {
		f := follow(t, h, person(user))
		f.sub.Subscribe(t.Context(), channels("notes"), options)
		followers = append(followers, f)
		return f
	}
	for i := range rights * each {
		add(string(rune('a'+i%rights)), realtime.SubscribeOptions{}).expectNotice(realtime.NoticeSubscribed, "")
	}
	for range events {
		c.publish(note("added", "1", "abcde", ""))
		for _, f := range followers {
			f.expectEvents("note_added")
		}
	}
	add("a", realtime.SubscribeOptions{Since: c.at(0).String()}).expectEvents("note_added", "note_added", "note_added")
	mu.Lock()
	defer mu.Unlock()
	if questions != rights*events || rows != rights*events || h.Stats().Judged != rights*events {
		t.Errorf("%d questions, of %d rows, %d counted: want %d", questions, rows, h.Stats().Judged, rights*events)
	}
	for _, f := range followers {
		f.sub.Close()
	}
}

// While it is not known what one may be told, the others are told what is theirs, and he is told all of it in the end, in order.
func TestSlowJudgingHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	begun, answer := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	c := &court{judge: func(ctx context.Context, questions []realtime.Judging) ([][]bool, error) {
		if slices.ContainsFunc(questions, func(q realtime.Judging) bool { return q.Rights.User == "s" }) {
			once()
			select {
			case <-answer:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return rule(questions), nil
	}}
	h := c.open(t, realtime.Options{QueueBytes: 4000})
	slow, other, open := follow(t, h, person("s")), follow(t, h, person("a")), follow(t, h, nil)
	for f, name := range map[*follower]string{slow: "notes:9", other: "notes:1", open: "messages"} {
		f.sub.Subscribe(t.Context(), channels(name), realtime.SubscribeOptions{})
		f.expectNotice(realtime.NoticeSubscribed, "")
		defer f.sub.Close()
	}
	c.publish(note("added", "9", "s", ""))
	<-begun
	const events = 50 // more than are queued for one
	for range events {
		c.publish(note("added", "1", "a", ""), note("added", "9", "s", ""), &realtime.Event{Topic: "messages", Type: "message_added", Data: []byte("{}")})
		other.expectEvents("note_added")
		open.expectEvents("message_added")
	}
	if items, _ := slow.sub.Take(nil); len(items) > 0 {
		t.Errorf("got %+v before it is known", items)
	}
	close(answer)
	for range events + 1 {
		slow.expectEvents("note_added")
	}
}

// What gathers while the database is asked is one question, for each set of rights.
func TestWhatGathersIsJudgedTogether(t *testing.T) {
	t.Parallel()
	const rights, events = 3, 400 // more events than there are questions at a time
	var mu sync.Mutex
	var asked []int // rows of each question
	begun, answer := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	c := &court{judge: func(ctx context.Context, questions []realtime.Judging) ([][]bool, error) {
		mu.Lock()
		for _, q := range questions {
			asked = append(asked, len(q.Rows))
		}
		mu.Unlock()
		once()
		select {
		case <-answer:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return rule(questions), nil
	}}
	h := c.open(t, realtime.Options{})
	var followers []*follower
	for i := range rights {
		f := follow(t, h, person(string(rune('a'+i))))
		f.sub.Subscribe(t.Context(), channels("notes"), realtime.SubscribeOptions{})
		f.expectNotice(realtime.NoticeSubscribed, "")
		defer f.sub.Close()
		followers = append(followers, f)
	}
	c.publish(note("added", "1", "abc", ""))
	<-begun
	for i := range events {
		c.publish(note("updated", "1", string(rune('a'+i%rights)), string(rune('a'+(i+1)%rights))))
	}
	close(answer)
	for n, f := range followers {
		f.expectEvents("note_added")
		for i := range events {
			switch n {
			case i % rights:
				f.expectEvents("note_added")
			case (i + 1) % rights:
				f.expectEvents("note_deleted")
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) > 3*rights {
		t.Errorf("%d questions, of so many rows: %v; want %d or a few more", len(asked), asked, 2*rights)
	}
	if got := h.Stats().Judged; got != rights*(events+1) {
		t.Errorf("%d counted, want %d", got, rights*(events+1))
	}
}

// Channels that wait until they are subscribed to are asked about again when the subscriber is somebody else by then.
func TestWaitingChannelsAreThoseOfTheIdentity(t *testing.T) {
	t.Parallel()
	c := &court{permit: func(asks []realtime.Ask) (answers []bool) {
		for _, a := range asks {
			answers = append(answers, a.Rights.User == "a")
		}
		return answers
	}}
	h := c.open(t, realtime.Options{})
	h.SetLive(false) // so that they wait
	f := follow(t, h, person("a"))
	defer f.sub.Close()
	f.sub.Subscribe(t.Context(), channels("messages"), realtime.SubscribeOptions{})
	f.sub.Subscribe(t.Context(), channels("rooms"), realtime.SubscribeOptions{})
	f.sub.SetIdentity(t.Context(), person("b"))
	f.expectNotice(realtime.NoticeError, realtime.CodeForbidden)
	h.SetLive(true)
	f.expectNotice(realtime.NoticeSubscribed, "")
	c.publish(&realtime.Event{Topic: "rooms", Type: "room_added", Data: []byte("{}")}, &realtime.Event{Topic: "messages", Type: "message_added", Data: []byte("{}")})
	f.expectEvents("message_added")
}

// After a change of what policies look at, no answer from before counts: neither for who waits, nor for who comes at that moment.
func TestRecheckForgetsAnswers(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	allowed := true
	asked := make(chan struct{}, 100)
	c := &court{permit: func(asks []realtime.Ask) (answers []bool) {
		mu.Lock()
		defer mu.Unlock()
		for range asks {
			answers = append(answers, allowed)
			asked <- struct{}{}
		}
		return answers
	}}
	h := c.open(t, realtime.Options{})
	set := func(may bool) {
		mu.Lock()
		defer mu.Unlock()
		allowed = may
	}
	f := follow(t, h, person("a"))
	f.sub.Subscribe(t.Context(), channels("rooms"), realtime.SubscribeOptions{})
	f.expectNotice(realtime.NoticeSubscribed, "")
	h.SetLive(false)
	waits := follow(t, h, person("a"))
	waits.sub.Subscribe(t.Context(), channels("messages"), realtime.SubscribeOptions{})
	waits.sub.Subscribe(t.Context(), channels("rooms"), realtime.SubscribeOptions{})
	set(false)
	h.Recheck()
	late := follow(t, h, person("a"))
	late.sub.Subscribe(t.Context(), channels("rooms"), realtime.SubscribeOptions{})
	late.expectNotice(realtime.NoticeError, realtime.CodeForbidden)
	f.expectNotice(realtime.NoticeError, realtime.CodeForbidden)
	waits.expectNotice(realtime.NoticeError, realtime.CodeForbidden)
	h.SetLive(true)
	waits.expectNotice(realtime.NoticeSubscribed, "")
	for _, f := range []*follower{f, waits, late} {
		f.sub.Close()
	}
}

// Whose row is too large to be told is told that it is gone, without it.
func TestOwnersRowThatIsTooLarge(t *testing.T) {
	t.Parallel()
	c := &court{}
	h := c.open(t, realtime.Options{})
	h.SetTopics([]realtime.Topic{{Name: "letters", Keyed: true, Read: "owner:owner", Guard: realtime.GuardOwner}})
	f := follow(t, h, person("a"))
	defer f.sub.Close()
	f.sub.Subscribe(t.Context(), channels("letters"), realtime.SubscribeOptions{})
	f.expectNotice(realtime.NoticeSubscribed, "")
	c.publish(&realtime.Event{Topic: "letters", Type: "letter_updated", Key: "1", Keyed: true, Data: []byte(`"new"`), Guard: &realtime.Guard{Now: []byte("b"), Was: []byte("a")}})
	i := f.next()
	if i.Run == nil || len(i.Run.Events) != 1 {
		t.Fatalf("got %+v", i)
	}
	if e := i.Run.Events[0]; e.Type != "letter_deleted" || e.Data != nil || !e.Omitted {
		t.Errorf("got %s with %q, omitted: %t", e.Type, e.Data, e.Omitted)
	}
}
