package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"tidings/realtime"
)

// The codes of commands that make no sense; the others are realtime's.
const (
	codeBadFrame       realtime.Code = "bad_frame"       // binary, or not UTF-8
	codeBadJSON        realtime.Code = "bad_json"        // not a JSON object, or with wrong fields
	codeUnknownCommand realtime.Code = "unknown_command" // its type
	codeFrameTooLarge  realtime.Code = "frame_too_large" // more bytes than a command may have
	codeBadRequest     realtime.Code = "bad_request"     // of the URL
)

// commands is the protocol of /ws and /ws/events.
type commands struct {
	conn  *wsConn
	sub   *realtime.Subscriber
	bad   *refusal      // of the token that a browser came with, which can read no status but only why it is sent away
	typed *rate.Limiter // of saying that he types; nil: he has not
}

func (c *commands) limit() int { return c.conn.server.options.MaxFrame }

// begin subscribes to what the URL asks for.
func (c *commands) begin(query, _ string) {
	if c.bad != nil {
		c.conn.expel(c.bad.goodbye())
		return
	}
	want := parseQuery(query)
	for _, err := range want.errs {
		_ = c.mistake(err) // it is told
	}
	if len(want.channels) > 0 {
		c.sub.Subscribe(c.conn.ctx, want.channels, want.options)
	}
}

func (c *commands) end() {}

func (c *commands) mistake(err *realtime.Error) error {
	c.conn.refused(string(err.Code))
	c.sub.Tell(err, realtime.Channel{})
	return nil
}

func (c *commands) command(op byte, text []byte) error {
	if op != opClientText {
		return realtime.Errorf(codeBadFrame, "a command is a text frame, not a binary one")
	}
	wait := c.conn.tooSoon()
	cmd, channels, bad := parseCommand(text)
	var channel realtime.Channel
	if len(channels) == 1 {
		channel = channels[0]
	}
	if wait > 0 {
		c.conn.answer(c.conn.dialect.tooSoon(nil, channel, wait))
		return nil
	}
	if bad != nil {
		return bad
	}
	switch cmd.Type {
	case "subscribe":
		c.sub.Subscribe(c.conn.ctx, channels, cmd.options())
	case "unsubscribe":
		c.sub.Unsubscribe(channel)
	case "switch":
		c.sub.Switch(c.conn.ctx, channel, cmd.options())
	case "authenticate":
		return c.authenticate(cmd.Token)
	case "typing":
		return c.typing(channel)
	case "ping":
		c.sub.Pong()
	}
	return nil
}

// authenticate says whose the connection is from now on: at its beginning, or when another token has run out or is about to.
func (c *commands) authenticate(token string) error {
	id, bad := c.conn.server.identifyToken(c.conn.ctx, token)
	switch {
	case token == "":
		return realtime.Errorf(codeBadRequest, `the command's "token" is missing`)
	case bad != nil:
		return realtime.Errorf(realtime.Code(bad.code), "%s", bad.message)
	}
	if bad = c.conn.identify(id); bad != nil {
		c.conn.refused(bad.code)
		return realtime.Errorf(realtime.Code(bad.code), "%s", bad.message)
	}
	c.sub.SetIdentity(c.conn.ctx, id)
	c.conn.server.reassure(&c.conn.conn)
	c.conn.answer(c.conn.dialect.word(nil, "authenticated", id.User, id.Expires))
	return nil
}

// appendTooSoon appends, as JSON, that a command was not done because there were too many, and when to try again. The channel is that
// which it named, if it named one.
func appendTooSoon(b []byte, name string, channel realtime.Channel, wait time.Duration) []byte {
	b = appendNotice(b, name, &realtime.Notice{Kind: realtime.NoticeError, Channel: channel,
		Err: realtime.Errorf(codeRateLimited, "too many commands in too short a time: this one was not done")})
	b = append(b[:len(b)-1], `,"retry_after_ms":`...)
	return append(strconv.AppendInt(b, inMilliseconds(wait), 10), '}')
}

// command is what a client says.
type command struct {
	Type     string   `json:"type"`
	Channel  string   `json:"channel"`
	Channels []string `json:"channels"` // of subscribe, instead of one; nil: not given
	Since    string   `json:"since"`
	Snapshot bool     `json:"snapshot"`
	Token    string   `json:"token"`
}

func (c command) options() realtime.SubscribeOptions {
	return realtime.SubscribeOptions{Since: c.Since, Snapshot: c.Snapshot}
}

