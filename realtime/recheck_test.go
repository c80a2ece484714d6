package realtime_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"tidings/realtime"
)

// undecided is a court that cannot answer some questions to policies.
type undecided struct {
	*court
	answer func(asks []realtime.Ask) ([]bool, error)
}

func (c *undecided) Permit(_ context.Context, asks []realtime.Ask) ([]bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer(asks)
}

// Where a policy is to say who may follow a topic, nobody who followed it before goes on until it has.
func TestAnotherPolicyKeepsNobodyIn(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	c := &court{permit: func(asks []realtime.Ask) []bool {
		<-answer
		return make([]bool, len(asks))
	}}
	h := c.open(t, realtime.Options{})
	f := follow(t, h, nil)
	f.sub.Subscribe(t.Context(), channels("messages"), realtime.SubscribeOptions{})
	f.expectNotice(realtime.NoticeSubscribed, "")
	h.SetTopics([]realtime.Topic{{Name: "messages", Keyed: true, Read: "policy:public.nobody"}})
	c.publish(&realtime.Event{Topic: "messages", Type: "message_added", Key: "1", Keyed: true, Data: []byte(`"written after the change"`)})
	close(answer)
	f.expectNotice(realtime.NoticeError, realtime.CodeForbidden)
}

// What is written after it was said that policies are to be asked again, is told to nobody whom they have not let since.
func TestRecheckKeepsNobodyIn(t *testing.T) {
	t.Parallel()
	answer := make(chan bool)
	c := &court{permit: func(asks []realtime.Ask) []bool {
		return slices.Repeat([]bool{<-answer}, len(asks))
	}}
	h := c.open(t, realtime.Options{})
	h.SetTopics([]realtime.Topic{{Name: "messages", Keyed: true, Read: "policy:public.members"}})
	write := func() {
		c.publish(&realtime.Event{Topic: "messages", Type: "message_added", Key: "1", Keyed: true, Data: []byte(`"written"`)})
	}
	subscribed := make(chan struct{})
	f := follow(t, h, nil)
	go func() {
		f.sub.Subscribe(t.Context(), channels("messages"), realtime.SubscribeOptions{})
		close(subscribed)
	}()
	answer <- true
	<-subscribed
	f.expectNotice(realtime.NoticeSubscribed, "")
	h.Recheck()
	write()
	answer <- true
	f.expectEvents("message_added")
	h.Recheck()
	write()
	answer <- false
	f.expectNotice(realtime.NoticeError, realtime.CodeForbidden)
}

// However often something changes that policies look at, those who are allowed are told in between.
func TestRechecksWithoutEnd(t *testing.T) {
	t.Parallel()
	var h *realtime.Hub
	var mu sync.Mutex
	storm, told := false, make(map[string]chan struct{})
	var last chan struct{} // of who was allowed last
	c := &court{permit: func(asks []realtime.Ask) []bool {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !storm:
		case len(asks) == 1:
			last = told[asks[0].Rights.User]
		default:
			if last != nil {
				<-last
			}
			h.Recheck() // while they are asked about
		}
		return slices.Repeat([]bool{true}, len(asks))
	}}
	h = c.open(t, realtime.Options{})
	var followers []*follower
	for _, user := range []string{"a", "b", "c", "d"} {
		f := follow(t, h, person(user))
		defer f.sub.Close()
		f.sub.Subscribe(t.Context(), channels("rooms"), realtime.SubscribeOptions{})
		f.expectNotice(realtime.NoticeSubscribed, "")
		followers = append(followers, f)
		told[user] = make(chan struct{})
	}
	mu.Lock()
	storm = true
	mu.Unlock()
	h.Recheck()
	c.publish(&realtime.Event{Topic: "rooms", Type: "room_added", Key: "1", Keyed: true, Data: []byte(`"written"`)})
	var all sync.WaitGroup
	for i, user := range []string{"a", "b", "c", "d"} {
		all.Go(func() {
			defer close(told[user])
			followers[i].expectEvents("room_added")
		})
	}
	all.Wait()
}

// slowLog is a court whose log is read when it is told to, by which time more may have been written.
type slowLog struct {
	*court
	reads chan chan struct{}
}

func (l *slowLog) Read(_ context.Context, from realtime.Cursor, upto realtime.Snapshot, _ []string, _ int) (realtime.LogPage, error) {
	read := make(chan struct{})
	l.reads <- read
	<-read
	l.mu.Lock()
	defer l.mu.Unlock()
	to := len(l.events)
	if upto.Xmax != 0 {
		to = int(upto.Xmax) - 1
	}
	return realtime.LogPage{Events: l.events[from.Seen.Xmax-1 : to], To: l.at(to), End: true}, nil
}

