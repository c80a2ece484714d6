package realtime_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"tidings/realtime"
)

// world is a database in miniature, driven step by step: transactions that overlap, get their ids when they first write
// and commit late, and a log in which their events stand in the order of writing.
type world struct {
	random *rand.Rand
	next   uint64               // transaction id
	open   map[uint64][]*logged // transactions that run
	ended  map[uint64]bool      // true: committed
	log    []*logged            // all that was written, also by those who run or rolled back
	clock  int                  // counts steps
	commit map[uint64]int       // when a transaction committed
	topics []realtime.Topic
	reads  int               // of the log, by subscribers
	loads  int               // of channels' rows
	page   int               // how many events a read by a subscriber brings at most; zero: by chance
	large  bool              // there are more rows than are given
	fails  func() error      // of a read by a subscriber; may be nil
	expire realtime.Snapshot // positions that this does not include are no longer served
	keys   []string
}

type logged struct {
	event   realtime.Event
	written int
}

const origin = "test"

func newWorld(seed uint64) *world {
	return &world{
		random: rand.New(rand.NewPCG(seed, seed)), next: 100,
		open: make(map[uint64][]*logged), ended: make(map[uint64]bool), commit: make(map[uint64]int),
		topics: []realtime.Topic{{Name: "messages", Keyed: true, Read: "public"}, {Name: "comments", Keyed: true, Read: "public"}},
		keys:   []string{"1", "2", "3"},
	}
}

func (w *world) snapshot() realtime.Snapshot {
	s := realtime.Snapshot{Xmin: w.next, Xmax: w.next, Xip: slices.Sorted(maps.Keys(w.open))}
	if len(s.Xip) > 0 {
		s.Xmin = s.Xip[0]
	}
	return s
}

func (w *world) begin() uint64 {
	xid := w.next
	w.next++
	w.open[xid] = nil
	return xid
}

// entry is the next entry's id.
func (w *world) entry() int64 {
	if len(w.log) == 0 {
		return 1
	}
	return w.log[len(w.log)-1].event.ID.Entry + 1
}

func (w *world) write(xid uint64, topic, key string) *logged {
	w.clock++
	l := &logged{written: w.clock, event: realtime.Event{
		ID: realtime.ID{Entry: w.entry()}, Xid: xid, Topic: topic, Type: topic + "_changed",
		Key: key, Keyed: true, Data: []byte(`{"n":1}`),
	}}
	switch w.random.IntN(20) {
	case 0:
		l.event.Moved, l.event.OldKey = true, w.keys[w.random.IntN(len(w.keys))]
	case 1:
		l.event.Keyed, l.event.Key, l.event.Everywhere, l.event.Data = false, "", true, nil
	}
	w.log = append(w.log, l)
	w.open[xid] = append(w.open[xid], l)
	return l
}

func (w *world) end(xid uint64, commit bool) {
	w.clock++
	delete(w.open, xid)
	w.ended[xid] = commit
	w.commit[xid] = w.clock
}

// step does something that a writer might do.
func (w *world) step() {
	running := slices.Sorted(maps.Keys(w.open))
	switch n := w.random.IntN(10); {
	case n < 2 && len(running) < 6 || len(running) == 0:
		w.begin()
	case n < 8:
		xid := running[w.random.IntN(len(running))]
		w.write(xid, w.topics[w.random.IntN(len(w.topics))].Name, w.keys[w.random.IntN(len(w.keys))])
	default:
		w.end(running[w.random.IntN(len(running))], w.random.IntN(5) > 0)
	}
}

// read is what a statement on the log does.
func (w *world) read(from realtime.Cursor, upto realtime.Snapshot, topics []string, limit int) ([]*realtime.Event, realtime.Cursor, bool, error) {
	now := w.snapshot()
	if !now.Includes(from.Seen) || from.Midway() && !now.Includes(from.Upto) {
		return nil, from, false, &realtime.ResetError{Reason: realtime.ResetFuture}
	}
	if w.expire.Xmax != 0 && !from.Seen.Includes(w.expire) {
		return nil, from, false, &realtime.ResetError{Reason: realtime.ResetExpired}
	}
	bound := now
	if upto.Xmax != 0 {
		bound = upto
	}
	if from.Midway() {
		bound = from.Upto
	}
	var events []*realtime.Event
	for _, l := range w.log {
		e := l.event
		if !w.ended[e.Xid] || from.Seen.Sees(e.Xid) || !bound.Sees(e.Xid) || from.Midway() && e.ID.Entry <= from.Last.Entry ||
			topics != nil && !slices.Contains(topics, e.Topic) {
			continue
		}
		e.Cursor = realtime.Cursor{Origin: from.Origin, Seen: from.Seen, Upto: bound, Last: e.ID}
		events = append(events, &e)
		if len(events) == limit {
			return events, e.Cursor, false, nil
		}
	}
	to := realtime.Cursor{Origin: from.Origin, Seen: bound}
	if n := len(events); n > 0 {
		events[n-1].Cursor = to
	}
	return events, to, upto.Xmax == 0 && !from.Midway() || upto.Xmax != 0 && bound.Includes(upto), nil
}

