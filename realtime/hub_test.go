package realtime_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tidings/realtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// drain takes all that there is.
func (c *client) drain() {
	for c.take() {
	}
}

func (c *client) ids() []int64 {
	ids := []int64{}
	for _, e := range c.got {
		ids = append(ids, e.ID.Entry)
	}
	return ids
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func expectIDs(t *testing.T, c *client, want ...int64) {
	t.Helper()
	if got := c.ids(); !slices.Equal(got, want) {
		t.Errorf("events heard: got %v, want %v", got, want)
	}
}

// quiet makes a world in which nothing happens by chance.
func quiet() *world {
	w := newWorld(1)
	w.random = nil
	return w
}

func (w *world) committed(topic, key string) {
	w.clock++
	xid := w.begin()
	l := &logged{written: w.clock, event: realtime.Event{
		ID: realtime.ID{Entry: w.entry()}, Xid: xid, Topic: topic, Type: topic, Key: key, Keyed: true, Data: make([]byte, 100),
	}}
	w.log = append(w.log, l)
	w.end(xid, true)
}

func (f *feed) publishAll() {
	events, to, _, err := f.world.read(f.position, realtime.Snapshot{}, nil, 1<<30)
	if err != nil {
		panic(err)
	}
	f.hub.Publish(realtime.Batch{From: f.position, To: to, Events: events})
	f.position = to
}

func TestSubscribedIsSaidWhenLive(t *testing.T) {
	w := quiet()
	f := w.instance(realtime.Options{})
	f.hub.SetLive(false)
	c := w.client(t, f, channels("messages")...)
	w.committed("messages", "1") // while the database is out of reach
	c.drain()
	expect(t, "subscribed before the hub is live", c.ready[channels("messages")[0]], false)

	f.publishAll()
	c.drain()
	expect(t, "subscribed before the hub is live", c.ready[channels("messages")[0]], false)
	f.hub.SetLive(true)
	c.drain()
	expect(t, "subscribed once the hub is live", c.ready[channels("messages")[0]], true)
	w.committed("messages", "2")
	f.publishAll()
	c.drain()
	expectIDs(t, c, 2)
}

func TestErrors(t *testing.T) {
	w := quiet()
	w.topics = append(w.topics, realtime.Topic{Name: "secrets", Keyed: true, Read: "signed_in"}, realtime.Topic{Name: "lines", Read: "public"})
	f := w.instance(realtime.Options{MaxChannels: 3})
	c := w.client(t, f)
	for _, tt := range []struct {
		channel string
		want    realtime.Code
	}{
		{"nothing", realtime.CodeUnknownChannel},
		{"secrets", realtime.CodeForbidden},
		{"secrets:1", realtime.CodeForbidden},
		{"lines:1", realtime.CodeUnknownChannel},
		{"lines", ""},
		{"messages", ""},
		{"messages", realtime.CodeAlreadySubscribed},
		{"messages:1", ""},
		{"messages:2", realtime.CodeTooManyChannels},
	} {
		c.errors = nil
		c.sub.Subscribe(t.Context(), channels(tt.channel), realtime.SubscribeOptions{})
		c.drain()
		var got realtime.Code
		if len(c.errors) > 0 {
			got = c.errors[0].Code
		}
		expect(t, "subscribe to "+tt.channel, got, tt.want)
	}
	c.errors = nil
	c.sub.Unsubscribe(channels("comments")[0])
	c.drain()
	expect(t, "leaving what one has not", c.errors[0].Code, realtime.CodeNotSubscribed)
}

func TestResets(t *testing.T) {
	for _, tt := range []struct {
		name  string
		since func(w *world) string
		want  realtime.Reset
	}{
		{"malformed", func(*world) string { return "nonsense" }, realtime.ResetMalformed},
		{"foreign", func(*world) string { return "other-100" }, realtime.ResetForeign},
		{"future", func(*world) string { return origin + "-100000" }, realtime.ResetFuture},
		{"expired", func(w *world) string {
			old := realtime.Cursor{Origin: origin, Seen: realtime.Snapshot{Xmin: 50, Xmax: 50}}
			w.expire = w.snapshot()
			return old.String()
		}, realtime.ResetExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := quiet()
			w.random = newWorld(1).random
			f := w.instance(realtime.Options{})
			var reasons []realtime.Reset
			c := w.client(t, f)
			c.sub.Subscribe(t.Context(), channels("messages"), realtime.SubscribeOptions{Since: tt.since(w)})
			for items, _ := c.sub.Next(t.Context()); len(items) > 0; items, _ = c.sub.Next(t.Context()) {
				for _, i := range items {
					if i.Notice != nil && i.Notice.Kind == realtime.NoticeReset {
						reasons = append(reasons, i.Notice.Reason)
					}
					c.hear(i)
				}
			}
			if !slices.Equal(reasons, []realtime.Reset{tt.want}) {
				t.Errorf("resets: got %v, want %v", reasons, tt.want)
			}
			expect(t, "subscribed after the reset", c.ready[channels("messages")[0]], true)
			w.committed("messages", "1")
			f.publishAll()
			c.woken.Store(true)
			c.drain()
			expect(t, "events after the reset", len(c.got), 1)
		})
	}
}

