package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
)

// crowd is a number of WebSocket clients, each subscribed to a channel, that keep account of what they get.
type crowd struct {
	clients []*client
	took    time.Duration              // from the first dial until the last was subscribed
	arrived func(client int, id int64) // called once for each row a client gets; may be nil
	group   sync.WaitGroup
	closing atomic.Bool
	sample  atomic.Pointer[[]byte] // some event as it came

	mu      sync.Mutex
	strange map[string]int // what nobody should be told (errors, resets, the end of a connection), and how often it was
}

// client is one of the crowd. Its account is kept by the goroutine that reads.
type client struct {
	ws       *websocket.Conn
	seen     marks        // the rows that came
	distinct atomic.Int64 // rows that came, updates of them each by itself
	doubled  atomic.Int64
	last     atomic.Int64 // when the last event came, in nanoseconds of the wall clock
	ended    atomic.Bool  // the service has ended the connection
}

var dialer = websocket.Dialer{ReadBufferSize: 16 << 10, WriteBufferSize: 512, HandshakeTimeout: 30 * time.Second}

// dialling is how many clients are on their way to be subscribed at a time.
const dialling = 128

// connect returns when n clients are subscribed to the same channel.
func connect(ctx context.Context, url string, n int, arrived func(client int, id int64)) (*crowd, error) {
	return connectEach(ctx, func(int) string { return url }, n, arrived)
}

// connectEach returns when n clients are subscribed, each to a channel of its own.
func connectEach(ctx context.Context, url func(client int) string, n int, arrived func(client int, id int64)) (*crowd, error) {
	return gather(ctx, n, arrived, func(ctx context.Context, client int) (*websocket.Conn, error) {
		return subscribe(ctx, url(client), nil)
	})
}

// subscribe connects a client, and returns when it is subscribed.
func subscribe(ctx context.Context, url string, header http.Header) (*websocket.Conn, error) {
	ws, err := dial(ctx, dialer, url, header)
	if err != nil {
		return nil, err
	}
	return ws, expectFrame(ws, subscribedPrefix)
}

func dial(ctx context.Context, dialer websocket.Dialer, url string, header http.Header) (*websocket.Conn, error) {
	ws, response, err := dialer.DialContext(ctx, url, header)
	if err != nil && response != nil {
		err = fmt.Errorf("%w: %s", err, response.Status)
	}
	return ws, err
}

// expectFrame reads a frame that begins so.
func expectFrame(ws *websocket.Conn, prefix []byte) error {
	ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, text, err := ws.ReadMessage()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(text, prefix) {
		return fmt.Errorf("the first frame is %s", text)
	}
	ws.SetReadDeadline(time.Time{})
	return nil
}

