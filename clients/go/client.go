package tidings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// Client is where the service is, and who asks. Its methods may be called by many goroutines; its fields are not to be changed meanwhile.
type Client struct {
	// URL is where the service is: https://live.example.com, with a path if it is behind one.
	URL string
	// Token returns who the client is: a token that the service takes, or "" for nobody. Nil is nobody. It may be called in any
	// goroutine, and is to return when ctx ends. An error is waited out like any other, unless it wraps ErrGiveUp.
	Token func(ctx context.Context, why Why) (string, error)
	// Header is sent with each request.
	Header http.Header
	// Dialer opens WebSockets. Nil: one that heeds HTTPS_PROXY and takes 20 s at most.
	Dialer *websocket.Dialer
	// HTTP loads pages. Nil: a client that takes a minute at most for each.
	HTTP *http.Client
	// Backoff is how long to wait before a connection is tried again.
	Backoff Backoff
	// Heartbeat is how a connection is noticed that is broken and does not say so.
	Heartbeat Heartbeat
	// Logger is told of what connects and breaks, never of rows and tokens. Nil: nobody is.
	Logger *slog.Logger
}

// Why says why a token is asked for.
type Why int

// The reasons.
const (
	Connect  Why = iota // a connection is opened; the token that there is will do
	Expiring            // the token runs out within a minute or so: another one is needed
	Rejected            // the token was not taken, has run out, or was revoked: another one is needed
)

func (w Why) String() string {
	return [...]string{"connect", "expiring", "rejected"}[w]
}

// Backoff is the pause before a connection is tried again: it doubles from Min to Max, and chance takes up to half of it away, so that ten
// thousand clients don't come back in the same moment. It begins anew when a connection has held.
type Backoff struct {
	Min time.Duration // 0: 200 ms
	Max time.Duration // 0: 10 s
}

func (b Backoff) wait(attempt int) time.Duration {
	least := b.least()
	most := max(orDefault(b.Max, 10*time.Second), least)
	d := most
	if attempt < 32 && least<<attempt>>attempt == least { // otherwise it is more than can be told
		d = min(most, least<<attempt)
	}
	return d/2 + rand.N(d/2+1)
}

func (b Backoff) least() time.Duration { return orDefault(b.Min, 200*time.Millisecond) }

// Heartbeat is how a connection is watched of which nothing is heard. The service pings every 25 s, unless it is told otherwise.
type Heartbeat struct {
	After   time.Duration // of silence, the service is asked whether it is there; 0: 25 s
	Timeout time.Duration // is how long it may take to answer; 0: 10 s
}

func orDefault(d, standard time.Duration) time.Duration {
	if d <= 0 {
		return standard
	}
	return d
}

var (
	defaultDialer = &websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: 20 * time.Second}
	defaultHTTP   = &http.Client{Timeout: time.Minute}
)

func (c *Client) log() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// address is that of a path of the service's, over HTTP or, if ws is set, WebSockets.
func (c *Client) address(ws bool, path ...string) (*url.URL, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("tidings: the URL cannot be read") // there may be a password in it
	}
	scheme, known := map[string]string{"http": "http", "ws": "http", "https": "https", "wss": "https"}[u.Scheme]
	if !known || u.Host == "" {
		return nil, fmt.Errorf("tidings: %q is not a URL such as https://live.example.com", u.Redacted())
	}
	if u.User != nil {
		return nil, fmt.Errorf("tidings: there is a user in the URL %q: who the client is, it says by a token", u.Redacted())
	}
	if ws {
		scheme = strings.Replace(scheme, "http", "ws", 1)
	}
	u.Scheme, u.RawQuery, u.Fragment = scheme, "", ""
	return u.JoinPath(path...), nil
}

// header is what is sent with a request, by the token that is given for the reason.
func (c *Client) header(ctx context.Context, why Why) (http.Header, error) {
	header := c.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	token, err := c.token(ctx, why)
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return header, err
}

func (c *Client) token(ctx context.Context, why Why) (string, error) {
	if c.Token == nil {
		return "", nil
	}
	token, err := c.Token(ctx, why)
	if err != nil {
		return "", fmt.Errorf("no token is given: %w", err)
	}
	return token, nil
}

// dial opens a WebSocket.
func (c *Client) dial(ctx context.Context, u *url.URL, why Why) (*websocket.Conn, error) {
	header, err := c.header(ctx, why)
	if err != nil {
		return nil, err
	}
	d := defaultDialer
	if c.Dialer != nil {
		d = c.Dialer
	}
	d, stop := interruptible(ctx, d)
	defer stop()
	ws, response, err := d.DialContext(ctx, u.String(), header)
	switch {
	case err == nil:
		return ws, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case response == nil:
		return nil, fmt.Errorf("%s cannot be reached: %w", c.URL, err)
	}
	return nil, answered(c.URL, response)
}

// interruptible makes a dialer give up when ctx ends, also while it waits for an answer, until stop is called.
func interruptible(ctx context.Context, d *websocket.Dialer) (_ *websocket.Dialer, stop func()) {
	own := *d
	var stops []func() bool
	wrap := func(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
		return func(within context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(within, network, addr)
			if err == nil {
				stops = append(stops, context.AfterFunc(ctx, func() { _ = conn.Close() }))
			}
			return conn, err
		}
	}
	switch {
	case own.NetDialContext != nil:
		own.NetDialContext = wrap(own.NetDialContext)
	case own.NetDial == nil:
		own.NetDialContext = wrap((&net.Dialer{}).DialContext)
	}
	if own.NetDialTLSContext != nil {
		own.NetDialTLSContext = wrap(own.NetDialTLSContext)
	}
	return &own, func() {
		for _, stop := range stops {
			stop()
		}
	}
}
