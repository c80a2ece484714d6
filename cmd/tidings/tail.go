package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	tidings "tidings/clients/go"
)

type tailCmd struct {
	Channels   []string      `arg:"" name:"channel" help:"What to follow: messages, comments:1."`
	Server     string        `help:"The service." default:"http://127.0.0.1:8080" env:"TIDINGS_SERVER" placeholder:"URL"`
	Token      string        `help:"Whose channels are meant: a token that the service takes." env:"TIDINGS_TOKEN" placeholder:"TOKEN"`
	TokenFile  string        `help:"A file with it, which is read again when the token runs out." env:"TIDINGS_TOKEN_FILE" placeholder:"FILE"`
	Since      string        `help:"Begin behind this cursor, and not now." placeholder:"CURSOR"`
	CursorFile string        `help:"Begin behind the cursor in this file, and keep it there." placeholder:"FILE"`
	Rows       bool          `help:"The channels' rows come first, and again where events are missing."`
	Type       []string      `help:"Events of these types alone, as message_added or *_deleted; may be repeated." placeholder:"PATTERN"`
	Where      []string      `help:"Rows alone in which column=value, column!=value, or column~regexp; may be repeated: then all hold." sep:"none" placeholder:"CONDITION"`
	Fields     []string      `help:"Of the rows these columns alone, in this order." placeholder:"COLUMN"`
	Count      int           `short:"n" help:"End after so many events." placeholder:"NUMBER"`
	Timeout    time.Duration `help:"End after this time; with --count, with the exit code 3." placeholder:"DURATION"`
	JSON       bool          `name:"json" help:"Print the events' frames as they are, one a line."`
	All        bool          `help:"With --json, print what is said of channels as well: subscribed, reset, error, cursor."`
	Full       bool          `help:"Do not cut long rows to the terminal's width."`
	Color      string        `help:"Colours: auto (on a terminal, unless NO_COLOR is set), always or never." enum:"auto,always,never" default:"auto"`

	filter tailFilter
}

func (c *tailCmd) Validate() error {
	token := c.Token
	if _, err := (secretFile{"token", c.TokenFile, &token}).read(); err != nil {
		return err
	}
	if err := checkServer(c.Server); err != nil {
		return err
	}
	switch {
	case c.Since != "" && c.CursorFile != "":
		return errors.New("--since and --cursor-file: both say where to begin, and one of them is enough")
	case c.Count < 0:
		return fmt.Errorf("--count: %d is too low: at least 1", c.Count)
	case c.Timeout < 0:
		return fmt.Errorf("--timeout: %s is too short", c.Timeout)
	case c.All && !c.JSON:
		return errors.New("--all is for --json: otherwise it is said on standard error")
	case c.JSON && len(c.Fields) > 0:
		return errors.New("--fields and --json: frames are printed as they are; jq chooses of them")
	}
	for _, pattern := range c.Type {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("--type: %q is no pattern: * is anything, ? one character, [ab] one of them", pattern)
		}
	}
	var err error
	c.filter, err = newTailFilter(c.Type, c.Where)
	return err
}

func checkServer(server string) error {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("--server: %q is not a URL such as http://127.0.0.1:8080", server)
	}
	return nil
}

// tail is a run of the command.
type tail struct {
	*tailCmd
	print     *tailPrinter
	tokens    *tailTokens
	file      *cursorFile // nil: there is none
	giveUp    context.CancelCauseFunc
	cursor    string
	printed   int
	connected bool      // it was, once
	lost      time.Time // since when it is not; zero: it is
	missing   bool      // events are, since then
}

var errTimeout = errors.New("the time is over")