// gather returns when n clients are subscribed, which the function does.
func gather(ctx context.Context, n int, arrived func(client int, id int64), subscribe func(ctx context.Context, client int) (*websocket.Conn, error)) (*crowd, error) {
	c := &crowd{clients: make([]*client, n), arrived: arrived, strange: make(map[string]int)}
	begun := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(dialling)
	for i := range n {
		group.Go(func() error {
			ws, err := subscribe(groupCtx, i)
			if ws != nil {
				c.clients[i] = &client{ws: ws}
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		c.close()
		return nil, fmt.Errorf("connect %s: %w", plural(n, "client"), err)
	}
	c.took = time.Since(begun)
	for i := range c.clients {
		c.group.Go(func() { c.read(i) })
	}
	return c, nil
}

// read reads what one client gets, until its connection ends.
func (c *crowd) read(i int) {
	client := c.clients[i]
	buffer := make([]byte, 4<<10)
	for {
		text, err := readFrame(client.ws, buffer)
		if err != nil {
			if !c.closing.Load() {
				client.ended.Store(true)
				var op *net.OpError
				if errors.As(err, &op) {
					err = op.Err // without the addresses
				}
				c.note("the service ended a connection: %s", err)
			}
			return
		}
		buffer = text[:cap(text)]
		id, kind := parseEvent(text)
		switch kind {
		case eventAdded:
			client.last.Store(time.Now().UnixNano())
			if !client.seen.add(id) {
				client.doubled.Add(1)
				continue
			}
			if c.arrived != nil {
				c.arrived(i, id)
			}
			if c.sample.Load() == nil {
				sample := bytes.Clone(text)
				c.sample.Store(&sample)
			}
			client.distinct.Add(1) // after all else: who reads it knows that the rest is done
		case eventUpdated: // of a row that may be updated often: it is only counted
			client.last.Store(time.Now().UnixNano())
			client.distinct.Add(1)
		case eventTruncated, eventNone:
		default:
			c.note("a client was told %s", text)
		}
	}
}

func (c *crowd) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.strange[fmt.Sprintf(format, args...)]++
}

// tally is what a crowd got.
type tally struct {
	deliveries int64
	doubled    int64
	lost       int64     // not given to clients that are connected and get nothing more
	late       int64     // not given yet to clients that go on getting something
	cut        int       // clients whose connection the service has ended
	last       time.Time // when the last client got its last event
}

// awaitLimit is how long clients may take to get what they lack.
const awaitLimit = 45 * time.Second

// await returns when every client has got so many rows, or nobody has got any for a while, or it has taken too long.
// Whoever is given something twice has a moment to get it.
func (c *crowd) await(ctx context.Context, rows int64) (tally, error) {
	return c.awaitEach(ctx, func(int) int64 { return rows })
}

// awaitEach does so where one client is to get more than another.
func (c *crowd) awaitEach(ctx context.Context, due func(client int) int64) (tally, error) {
	limit := time.Now().Add(awaitLimit)
	inTime := false
	err := awaitProgress(ctx, func() (int64, bool) {
		sum, complete := int64(0), true
		for i, client := range c.clients {
			got := client.distinct.Load()
			sum += got
			complete = complete && (got >= due(i) || client.ended.Load())
		}
		inTime = time.Now().Before(limit)
		return sum, complete || !inTime
	})
	if err != nil {
		return tally{}, err
	}
	if err := pause(ctx, 100*time.Millisecond); err != nil {
		return tally{}, err
	}
	t := tally{}
	for i, client := range c.clients {
		t.count(due(i), client.distinct.Load(), client.doubled.Load(), client.ended.Load(), inTime)
		if last := time.Unix(0, client.last.Load()); last.After(t.last) {
			t.last = last
		}
	}
	return t, nil
}

// count adds what one client got of the rows that it was due.
func (t *tally) count(due, got, doubled int64, ended, inTime bool) {
	t.deliveries += got + doubled
	t.doubled += doubled
	switch missing := due - got; {
	case ended:
		t.cut++
	case missing < 0: // of updates, which are only counted
		t.doubled -= missing
	case inTime:
		t.lost += missing
	default:
		t.late += missing
	}
}

// slowest is how many rows the client has that has the fewest.
func (c *crowd) slowest() int64 {
	fewest := int64(math.MaxInt64)
	for _, client := range c.clients {
		fewest = min(fewest, client.distinct.Load())
	}
	return fewest
}

// close ends all connections, without a goodbye.
func (c *crowd) close() {
	c.closing.Store(true)
	for _, client := range c.clients {
		if client != nil {
			_ = client.ws.Close() // the other side may have closed it
		}
	}
	c.group.Wait()
}

// check notes what a crowd should not have seen.
func (b *bench) check(where string, c *crowd, t tally) {
	if t.lost != 0 || t.doubled != 0 {
		b.problem("%s: %s lost, %s doubled", where, asCount(float64(t.lost)), asCount(float64(t.doubled)))
	}
	if t.late != 0 {
		b.problem("%s: %s had not come after %s", where, plural(int(t.late), "event"), awaitLimit)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(c.strange)) {
		b.problem("%s: %s (%s)", where, what, plural(c.strange[what], "time"))
	}
	clear(c.strange)
}
