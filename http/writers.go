package http

import (
	"runtime"
	"slices"
	"sync"

	"tidings/realtime"
)

// writers write to connections that have something to write, one after another, and never wait for a client. Where an event goes
// to a thousand, a goroutine for each would take as long to start and to switch to as it takes to write.
//
// There are some only while there is something to write.
type writers struct {
	mu      sync.Mutex
	queue   []*conn // from first on
	first   int
	running int
	limit   int // of running: asking for it at every turn would take a lock of the scheduler's
	group   sync.WaitGroup
}

// perWriter is how many connections must wait before a further writer is started for them.
const perWriter = 16

// add queues a connection, whose pumping is set. It does not block.
func (w *writers) add(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, c)
	if w.running == 0 {
		w.limit = runtime.GOMAXPROCS(0)
	}
	if w.running == 0 || w.running < w.limit && len(w.queue)-w.first > w.running*perWriter {
		w.running++
		w.group.Go(w.run)
	}
}

// take moves some of the queue to conns; none: there are none, and the writer has ended.
func (w *writers) take(conns []*conn) []*conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := w.queue[w.first:]
	n := min(cap(conns), (len(waiting)+w.running-1)/w.running)
	conns = append(conns, waiting[:n]...)
	clear(waiting[:n])
	if w.first += n; w.first == len(w.queue) {
		w.queue, w.first = w.queue[:0], 0
	}
	if n == 0 {
		w.running--
	}
	return conns
}

func (w *writers) run() {
	d := newDesk()
	conns := make([]*conn, 0, perWriter)
	for {
		conns = w.take(conns[:0])
		if len(conns) == 0 {
			return
		}
		for i, c := range conns {
			d.serve(c)
			conns[i] = nil
		}
	}
}

// desk is what a writer writes with.
type desk struct {
	items  []realtime.Item
	frames []byte          // of several items, to be written at once
	runs   []*realtime.Run // in the frames, that somebody follows
	socket socketWriter
}

func newDesk() *desk {
	d := &desk{frames: make([]byte, 0, 4<<10)}
	d.socket.init()
	return d
}

// maxGather is up to how many bytes frames of several items are gathered for one write.
const maxGather = 64 << 10

// serve writes what a connection has to write. Whatever else there is to do, or would take waiting, is left to its pump.
func (d *desk) serve(c *conn) {
	for {
		control, leaving := c.begin()
		items, behind := d.items[:0], false
		if !c.expelled.Load() {
			items, behind = c.feed.Take(items)
		}
		d.items = items
		left := d.write(c, control, items)
		if left == nil && (behind || leaving != nil) {
			left = &rest{}
		}
		if left != nil {
			go func() {
				defer c.pumps.Done()
				c.pump(*left)
			}()
			clear(items)
			return
		}
		clear(items)

		c.mu.Lock()
		c.pass()
		if !c.again {
			c.pumping = false
			c.mu.Unlock()
			c.pumps.Done()
			return
		}
		c.mu.Unlock()
	}
}

// write writes control frames and items as far as it can without waiting, and returns the rest, if any.
func (d *desk) write(c *conn, control []byte, items []realtime.Item) *rest {
	if len(control) == 0 && len(items) == 1 {
		if frames := c.dialect.shared(items[0]); frames != nil {
			d.runs = followed(d.runs[:0], &items[0])
			return d.flush(c, frames, len(items[0].Run.Events), nil, false)
		}
	}
	frames, events := append(d.frames[:0], control...), 0
	d.runs = d.runs[:0]
	for i := range items {
		item := &items[i]
		shared := c.dialect.shared(*item)
		if len(frames) > 0 && len(frames)+len(shared) > maxGather {
			if rest := d.flush(c, frames, events, items[i:], true); rest != nil {
				return rest
			}
			frames, events = frames[:0], 0
		}
		frames = append(frames, shared...)
		for more := shared == nil; more; {
			if frames, more = c.dialect.append(frames, item); more {
				if rest := d.flush(c, frames, events, items[i:], true); rest != nil {
					return rest
				}
				frames, events = frames[:0], 0
			}
		}
		if item.Run != nil {
			events += len(item.Run.Events)
			d.runs = followed(d.runs, item)
		}
		if cap(frames) <= 2*maxGather {
			d.frames = frames
		}
	}
	return d.flush(c, frames, events, nil, true)
}

// flush writes frames, and returns what of them could not be written, and the items behind them. The desk's own are used again.
func (d *desk) flush(c *conn, frames []byte, events int, items []realtime.Item, own bool) *rest {
	n := d.socket.write(c.socket, frames)
	if n == len(frames) {
		c.delivered(events, d.runs)
		d.runs = d.runs[:0]
		return nil
	}
	if own {
		frames = slices.Clone(frames)
	}
	return &rest{frames: frames, written: n, events: events, runs: slices.Clone(d.runs), items: slices.Clone(items)}
}