// Run follows until ctx ends, the service has no more to say, or what was asked for has come.
func (c *tailCmd) Run(ctx context.Context) error {
	signal.Ignore(syscall.SIGPIPE) // who reads no further is noticed when something is written
	t := &tail{tailCmd: c, print: newTailPrinter(c), tokens: &tailTokens{token: c.Token, file: c.TokenFile}, cursor: c.Since}
	if c.CursorFile != "" {
		var err error
		if t.file, t.cursor, err = openCursorFile(c.CursorFile); err != nil {
			return err
		}
	}
	user := ctx
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
		defer cancel()
	}
	ctx, t.giveUp = context.WithCancelCause(ctx)
	defer t.giveUp(nil)

	client := &tidings.Client{URL: c.Server}
	if c.Token != "" || c.TokenFile != "" {
		client.Token = t.tokens.get
	}
	err := t.follow(ctx, client)
	if t.file != nil {
		if err := t.file.close(); err != nil {
			return err
		}
	}
	switch {
	case user.Err() != nil:
		t.sayWhereToGoOn()
		return nil // ctx ended
	case errors.Is(err, errTimeout) && t.printed < c.Count:
		return &exitError{code: 3, error: fmt.Errorf("%d of %d events came within %s", t.printed, c.Count, c.Timeout)}
	case errors.Is(err, errTimeout), errors.Is(err, syscall.EPIPE):
		return nil
	}
	return t.advise(err)
}

func (t *tail) follow(ctx context.Context, client *tidings.Client) error {
	o := tidings.Options{Channels: t.Channels, Since: t.cursor, Rows: t.Rows, Partial: true, OnState: t.say}
	for m, err := range client.Follow(ctx, o) {
		if err != nil {
			return err
		}
		if err := t.take(m); err != nil {
			return err
		}
		if m.Cursor != "" && m.Cursor != t.cursor {
			t.cursor = m.Cursor
			if t.file != nil {
				if err := t.file.keep(m.Cursor); err != nil {
					return err
				}
			}
		}
		if t.Count > 0 && t.printed == t.Count {
			return nil
		}
	}
	return nil
}

// take prints a message, if it is one of those that are wanted.
func (t *tail) take(m tidings.Message) error {
	switch m.Kind {
	case tidings.Live:
		if t.lost.IsZero() {
			fmt.Fprintln(os.Stderr, "following", plain(m.Channel))
		}
	case tidings.Reset:
		t.missing = true
		note("%s: events are missing here (%s)", m.Channel, m.Text)
	case tidings.Lost:
		note("%s", t.advise(m.Err))
	case tidings.Rows:
		if err := t.print.rows(m, &t.filter); err != nil || m.Raw == nil {
			return err
		}
	case tidings.Event, tidings.Signal:
		if !t.filter.wants(m) {
			return nil
		}
		t.printed++
		return t.print.message(m)
	}
	if t.JSON && t.All {
		return t.print.frame(m.Raw)
	}
	return nil
}

// say tells of an outage once, and of its end. At the start, one is an error.
func (t *tail) say(state tidings.State, err error) {
	switch state {
	case tidings.StateCatchingUp:
		t.connected = true
		t.tokens.worked()
	case tidings.StateOffline:
		if !t.connected {
			t.giveUp(errors.Unwrap(err))
		} else if t.lost.IsZero() {
			t.lost = time.Now()
			note("%s - coming back", err)
		}
	case tidings.StateLive:
		if t.lost.IsZero() {
			t.missing = false
			return
		}
		what := "nothing was missed"
		if t.missing {
			what = "events are missing, as said above"
		}
		note("back after %s: %s", time.Since(t.lost).Round(100*time.Millisecond), what)
		t.lost, t.missing = time.Time{}, false
	}
}

// advise says of a refusal what might help.
func (t *tail) advise(err error) error {
	var refused *tidings.Error
	switch {
	case !errors.As(err, &refused):
	case refused.Code == tidings.CodeForbidden && t.Token == "" && t.TokenFile == "":
		return fmt.Errorf("%w; a token is given by TIDINGS_TOKEN or --token-file", err)
	case refused.Code == tidings.CodeUnknownChannel:
		return fmt.Errorf("%w; beside the database, tidings watched lists what is", err)
	}
	return err
}

// sayWhereToGoOn is for who has ended it by hand.
func (t *tail) sayWhereToGoOn() {
	if t.cursor == "" || t.file != nil || !term.IsTerminal(int(os.Stderr.Fd())) {
		return
	}
	words := []string{"tidings", "tail"}
	for _, channel := range t.Channels {
		words = append(words, quoteForShell(channel))
	}
	note("to go on from here: %s --since %s", strings.Join(words, " "), t.cursor)
}

// note says something that is no event.
func note(format string, args ...any) {
	fmt.Fprintln(os.Stderr, "tidings:", plain(fmt.Sprintf(format, args...)))
}

func quoteForShell(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:,/@%+=", r))
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
