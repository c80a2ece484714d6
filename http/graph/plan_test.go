package graph_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"tidings/db"
	"tidings/http/graph"
	"tidings/realtime"
)

const patience = 30 * time.Second

// newFollowed is an API without a database, of a hub that has the topic messages.
func newFollowed(t testing.TB, options graph.Options) *graph.API {
	t.Helper()
	hub := realtime.NewHub(noSource{}, realtime.Options{})
	hub.SetTopics([]realtime.Topic{{Name: "messages", Keyed: true, Read: "public"}})
	return graph.New(&db.Channel{}, func() bool { return false }, hub, slog.New(slog.DiscardHandler), options)
}

// follow subscribes to the document.
func follow(t testing.TB, api *graph.API, document string, variables map[string]any) *graph.Subscription {
	t.Helper()
	op, refused := api.Prepare(t.Context(), graph.Viewer{}, graph.Request{Query: document, Variables: variables})
	if refused != nil {
		t.Fatalf("%s", refused.Body)
	}
	s, refused := op.Subscribe(t.Context(), "")
	if refused != nil {
		t.Fatalf("%s", refused.Body)
	}
	return s
}

func newRun(n int) *realtime.Run {
	run := &realtime.Run{}
	for i := range n {
		run.Events = append(run.Events, &realtime.Event{Topic: "messages", Type: "message_added", Data: fmt.Appendf(nil, `{"id":%d}`, i)})
	}
	return run
}

const everything = `subscription { events(channels: ["messages"]) { data } }`

// A plan whose execution is broken off, because it takes too long or nobody wants it any more, is not stuck.
func TestPlanBrokenOff(t *testing.T) {
	t.Parallel()
	api := newFollowed(t, graph.Options{Timeout: time.Nanosecond})
	s := follow(t, api, everything, nil)
	made := make(chan struct{}, 2)
	for range 2 {
		if s.Plan.Ready([]*realtime.Run{newRun(3)}, func() { made <- struct{}{} }) > 0 {
			t.Fatal("results are there already")
		}
	}
	eventually(t, "it was tried again", func() bool { return api.Stats().Executions > 2 })
	s.Plan.Release()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		api.Close()
	}()
	for _, c := range []<-chan struct{}{made, made, closed} {
		select {
		case <-c:
		case <-time.After(patience):
			t.Fatal("it is stuck")
		}
	}
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline.C:
			t.Fatalf("after %s it is still not so that %s", patience, what)
		case <-tick.C:
		}
	}
}

// Plans that come and go leave nothing behind with the runs that they have made something of, which are kept for others. Not parallel: what
// others allocate would be counted.
func TestPlansLeaveNothing(t *testing.T) {
	api := newFollowed(t, graph.Options{})
	t.Cleanup(api.Close)
	run := newRun(1)
	const size = 100 << 10
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range 500 {
		s := follow(t, api, `subscription ($channels: [String!]!, $since: String) { events(channels: $channels, since: $since) { data } }`,
			map[string]any{"channels": []any{fmt.Sprint("messages:", n)}, "since": strings.Repeat("x", size) + fmt.Sprint(n)})
		made := make(chan struct{})
		if s.Plan.Ready([]*realtime.Run{run}, func() { close(made) }) == 0 {
			<-made
		}
		s.Plan.Release()
	}
	if grown := int64(heap()) - int64(before); grown > 20*size {
		t.Errorf("%d KiB are kept of 500 plans that nobody has", grown>>10)
	}
	runtime.KeepAlive(run)
	runtime.KeepAlive(api)
}

// Who asks for runs of which the first are made is told so, and woken when all the others are.
func TestPlanMakesAllThatIsAskedFor(t *testing.T) {
	t.Parallel()
	api := newFollowed(t, graph.Options{})
	s := follow(t, api, everything, nil)
	defer s.Plan.Release()
	runs := []*realtime.Run{newRun(1), newRun(2), newRun(3), newRun(4)}
	for _, asked := range []int{2, 4} {
		for range 3 { // at the same time
			woken := make(chan struct{})
			before := s.Plan.Ready(runs[:asked], func() { close(woken) })
			if before == asked {
				continue // others were faster
			}
			if before != asked-2 {
				t.Errorf("of %d runs %d are there, want %d", asked, before, asked-2)
			}
			select {
			case <-woken:
			case <-time.After(patience):
				t.Fatal("nobody is woken")
			}
		}
		if n := s.Plan.Ready(runs[:asked], func() { t.Error("woken, though all were there") }); n != asked {
			t.Errorf("of %d runs %d are there", asked, n)
		}
	}
	if n := api.Stats().Executions; n != 1+2+3+4 {
		t.Errorf("%d executions of 10 events", n)
	}
}