func TestRestartTellsEveryone(t *testing.T) {
	w := quiet()
	f := w.instance(realtime.Options{})
	c := w.client(t, f, channels("messages", "comments:1")...)
	c.drain()
	w.committed("messages", "1") // lost
	f.position = realtime.Cursor{Origin: "other", Seen: w.snapshot()}
	f.hub.Restart(f.position, realtime.ResetForeign)
	c.drain()
	expect(t, "resets", c.resets, 2)
	w.committed("messages", "1")
	f.publishAll()
	c.drain()
	expectIDs(t, c, 2)
}

func TestTopicsThatGo(t *testing.T) {
	w := quiet()
	f := w.instance(realtime.Options{})
	c := w.client(t, f, channels("messages", "messages:1", "comments")...)
	c.drain()
	f.hub.SetTopics([]realtime.Topic{{Name: "comments", Keyed: true, Read: "public"}, {Name: "messages", Keyed: true, Read: "signed_in"}})
	w.committed("messages", "1")
	w.committed("comments", "1")
	f.publishAll()
	c.drain()
	expectIDs(t, c, 2)
	expect(t, "errors", len(c.errors), 2)
	expect(t, "code", c.errors[0].Code, realtime.CodeForbidden)
}

func TestSwitch(t *testing.T) {
	w := quiet()
	f := w.instance(realtime.Options{})
	c := w.client(t, f, channels("messages", "comments")...)
	c.drain()
	c.sub.Switch(t.Context(), channels("comments:1")[0], realtime.SubscribeOptions{})
	c.drain()
	w.committed("messages", "1")
	w.committed("comments", "1")
	w.committed("comments", "2")
	f.publishAll()
	c.drain()
	expectIDs(t, c, 2)
	c.sub.Switch(t.Context(), channels("nothing")[0], realtime.SubscribeOptions{})
	w.committed("comments", "1")
	f.publishAll()
	c.drain()
	expectIDs(t, c, 2, 4)
	expect(t, "code", c.errors[0].Code, realtime.CodeUnknownChannel)
}

// A subscriber that does not read holds no more than its queue, and has everything once it reads.
func TestSlowSubscriber(t *testing.T) {
	w := quiet()
	w.random = newWorld(1).random
	f := w.instance(realtime.Options{QueueBytes: 10_000, RecentBytes: 20_000})
	slow := w.client(t, f, channels("messages")...)
	fast := w.client(t, f, channels("messages")...)
	for range 1000 {
		w.committed("messages", "1")
		f.publishAll()
		fast.drain()
	}
	expect(t, "heard by the fast one", len(fast.got), 1000)
	expect(t, "reads of the log before the slow one reads", w.reads, 0)
	expect(t, "who is behind", f.hub.Stats().Behind, 1)
	w.settle([]*feed{f}, []*client{slow})
	expect(t, "who is behind at the end", f.hub.Stats().Behind, 0)
	slow.check()
	expect(t, "heard by the slow one", len(slow.got), 1000)
}