// parseCommand reads a command and the channels that it names; what is wrong with it is said by name.
func parseCommand(text []byte) (command, []realtime.Channel, *realtime.Error) {
	var cmd command
	if !utf8.Valid(text) {
		return cmd, nil, realtime.Errorf(codeBadFrame, "a command is UTF-8 text")
	}
	if bytes.Equal(bytes.TrimSpace(text), []byte("null")) {
		return cmd, nil, realtime.Errorf(codeBadJSON, "a command is a JSON object, not null")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&cmd); err != nil {
		return cmd, nil, realtime.Errorf(codeBadJSON, "%s", explainJSON(err))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return cmd, nil, realtime.Errorf(codeBadJSON, "a frame is one command: there is something behind its JSON object")
	}
	own, known := commandFields[cmd.Type]
	switch {
	case cmd.Type == "":
		return cmd, nil, realtime.Errorf(codeUnknownCommand, `the command's "type" is missing`)
	case !known:
		return cmd, nil, realtime.Errorf(codeUnknownCommand,
			"there is no command %q: it is subscribe, unsubscribe, switch, authenticate, typing or ping", cmd.Type)
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(text, &fields) // it is an object
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if name != "type" && !slices.Contains(own, name) {
			return cmd, nil, realtime.Errorf(codeBadJSON, "the command %q has no field %q", cmd.Type, name)
		}
	}
	if !slices.Contains(own, "channel") {
		return cmd, nil, nil
	}
	channels, bad := cmd.parseChannels()
	return cmd, channels, bad
}

// commandFields are the fields that each command may have besides its type.
var commandFields = map[string][]string{
	"subscribe":    {"channel", "channels", "since", "snapshot"},
	"unsubscribe":  {"channel"},
	"switch":       {"channel", "since", "snapshot"},
	"authenticate": {"token"},
	"typing":       {"channel"},
	"ping":         nil,
}

// parseChannels reads the names that the command has: one, or of subscribe several. If one is none, the command is not done at all.
func (c command) parseChannels() ([]realtime.Channel, *realtime.Error) {
	switch {
	case c.Channels != nil && c.Channel != "":
		return nil, realtime.Errorf(codeBadJSON, `the command has a "channel" and "channels": it is one of them`)
	case c.Channels != nil && len(c.Channels) == 0:
		return nil, realtime.Errorf(realtime.CodeBadChannel, `the command's "channels" are empty`)
	case c.Channels == nil && c.Channel == "" && c.Type == "subscribe":
		return nil, realtime.Errorf(realtime.CodeBadChannel, `the command's "channel", or its "channels", is missing`)
	case c.Channels == nil:
		channel, err := realtime.ParseChannel(c.Channel)
		var bad *realtime.Error
		if errors.As(err, &bad) {
			return nil, bad
		}
		return []realtime.Channel{channel}, nil
	}
	channels := make([]realtime.Channel, 0, len(c.Channels))
	for i, name := range c.Channels {
		channel, err := realtime.ParseChannel(name)
		var bad *realtime.Error
		if errors.As(err, &bad) {
			return nil, realtime.Errorf(bad.Code, `the command's "channels"[%d]: %s`, i, bad.Message)
		}
		if !slices.Contains(channels, channel) { // as in the URL
			channels = append(channels, channel)
		}
	}
	return channels, nil
}

// kinds are JSON's words for a command's fields.
var kinds = map[reflect.Kind]string{reflect.String: "a string", reflect.Bool: "a boolean", reflect.Slice: "an array of strings"}

func explainJSON(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("the command is not JSON: %s at byte %d", syntax, syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the command is not JSON: it ends too early"
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Sprintf("a command is a JSON object, not %s", article(kind.Value))
	case errors.As(err, &kind) && kind.Field == "channels" && kind.Type.Kind() == reflect.String:
		return fmt.Sprintf(`each of the command's "channels" is a string, not %s`, article(kind.Value))
	case errors.As(err, &kind):
		return fmt.Sprintf("the command's %q is %s, not %s", kind.Field, kinds[kind.Type.Kind()], article(kind.Value))
	}
	return "the command has an " + strings.TrimPrefix(err.Error(), "json: ")
}

func article(kind string) string {
	if strings.HasPrefix(kind, "a") || strings.HasPrefix(kind, "o") {
		return "an " + kind
	}
	return "a " + kind
}
