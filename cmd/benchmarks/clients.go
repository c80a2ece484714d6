package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
)

// crowd is a number of WebSocket clients that subscribe to the same channel and keep account of what they get.
type crowd struct {
	clients []*client
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
	seen     []uint64 // a bit for each row's id
	distinct atomic.Int64
	doubled  atomic.Int64
	last     atomic.Int64 // when the last event came, in nanoseconds of the wall clock
	ended    atomic.Bool  // the service has ended the connection
}

var dialer = websocket.Dialer{ReadBufferSize: 16 << 10, WriteBufferSize: 512, HandshakeTimeout: 30 * time.Second}

// connect returns when n clients are subscribed.
func connect(ctx context.Context, url string, n int, arrived func(client int, id int64)) (*crowd, error) {
	c := &crowd{clients: make([]*client, n), arrived: arrived, strange: make(map[string]int)}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i := range n {
		group.Go(func() error {
			ws, response, err := dialer.DialContext(groupCtx, url, http.Header{})
			if err != nil {
				if response != nil {
					err = fmt.Errorf("%w: %s", err, response.Status)
				}
				return err
			}
			c.clients[i] = &client{ws: ws}
			ws.SetReadDeadline(time.Now().Add(30 * time.Second))
			_, text, err := ws.ReadMessage()
			if err != nil {
				return err
			}
			if !bytes.HasPrefix(text, []byte(`{"type":"subscribed"`)) {
				return fmt.Errorf("the first frame is %s", text)
			}
			ws.SetReadDeadline(time.Time{})
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		c.close()
		return nil, fmt.Errorf("connect %s: %w", plural(n, "client"), err)
	}
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
			if !client.mark(id) {
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
		case eventTruncated:
		default:
			c.note("a client was told %s", text)
		}
	}
}

// readFrame reads one message into the buffer, or into a larger one.
func readFrame(ws *websocket.Conn, buffer []byte) ([]byte, error) {
	_, reader, err := ws.NextReader()
	if err != nil {
		return nil, err
	}
	n := 0
	for {
		if n == len(buffer) {
			buffer = append(buffer, make([]byte, len(buffer))...)
		}
		got, err := reader.Read(buffer[n:])
		n += got
		if errors.Is(err, io.EOF) {
			return buffer[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

type eventKind int

const (
	eventOther eventKind = iota
	eventAdded
	eventTruncated
)

var (
	addedPrefix     = []byte(`{"type":"` + topic + `_added"`)
	truncatedPrefix = []byte(`{"type":"` + topic + `_truncated"`)
	beforeID        = []byte(`"data":{"id":`)
)

// parseEvent finds what kind of frame it is, and the id of the row. It does not decode: thousands of clients have to share
// the machine with what is measured.
func parseEvent(text []byte) (id int64, kind eventKind) {
	switch {
	case bytes.HasPrefix(text, addedPrefix):
	case bytes.HasPrefix(text, truncatedPrefix):
		return 0, eventTruncated
	default:
		return 0, eventOther
	}
	from, to := idBounds(text)
	if from == to {
		return 0, eventOther
	}
	id, err := strconv.ParseInt(string(text[from:to]), 10, 64)
	if err != nil {
		return 0, eventOther
	}
	return id, eventAdded
}

// idBounds returns where the row's id begins and ends.
func idBounds(text []byte) (from, to int) {
	at := bytes.Index(text, beforeID)
	if at < 0 {
		return 0, 0
	}
	from = at + len(beforeID)
	for to = from; to < len(text) && text[to] >= '0' && text[to] <= '9'; to++ {
	}
	return from, to
}

// mark notes that the row came, and returns false if it had come before.
func (c *client) mark(id int64) bool {
	word, bit := int(id/64), uint64(1)<<(id%64)
	if word >= len(c.seen) {
		c.seen = append(c.seen, make([]uint64, word+1-len(c.seen)+64)...)
	}
	if c.seen[word]&bit != 0 {
		return false
	}
	c.seen[word] |= bit
	return true
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
	limit := time.Now().Add(awaitLimit)
	inTime := false
	err := awaitProgress(ctx, func() (int64, bool) {
		sum, complete := int64(0), true
		for _, client := range c.clients {
			got := client.distinct.Load()
			sum += got
			complete = complete && (got >= rows || client.ended.Load())
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
	for _, client := range c.clients {
		got := client.distinct.Load()
		t.deliveries += got + client.doubled.Load()
		t.doubled += client.doubled.Load()
		switch missing := rows - got; {
		case client.ended.Load():
			t.cut++
		case inTime:
			t.lost += missing
		default:
			t.late += missing
		}
		if last := time.Unix(0, client.last.Load()); last.After(t.last) {
			t.last = last
		}
	}
	return t, nil
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
