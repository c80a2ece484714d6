package realtime_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"tidings/realtime"
)

// tape is a log of one transaction after another, each with one event, which is published as it is written.
type tape struct {
	mu     sync.Mutex
	events []*realtime.Event
	hub    *realtime.Hub
}

func (*tape) Nudge()                              {}
func (*tape) RefreshTopics(context.Context) error { return nil }

func (*tape) Judge(context.Context, []realtime.Judging) ([][]bool, error) {
	return nil, errors.New("there is nobody to ask")
}

func (*tape) Permit(context.Context, []realtime.Ask) ([]bool, error) {
	return nil, errors.New("there is nobody to ask")
}
func (*tape) Load(context.Context, ...realtime.Page) ([]realtime.Loaded, error) {
	return nil, errors.New("there are no rows")
}

// at is the position behind n transactions.
func (*tape) at(n int) realtime.Cursor {
	return realtime.Cursor{Origin: origin, Seen: realtime.Snapshot{Xmin: uint64(n + 1), Xmax: uint64(n + 1)}}
}

// Read returns what was published by then, and not more: the hub must not be overtaken for long.
func (l *tape) Read(_ context.Context, from realtime.Cursor, _ realtime.Snapshot, _ []string, _ int) (realtime.LogPage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := int(from.Seen.Xmax) - 1
	to := min(first+20, len(l.events))
	return realtime.LogPage{Events: l.events[first:to], To: l.at(to), End: to == len(l.events)}, nil
}

// write publishes so many events.
func (l *tape) write(n int) {
	for range n {
		l.mu.Lock()
		i := len(l.events)
		e := &realtime.Event{ID: realtime.ID{Entry: int64(i + 1)}, Xid: uint64(i + 1), Topic: "messages", Type: "message_added", Key: fmt.Sprint(i % 3), Keyed: true,
			Data: []byte("{}"), Cursor: l.at(i + 1)}
		l.events = append(l.events, e)
		l.mu.Unlock()
		l.hub.Publish(realtime.Batch{From: l.at(i), To: l.at(i + 1), Events: []*realtime.Event{e}})
	}
}

// While events are published, clients come, add and leave channels, fall behind and go, all at the same time. What each is told
// begins where it left off, and has no gap and no repetition.
func TestClientsComeAndGoAtTheSameTime(t *testing.T) {
	t.Parallel()
	const events, clients = 20_000, 12
	l := &tape{}
	l.hub = realtime.NewHub(l, realtime.Options{QueueBytes: 4000, RecentBytes: 200_000})
	l.hub.SetTopics([]realtime.Topic{{Name: "messages", Keyed: true, Read: "public"}, {Name: "comments", Keyed: true, Read: "public"}})
	l.hub.Start(l.at(0))
	l.hub.SetLive(true)
	var group sync.WaitGroup
	for n := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			var channel, step int64 // every step-th entry from channel on, or all
			names, step := "messages", 1
			if n%3 == 1 {
				names, step = fmt.Sprintf("messages:%d", n/3%3), 3
				channel = int64(n/3%3) + 1
			}
			last, cursor := int64(0), l.at(0).String()
			for last < events-3 {
				woken := make(chan struct{}, 1)
				sub := l.hub.NewSubscriber(nil, func() {
					select {
					case woken <- struct{}{}:
					default:
					}
				})
				sub.Subscribe(t.Context(), channels(names), realtime.SubscribeOptions{Since: cursor})
				if n%3 == 2 { // another channel beside it, which comes and goes
					sub.Subscribe(t.Context(), channels("comments"), realtime.SubscribeOptions{})
				}
				for take := random.IntN(400); take > 0 && last < events-3; {
					items, behind := sub.Take(nil)
					if behind {
						var err error
						more := items
						for items, err = sub.Next(t.Context()); len(items) > 0 && err == nil; items, err = sub.Next(t.Context()) {
							more = append(more, items...)
						}
						items = more
					}
					if len(items) == 0 {
						<-woken
						continue
					}
					for _, i := range items {
						if i.Notice != nil {
							if i.Notice.Kind == realtime.NoticeReset || i.Notice.Kind == realtime.NoticeError {
								t.Errorf("client %d was told %+v", n, *i.Notice)
								return
							}
							continue
						}
						for _, e := range i.Run.Events {
							want := last + step
							if last == 0 && step > 1 {
								want = channel
							}
							if e.ID.Entry != want {
								t.Errorf("client %d was told of %d, want %d", n, e.ID.Entry, want)
								return
							}
							last, cursor = e.ID.Entry, e.Cursor.String()
							take--
						}
					}
					switch random.IntN(20) {
					case 0:
						sub.Refresh()
					case 1:
						if n%3 == 2 {
							sub.Unsubscribe(channels("comments")[0])
							sub.Subscribe(t.Context(), channels("comments"), realtime.SubscribeOptions{})
						}
					}
				}
				sub.Close()
			}
		})
	}
	l.write(events)
	group.Wait()
	if stats := l.hub.Stats(); stats.Subscribers != 0 || stats.Behind != 0 || stats.Waiting != 0 {
		t.Errorf("all have gone, and %d subscribers are counted, %d of them behind, %d waiting", stats.Subscribers, stats.Behind, stats.Waiting)
	}
}
