package tidings

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"
)

// Options say what is followed, and from where.
type Options struct {
	// Channels are what is followed: messages, comments:1. They have one cursor and one order.
	Channels []string
	// Since begins behind this cursor. "": now.
	Since string
	// Rows has the channels' rows come first, and again after a reset. With Since they come only if that cannot be served.
	Rows bool
	// Partial has a Follow go on with the other channels when one cannot be had, or not any more: a message of kind Lost says so. Otherwise
	// the first such channel ends it, as does, in any case, what is no channel's name.
	Partial bool
	// OnState is told how the connection is, in its place among the messages. The error is why it is offline, a *Disconnected.
	OnState func(state State, err error)
	// Buffer is how many messages may wait for the loop, before the service keeps them; 0: 256.
	Buffer int
}

// State is how a Follow's connection is.
type State int

// The states.
const (
	StateConnecting State = iota // for the first time
	StateCatchingUp              // connected, and not all channels are live
	StateLive                    // what is committed is told
	StateOffline                 // the connection was lost or could not be had; it is tried again. Told after each attempt
)

func (s State) String() string {
	return [...]string{"connecting", "catching up", "live", "offline"}[s]
}

// Follow follows channels until the loop is left, ctx ends, or coming back makes no sense; what ends it but for the first is the last thing
// that it yields, as an error. What it promises is said of the package.
//
// The error of ctx's end is context.Cause(ctx). Others are what a *Error, a *Goodbye, ErrGiveUp or the URL has to say.
func (c *Client) Follow(ctx context.Context, o Options) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		f := &follower{client: c, options: o, since: o.Since, unsure: o.Since == "", live: make(map[string]bool)}
		f.yield = func(m Message) error {
			if !yield(m, nil) {
				return errLeft
			}
			return nil
		}
		for _, channel := range o.Channels {
			if !slices.Contains(f.channels, channel) {
				f.channels = append(f.channels, channel)
			}
		}
		if err := f.run(ctx); !errors.Is(err, errLeft) {
			yield(Message{}, err)
		}
	}
}

var (
	// errLeft says that the loop was left.
	errLeft = errors.New("the loop was left")
	// errPages says that rows are too many to come on the connection.
	errPages = errors.New("the rows are to be loaded page by page")
)

// follower is one iteration of a Follow.
type follower struct {
	client   *Client
	options  Options
	yield    func(Message) error // errLeft: the loop was left
	channels []string            // that are not lost
	since    string              // where to come back to; "": begin anew
	unsure   bool                // since is kept: not all rows are there, or events were missed, until a channel is live
	pages    bool                // the rows are loaded page by page, before anything is followed
	pending  []json.RawMessage   // rows of the channel that is being told
	live     map[string]bool     // of channels
	known    bool                // the service was seen to be one
	why      Why                 // a token is asked for
	state    State
	told     bool // a state was
	attempt  int  // that have failed in a row
	wait     time.Duration
	liveAt   time.Time // since when all channels are; zero: they are not
}

// run follows, on one connection after another.
func (f *follower) run(ctx context.Context) error {
	if len(f.channels) == 0 {
		return errNoChannels
	}
	if _, err := f.client.address(true); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f.say(StateConnecting, nil)
	for {
		var err error
		if f.pages {
			err = f.loadPages(ctx)
		}
		if err == nil {
			err = f.follow(ctx)
		}
		f.pending, f.live = nil, make(map[string]bool)
		if errors.Is(err, errPages) {
			f.pages = true
			continue
		}
		if err = f.pause(ctx, err); err != nil {
			return err
		}
	}
}

