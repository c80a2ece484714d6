package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// socket opens WebSockets.
type socket struct {
	server *url.URL
	path   []string
	dialer *websocket.Dialer
}

func newSocket(server *url.URL, transport Transport) *socket {
	u := *server
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	path := []string{"ws"}
	if transport == Envelope {
		path = append(path, "events")
	}
	return &socket{&u, path, &websocket.Dialer{
		Proxy: http.ProxyFromEnvironment, HandshakeTimeout: 30 * time.Second,
		ReadBufferSize: 4 << 10, WriteBufferSize: 512, WriteBufferPool: new(sync.Pool), // only pongs are written
	}}
}

func (s *socket) open(ctx context.Context, channel string, cursor []byte) (stream, error) {
	query := url.Values{"channel": {channel}}
	if cursor != nil {
		query.Set("since", string(cursor))
	}
	conn, response, err := s.dialer.DialContext(ctx, endpoint(s.server, query, s.path...).String(), nil)
	if err != nil {
		if errors.Is(err, websocket.ErrBadHandshake) {
			return nil, readRefusal(response)
		}
		return nil, err
	}
	// A read is ended by nothing but its connection's end.
	stop := context.AfterFunc(ctx, func() {
		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)) // the other side may be gone
		_ = conn.Close()
	})
	return &socketStream{conn: conn, stop: stop}, nil
}

type socketStream struct {
	conn   *websocket.Conn
	stop   func() bool
	buffer []byte
}

func (s *socketStream) next() (frame, cursor []byte, err error) {
	_, reader, err := s.conn.NextReader()
	if err != nil {
		var closed *websocket.CloseError
		if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure { // that is none at all
			reason, _, _ := strings.Cut(closed.Text, ":")
			return nil, nil, &goodbyeError{strings.TrimSpace(fmt.Sprintf("%d %s", closed.Code, reason))}
		}
		if closed != nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, nil, err
	}
	if s.buffer == nil {
		s.buffer = make([]byte, 1<<10)
	}
	n := 0
	for {
		if n == len(s.buffer) {
			s.buffer = append(s.buffer, make([]byte, n)...)
		}
		got, err := reader.Read(s.buffer[n:])
		n += got
		if errors.Is(err, io.EOF) {
			return s.buffer[:n], nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

func (s *socketStream) close() {
	s.stop()
	_ = s.conn.Close() // the other side may have closed it
}
