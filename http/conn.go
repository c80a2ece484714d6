package http

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tidings/realtime"
)

// dialect is how a transport says things.
type dialect struct {
	path      string // of the endpoint
	transport Transport
	event     func(b []byte, e *realtime.Event) []byte
	events    *realtime.Format // of event; nil: what is told of a run differs from client to client
	notice    func(b []byte, n *realtime.Notice) []byte
	goodbye   func(b []byte, g goodbye) []byte
	// word appends what concerns the client's token: whose it is and until when; nothing, where that cannot be said.
	word    func(b []byte, word, user string, expires time.Time) []byte
	tooSoon func(b []byte, channel realtime.Channel, wait time.Duration) []byte // of a command; nil: there are none
	deflate bool                                                                // clients may send compressed messages, and events may be

	// item appends what is told of a run, or of a notice, instead of event and notice; nil: they do. Where that is much, it appends a part
	// and notes so, to go on when that is written: what is no other client's as well is not to be in memory as a whole.
	item func(b []byte, i *realtime.Item) (_ []byte, more bool)
}

// shared returns what is the same for all who are told the item; nil: append appends it.
func (d *dialect) shared(i realtime.Item) []byte {
	if i.Run == nil || d.events == nil {
		return nil
	}
	return i.Run.Encode(d.events)
}

func (d *dialect) append(b []byte, i *realtime.Item) (_ []byte, more bool) {
	if d.item != nil {
		return d.item(b, i)
	}
	return d.notice(b, i.Notice), false
}

// feed is what a connection is told: by a subscriber, or by several.
type feed interface {
	// Take and Next are as the Subscriber's.
	Take(items []realtime.Item) (_ []realtime.Item, behind bool)
	Next(ctx context.Context) ([]realtime.Item, error)
	// Refresh is called from time to time, as the Subscriber's is to be.
	Refresh()
	// Unread reports whether so much is unread that no more commands should be read.
	Unread() bool
	// Close ends it. It does not wait.
	Close()
}

// wire is what a transport does with what it is given to write.
type wire interface {
	// write writes whole frames, of which the first bytes may have been written. It returns errStalled, having said so, where
	// the client took nothing for too long.
	write(frames []byte, written int) error
	// said is called when a goodbye has been written, and nothing will be written any more.
	said()
	// abort ends the connection at once. It may be called at any time, and more than once.
	abort()
}

// errStalled says that the client took nothing for too long, and has been told goodbye.
var errStalled = errors.New("the client does not read")

// conn is the writing side of a client's connection. A connection at rest has no writer. When there is something to write, one of
// the server's writers does it, if that takes no waiting; otherwise a goroutine, pump, is started, and ends when there is
// nothing left.
type conn struct {
	server  *Server
	feed    feed
	dialect *dialect
	wire    wire
	socket  syscall.RawConn // nil: it can only be written to by waiting
	ctx     context.Context
	cancel  context.CancelFunc
	pumps   sync.WaitGroup

	expelled atomic.Bool // nothing is for the client any more but a goodbye, and nothing that it says is done

	mu      sync.Mutex
	pumping bool   // somebody writes, or is about to
	again   bool   // something came meanwhile
	left    bool   // a goodbye was written, or nobody is there to hear one
	control []byte // frames that go before the next event
	leaving *goodbye
	tenure  tenure
	turn    chan struct{} // closed when something has been written; nil while nobody waits
}

// maxControl bounds what a client can have us answer while it reads nothing.
const maxControl = 16 << 10

// say writes frames before the next event, unless too many wait.
func (c *conn) say(frames []byte) {
	c.mu.Lock()
	if len(c.control)+len(frames) <= maxControl {
		c.control = append(c.control, frames...)
	}
	c.mu.Unlock()
	c.kick()
}

// answer writes frames before the next event. Who has asked for so much that it is unread is not heard until it reads.
func (c *conn) answer(frames []byte) {
	c.mu.Lock()
	if !c.left {
		c.control = append(c.control, frames...)
	}
	c.mu.Unlock()
	c.kick()
}

// unread reports whether so much is unread that no more should be taken from the client.
func (c *conn) unread() bool {
	c.mu.Lock()
	waiting := len(c.control)
	c.mu.Unlock()
	return waiting > maxControl || c.feed.Unread()
}

// leave says goodbye once what is queued has been written, and ends the connection.
func (c *conn) leave(g goodbye) {
	c.mu.Lock()
	if c.leaving == nil {
		c.leaving = &g
		c.server.traffic.goodbye(g)
	}
	c.mu.Unlock()
	c.kick()
}

