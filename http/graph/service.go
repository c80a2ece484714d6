package graph

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tidings/db"
	"tidings/realtime"
)

// An operator's page asks how the service is doing once a second: a poll of one administrator is cheap, and what comes late or not at all is
// plain to see, which it would not be of a subscription that the troubled service itself is to feed.

// maxTables is how many tables are offered.
const maxTables = 500

func (queries) Service(ctx context.Context) (*Service, error) {
	s := of(ctx)
	problem, err := s.mayLookOn(ctx)
	if err != nil {
		return nil, err
	}
	if s.options.Status == nil {
		return nil, errorf(CodeNotFound, "it is not told here how the service is doing")
	}
	return &Service{own: s.options.Status(), unasked: problem}, nil
}

// Service is how the service is doing, for those who may know.
type Service struct {
	own     realtime.Instance
	unasked error // why the database is not asked at all; nil: it is

	once     sync.Once
	database db.Overview
	problem  error
}

// overview is what the database knows, which is read once.
func (v *Service) overview(ctx context.Context) (db.Overview, error) {
	if v.unasked != nil {
		return db.Overview{}, v.unasked
	}
	v.once.Do(func() { v.database, v.problem = of(ctx).overviews.newest(ctx, of(ctx).store.DB.Overview) })
	return v.database, v.problem
}

// Instance is who answers.
func (v *Service) Instance() string { return v.own.Name }

// At is when.
func (v *Service) At() time.Time { return v.own.At }

// DatabaseProblem is why the database does not answer, or not with what it is asked for.
func (v *Service) DatabaseProblem(ctx context.Context) (*string, error) {
	_, err := v.overview(ctx)
	if err == nil {
		return nil, nil
	}
	var problem string
	switch _, why, unavailable := strings.Cut(err.Error(), db.ErrUnavailable.Error()+": "); {
	case errors.Is(err, context.DeadlineExceeded):
		problem = "it takes longer than " + lookTimeout.String()
	case unavailable:
		problem = why
	case db.Answered(err) != "": // it is a standby, or something was not granted
		problem = "it answers with an error: " + db.Answered(err)
	default:
		return nil, err
	}
	return &problem, nil
}

// Instances are those that run, in the order of where they do.
func (v *Service) Instances(ctx context.Context) []*Instance {
	o, _ := v.overview(ctx) // DatabaseProblem says what is wrong
	all := []*Instance{{Instance: v.own}}
	for _, other := range o.Instances {
		if other.Name != v.own.Name {
			all = append(all, &Instance{Instance: other.Instance, SilentSeconds: other.SilentFor.Seconds()})
		}
	}
	slices.SortFunc(all, func(a, b *Instance) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Address, b.Address), strings.Compare(a.Name, b.Name))
	})
	return all
}

// UsersOnline is how many there are.
func (v *Service) UsersOnline(ctx context.Context) *int {
	o, err := v.overview(ctx)
	if err != nil {
		return nil
	}
	return &o.Online
}

// Log is how the log stands.
func (v *Service) Log(ctx context.Context) *EventLog {
	o, err := v.overview(ctx)
	if err != nil {
		return nil
	}
	l := &EventLog{
		Bytes: float64(o.Log.Bytes), MaxBytes: float64(o.Log.MaxBytes), Entries: float64(o.Log.Entries), OldestAt: o.Log.Oldest, NewestAt: o.Log.Newest,
		RetentionSeconds: o.Log.Retention.Seconds(), Partitions: []*LogPartition{},
	}
	for _, p := range o.Log.Partitions {
		l.Partitions = append(l.Partitions, &LogPartition{Name: p.Name, StartedAt: p.StartedAt, Bytes: float64(p.Bytes), Current: p.Current})
	}
	return l
}

// Channels are the largest of all instances.
func (v *Service) Channels(ctx context.Context, first int) ([]*ChannelSubscribers, error) {
	if first < 1 || first > 200 {
		return nil, badInput("first", "is 1 to 200, not %d", first)
	}
	counts := make(map[string]*ChannelSubscribers)
	var instances int
	partial := 0 // instances that have not told of all
	told := make(map[string]int)
	for _, i := range v.Instances(ctx) {
		instances++
		if !i.AllChannels {
			partial++
		}
		for _, c := range i.Instance.Channels {
			if counts[c.Channel] == nil {
				counts[c.Channel] = &ChannelSubscribers{Channel: c.Channel, Exact: true}
			}
			counts[c.Channel].Subscribers += c.Subscribers
			if !i.AllChannels {
				told[c.Channel]++
			}
		}
	}
	largest := slices.SortedFunc(maps.Values(counts), func(a, b *ChannelSubscribers) int {
		return cmp.Or(b.Subscribers-a.Subscribers, strings.Compare(a.Channel, b.Channel))
	})
	if len(largest) > first {
		largest = largest[:first]
	}
	for _, c := range largest {
		c.Exact = told[c.Channel] == partial
	}
	return largest, nil
}

// Channel is one of them.
func (v *Service) Channel(ctx context.Context, name string) (*ChannelSubscribers, error) {
	c, err := realtime.ParseChannel(name)
	if err != nil {
		return nil, badInput("name", "cannot be read: %s", err)
	}
	found := &ChannelSubscribers{Channel: name, Subscribers: of(ctx).hub.ChannelSubscribers(c), Exact: true}
	for _, i := range v.Instances(ctx) {
		if i.Instance.Name == v.own.Name {
			continue
		}
		at := slices.IndexFunc(i.Instance.Channels, func(c realtime.ChannelCount) bool { return c.Channel == name })
		if at >= 0 {
			found.Subscribers += i.Instance.Channels[at].Subscribers
		}
		found.Exact = found.Exact && (at >= 0 || i.AllChannels)
	}
	if _, err := v.overview(ctx); err != nil {
		found.Exact = false
	}
	return found, nil
}

// Watched are the tables that are live.
func (v *Service) Watched(ctx context.Context) ([]*WatchedTable, error) {
	if v.unasked != nil {
		return nil, db.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, 2*lookTimeout) // what is wrong with them takes a while to find out
	defer cancel()
	watches, err := of(ctx).store.DB.Watches(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, db.ErrUnavailable
	}
	if err != nil {
		return nil, err
	}
	tables := make([]*WatchedTable, len(watches))
	for i, w := range watches {
		tables[i] = watchedTable(w)
	}
	return tables, nil
}

func watchedTable(w db.Watch) *WatchedTable {
	return &WatchedTable{Table: w.Table, Topic: w.Topic, Event: w.Event, Key: given(w.Key), Columns: w.Columns, Read: w.Read, Problem: given(w.Problem)}
}

// given is nil for an empty text.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// MayWatch is whether administrators may make tables live.
func (v *Service) MayWatch(ctx context.Context) bool { return optionsOf(ctx).AdminWatch }

// Tables are those that can be made live.
func (v *Service) Tables(ctx context.Context) ([]*Table, error) {
	if !optionsOf(ctx).AdminWatch {
		return []*Table{}, nil
	}
	if v.unasked != nil {
		return nil, db.ErrUnavailable
	}
	found, err := of(ctx).store.DB.Tables(ctx, maxTables)
	if err != nil {
		return nil, err
	}
	tables := make([]*Table, len(found))
	for i, t := range found {
		tables[i] = &Table{Name: t.Name, Columns: t.Columns, Key: given(t.Key), RowSecurity: t.RowSecurity, Watched: t.Watched}
	}
	return tables, nil
}
