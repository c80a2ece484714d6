package graph

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"tidings/realtime"
)

// Subscription is what a client follows, and how it is told.
type Subscription struct {
	Channels []realtime.Channel
	Since    string
	Plan     *Plan // to be released
}

// target is what a subscription's field follows.
type target struct {
	topic    string // empty: all of the channels
	action   string // what the event's type ends with
	channels []realtime.Channel
	since    string
	message  *int64 // which is to be there
}

// Subscribe finds out what a subscription follows, behind since, if that is not empty, and otherwise where the operation says. Where it
// cannot be, the Response says why.
func (o *Operation) Subscribe(ctx context.Context, since string) (s *Subscription, refused *Response) {
	ctx, done := o.observe(ctx)
	defer func() {
		var codes []string
		if refused != nil {
			codes = refused.Codes
		}
		done(codes)
	}()
	defer o.api.recovered(ctx, &refused)
	ctx = graphql.WithOperationContext(ctx, o.context)
	t, field, err := o.target()
	if since != "" {
		t.since = since
	}
	if err == nil {
		err = o.check(ctx, t)
	}
	if err != nil {
		err := o.api.present(ctx, err)
		if field != nil {
			err.Path = ast.Path{ast.PathName(field.Alias)}
		}
		return nil, o.api.refuse(ctx, gqlerror.List{err})
	}
	return &Subscription{Channels: t.channels, Since: t.since, Plan: o.api.plan(o, t, field, o.grants(ctx))}, nil
}

// target reads the field and its arguments.
func (o *Operation) target() (target, *graphql.CollectedField, error) {
	fields := graphql.CollectFields(o.context, o.context.Operation.SelectionSet, []string{"Subscription"})
	if len(fields) != 1 {
		return target{}, nil, errorf(CodeBadInput, "a subscription has exactly one field, not %d", len(fields))
	}
	field := &fields[0]
	args := field.ArgumentMap(o.context.Variables)
	var t target
	t.since, _ = args["since"].(string)
	switch field.Name {
	case "messageAdded", "messageUpdated", "messageDeleted":
		t.topic = messages
	case "commentAdded", "commentUpdated", "commentDeleted":
		t.topic = comments
	case "presenceChanged":
		t.topic = presence
		channel := realtime.Channel{Topic: presence}
		id, err := rowID(args, "userId")
		if id != nil {
			channel.Key = strconv.FormatInt(*id, 10)
		}
		t.channels = []realtime.Channel{channel}
		return t, field, err
	case "notificationAdded":
		user, err := viewerOf(o.viewer)
		t.topic, t.action, t.channels = notifications, "_added", []realtime.Channel{{Topic: notifications, Key: strconv.FormatInt(user, 10)}}
		return t, field, err
	case "activity":
		id, err := rowID(args, "actorId")
		channel := realtime.Channel{Topic: activity}
		if id != nil {
			channel.Key = strconv.FormatInt(*id, 10)
		}
		t.topic, t.channels = activity, []realtime.Channel{channel}
		return t, field, err
	case "events":
		err := t.follow(args["channels"])
		return t, field, err
	default:
		return t, field, errorf(CodeBadInput, "%s is nothing to subscribe to", field.Name)
	}
	t.action = "_" + strings.ToLower(field.Name[len("message"):])
	channel := realtime.Channel{Topic: t.topic}
	id, err := rowID(args, "messageId")
	if id != nil {
		t.message, channel.Key = id, strconv.FormatInt(*id, 10)
	}
	t.channels = []realtime.Channel{channel}
	return t, field, err
}

// rowID reads an argument that is the id of a row; nil: it is not given.
func rowID(args map[string]any, name string) (*int64, error) {
	given := args[name]
	if given == nil {
		return nil, nil
	}
	id, err := UnmarshalRowID(given)
	if err != nil {
		var input *inputError
		errors.As(err, &input)
		return nil, badInput(name, "cannot be read: %s", input.message)
	}
	return &id, nil
}

// wants reports whether a subscription tells of an event.
func (t target) wants(e *realtime.Event) bool {
	switch {
	case t.topic == "":
		return true
	case t.topic == presence:
		return e.Type == userOnline || e.Type == userOffline
	case e.Everywhere:
		return t.action == "_deleted"
	case t.topic == activity:
		return isActivity(e)
	}
	return strings.HasSuffix(e.Type, t.action)
}

