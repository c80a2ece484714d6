package db_test

import (
	"slices"
	"sync"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

// asked is a hub, and notes in what order it is given events and asked to have policies asked again.
type asked struct {
	*realtime.Hub
	mu    sync.Mutex
	order []string
}

func (a *asked) note(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.order = append(a.order, what)
}

func (a *asked) noted() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.order)
}

func (a *asked) Recheck() {
	a.note("recheck")
	a.Hub.Recheck()
}

func (a *asked) Publish(b realtime.Batch) {
	for _, e := range b.Events {
		if e.Topic != realtime.OwnTopic {
			a.note(e.Type)
		}
	}
	a.Hub.Publish(b)
}

// A trigger may call recheck() for each row: policies are asked again once, before what stands behind is told.
func TestManyRechecksAreOne(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	execute(t, database, `create table rooms (id int); select tidings.watch('rooms')`)
	reader := &db.Reader{DB: database, BeatInterval: -1}
	sink := &asked{Hub: realtime.NewHub(reader, realtime.Options{})}
	reader.Sink = sink
	runReader(t, reader, sink.Hub)
	before := len(sink.noted())
	execute(t, database, `do $$ begin
		perform tidings.broadcast('rooms', 'before', '{}');
		perform tidings.recheck() from generate_series(1, 100);
		perform tidings.broadcast('rooms', 'between', '{}');
		perform tidings.recheck() from generate_series(1, 100);
		perform tidings.broadcast('rooms', 'behind', '{}');
	end $$`)
	await(t, "the last event", func() bool { return slices.Contains(sink.noted(), "behind") })
	if got, want := sink.noted()[before:], []string{"before", "recheck", "between", "recheck", "behind"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
