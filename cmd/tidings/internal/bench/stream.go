package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// stream is a connection on which frames come. It ends when the context with which it was opened does.
type stream interface {
	// next returns the JSON of the next frame, and the cursor that came beside it, if any. Both are valid until the next
	// call. A cursor may come without a frame.
	next() (frame, cursor []byte, err error)
	// close closes the connection.
	close()
}

// opener opens streams of one transport.
type opener interface {
	// open connects to a channel, to begin behind the cursor if there is one. The error is a *refusedError if the service
	// answered, and did not want to.
	open(ctx context.Context, channel string, cursor []byte) (stream, error)
}

func newOpener(server *url.URL, transport Transport) opener {
	if transport == SSE {
		return newEventSource(server)
	}
	return newSocket(server, transport)
}

// endpoint is the address of a path of the service.
func endpoint(server *url.URL, query url.Values, path ...string) *url.URL {
	u := server.JoinPath(path...)
	u.RawQuery = query.Encode()
	return u
}

// refusedError is the service's answer instead of a stream.
type refusedError struct {
	status        int // 0: it was said in a stream
	code, message string
}

func (e *refusedError) Error() string {
	switch {
	case e.status == 0:
		return "the service says: " + e.message
	case e.message == "":
		return fmt.Sprintf("the service answers %d: is it tidings?", e.status)
	}
	return fmt.Sprintf("the service answers %d: %s", e.status, e.message)
}

func readRefusal(response *http.Response) error {
	var body struct {
		Error struct{ Code, Message string }
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil || json.Unmarshal(text, &body) != nil {
		return &refusedError{status: response.StatusCode}
	}
	return &refusedError{response.StatusCode, body.Error.Code, body.Error.Message}
}

// goodbyeError is what the service said before it ended a stream.
type goodbyeError struct{ reason string }

func (e *goodbyeError) Error() string { return "the service said goodbye: " + e.reason }

// nameOf names what ended a stream, or kept it from being opened, so that the same has the same name for all subscribers.
func nameOf(err error) string {
	var refused *refusedError
	var goodbye *goodbyeError
	var op *net.OpError
	switch {
	case errors.As(err, &refused):
		return strings.TrimSpace(fmt.Sprintf("refused: %d %s", refused.status, refused.code))
	case errors.As(err, &goodbye):
		return "goodbye: " + goodbye.reason
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "cut off"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error() // without the addresses
	}
	return err.Error()
}

// hint says what to do about an error that many connections bring about.
func hint(err error) string {
	var refused *refusedError
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "; each connection needs an open file, and no more are allowed here: raise ulimit -n, or lower --subscribers"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; each connection needs a port of its own on this machine, and they are used up: lower --subscribers, or run it on several machines"
	case errors.As(err, &refused) && refused.code == "too_many_connections":
		return "; lower --subscribers, or raise the service's --max-connections"
	case errors.As(err, &refused) && refused.code == "unknown_channel":
		return "; is --database-url the database that the service at --server serves?"
	}
	return ""
}
