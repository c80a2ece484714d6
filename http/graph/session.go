package graph

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"tidings/db"
	"tidings/realtime"
)

// Viewer is who sends a request. The zero Viewer is somebody without a token.
type Viewer struct {
	Identity *realtime.Identity // nil: nobody
	Named    bool               // a page whose name anybody may have given to this machine: without a token, it never writes
}

// UserID is the viewer's id among the application's users; 0: none.
func (v Viewer) UserID() int64 {
	id, err := strconv.ParseInt(v.Identity.Name(), 10, 64)
	if err != nil || id < 0 {
		return 0
	}
	return id
}

// session is what the resolvers of one execution have in common.
type session struct {
	options *Options
	hub     *realtime.Hub
	viewer  Viewer
	kind    sessionKind
	store   *db.Channel
	tables  bool // the application's are there
	read    *db.Reading
	grants  grants // nil: it is asked what the viewer may
	admins  *admins

	overviews *overviews

	once once
}

type sessionKind int

const (
	ofQuery sessionKind = iota
	ofMutation
	ofSubscription
)

type sessionKey struct{}

func withSession(ctx context.Context, s *session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// of returns the execution's session.
func of(ctx context.Context) *session { return ctx.Value(sessionKey{}).(*session) }

func optionsOf(ctx context.Context) *Options { return of(ctx).options }

// newSession begins an execution.
func (a *API) newSession(viewer Viewer, kind sessionKind) *session {
	s := &session{options: &a.options, hub: a.hub, viewer: viewer, kind: kind, store: a.store, tables: a.tables(), read: a.store.Read(), admins: &a.admins, overviews: &a.overviews}
	if kind == ofQuery {
		s.read = a.store.ReadSnapshot()
	}
	s.read.MaxBytes = int64(a.options.MaxBytes)
	return s
}

// end ends an execution.
func (a *API) end(s *session) {
	a.statements.Add(uint64(s.read.Statements()))
	s.read.Close()
}

// reading returns what the application's tables are read by.
func (s *session) reading() (*db.Reading, error) {
	if !s.tables {
		return nil, errorf(CodeNotFound, "the application's tables (users, messages, comments) are not in this database: only events and cursors can be had")
	}
	return s.read, nil
}

// grants are what a viewer may read, by topic.
type grants map[string]grant

// grant says why a topic's rows cannot be read, nil if they can, and by which rule that was decided.
type grant struct {
	refused *realtime.Error
	read    string
	guard   realtime.GuardKind
	partial bool
}

// now are the grants of which the rules are still the same: by other rules, nobody knows what the viewer may.
func (g grants) now(hub *realtime.Hub) grants {
	still := make(grants, len(g))
	for topic, was := range g {
		if t := hub.Topic(topic); was.refused == nil && (t.Read != was.read || t.Guard != was.guard || (partial(t) != nil) != was.partial) {
			was.refused = realtime.Errorf(realtime.CodeForbidden, "who may read %q has changed: subscribe anew", topic)
		}
		still[topic] = was
	}
	return still
}

// mayRead says why rows of the topic's table cannot be read, nil if they can: what can be followed can be read.
func (s *session) mayRead(ctx context.Context, topic string) (*db.Reading, error) {
	r, err := s.reading()
	if err != nil {
		return r, err
	}
	if topic == users {
		topic = messages // for which users are there
	}
	refused, err := do(&s.once, "may read "+topic, func() (*realtime.Error, error) {
		if s.grants != nil {
			return s.grants[topic].refused, nil
		}
		return mayRead(ctx, s.hub, s.viewer.Identity, topic), nil
	})
	if err == nil && refused != nil {
		err = refused
	}
	return r, err
}

// mayRead says why somebody cannot read all rows of a topic.
func mayRead(ctx context.Context, hub *realtime.Hub, id *realtime.Identity, topic string) *realtime.Error {
	err := hub.Authorize(ctx, id, realtime.Channel{Topic: topic})
	if err == nil {
		err = whole(hub.Topic(topic))
	}
	return err
}

// mayComplete reports whether an event of the topic may be told with what stands in the table.
func (s *session) mayComplete(topic string) bool {
	g, known := s.grants[topic]
	return known && g.refused == nil && whole(s.hub.Topic(topic)) == nil
}

// whole says why a topic's table is not told as it stands, whoever asks; nil: it is.
func whole(t realtime.Topic) *realtime.Error {
	if t.Guard != realtime.GuardNone {
		return realtime.Errorf(realtime.CodeForbidden, "not everybody may read all rows of %q: follow its channel, or load that", t.Name)
	}
	return partial(t)
}

// told are the columns that the schema tells of a topic's rows.
var told = map[string][]string{
	messages:      {"id", "author_id", "title", "content", "created_at", "updated_at"},
	comments:      {"id", "message_id", "author_id", "content", "created_at", "updated_at"},
	notifications: {"id", "user_id", "kind", "actor_id", "message_id", "comment_id", "created_at", "read_at"},
}

// partial says that columns of the topic, which the schema tells, do not go out; nil: they do.
func partial(t realtime.Topic) *realtime.Error {
	if t.Columns == nil {
		return nil
	}
	for _, column := range told[t.Name] {
		if !slices.Contains(t.Columns, column) {
			return realtime.Errorf(realtime.CodeForbidden, "not all columns of %q go out, so its rows are not told here: follow its channel, or load that", t.Name)
		}
	}
	return nil
}

// liveCursor is the position of what a query reads.
func (s *session) liveCursor(ctx context.Context) (string, error) {
	return do(&s.once, "live cursor", func() (string, error) {
		return s.read.Cursor(ctx)
	})
}

// once does things once for all who ask for them, at the same time or later.
type once struct {
	mu   sync.Mutex
	done map[any]func() (any, error)
}

// do returns what f returns, which is called for the first who asks with the key.
func do[T any](o *once, key any, f func() (T, error)) (T, error) {
	o.mu.Lock()
	if o.done == nil {
		o.done = make(map[any]func() (any, error))
	}
	result, asked := o.done[key]
	if !asked {
		result = sync.OnceValues(func() (any, error) { return f() })
		o.done[key] = result
	}
	o.mu.Unlock()
	value, err := result()
	if err != nil {
		var none T
		return none, err
	}
	return value.(T), nil
}
