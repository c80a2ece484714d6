package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
)

// eventSource opens streams of Server-Sent Events, each over a connection of its own.
type eventSource struct {
	server *url.URL
	client *http.Client
}

func newEventSource(server *url.URL) *eventSource {
	return &eventSource{server, &http.Client{Transport: &http.Transport{
		Proxy:              http.ProxyFromEnvironment,
		DisableCompression: true,
		ReadBufferSize:     4 << 10, WriteBufferSize: 512,
		TLSNextProto: make(map[string]func(string, *tls.Conn) http.RoundTripper), // HTTP/2 would put all streams on one connection
	}}}
}

func (e *eventSource) open(ctx context.Context, channel string, cursor []byte) (stream, error) {
	address := endpoint(e.server, url.Values{"channel": {channel}}, "events").String()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if cursor != nil {
		request.Header.Set("Last-Event-ID", string(cursor))
	}
	response, err := e.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, readRefusal(response)
	}
	return &eventStream{body: response.Body, lines: bufio.NewReaderSize(response.Body, 4<<10)}, nil
}

// eventStream reads messages as the HTML standard has them, but that of each one line is data and one is the id at most, and
// that lines end as the service ends them.
type eventStream struct {
	body  io.Closer
	lines *bufio.Reader
	data  []byte
	id    []byte
	long  []byte // a line that is longer than the reader's buffer
}

func (s *eventStream) next() (frame, cursor []byte, err error) {
	s.data, s.id = s.data[:0], s.id[:0]
	for {
		line, err := s.line()
		if err != nil {
			return nil, nil, err
		}
		// What follows a field is kept, as the next line may overwrite it.
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			s.data = append(s.data, data...)
		} else if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			s.id = append(s.id, id...)
		} else if len(line) == 0 && len(s.data)+len(s.id) > 0 {
			return orNone(s.data), orNone(s.id), nil
		}
	}
}

func orNone(text []byte) []byte {
	if len(text) == 0 {
		return nil
	}
	return text
}

// line returns the next line, without its end.
func (s *eventStream) line() ([]byte, error) {
	line, err := s.lines.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		s.long = s.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) {
			s.long = append(s.long, line...)
			line, err = s.lines.ReadSlice('\n')
		}
		s.long = append(s.long, line...)
		line = s.long
	}
	if err != nil {
		return nil, err // what is cut in the middle of a message has not been told
	}
	return line[:len(line)-1], nil
}

func (s *eventStream) close() { _ = s.body.Close() } // the other side may have closed it
