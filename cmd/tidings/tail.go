package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

type tailCmd struct {
	Channels  []string `arg:"" name:"channel" help:"What to follow: messages, comments:1."`
	Server    string   `help:"The service." default:"http://127.0.0.1:8080" env:"TIDINGS_SERVER" placeholder:"URL"`
	Token     string   `help:"Whose channels are meant: a token that the service takes." env:"TIDINGS_TOKEN" placeholder:"TOKEN"`
	TokenFile string   `help:"A file with it." env:"TIDINGS_TOKEN_FILE" placeholder:"FILE"`
	Since     string   `help:"Begin behind this cursor, and not now." placeholder:"CURSOR"`
	JSON      bool     `name:"json" help:"Print the frames as they are, one a line."`
}

func (c *tailCmd) Validate() error {
	if _, err := (secretFile{"token", c.TokenFile, &c.Token}).read(); err != nil {
		return err
	}
	c.TokenFile = "" // it has been read
	return checkServer(c.Server)
}

func checkServer(server string) error {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("--server: %q is not a URL such as http://127.0.0.1:8080", server)
	}
	return nil
}

// frame is what the service says, as far as tail reads it.
type frame struct {
	Type    string          `json:"type"`
	Channel string          `json:"channel"`
	ID      string          `json:"id"`
	Cursor  string          `json:"cursor"`
	At      time.Time       `json:"at"`
	Data    json.RawMessage `json:"data"`
	Code    string          `json:"code"`
	Reason  string          `json:"reason"`
	Message string          `json:"message"`
}

// Run follows until ctx ends. It comes back with its last cursor after every break.
func (c *tailCmd) Run(ctx context.Context) error {
	cursor := c.Since
	connected := false
	for attempt := 0; ; attempt++ {
		err := c.follow(ctx, &cursor, func() { connected, attempt = true, 0 })
		var refused *refusedError
		switch {
		case ctx.Err() != nil:
			return nil // ctx ended
		case errors.As(err, &refused), err != nil && !connected:
			return err
		}
		fmt.Fprintln(os.Stderr, "tidings:", err, "- coming back")
		timer := time.NewTimer(rand.N(min(200*time.Millisecond<<min(attempt, 6), 10*time.Second)) + 50*time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// refusedError says that coming back will not help.
type refusedError struct{ message string }

func (e *refusedError) Error() string { return e.message }

func (c *tailCmd) follow(ctx context.Context, cursor *string, connected func()) error {
	u, err := url.Parse(c.Server)
	if err != nil {
		return err
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	u = u.JoinPath("ws")
	query := url.Values{"channel": c.Channels}
	if *cursor != "" {
		query.Set("since", *cursor)
	}
	u.RawQuery = query.Encode()
	header := http.Header{}
	if c.Token != "" {
		header.Set("Authorization", "Bearer "+c.Token)
	}
	conn, response, err := websocket.DefaultDialer.DialContext(ctx, u.String(), header)
	if err != nil {
		return dialError(c.Server, response, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the reading
	defer stop()
	for {
		// The service pings well within this time.
		if err := conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
			return err
		}
		_, text, err := conn.ReadMessage()
		if err != nil {
			return readError(err)
		}
		var f frame
		if err := json.Unmarshal(text, &f); err != nil {
			return fmt.Errorf("the service said what is not JSON: %w", err)
		}
		if f.Cursor != "" {
			*cursor = f.Cursor
		}
		if f.Type == "subscribed" {
			connected()
		}
		if c.JSON {
			fmt.Fprintf(os.Stdout, "%s\n", text)
		} else {
			c.print(f)
		}
		if f.Type == "error" && (f.Code == "unknown_channel" || f.Code == "forbidden" || f.Code == "bad_channel") && len(c.Channels) == 1 {
			return &refusedError{f.Message}
		}
	}
}

func (c *tailCmd) print(f frame) {
	switch f.Type {
	case "subscribed":
		fmt.Fprintf(os.Stderr, "following %s\n", f.Channel)
	case "reset":
		fmt.Fprintf(os.Stderr, "%s: events are missing here (%s)\n", f.Channel, f.Message)
	case "error":
		fmt.Fprintf(os.Stderr, "%s\n", f.Message)
	case "token_expiring":
		fmt.Fprintln(os.Stderr, "the token runs out soon")
	default:
		fmt.Printf("%s  %-18s %-14s %s\n", f.At.Local().Format("15:04:05.000"), f.Type, f.Channel, f.Data)
	}
}

// dialError says what the service answered, if it did.
func dialError(server string, response *http.Response, err error) error {
	if response == nil {
		return fmt.Errorf("%s cannot be reached: %w", server, err)
	}
	var body struct {
		Error struct{ Message string } `json:"error"`
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	if json.Unmarshal(text, &body) == nil && body.Error.Message != "" {
		if response.StatusCode == http.StatusUnauthorized {
			return &refusedError{body.Error.Message}
		}
		return fmt.Errorf("%s answers %s: %s", server, response.Status, body.Error.Message)
	}
	return fmt.Errorf("%s answers %s: is it tidings?", server, response.Status)
}

func readError(err error) error {
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Text != "" {
		return fmt.Errorf("the service said goodbye: %s", closed.Text)
	}
	return fmt.Errorf("the connection broke: %w", err)
}
