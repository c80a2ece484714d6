package http_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"tidings/db"
	"tidings/db/dbtest"
	tidingshttp "tidings/http"
	"tidings/http/graph"
	"tidings/realtime"
	"tidings/triggers"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// patience is how long anything may take, on a machine that is busy with other tests.
const patience = 30 * time.Second

// database is a database with the application's tables and one user, and what a person in psql would do with it.
type database struct {
	t    testing.TB
	url  string
	pool *pgxpool.Pool
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	return install(t, dbtest.Database(t))
}

func install(t testing.TB, url string) *database {
	t.Helper()
	opened, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	for _, set := range []db.MigrationSet{{Name: "live", Files: triggers.Migrations}, db.ChannelMigrations} {
		if err := opened.MigrateUp(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	if err := (&db.Channel{DB: opened}).OpenToAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := &database{t: t, url: url, pool: opened.Pool}
	d.exec(`insert into users (username, display_name) values ('ada', 'Ada')`)
	return d
}

func (d *database) exec(sql string, args ...any) {
	d.t.Helper()
	if _, err := d.pool.Exec(d.t.Context(), sql, args...); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

// query returns the one value that a query has.
func query[T any](d *database, sql string, args ...any) T {
	d.t.Helper()
	var value T
	if err := d.pool.QueryRow(d.t.Context(), sql, args...).Scan(&value); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// message writes a message and returns its id.
func (d *database) message(title string) int64 {
	d.t.Helper()
	return query[int64](d, `insert into messages (author_id, title, content) values (1, $1, 'text') returning id`, title)
}

// comment writes a comment and returns its id.
func (d *database) comment(message int64, content string) int64 {
	d.t.Helper()
	return query[int64](d, `insert into comments (message_id, author_id, content) values ($1, 1, $2) returning id`, message, content)
}

// options of a service; the zero value is the program's.
type options struct {
	hub    realtime.Options
	server tidingshttp.Options
	graph  *graph.Options      // nil: those of development
	secret string              // of tokens
	issuer *tidingshttp.Issuer // of tokens, where there is no secret; nil: nobody
	// accounts are those of the service, without a store; nil: it has none.
	accounts *tidingshttp.Accounts
	logger   *slog.Logger // of the server; nil: none
	listen   string       // host:port; "" is any port
	presence tidingshttp.Presence
	report   time.Duration // how often the instance says how it is doing; 0: never
	tls      *certified    // nil: without
}

// service is one running instance, put together as the program does it.
type service struct {
	t      testing.TB
	addr   string
	tls    *tls.Config // of clients; nil: without TLS
	hub    *realtime.Hub
	server *tidingshttp.Server
	tell   context.CancelFunc // what SIGTERM does
	served chan struct{}      // closed when Serve has returned
	err    error              // of Serve, then
	end    func()             // tell, and wait for the end of everything
}

// start starts an instance and returns when it is live and listens. It is ended with the test.
func start(t testing.TB, url string, o options) *service {
	t.Helper()
	s := launch(t, url, o)
	eventually(t, "the service is live and listens", func() bool {
		h := s.server.Health()
		return h.Live && h.Listening // what is kept nowhere, it would miss otherwise
	})
	eventually(t, "it knows which tokens were revoked", func() bool {
		_, err := s.server.Revoked("", "", time.Now())
		return err == nil
	})
	return s
}

// launch starts an instance.
func launch(t testing.TB, url string, o options) *service {
	t.Helper()
	if o.listen == "" {
		o.listen = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	reader := &db.Reader{DB: opened}
	hub := realtime.NewHub(reader, o.hub)
	reader.Sink = hub
	channel := &db.Channel{DB: opened}
	var hasChannel atomic.Bool
	if o.server.PingInterval == 0 {
		o.server.PingInterval = time.Hour // a client that reads only when something is to come is not to be taken for dead meanwhile
	}
	if o.graph == nil {
		o.graph = &graph.Options{Introspection: true, OpenWrites: true}
	}
	if o.accounts != nil {
		o.accounts.Store = &db.Accounts{DB: opened}
		own := *o.graph
		own.Accounts = o.accounts
		o.graph = &own
	}
	var server *tidingshttp.Server
	own := *o.graph
	own.Status = func() realtime.Instance { return server.Status() }
	api := graph.New(channel, hasChannel.Load, hub, slog.New(slog.NewTextHandler(t.Output(), nil)), own)
	server = &tidingshttp.Server{
		Instance: tidingshttp.Named{Name: reader.Name(), Version: "test", Address: listener.Addr().String()},
		Hub:      hub, Graph: api, Accounts: o.accounts, Presence: o.presence, Logger: o.logger,
		Health: func() tidingshttp.Health {
			s := reader.Status()
			return tidingshttp.Health{Live: s.Live, Listening: s.Listening, Beating: s.Beating, LastRead: s.LastRead, Lag: s.Lag, Events: s.Events}
		},
		Channel: hasChannel.Load,
		Options: o.server,
	}
	reporter := &db.Reporter{DB: opened, Reader: reader, Status: own.Status, Interval: o.report}
	revocations := &db.Revocations{DB: opened, Logger: slog.New(slog.DiscardHandler), Interval: time.Hour} // what is new is heard
	server.Revoked, server.Signal = revocations.Revoked, opened.Signal
	tokens := &tidingshttp.Tokens{Revoked: revocations.Revoked, Users: &db.Subjects{DB: opened, Tables: hasChannel.Load, ByID: true}}
	if o.secret != "" {
		tokens.Issuer = tidingshttp.SharedSecret([]byte(o.secret))
	}
	if o.issuer != nil {
		tokens.Issuer = o.issuer
	}
	if o.accounts != nil {
		tokens.Own = o.accounts.Signer
	}
	if tokens.Issuer != nil || tokens.Own != nil {
		server.Authenticate = tokens.Authenticate
	}
	revocations.Learned = func(user, session string) { server.Disconnect(user, session, true) }
	reader.Missed = revocations.Refresh
	reader.Disconnect = func(user, session string, revoked bool, at time.Time) {
		if revoked {
			revocations.Add(user, session, at)
		} else {
			server.Disconnect(user, session, false)
		}
	}
	var clients *tls.Config
	if o.tls != nil {
		logger := o.logger
		if logger == nil {
			logger = slog.New(slog.DiscardHandler)
		}
		if server.Certificate, err = tidingshttp.LoadCertificate(o.tls.cert, o.tls.key, logger); err != nil {
			t.Fatal(err)
		}
		clients = o.tls.clients()
	}
	ctx, tell := context.WithCancel(context.Background())
	below, stopBelow := context.WithCancel(context.Background())
	s := &service{t: t, addr: listener.Addr().String(), tls: clients, hub: hub, server: server, tell: tell, served: make(chan struct{})}
	var group errgroup.Group
	group.Go(func() error {
		defer stopBelow()
		defer close(s.served)
		s.err = server.Serve(ctx, listener)
		return s.err
	})
	group.Go(func() error {
		has, err := channel.HasTables(below)
		if err != nil {
			return err
		}
		hasChannel.Store(has)
		var following errgroup.Group
		following.Go(func() error { return reader.Run(below) })
		following.Go(func() error { return hub.Run(below) })
		following.Go(func() error { return revocations.Run(below) })
		if o.report > 0 {
			following.Go(func() error { return reporter.Run(below) })
		}
		return following.Wait()
	})
	ended := false
	s.end = func() {
		if ended {
			return
		}
		ended = true
		tell()
		if err := group.Wait(); err != nil {
			t.Errorf("the service ended with: %v", err)
		}
		api.Close()
		opened.Close()
	}
	t.Cleanup(s.end)
	return s
}

// url is that of a path, by http or ws, or by what they are over TLS.
func (s *service) url(scheme, path string) string {
	if s.tls != nil {
		scheme += "s"
	}
	return scheme + "://" + s.addr + path
}

// in is the service for a subtest, whose clients go with it.
func (s *service) in(t testing.TB) *service {
	c := *s
	c.t = t
	return &c
}

// in is the client for a subtest.
func (c *client) in(t testing.TB) *client { return &client{t: t, ws: c.ws} }

// frame is what the service says to a client.
type frame struct {
	Type      string          `json:"type"`
	Channel   string          `json:"channel"`
	ID        string          `json:"id"`
	Cursor    string          `json:"cursor"`
	At        string          `json:"at"`
	MovedFrom string          `json:"moved_from"`
	Omitted   bool            `json:"omitted"`
	Data      json.RawMessage `json:"data"`
	Code      string          `json:"code"`
	Reason    string          `json:"reason"`
	Message   string          `json:"message"`

	text string // the frame itself
}

// row is what the tests look at in an event's data.
type row struct {
	ID      int64  `json:"id"`
	Title   string `json:"title"`
	Content string `json:"content"`
}

func (f frame) row(t testing.TB) row {
	t.Helper()
	var r row
	if err := unmarshal(f, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// unmarshal reads an event's data.
func unmarshal(f frame, v any) error {
	if err := json.Unmarshal(f.Data, v); err != nil {
		return fmt.Errorf("the data of %.1000s: %w", f.text, err)
	}
	return nil
}

// client is a WebSocket client. Its methods that take no error out fail the test.
type client struct {
	t  testing.TB
	ws *websocket.Conn
}

// connect opens a connection; query is that of /ws.
func (s *service) connect(ctx context.Context, query string) (*websocket.Conn, error) {
	dialer := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: s.tls.Clone()}
	ws, response, err := dialer.DialContext(ctx, s.url("ws", "/ws?"+query), nil)
	if err != nil && response != nil {
		return nil, fmt.Errorf("%w: %s", err, response.Status)
	}
	return ws, err
}

// dial connects to channels, and returns when all of them are subscribed.
func (s *service) dial(channels ...string) *client {
	s.t.Helper()
	c := s.dialQuery(url.Values{"channel": channels}.Encode())
	for range channels {
		c.expect("subscribed")
	}
	return c
}

func (s *service) dialQuery(query string) *client {
	s.t.Helper()
	ws, err := s.connect(s.t.Context(), query)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = ws.Close() })
	return &client{t: s.t, ws: ws}
}

func readFrame(ws *websocket.Conn) (frame, error) {
	if err := ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return frame{}, err
	}
	kind, text, err := ws.ReadMessage()
	if err != nil {
		return frame{}, err
	}
	f := frame{text: string(text)}
	if kind != websocket.TextMessage {
		return f, fmt.Errorf("a frame of type %d: %q", kind, text)
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("%w in the frame %q", err, text)
	}
	return f, nil
}

func (c *client) next() frame {
	c.t.Helper()
	for {
		f, err := readFrame(c.ws)
		if err != nil {
			c.t.Fatal(err)
		}
		if f.Type != "cursor" { // which comes with a ping
			return f
		}
	}
}

// expect reads the next frame, which must be of the type.
func (c *client) expect(typ string) frame {
	c.t.Helper()
	f := c.next()
	if f.Type != typ {
		c.t.Fatalf("got %.1000s, want %s", f.text, typ)
	}
	return f
}

// expectRow reads the next frame, which must be an event of the type with a row of the title or content.
func (c *client) expectRow(typ, text string) frame {
	c.t.Helper()
	f := c.expect(typ)
	if r := f.row(c.t); r.Title != text && r.Content != text {
		c.t.Fatalf("got %.1000s, want the row %q", f.text, text)
	}
	return f
}

// expectError reads the next frame, which must be an error.
func (c *client) expectError(code string) frame {
	c.t.Helper()
	f := c.expect("error")
	if f.Code != code {
		c.t.Fatalf("got %s, want the error %s", f.text, code)
	}
	if f.Message == "" {
		c.t.Errorf("the error says nothing: %s", f.text)
	}
	return f
}

func (c *client) send(command string) {
	c.t.Helper()
	c.write(websocket.TextMessage, []byte(command))
}

func (c *client) write(kind int, data []byte) {
	c.t.Helper()
	if err := c.ws.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	if err := c.ws.WriteMessage(kind, data); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) subscribe(channel, since string) {
	c.t.Helper()
	c.command("subscribe", channel, since)
}

func (c *client) command(typ, channel, since string) {
	c.t.Helper()
	command := map[string]string{"type": typ, "channel": channel}
	if since != "" {
		command["since"] = since
	}
	text, err := json.Marshal(command)
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(string(text))
}

// expectGoodbye reads the next frame, which must be the server's close.
func (c *client) expectGoodbye(code int, reason string) {
	c.t.Helper()
	f, err := readFrame(c.ws)
	c.checkGoodbye(f, err, code, reason)
}

func (c *client) checkGoodbye(f frame, err error, code int, reason string) {
	c.t.Helper()
	var closed *websocket.CloseError
	switch {
	case err == nil:
		c.t.Fatalf("got %.1000s, want a goodbye %d", f.text, code)
	case !errors.As(err, &closed):
		c.t.Fatalf("the connection ended with %v, want a goodbye %d", err, code)
	case closed.Code != code || !strings.HasPrefix(closed.Text, reason):
		c.t.Fatalf("got the goodbye %d %q, want %d %q", closed.Code, closed.Text, code, reason)
	}
}

// readUntilGoodbye reads what comes before the server's close.
func (c *client) readUntilGoodbye(code int, reason string) []frame {
	c.t.Helper()
	var frames []frame
	for {
		f, err := readFrame(c.ws)
		if err != nil {
			c.checkGoodbye(f, err, code, reason)
			return frames
		}
		frames = append(frames, f)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("after %s it is still not so that %s", patience, what)
		case <-tick.C:
		}
	}
}

// counts are what /readyz says of events.
type counts struct {
	Read              int `json:"read"`
	Routed            int `json:"routed"`
	ResumedFromMemory int `json:"resumed_from_memory"`
	ResumedFromLog    int `json:"resumed_from_log"`
	Loaded            int `json:"loaded"`
	Delivered         int `json:"delivered"`
	Judged            int `json:"judged"`
}

// readiness is the body of /readyz.
type readiness struct {
	Ready         bool           `json:"ready"`
	Live          bool           `json:"live"`
	Listening     bool           `json:"listening"`
	Stopping      bool           `json:"stopping"`
	LastRead      *time.Time     `json:"last_read"`
	LagSeconds    *float64       `json:"lag_seconds"`
	Beating       bool           `json:"beating"`
	Events        counts         `json:"events"`
	Connections   int            `json:"connections"`
	Subscriptions map[string]int `json:"subscriptions"`
	RecentBytes   *int           `json:"recent_bytes"`
	Refused       map[string]int `json:"refused"`
	Process       *struct {
		StartedAt   time.Time `json:"started_at"`
		CPUSeconds  float64   `json:"cpu_seconds"`
		MemoryBytes uint64    `json:"memory_bytes"`
	} `json:"process"`
}

func (s *service) readyz() (status int, body readiness) {
	s.t.Helper()
	response := s.get("/readyz")
	if err := json.Unmarshal([]byte(response.body), &body); err != nil {
		s.t.Fatalf("the body of /readyz: %v: %s", err, response.body)
	}
	return response.status, body
}

func (s *service) awaitConnections(n int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("there are %d connections", n), func() bool {
		_, body := s.readyz()
		return body.Connections == n
	})
}

// answer is an HTTP response.
type answer struct {
	status int
	header http.Header
	body   string
}

// plain is an HTTP client that keeps no connections.
var plain = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	Timeout:       patience,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (s *service) get(path string) answer {
	s.t.Helper()
	return s.request("GET", path, nil)
}

func (s *service) request(method, path string, header http.Header) answer {
	s.t.Helper()
	return s.send(method, path, nil, header)
}

// send sends a request with a body, which may be nil.
func (s *service) send(method, path string, body io.Reader, header http.Header) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url("http", path), body)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	if host := header.Get("Host"); host != "" {
		request.Host = host
	}
	client := plain
	if s.tls != nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: s.tls.Clone()}, Timeout: patience}
	}
	response, err := client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}