// feed is one instance: its hub's source, and the reader that publishes.
type feed struct {
	world    *world
	hub      *realtime.Hub
	position realtime.Cursor
	nudged   bool

	publishing bool
	meanwhile  func(woken *client) // is called in the midst of Publish, if not nil
}

func (w *world) instance(options realtime.Options) *feed {
	f := &feed{world: w, position: realtime.Cursor{Origin: origin, Seen: w.snapshot()}}
	f.hub = realtime.NewHub(f, options)
	f.hub.SetTopics(w.topics)
	f.hub.Start(f.position)
	f.hub.SetLive(true)
	return f
}

func (f *feed) Nudge()                              { f.nudged = true }
func (f *feed) RefreshTopics(context.Context) error { return nil }

func (*feed) Judge(context.Context, []realtime.Judging) ([][]bool, error) {
	return nil, errors.New("there is nobody to ask")
}

func (*feed) Permit(context.Context, []realtime.Ask) ([]bool, error) {
	return nil, errors.New("there is nobody to ask")
}
func (f *feed) Read(_ context.Context, from realtime.Cursor, upto realtime.Snapshot, topics []string, _ int) (page realtime.LogPage, err error) {
	f.world.reads++
	if f.world.fails != nil {
		if err := f.world.fails(); err != nil {
			return page, err
		}
	}
	limit := f.world.page
	if limit == 0 {
		limit = 1 + f.world.random.IntN(6)
	}
	page.Events, page.To, page.End, err = f.world.read(from, upto, topics, limit)
	return page, err
}

// Load gives one row of each, which says of what moment it is.
func (f *feed) Load(_ context.Context, pages ...realtime.Page) (loaded []realtime.Loaded, err error) {
	f.world.loads++
	if f.world.fails != nil {
		if err := f.world.fails(); err != nil {
			return nil, err
		}
	}
	at := realtime.Cursor{Origin: origin, Seen: f.world.snapshot()}
	for _, p := range pages {
		row := &realtime.Event{Topic: p.Channel.Topic, Type: realtime.TypeRow, Data: []byte(at.String())}
		loaded = append(loaded, realtime.Loaded{Rows: []*realtime.Event{row}, At: at, More: f.world.large})
	}
	return loaded, nil
}

// publish reads, in parts of some events each.
func (f *feed) publish() {
	f.nudged = false
	for end := false; !end; {
		var b realtime.Batch
		b.From = f.position
		var err error
		b.Events, b.To, end, err = f.world.read(f.position, realtime.Snapshot{}, nil, 1+f.world.random.IntN(8))
		if err != nil {
			panic(err)
		}
		f.publishing = true
		f.hub.Publish(b)
		f.publishing = false
		f.position = b.To
	}
}

// client is a subscriber that keeps what it was told.
type client struct {
	t         *testing.T
	world     *world
	feed      *feed
	sub       *realtime.Subscriber
	woken     atomic.Bool
	channels  []realtime.Channel
	cursor    string
	start     map[realtime.Channel]realtime.Cursor // of the first subscribed
	got       []*realtime.Event
	ready     map[realtime.Channel]bool
	loaded    map[realtime.Channel]int // its rows were told behind so many of got
	rows      []string
	refreshed int
	resets    int
	errors    []*realtime.Error
	unread    int    // how much of got was there before the last take; negative: that brought more than events
	before    string // the cursor then
}

func (w *world) client(t *testing.T, f *feed, channels ...realtime.Channel) *client {
	c := &client{t: t, world: w, channels: channels, start: make(map[realtime.Channel]realtime.Cursor), ready: make(map[realtime.Channel]bool),
		loaded: make(map[realtime.Channel]int)}
	c.connect(f, "")
	return c
}

