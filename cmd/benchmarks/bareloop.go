package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"
)

// bareLoopArgument has the program be the bare loop.
const bareLoopArgument = "bare-loop"

// bareLoop is the least that can be done: one loop that reads of a row and writes the same frame to one socket after another;
// the frames of rows that came meanwhile go in one write, so that it does not drown where the machine is slow. No
// database, nothing kept, nothing that a slow client could not hold up.
type bareLoop struct {
	frame []byte // a whole frame with some row's id

	mu    sync.Mutex
	conns []net.Conn
}

// What it is told: a byte for what it is, then an event and its length before it, or the id of a row.
const (
	tellSample = 's'
	tellRow    = 'r'

	rowBytes = 1 + 8
)

func appendSample(to, event []byte) []byte {
	return append(binary.BigEndian.AppendUint32(append(to, tellSample), uint32(len(event))), event...)
}

func appendRow(to []byte, id int64) []byte {
	return binary.BigEndian.AppendUint64(append(to, tellRow), uint64(id))
}

// runBareLoop says where it listens, and serves until its input ends.
func runBareLoop(ctx context.Context, in io.Reader, out io.Writer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	l := &bareLoop{}
	server := http.Server{Handler: http.HandlerFunc(l.accept)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // it ends when it is closed below
	}()
	defer func() {
		_ = server.Close() // connections that were taken over are closed by l
		<-served
		l.close()
	}()
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		return err
	}
	return l.follow(bufio.NewReaderSize(in, 64<<10))
}

func (l *bareLoop) accept(w http.ResponseWriter, request *http.Request) {
	upgrader := websocket.Upgrader{WriteBufferSize: 512}
	ws, err := upgrader.Upgrade(w, request, nil)
	if err != nil {
		return // Upgrade has answered
	}
	// Its frames may come as soon as it knows that it is subscribed.
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"subscribed"}`)); err != nil {
		_ = ws.Close() // the client has gone
		return
	}
	l.conns = append(l.conns, ws.NetConn())
}

// follow does what it is told, until there is no more.
func (l *bareLoop) follow(in *bufio.Reader) error {
	var ids []int64
	for {
		what, err := in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case what == tellSample:
			if err := l.imitate(in); err != nil {
				return err
			}
			continue
		case what != tellRow:
			return fmt.Errorf("it was told %q", what)
		}
		if err := in.UnreadByte(); err != nil {
			return err
		}
		if ids, err = readRows(in, ids[:0]); err != nil {
			return err
		}
		l.send(ids)
	}
}

// readRows reads the row that comes next, and those behind it that are here already.
func readRows(in *bufio.Reader, ids []int64) ([]int64, error) {
	for {
		text, err := in.Peek(rowBytes)
		if err != nil {
			return ids, err
		}
		ids = append(ids, int64(binary.BigEndian.Uint64(text[1:])))
		if _, err := in.Discard(rowBytes); err != nil {
			return ids, err
		}
		if in.Buffered() < rowBytes {
			return ids, nil
		}
		if next, err := in.Peek(1); err != nil || next[0] != tellRow {
			return ids, err
		}
	}
}

// imitate makes a frame of the event that comes next.
func (l *bareLoop) imitate(in io.Reader) error {
	var length [4]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return err
	}
	event := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(in, event); err != nil {
		return err
	}
	l.frame = frameOf(event)
	return nil
}

// frameOf is a text message of a server, as it stands on the wire.
func frameOf(text []byte) []byte {
	frame := []byte{0x81}
	switch n := len(text); {
	case n < 126:
		frame = append(frame, byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 127), uint64(n))
	}
	return append(frame, text...)
}

// send writes a frame for each of the rows.
func (l *bareLoop) send(ids []int64) {
	from, to := idBounds(l.frame)
	var frames []byte
	for _, id := range ids {
		copy(l.frame[from:to], strconv.FormatInt(id, 10))
		frames = append(frames, l.frame...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_, _ = conn.Write(frames) // what does not arrive is counted
	}
}

func (l *bareLoop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close() // the client may have closed it
	}
}
