package http_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	tidingshttp "tidings/http"
	"tidings/realtime"
)

// noSource feeds nobody.
type noSource struct{}

var errNoSource = errors.New("there is nothing to be read here")

func (noSource) Nudge() {}

func (noSource) RefreshTopics(context.Context) error { return nil }

func (noSource) Judge(context.Context, []realtime.Judging) ([][]bool, error) {
	return nil, errors.New("there is nobody to ask")
}

func (noSource) Permit(context.Context, []realtime.Ask) ([]bool, error) {
	return nil, errors.New("there is nobody to ask")
}

func (noSource) Read(context.Context, realtime.Cursor, realtime.Snapshot, []string, int) (realtime.LogPage, error) {
	return realtime.LogPage{}, errNoSource
}

func (noSource) Load(context.Context, ...realtime.Page) ([]realtime.Loaded, error) {
	return nil, errNoSource
}

// fanOut is a hub and its server without a database, and clients that take what they get as it is.
type fanOut struct {
	hub     *realtime.Hub
	at      realtime.Cursor
	clients int
	came    atomic.Int64 // events, to all clients
	due     atomic.Int64
	reached chan struct{}
	held    time.Duration // by Publish, in all
}

func newFanOut(t testing.TB, clients int) *fanOut {
	t.Helper()
	f := &fanOut{hub: realtime.NewHub(noSource{}, realtime.Options{}), clients: clients, reached: make(chan struct{}, 1)}
	f.at = realtime.Cursor{Origin: "0a1b2c3d", Seen: realtime.Snapshot{Xmin: 1000, Xmax: 1000}}
	f.hub.SetTopics([]realtime.Topic{{Name: "messages", Read: "public", Keyed: true}})
	f.hub.Start(f.at)
	f.hub.SetLive(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &tidingshttp.Server{Hub: f.hub, Health: func() tidingshttp.Health { return tidingshttp.Health{} }}
	s := &service{t: t, addr: listener.Addr().String(), hub: f.hub, server: server}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	for range clients {
		c := s.dialRaw("/ws?channel=messages")
		if got := c.frame(); got.Type != "subscribed" {
			t.Fatalf("got %s", got.text)
		}
		if c.reader.Buffered() > 0 {
			t.Fatal("there is more to read than was sent")
		}
		if err := c.conn.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		go f.drain(c.conn)
	}
	return f
}

// mark is in each event once, so that they can be counted in whatever pieces they come.
var mark = []byte{0x7f}

func (f *fanOut) drain(conn net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return // the connection was closed
		}
		if came := bytes.Count(b[:n], mark); came > 0 && f.came.Add(int64(came)) == f.due.Load() {
			f.reached <- struct{}{}
		}
	}
}

// publish publishes a batch of so many events, and waits until all clients have them.
func (f *fanOut) publish(events int) {
	from := f.at
	f.at.Seen.Xmin++
	f.at.Seen.Xmax++
	b := realtime.Batch{From: from, To: f.at}
	for i := range events {
		e := &realtime.Event{
			ID: realtime.ID{Entry: int64(f.at.Seen.Xmin), Row: i}, Xid: from.Seen.Xmax, At: time.Unix(1e9, 0), Topic: "messages", Type: "message_added",
			Key: "5", Keyed: true, Data: []byte(`{"id":5,"author_id":1,"title":"A message` + string(mark) + `","content":"What is written here is as long as a short message is."}`),
		}
		e.Cursor = f.at
		if i < events-1 {
			e.Cursor = realtime.Cursor{Origin: from.Origin, Seen: from.Seen, Upto: f.at.Seen, Last: e.ID}
		}
		b.Events = append(b.Events, e)
	}
	f.due.Add(int64(events * f.clients))
	begun := time.Now()
	f.hub.Publish(b)
	f.held += time.Since(begun)
	<-f.reached
}

// What an event costs for each of its subscribers takes no memory: neither in the hub, nor in the queues, nor in the
// writing. Not parallel: what others allocate would be counted.
func TestFanOutAllocatesNothing(t *testing.T) {
	const few, many, times = 10, 510, 200
	allocations := func(clients int) float64 {
		f := newFanOut(t, clients)
		for range 20 {
			f.publish(2)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			f.publish(2)
		}
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs-before.Mallocs) / times
	}
	a, b := allocations(few), allocations(many)
	t.Logf("%g allocations with %d subscribers, %g with %d", a, few, b, many)
	if each := (b - a) / (many - few); each > 0.1 {
		t.Errorf("%.3f allocations for each further subscriber: %.1f with %d, %.1f with %d", each, a, few, b, many)
	}
}

func BenchmarkFanOut(b *testing.B) {
	for _, clients := range []int{10, 1000} {
		for _, events := range []int{1, 32} {
			b.Run(fmt.Sprintf("%d clients, %d events", clients, events), func(b *testing.B) {
				f := newFanOut(b, clients)
				b.ReportAllocs()
				f.held = 0
				n := 0
				for b.Loop() {
					f.publish(events)
					n += events * clients
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/delivery")
				b.ReportMetric(float64(f.held.Microseconds())/float64(b.N), "µs-published/op")
			})
		}
	}
}