// Who reads the log because he was away is told nothing of it that was written after his right was taken: not while the hub has yet to come
// to where that is said, and not where it came to it during the read.
func TestRecheckWhileTheLogIsRead(t *testing.T) {
	t.Parallel()
	for _, midway := range []bool{false, true} { // in the second case only what happens during the read tells
		answer := make(chan bool)
		l := &slowLog{court: &court{tape: &tape{}}, reads: make(chan chan struct{})}
		l.permit = func(asks []realtime.Ask) []bool { return slices.Repeat([]bool{<-answer}, len(asks)) }
		h := realtime.NewHub(l, realtime.Options{RecentBytes: 1})
		l.hub = h
		h.SetTopics([]realtime.Topic{{Name: "rooms", Keyed: true, Read: "policy:public.members"}})
		h.Start(l.at(0))
		h.SetLive(true)
		runHub(t, h)
		event := func(typ string) *realtime.Event {
			return &realtime.Event{Topic: "rooms", Type: typ, Key: "1", Keyed: true, Data: []byte(`"written"`)}
		}
		// write writes what is read of the log, and has not come to the hub.
		write := func(typ string) *realtime.Event {
			l.mu.Lock()
			defer l.mu.Unlock()
			e, n := event(typ), len(l.events)+1
			e.ID, e.Xid, e.Cursor = realtime.ID{Entry: int64(n)}, uint64(n), l.at(n)
			l.events = append(l.events, e)
			return e
		}
		l.publish(event("one"), event("two"))
		if midway {
			e := write("three")
			e.Cursor = realtime.Cursor{Origin: origin, Seen: l.at(2).Seen, Upto: l.at(4).Seen, Last: e.ID}
			h.Publish(realtime.Batch{From: l.at(2), To: e.Cursor, Events: []*realtime.Event{e}})
		}
		write("afterwards")
		f := follow(t, h, person("a"))
		go func() { answer <- true }()
		f.sub.Subscribe(t.Context(), channels("rooms"), realtime.SubscribeOptions{Since: l.at(0).String()})
		page := make(chan []realtime.Item)
		go func() {
			items, _ := f.sub.Next(t.Context()) // the error would be the context's
			page <- items
		}()
		read := <-l.reads
		if midway {
			h.Recheck()
		}
		close(read)
		for _, i := range <-page {
			for _, e := range i.Run.Events {
				if e.Type == "afterwards" {
					t.Errorf("told, and the right was taken before; midway: %t", midway)
				}
			}
		}
		if !midway {
			h.Recheck()
		}
		answer <- false
		f.expectNotice(realtime.NoticeError, realtime.CodeForbidden)
		f.sub.Close()
	}
}

// Who waits for a policy's answer waits no longer where none is needed any more.
func TestChannelBecomesPublicWhileAsked(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{}, 1)
	defer close(gate)
	gate <- struct{}{} // for who subscribes
	c := &court{permit: func(asks []realtime.Ask) []bool {
		<-gate
		return slices.Repeat([]bool{true}, len(asks))
	}}
	h := c.open(t, realtime.Options{})
	f := follow(t, h, nil)
	defer f.sub.Close()
	f.sub.Subscribe(t.Context(), channels("rooms"), realtime.SubscribeOptions{})
	f.expectNotice(realtime.NoticeSubscribed, "")
	h.Recheck()
	if items, err := f.sub.Next(t.Context()); err != nil || len(items) > 0 {
		t.Fatalf("told %+v, %v", items, err)
	}
	<-f.woken // by the doubt
	h.SetTopics([]realtime.Topic{{Name: "rooms", Keyed: true, Read: "public"}})
	c.publish(&realtime.Event{Topic: "rooms", Type: "room_added", Key: "1", Keyed: true, Data: []byte(`"written"`)})
	select {
	case <-f.woken:
	case <-time.After(patience):
		t.Fatal("it is not woken")
	}
	f.expectEvents("room_added")
}

// One question that cannot be answered spares nobody else, and in the end not whose it is.
func TestQuestionsThatCannotBeAnswered(t *testing.T) {
	t.Parallel()
	allow := true
	stuck := realtime.Channel{Topic: "rooms", Key: "stuck"}
	c := &undecided{court: &court{}}
	c.answer = func(asks []realtime.Ask) ([]bool, error) {
		answers := make([]bool, len(asks))
		for i, a := range asks {
			if a.Channel == stuck && !allow {
				return nil, errors.New("canceling statement due to statement timeout")
			}
			answers[i] = allow
		}
		return answers, nil
	}
	c.court.tape = &tape{}
	h := realtime.NewHub(c, realtime.Options{RecheckInterval: time.Second})
	c.hub = h
	h.SetTopics([]realtime.Topic{{Name: "rooms", Keyed: true, Read: "policy:x.y"}})
	h.Start(c.at(0))
	h.SetLive(true)
	runHub(t, h)
	a, b := follow(t, h, person("a")), follow(t, h, person("b"))
	a.sub.Subscribe(t.Context(), []realtime.Channel{stuck}, realtime.SubscribeOptions{})
	a.expectNotice(realtime.NoticeSubscribed, "")
	b.sub.Subscribe(t.Context(), []realtime.Channel{{Topic: "rooms", Key: "1"}}, realtime.SubscribeOptions{})
	b.expectNotice(realtime.NoticeSubscribed, "")
	c.mu.Lock()
	allow = false
	c.mu.Unlock()
	h.Recheck()
	b.expectNotice(realtime.NoticeError, realtime.CodeForbidden)
	a.expectNotice(realtime.NoticeError, realtime.CodeUnavailable)
}

// What row security said before its policies changed does not count for who comes later.
func TestAnswersFromBeforeAChange(t *testing.T) {
	t.Parallel()
	strict := make(chan struct{})
	c := &court{judge: func(_ context.Context, questions []realtime.Judging) ([][]bool, error) {
		select {
		case <-strict:
			answers := make([][]bool, len(questions))
			for i := range questions {
				answers[i] = make([]bool, len(questions[i].Rows))
			}
			return answers, nil
		default:
			return rule(questions), nil
		}
	}}
	h := c.open(t, realtime.Options{})
	since := c.at(0).String()
	f := follow(t, h, person("a"))
	f.sub.Subscribe(t.Context(), channels("notes"), realtime.SubscribeOptions{})
	f.expectNotice(realtime.NoticeSubscribed, "")
	c.publish(note("added", "1", "a", ""))
	f.expectEvents("note_added")
	close(strict)
	h.Recheck()
	g := follow(t, h, person("a"))
	g.sub.Subscribe(t.Context(), channels("notes"), realtime.SubscribeOptions{Since: since})
	g.expectNotice(realtime.NoticeSubscribed, "")
}