// gone ends the writing: nothing more is begun. It reports whether a goodbye was said.
func (c *conn) gone() bool {
	c.feed.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	said := c.left
	c.left = true
	return said
}

// kick has somebody look for something to write. It does not block.
func (c *conn) kick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pumping {
		c.again = true
		return
	}
	if c.left || c.ctx.Err() != nil {
		return
	}
	c.pumping = true
	if c.socket == nil {
		c.pumps.Go(func() { c.pump(rest{}) })
		return
	}
	c.pumps.Add(1)
	c.server.writers.add(c)
}

// rest is what a writer has begun to write and could not finish.
type rest struct {
	frames  []byte // whole frames, of which so much is written
	written int
	events  int             // in the frames
	runs    []*realtime.Run // in the frames, that somebody follows
	items   []realtime.Item // and then these
}

// pump writes until there is nothing to write, however long the client takes.
func (c *conn) pump(rest rest) {
	err := c.wire.write(rest.frames, rest.written)
	if err == nil {
		c.delivered(rest.events, rest.runs)
		err = c.writeItems(rest.items)
	}
	for {
		control, leaving := c.begin()
		if err == nil {
			err = c.wire.write(control, 0)
		}
		var items []realtime.Item
		if err == nil && !c.expelled.Load() {
			items, err = c.feed.Next(c.ctx)
		}
		if err == nil {
			err = c.writeItems(items)
		}
		said := errors.Is(err, errStalled)
		if err == nil && leaving != nil {
			err = c.wire.write(c.dialect.goodbye(nil, *leaving), 0)
			said = err == nil || errors.Is(err, errStalled)
		}
		if err != nil && !said {
			c.wire.abort()
		}

		c.mu.Lock()
		c.pass()
		c.left = c.left || said
		if err != nil || said || len(items) == 0 && !c.again {
			c.pumping = false
			c.mu.Unlock()
			if said {
				c.wire.said()
			}
			return
		}
		c.mu.Unlock()
	}
}

// begin begins a turn of writing, with what stands before the next event.
func (c *conn) begin() (control []byte, leaving *goodbye) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = false
	control, leaving = c.control, c.leaving
	c.control = nil
	if c.expelled.Load() {
		control = nil
	}
	return control, leaving
}

// pass lets go on who waits for something to be written; mu is held.
func (c *conn) pass() {
	if c.turn != nil {
		close(c.turn)
		c.turn = nil
	}
}

// writeItems writes runs that are shared as they are, and what is between them several at a time.
func (c *conn) writeItems(items []realtime.Item) error {
	var batch []byte
	var runs []*realtime.Run
	events := 0
	flush := func() error {
		err := c.wire.write(batch, 0)
		if err == nil {
			c.delivered(events, runs)
		}
		batch, events, runs = batch[:0], 0, runs[:0]
		return err
	}
	for i := range items {
		if c.expelled.Load() {
			return nil
		}
		item := &items[i]
		shared := c.dialect.shared(*item)
		if shared != nil || len(batch) > maxGather {
			if err := flush(); err != nil {
				return err
			}
		}
		for more := shared == nil; more; {
			if batch, more = c.dialect.append(batch, item); more {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if item.Run != nil {
			events += len(item.Run.Events)
			runs = followed(runs, item)
		}
		if shared == nil {
			continue
		}
		if err := c.wire.write(shared, 0); err != nil {
			return err
		}
		c.delivered(events, runs)
		events, runs = 0, runs[:0]
	}
	return flush()
}

// delivered counts what was written to the client, and tells whoever follows some of it.
func (c *conn) delivered(events int, runs []*realtime.Run) {
	c.server.Hub.Delivered(events)
	for _, run := range runs {
		run.Wrote()
	}
}

// followed appends the item's run, if somebody follows it.
func followed(runs []*realtime.Run, i *realtime.Item) []*realtime.Run {
	if i.Followed() {
		runs = append(runs, i.Run)
	}
	return runs
}

// awaitRead waits until the client has read the answers to its commands: of one that goes on asking without reading, no
// more is read.
func (c *conn) awaitRead() {
	for {
		c.mu.Lock()
		if c.turn == nil {
			c.turn = make(chan struct{})
		}
		turn, left := c.turn, c.left
		c.mu.Unlock()
		if left || !c.unread() {
			return
		}
		select {
		case <-turn:
		case <-c.ctx.Done():
			return
		}
	}
}