func (c *client) connect(f *feed, since string) {
	c.woken.Store(false)
	clear(c.ready)
	c.unread = -1
	c.feed = f
	c.sub = f.hub.NewSubscriber(nil, func() {
		c.woken.Store(true)
		if f.publishing && f.meanwhile != nil && f.hub.Free() {
			f.meanwhile(c)
		}
	})
	if len(c.channels) > 0 {
		c.sub.Subscribe(c.t.Context(), c.channels, realtime.SubscribeOptions{Since: since})
	}
}

// take reads some of what there is to read. It returns false if there is nothing.
func (c *client) take() bool {
	if !c.woken.Load() {
		return false
	}
	items, err := c.sub.Next(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	if len(items) == 0 {
		c.woken.Store(false)
		return false
	}
	c.unread, c.before = len(c.got), c.cursor
	for _, i := range items {
		if i.Notice != nil {
			c.unread = -1
		}
		c.hear(i)
		if i.Notice != nil {
			c.unread = -1
		}
	}
	return true
}

// cut has the connection end in the middle of what was taken last.
func (c *client) cut() {
	c.sub.Close()
	if c.unread < 0 || c.unread >= len(c.got) {
		return
	}
	c.got = c.got[:c.unread+c.world.random.IntN(len(c.got)-c.unread+1)]
	c.cursor = c.before
	if len(c.got) > c.unread {
		c.cursor = c.got[len(c.got)-1].Cursor.String()
	}
	c.unread = -1
}

func (c *client) hear(i realtime.Item) {
	switch {
	case i.Run != nil:
		for _, e := range i.Run.Events {
			if e.Type == realtime.TypeRow {
				c.rows = append(c.rows, string(e.Data))
				continue
			}
			c.got = append(c.got, e)
			c.cursor = e.Cursor.String()
		}
	case i.Notice.Kind == realtime.NoticeSubscribed:
		if _, again := c.start[i.Notice.Channel]; !again {
			c.start[i.Notice.Channel] = i.Notice.Cursor
		}
		c.ready[i.Notice.Channel] = true
		c.cursor = i.Notice.Cursor.String()
	case i.Notice.Kind == realtime.NoticeLoaded:
		if at := i.Notice.Cursor.String(); i.Notice.Rows != 1 || len(c.rows) == 0 || c.rows[len(c.rows)-1] != at {
			c.t.Errorf("channel %s was loaded at %s, and the rows are %q", i.Notice.Channel, at, c.rows)
		}
		if _, again := c.start[i.Notice.Channel]; again && c.resets == 0 {
			c.t.Errorf("channel %s: its rows came again", i.Notice.Channel)
		}
		c.start[i.Notice.Channel], c.loaded[i.Notice.Channel] = i.Notice.Cursor, len(c.got)
	case i.Notice.Kind == realtime.NoticeCursor:
		c.cursor = i.Notice.Cursor.String()
		c.refreshed++
	case i.Notice.Kind == realtime.NoticeReset:
		c.resets++
	case i.Notice.Kind == realtime.NoticeError:
		c.errors = append(c.errors, i.Notice.Err)
	}
}

// contained reports whether the event may be told though rows contain it: because of another channel of the topic.
func (c *client) contained(e *realtime.Event) bool {
	for channel, start := range c.start {
		if _, loaded := c.loaded[channel]; loaded && in(e, channel) && start.Covers(e) && slices.ContainsFunc(slices.Collect(maps.Keys(c.start)), func(x realtime.Channel) bool {
			return x != channel && x.Topic == channel.Topic
		}) {
			return true
		}
	}
	return false
}

// checkLast checks that where something was told that a channel's rows contain, all that came after it in the channel was told as well: what a
// row was in between is not to be the last that the client hears of it.
func (c *client) checkLast() {
	c.t.Helper()
	heard := make(map[realtime.ID]bool)
	for _, e := range c.got {
		heard[e.ID] = true
	}
	for channel, loaded := range c.loaded {
		for _, e := range c.got[loaded:] {
			if !in(e, channel) || !c.start[channel].Covers(e) {
				continue
			}
			for _, l := range c.world.log {
				if later := &l.event; c.world.ended[later.Xid] && in(later, channel) && !e.Cursor.Covers(later) && !heard[later.ID] {
					c.t.Errorf("channel %s: event %s was told, which its rows contain, and %s behind it was not", channel, e.ID, later.ID)
				}
			}
		}
	}
}

// settle lets everything that can be delivered be delivered.
func (w *world) settle(feeds []*feed, clients []*client) {
	for _, xid := range slices.Sorted(maps.Keys(w.open)) {
		w.end(xid, true)
	}
	for busy := true; busy; {
		busy = false
		for _, f := range feeds {
			f.publish()
		}
		for _, c := range clients {
			for c.take() {
				busy = true
			}
		}
		for _, f := range feeds {
			busy = busy || f.nudged
		}
	}
}

func in(e *realtime.Event, c realtime.Channel) bool {
	return e.Topic == c.Topic && (c.Key == "" || e.Everywhere || e.Keyed && e.Key == c.Key || e.Moved && e.OldKey == c.Key)
}

// check compares what the client heard with what was committed.
func (c *client) check() {
	c.t.Helper()
	w := c.world
	count := make(map[realtime.ID]int)
	for _, e := range c.got {
		count[e.ID]++
	}
	for _, l := range w.log {
		e := &l.event
		want := 0
		for channel, start := range c.start {
			if w.ended[e.Xid] && in(e, channel) && !start.Covers(e) {
				want = 1
			}
		}
		if got := count[e.ID]; got != want && (got != 1 || !c.contained(e)) {
			c.t.Errorf("event %s of transaction %d (committed: %t): heard %d times, want %d", e.ID, e.Xid, w.ended[e.Xid], got, want)
		}
	}
	c.checkLast()
	byID := make(map[realtime.ID]*logged)
	for _, l := range w.log {
		byID[l.event.ID] = l
	}
	for i, b := range c.got {
		for _, a := range c.got[i+1:] {
			if a.Xid == b.Xid && a.ID.Entry < b.ID.Entry {
				c.t.Errorf("events %s and %s of transaction %d: heard in the wrong order", a.ID, b.ID, a.Xid)
			}
			if a.Xid != b.Xid && w.commit[a.Xid] < byID[b.ID].written {
				c.t.Errorf("event %s was committed before %s was written, and heard after it", a.ID, b.ID)
			}
		}
	}
}

func channels(names ...string) []realtime.Channel {
	var cs []realtime.Channel
	for _, n := range names {
		c, err := realtime.ParseChannel(n)
		if err != nil {
			panic(err)
		}
		cs = append(cs, c)
	}
	return cs
}

var channelSets = [][]realtime.Channel{
	channels("messages"), channels("messages:1"), channels("messages", "messages:1"), channels("messages:1", "messages:2", "comments"),
	channels("comments:3", "messages:3"), channels("comments", "messages", "comments:1", "messages:2"),
}

// Clients that come and go between two instances, with nothing but their last cursor, hear everything exactly once and in
// order, whether they are fast, slow or away.
func TestExactlyOnceAcrossInstances(t *testing.T) {
	for seed := range uint64(simulations(t)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w, midst := newWorld(seed), 0
			options := realtime.Options{QueueBytes: 2000 + w.random.IntN(4000), RecentBytes: 1000 + w.random.IntN(20000)}
			feeds := []*feed{w.instance(options), w.instance(options)}
			var clients []*client
			for i := range 12 {
				clients = append(clients, w.client(t, feeds[i%2], channelSets[i%len(channelSets)]...))
			}
			for _, f := range feeds {
				f.meanwhile = func(woken *client) {
					c := clients[w.random.IntN(len(clients))]
					if c == woken {
						return // its lock is held
					}
					switch w.random.IntN(4) {
					case 0:
						c.take()
					case 1:
						c.sub.Refresh()
					case 2:
						if len(c.start) == len(c.channels) {
							c.cut()
							c.connect(feeds[w.random.IntN(2)], c.cursor)
						}
					}
					midst++
				}
			}
			for range 1500 {
				switch n := w.random.IntN(20); {
				case n < 10:
					w.step()
				case n < 12:
					feeds[w.random.IntN(2)].publish()
				case n < 17:
					clients[w.random.IntN(len(clients))].take()
				case n == 17:
					clients[w.random.IntN(len(clients))].sub.Refresh()
				case n == 18 && w.random.IntN(2) == 0:
					c := clients[w.random.IntN(len(clients))]
					if len(c.start) == len(c.channels) { // it has a cursor that stands for all
						c.cut()
						c.connect(feeds[w.random.IntN(2)], c.cursor)
					}
				case n == 19 && w.random.IntN(10) == 0:
					f := feeds[w.random.IntN(2)]
					f.hub.SetLive(false)
					w.step()
					f.hub.SetLive(true)
				}
			}
			if midst == 0 {
				t.Error("nothing happened in the midst of publishing")
			}
			w.settle(feeds, clients)
			for _, c := range clients {
				c.check()
				if c.resets > 0 {
					t.Errorf("a client was reset %d times, want 0", c.resets)
				}
				c.sub.Close()
			}
			for _, f := range feeds {
				if n := f.hub.Stats().Subscribers; n != 0 {
					t.Errorf("%d subscribers are left, want 0", n)
				}
			}
		})
	}
}