// follow reads the names of channels.
func (t *target) follow(given any) error {
	var names []any
	switch list := given.(type) {
	case []any:
		names = list
	case []string: // of a variable that was no list
		for _, name := range list {
			names = append(names, name)
		}
	default:
		names = []any{given} // a list of one may be written without brackets
	}
	if len(names) == 0 {
		return badInput("channels", "are none: name at least one")
	}
	seen := make(map[realtime.Channel]bool)
	for _, name := range names {
		text, ok := name.(string)
		if !ok {
			return badInput("channels", "are texts such as %q", "messages")
		}
		c, err := realtime.ParseChannel(text)
		if err != nil {
			return badInput("channels", "cannot be read: %s", err)
		}
		if !seen[c] {
			seen[c] = true
			t.channels = append(t.channels, c)
		}
	}
	return nil
}

// readable are the topics whose rows fields may lead to.
var readable = []string{messages, comments, presence}

// grants are what the viewer may read. A subscription keeps them as long as the rules do not change: its own channel is what is asked
// about again.
func (o *Operation) grants(ctx context.Context) grants {
	g := make(grants)
	for _, topic := range readable {
		t := o.api.hub.Topic(topic) // before: if it changes meanwhile, the rules are others
		g[topic] = grant{mayRead(ctx, o.api.hub, o.viewer.Identity, topic), t.Read, t.Guard, partial(t) != nil}
	}
	return g
}

// key is the same for those who may read the same.
func (g grants) key() string {
	key := ""
	for _, topic := range readable {
		if g[topic].refused == nil {
			key += topic + " " + g[topic].read + " " + string(g[topic].guard) + "\n"
		}
	}
	return key
}

// check says why what is to be followed is not there, or is not for the viewer.
func (o *Operation) check(ctx context.Context, t target) error {
	if most := o.api.hub.MaxChannels(); len(t.channels) > most {
		return realtime.Errorf(realtime.CodeTooManyChannels, "a subscription has at most %d channels, not %d", most, len(t.channels))
	}
	for _, c := range t.channels {
		if err := o.api.hub.Authorize(ctx, o.viewer.Identity, c); err != nil {
			return err
		}
	}
	if t.topic == "" {
		return nil
	}
	if err := partial(o.api.hub.Topic(t.topic)); err != nil {
		return err
	}
	s := o.api.newSession(o.viewer, ofSubscription)
	defer o.api.end(s)
	r, err := s.reading()
	if err != nil || t.message == nil || t.since != "" { // the past of a message that was deleted since can be followed
		return err
	}
	if mayRead(ctx, o.api.hub, o.viewer.Identity, messages) != nil {
		return nil // nor may it be known which there are
	}
	ctx, cancel := context.WithTimeout(ctx, o.api.options.Timeout)
	defer cancel()
	found, err := r.Messages(ctx, []int64{*t.message})
	if err == nil && len(found) == 0 {
		err = errorf(CodeNotFound, "there is no message %d", *t.message)
	}
	return err
}

// Errors returns the list of errors that ends a subscription, as JSON; nil for a notice that does not.
func Errors(n *realtime.Notice) []byte {
	var err *gqlerror.Error
	switch n.Kind {
	case realtime.NoticeReset:
		err = errorf(CodeReset, "since cannot be served (%s), so events may be missing: load afresh, and subscribe with that query's liveCursor", n.Reason)
		err.Extensions["reason"] = n.Reason
	case realtime.NoticeError:
		err = errorf(strings.ToUpper(string(n.Err.Code)), "%s", n.Err.Message)
	default:
		return nil
	}
	b, _ := json.Marshal(gqlerror.List{err}) // can always be
	return b
}

// subscriptions resolve to what a plan feeds them.
type subscriptions struct{}

type planContext struct{}

func planOf(ctx context.Context) *Plan { return ctx.Value(planContext{}).(*Plan) }

func (subscriptions) MessageAdded(ctx context.Context, _ *string) (<-chan *Message, error) {
	return planOf(ctx).messages, nil
}

func (subscriptions) MessageUpdated(ctx context.Context, _ *int64, _ *string) (<-chan *Message, error) {
	return planOf(ctx).messages, nil
}

func (subscriptions) MessageDeleted(ctx context.Context, _ *int64, _ *string) (<-chan *Message, error) {
	return planOf(ctx).messages, nil
}

func (subscriptions) CommentAdded(ctx context.Context, _ *int64, _ *string) (<-chan *Comment, error) {
	return planOf(ctx).comments, nil
}

func (subscriptions) CommentUpdated(ctx context.Context, _ *int64, _ *string) (<-chan *Comment, error) {
	return planOf(ctx).comments, nil
}

func (subscriptions) CommentDeleted(ctx context.Context, _ *int64, _ *string) (<-chan *Comment, error) {
	return planOf(ctx).comments, nil
}

func (subscriptions) PresenceChanged(ctx context.Context, _ *int64, _ *string) (<-chan *PresenceChange, error) {
	return planOf(ctx).presence, nil
}

func (subscriptions) Events(ctx context.Context, _ []string, _ *string) (<-chan *Event, error) {
	return planOf(ctx).events, nil
}
