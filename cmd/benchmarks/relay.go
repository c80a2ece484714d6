package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"
)

// relay is the least that can be done: one goroutine that is told of a row by a Go channel and writes the same frame to
// one socket after another; the frames of rows that came meanwhile go in one write, so that it does not drown where the
// machine is slow. No database, no second process, nothing kept, nothing that a slow client could not hold up.
type relay struct {
	server   http.Server
	listener net.Listener
	rows     chan int64
	cancel   context.CancelFunc
	group    sync.WaitGroup

	mu    sync.Mutex
	frame []byte // a whole frame with some row's id
	conns []net.Conn
}

func startRelay(ctx context.Context) (*relay, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &relay{listener: listener, rows: make(chan int64, 1024)}
	ctx, r.cancel = context.WithCancel(ctx)
	r.server.Handler = http.HandlerFunc(r.serve)
	r.group.Go(func() { _ = r.server.Serve(listener) }) // it ends when close ends it
	r.group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case id := <-r.rows:
				ids := []int64{id}
				for range len(r.rows) {
					ids = append(ids, <-r.rows) // nobody else receives
				}
				r.send(ids)
			}
		}
	})
	return r, nil
}

func (r *relay) url() string { return "ws://" + r.listener.Addr().String() + "/" }

func (r *relay) serve(w http.ResponseWriter, request *http.Request) {
	upgrader := websocket.Upgrader{WriteBufferSize: 512}
	ws, err := upgrader.Upgrade(w, request, nil)
	if err != nil {
		return // Upgrade has answered
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"subscribed"}`)); err != nil {
		_ = ws.Close() // the client has gone
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, ws.NetConn())
}

// imitate takes the form of its frames from an event as tidings sent it.
func (r *relay) imitate(sample []byte) {
	frame := []byte{0x81}
	if len(sample) < 126 {
		frame = append(frame, byte(len(sample)))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 126), uint16(len(sample)))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frame = append(frame, sample...)
}

// send writes a frame for each of the rows, whose ids have as many digits as the sample's.
func (r *relay) send(ids []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, to := idBounds(r.frame)
	var frames []byte
	for _, id := range ids {
		copy(r.frame[from:to], strconv.FormatInt(id, 10))
		frames = append(frames, r.frame...)
	}
	for _, conn := range r.conns {
		_, _ = conn.Write(frames) // what does not arrive is counted
	}
}

func (r *relay) close() {
	r.cancel()
	_ = r.server.Close() // connections that were taken over are closed below
	r.group.Wait()
	for _, conn := range r.conns {
		_ = conn.Close() // the client may have closed it
	}
}