// Channels added with a cursor of their own to a connection that has others bring their past once, and nothing of what
// the others have told.
func TestChannelsAddedWithACursor(t *testing.T) {
	for seed := range uint64(simulations(t)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(seed)
			f := w.instance(realtime.Options{QueueBytes: 3000, RecentBytes: 1000 + w.random.IntN(20000)})
			other := w.instance(realtime.Options{})
			c := w.client(t, f, channels("comments")...)
			for range 100 {
				w.step()
			}
			other.publish()
			past := map[string]realtime.Cursor{}
			for _, name := range []string{"messages", "messages:1", "comments:2"} {
				past[name] = other.hub.Position()
				for range 50 {
					w.step()
				}
				if w.random.IntN(2) == 0 {
					other.publish()
				}
			}
			for range 400 {
				switch n := w.random.IntN(12); {
				case n < 5:
					w.step()
				case n < 7:
					f.publish()
				case n < 11:
					c.take()
				default:
					for name, since := range past {
						c.sub.Subscribe(t.Context(), channels(name), realtime.SubscribeOptions{Since: since.String()})
						c.start[channels(name)[0]] = since
						delete(past, name)
						break
					}
				}
			}
			for name := range past {
				delete(past, name)
			}
			w.settle([]*feed{f, other}, []*client{c})
			// Across channels with pasts of their own there is no common order: only the count is compared.
			count := make(map[realtime.ID]int)
			for _, e := range c.got {
				count[e.ID]++
			}
			for _, l := range w.log {
				want := 0
				for channel, start := range c.start {
					if w.ended[l.event.Xid] && in(&l.event, channel) && !start.Covers(&l.event) {
						want = 1
					}
				}
				if got := count[l.event.ID]; got != want {
					t.Errorf("event %s: heard %d times, want %d", l.event.ID, got, want)
				}
			}
			for channel := range c.start {
				if !c.ready[channel] {
					t.Errorf("channel %s is not subscribed in the end", channel)
				}
			}
		})
	}
}