// A log that cannot be read is tried again, and nobody is told anything wrong.
func TestLogThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := quiet()
		w.random = newWorld(1).random
		f := w.instance(realtime.Options{QueueBytes: 1000, RecentBytes: 1000})
		c := w.client(t, f, channels("messages")...)
		c.drain()
		for range 100 {
			w.committed("messages", "1")
			f.publishAll()
		}
		failures := 3
		w.fails = func() error {
			if failures--; failures >= 0 {
				return errors.New("out of reach")
			}
			return nil
		}
		for range 10 {
			c.drain()
			<-time.After(time.Second) // on the bubble's clock
			synctest.Wait()
		}
		w.settle([]*feed{f}, []*client{c})
		c.check()
		expect(t, "heard", len(c.got), 100)
	})
}

// Events of several channels of one subscriber come once and in order; shared runs are encoded once in each format.
func TestRunsAreShared(t *testing.T) {
	encodings := 0
	format := &realtime.Format{Append: realtime.Each(func(b []byte, _ *realtime.Event) []byte {
		encodings++
		return append(b, '.')
	})}
	other := &realtime.Format{Append: realtime.Each(func(b []byte, _ *realtime.Event) []byte {
		encodings++
		return append(b, ',')
	})}
	w := quiet()
	f := w.instance(realtime.Options{})
	var runs []*realtime.Run
	for range 10 {
		sub := f.hub.NewSubscriber(nil, func() {})
		sub.Subscribe(t.Context(), channels("messages"), realtime.SubscribeOptions{})
		defer sub.Close()
		defer func() {
			items, _ := sub.Next(t.Context())
			for _, i := range items {
				if i.Run != nil {
					expect(t, "encoded", string(i.Run.Encode(format)), "...")
					expect(t, "encoded otherwise", string(i.Run.Encode(other)), ",,,")
					runs = append(runs, i.Run)
				}
			}
			expect(t, "encodings", encodings, 2*3)
		}()
	}
	for range 3 {
		w.committed("messages", "1")
	}
	f.publishAll()
}

// A run forgets what it was encoded in for formats that nobody asks for any more.
func TestRetiredFormats(t *testing.T) {
	run := &realtime.Run{Events: []*realtime.Event{{}}}
	var formats []*realtime.Format
	for n := range 4 {
		formats = append(formats, &realtime.Format{Append: func(b []byte, _ []*realtime.Event) []byte { return fmt.Append(b, n) }})
	}
	for n, f := range formats[:3] {
		expect(t, "encoded", string(run.Encode(f)), fmt.Sprint(n))
	}
	formats[0].Retire()
	formats[1].Retire()
	run.Encode(formats[3])
	for n, want := range []bool{false, false, true, true} {
		expect(t, fmt.Sprintf("encoded in format %d", n), run.Encoded(formats[n]), want)
	}
}

// What is kept in memory is bounded with all that is made of it: the events as they are sent to many sets of channels.
func TestMemoryIsBounded(t *testing.T) {
	w := quiet()
	const limit = 200_000
	w.page = 1000
	f := w.instance(realtime.Options{RecentBytes: limit, QueueBytes: 1 << 20})
	format := &realtime.Format{Append: realtime.Each(func(b []byte, e *realtime.Event) []byte { return append(b, e.Data...) })}
	var clients []*client
	for n := range 40 {
		clients = append(clients, w.client(t, f, channels("messages", fmt.Sprintf("comments:%d", n))...)) // each a set of its own
	}
	largest, encoded := 0, 0
	for range 300 {
		for range 5 {
			w.committed("messages", "1")
			w.log[len(w.log)-1].event.Data = make([]byte, 1000)
		}
		f.publishAll()
		for _, c := range clients {
			items, err := c.sub.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range items {
				if i.Run != nil {
					encoded += len(i.Run.Encode(format))
				}
			}
		}
		largest = max(largest, f.hub.Stats().Recent)
	}
	if most := limit + 40*5*1000*2; largest > most { // what was just encoded is counted with the next events
		t.Errorf("%d bytes are kept, want %d at most", largest, most)
	}
	if encoded != 40*300*5*1000 {
		t.Errorf("%d bytes were encoded", encoded)
	}
	late := w.client(t, f)
	late.channels = channels("messages")
	at := f.position.Seen.Xmax - 50 // transactions: what they wrote is a third of what is kept
	late.connect(f, realtime.Cursor{Origin: origin, Seen: realtime.Snapshot{Xmin: at, Xmax: at}}.String())
	late.drain()
	if n, reads := len(late.got), f.hub.Stats().Reads; n != 50 || reads != 0 {
		t.Errorf("%d events were resumed, with %d reads of the log, want 50 from memory", n, reads)
	}
	f.hub.Restart(f.position, realtime.ResetExpired)
	if n := f.hub.Stats().Recent; n != 0 {
		t.Errorf("after a restart %d bytes are kept", n)
	}
}