// pause waits out what can be. What cannot it returns.
func (f *follower) pause(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errLeft):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case wantsToken(err):
		if f.client.Token == nil || f.why == Rejected {
			return err
		}
		f.why = Rejected
		if f.liveAt.IsZero() && f.attempt == 0 {
			f.attempt++
			return nil // another token may do at once
		}
	case final(err, f.known):
		return err
	}
	// Only a connection that has held is one that was had: otherwise it would be tried again and again without a pause.
	held := time.Duration(0)
	if !f.liveAt.IsZero() {
		held = time.Since(f.liveAt)
	}
	f.liveAt = time.Time{}
	if held > f.wait {
		f.attempt = 0
	}
	if least := f.client.Backoff.least(); asksToMove(err) && held > max(f.wait, least) {
		f.wait = rand.N(least) // that is no failure
	} else {
		f.wait = f.client.Backoff.wait(f.attempt)
		f.attempt++
	}
	var refused *Error
	if errors.As(err, &refused) {
		f.wait += refused.RetryAfter
	}
	f.client.log().Info("disconnected", "error", err, "wait", f.wait)
	f.say(StateOffline, &Disconnected{Err: err, Attempt: f.attempt, Wait: f.wait})
	timer := time.NewTimer(f.wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// say tells of a state that is another, or offline once more.
func (f *follower) say(s State, err error) {
	if s == f.state && f.told && s != StateOffline {
		return
	}
	f.state, f.told = s, true
	if f.options.OnState != nil {
		f.options.OnState(s, err)
	}
}

// follow follows on one connection. It returns what ended it, never nil.
func (f *follower) follow(ctx context.Context) error {
	u, err := f.client.address(true, "ws")
	if err != nil {
		return err
	}
	query := url.Values{"channel": f.channels}
	if f.since != "" {
		query.Set("since", f.since)
	}
	if f.options.Rows {
		query.Set("snapshot", "true")
	}
	u.RawQuery = query.Encode()
	buffer := f.options.Buffer
	if buffer <= 0 {
		buffer = 256
	}
	x, err := f.client.connect(ctx, u, f.why, buffer)
	if err != nil {
		return err
	}
	defer x.close()
	f.client.log().Debug("connected", "channels", f.channels, "since", f.since)
	f.unsure = f.since == ""
	f.say(StateCatchingUp, nil)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case frame, more := <-x.frames:
			if !more {
				return x.err
			}
			if err := f.take(frame); err != nil {
				return err
			}
		}
	}
}

// take does what a frame says. An error ends the connection.
func (f *follower) take(x *frame) error {
	switch x.Type {
	case "subscribed":
		f.since, f.unsure = x.Cursor, false
		f.live[x.Channel] = true
		f.known, f.why = true, Connect
		if err := f.tell(x.message(Live)); err != nil {
			return err
		}
		f.checkLive()
	case "row":
		row := x.Data
		if row == nil {
			row = json.RawMessage("null")
		}
		f.pending = append(f.pending, row)
	case "loaded":
		m := x.message(Rows)
		m.Rows, f.pending = f.pending, nil
		return f.tell(m)
	case "reset":
		f.unsure, f.pending, f.known = true, nil, true
		f.live = make(map[string]bool)
		f.liveAt = time.Time{}
		if f.options.Rows {
			f.since = "" // they come now; with the old cursor there would be another reset first
		}
		f.say(StateCatchingUp, nil)
		return f.tell(x.message(Reset))
	case "error":
		return f.takeError(x)
	case "cursor":
		if !f.unsure {
			f.since = x.Cursor
		}
		return f.tell(x.message(Place))
	case "unsubscribed", "pong":
	default:
		if x.ID == "" {
			return f.tell(x.message(Signal))
		}
		if !f.unsure {
			f.since = x.Cursor
		}
		return f.tell(x.message(Event))
	}
	return nil
}

func (f *follower) tell(m Message) error {
	if !f.unsure {
		m.Cursor = f.since
	}
	return f.yield(m)
}

// checkLive says so when all channels are live.
func (f *follower) checkLive() {
	for _, channel := range f.channels {
		if !f.live[channel] {
			return
		}
	}
	f.pages = false
	f.liveAt = time.Now()
	f.say(StateLive, nil)
}

// takeError does what an error says. Of one that passes, the connection is ended, to come back with the last cursor: all that was to be told
// before it was.
func (f *follower) takeError(x *frame) error {
	e := &Error{Code: x.Code, Message: x.Message, Channel: x.Channel}
	switch {
	case x.Code == CodeSnapshotTooLarge && x.Channel != "":
		return errPages
	case x.Code == "already_subscribed", x.Code == "not_subscribed":
		return nil
	case x.Channel == "", e.Temporary():
		return e
	}
	return f.lose(e, x)
}

// lose goes on without a channel, if it may.
func (f *follower) lose(e *Error, x *frame) error {
	f.channels = slices.DeleteFunc(slices.Clone(f.channels), func(c string) bool { return c == e.Channel })
	if !f.options.Partial || len(f.channels) == 0 {
		return e
	}
	m := Message{Kind: Lost, Type: "error", Channel: e.Channel, Err: e}
	if x != nil {
		m = x.message(Lost)
		m.Err = e
	}
	if err := f.tell(m); err != nil {
		return err
	}
	f.checkLive()
	return nil
}