// Who loads a channel and follows it has its state at a moment and all that came later, once, whatever else the
// connection has, however slow it is, and whether the rows were read for it or for somebody a moment before.
func TestLoadThenFollow(t *testing.T) {
	loads, asked := 0, 0
	for seed := range uint64(simulations(t)) {
		w := newWorld(seed)
		f := w.instance(realtime.Options{QueueBytes: 2000 + w.random.IntN(4000), RecentBytes: 1000 + w.random.IntN(20000)})
		var clients []*client
		for range 8 {
			clients = append(clients, w.client(t, f))
		}
		w.fails = func() error {
			if w.random.IntN(10) == 0 {
				return errors.New("the database does not answer")
			}
			return nil
		}
		toAdd := make(map[*client][]realtime.Channel)
		for i, c := range clients {
			toAdd[c] = slices.Clone(channelSets[i%len(channelSets)])
		}
		for range 1000 {
			c := clients[w.random.IntN(len(clients))]
			switch n := w.random.IntN(20); {
			case n < 8:
				w.step()
			case n < 10:
				f.publish()
			case n < 16:
				c.take()
			case n == 17:
				c.sub.Refresh()
			case len(toAdd[c]) > 0:
				n := 1 + w.random.IntN(len(toAdd[c]))
				c.sub.Subscribe(t.Context(), toAdd[c][:n], realtime.SubscribeOptions{Snapshot: w.random.IntN(4) > 0})
				toAdd[c] = toAdd[c][n:]
				asked += n
			}
		}
		w.fails = nil
		for _, c := range clients {
			c.woken.Store(true) // who waits for another try need not wait
		}
		w.settle([]*feed{f}, clients)
		for _, c := range clients {
			for channel := range c.start {
				if !c.ready[channel] {
					t.Errorf("seed %d: channel %s is not subscribed in the end", seed, channel)
				}
			}
			c.check()
			c.sub.Close()
		}
		loads += w.loads
	}
	t.Logf("%d channels were subscribed to, with %d loads", asked, loads)
}

func simulations(t *testing.T) int {
	if testing.Short() {
		return 20
	}
	return 80
}