// So it is with sets of channels that nobody has for long: what a set has of a batch is kept, though it be nothing.
func TestMemoryIsBoundedWithManySets(t *testing.T) {
	w := quiet()
	const limit = 200_000
	f := w.instance(realtime.Options{RecentBytes: limit})
	since := f.hub.Position().String()
	w.committed("messages", "1")
	f.publishAll()
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for n := range 1000 {
		c := w.client(t, f)
		for i := range 20 {
			c.channels = append(c.channels, channels(fmt.Sprintf("comments:%d-%s-%d", n, strings.Repeat("x", 100), i))...)
		}
		c.connect(f, since)
		c.drain()
		c.sub.Close()
	}
	w.committed("messages", "1")
	f.publishAll()
	if grown := heap() - before; grown > 2*limit {
		t.Errorf("%d bytes are kept for sets of channels that nobody has, want %d at most", grown, 2*limit)
	}
	runtime.KeepAlive(f)
}

// Whatever is done to a subscriber while others are being queued for comes behind what was published. It is done from
// within Publish here: so the hub's lock is not held by then.
func TestChangesWhilePublishing(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, c *client)
		want string
	}{
		{"nothing", func(*testing.T, *client) {}, "event"},
		{"unsubscribe", func(_ *testing.T, c *client) { c.sub.Unsubscribe(channels("messages")[0]) }, "event unsubscribed"},
		{"subscribe", func(t *testing.T, c *client) {
			c.sub.Subscribe(t.Context(), channels("comments"), realtime.SubscribeOptions{})
		}, "event subscribed"},
		{"subscribe from the beginning", func(t *testing.T, c *client) {
			c.sub.Subscribe(t.Context(), channels("comments"), realtime.SubscribeOptions{Since: c.start[channels("messages")[0]].String()})
		}, "event subscribed"},
		{"switch", func(t *testing.T, c *client) {
			c.sub.Switch(t.Context(), channels("comments")[0], realtime.SubscribeOptions{})
		}, "event unsubscribed subscribed"},
		{"refresh", func(_ *testing.T, c *client) { c.sub.Refresh() }, "event"},
		{"ping", func(_ *testing.T, c *client) { c.sub.Pong() }, "event pong"},
		{"close", func(_ *testing.T, c *client) { c.sub.Close() }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := quiet()
			w.page = 1000
			f := w.instance(realtime.Options{})
			first := w.client(t, f, channels("messages")...)
			second := w.client(t, f, channels("messages")...)
			first.drain()
			second.drain()
			done := false
			f.publishing, f.meanwhile = true, func(*client) {
				if !done {
					done = true
					tt.do(t, second)
				}
			}
			w.committed("messages", "1")
			f.publishAll()
			expect(t, "done meanwhile", done, true)
			kinds := map[realtime.NoticeKind]string{
				realtime.NoticeSubscribed: "subscribed", realtime.NoticeUnsubscribed: "unsubscribed",
				realtime.NoticePong: "pong", realtime.NoticeCursor: "cursor", realtime.NoticeReset: "reset",
			}
			var heard []string
			for {
				items, err := second.sub.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if len(items) == 0 {
					break
				}
				for _, i := range items {
					if i.Notice != nil {
						heard = append(heard, kinds[i.Notice.Kind])
						continue
					}
					for range i.Run.Events {
						heard = append(heard, "event")
					}
				}
			}
			expect(t, "heard", strings.Join(heard, " "), tt.want)
		})
	}
}
