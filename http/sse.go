package http

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"tidings/realtime"
)

// sseDialect is the protocol of /events, Server-Sent Events as the HTML standard has them: the data is the JSON of
// /ws, and the id is the cursor, which browsers send along when they come back.
var sseDialect = &dialect{
	transport: TransportSSE,
	events: &realtime.Format{Append: realtime.Each(func(b []byte, e *realtime.Event) []byte {
		return appendMessage(b, e.Cursor, func(b []byte) []byte { return appendEvent(b, "type", e) })
	})},
	notice: func(b []byte, n *realtime.Notice) []byte {
		switch n.Kind {
		case realtime.NoticeCursor:
			// A message without data moves the id and is told to nobody.
			return appendMessage(b, n.Cursor, nil)
		case realtime.NoticeLoaded:
			// Its cursor stands for the one channel, and the id for all.
			return appendMessage(b, realtime.Cursor{}, func(b []byte) []byte { return appendNotice(b, "type", n) })
		}
		return appendMessage(b, n.Cursor, func(b []byte) []byte { return appendNotice(b, "type", n) })
	},
	word: func(b []byte, word, user string, expires time.Time) []byte {
		return appendMessage(b, realtime.Cursor{}, func(b []byte) []byte { return appendWord(b, "type", word, user, expires) })
	},
	goodbye: func(b []byte, g goodbye) []byte {
		return appendMessage(b, realtime.Cursor{}, func(b []byte) []byte {
			code, message, _ := strings.Cut(g.reason, ": ")
			b = append(b, `{"type":"goodbye","code":`...)
			b = appendString(b, code)
			b = append(b, `,"message":`...)
			b = appendString(b, message)
			return append(b, '}')
		})
	},
}

// appendMessage appends a message with the cursor as its id, if there is one, and the data that the function appends.
func appendMessage(b []byte, id realtime.Cursor, data func(b []byte) []byte) []byte {
	if !id.IsZero() {
		b = append(b, "id: "...)
		b = append(b, id.String()...)
		b = append(b, '\n')
	}
	if data != nil {
		return appendData(b, data)
	}
	return append(b, '\n')
}

// appendData appends the data, which the function appends, and the message's end.
func appendData(b []byte, data func(b []byte) []byte) []byte {
	b = append(b, "data: "...)
	start := len(b)
	b = data(b)
	for i, char := range b[start:] {
		if char == '\n' || char == '\r' {
			b[start+i] = ' ' // in JSON it is white space: inside a string it would be escaped
		}
	}
	return append(b, '\n', '\n')
}

// sseConn is one stream of Server-Sent Events. Its goroutine is the request's.
type sseConn struct {
	conn
	w       http.ResponseWriter
	control *http.ResponseController
}

// serveEvents streams events until the client goes or is told goodbye.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	s.allowOrigin(w, r)
	at, refused := s.admit(r)
	if refused != nil {
		refused.answerEvents(w, r)
		return
	}
	defer s.release(at)
	id, refused := s.identify(r)
	if refused != nil {
		refused.answerEvents(w, r)
		return
	}
	want := parseQuery(r.URL.RawQuery)
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		want.options.Since = last // it is newer than what the URL says, which stays the same for ever
	}
	if refused := s.unanswerable(r, id, &want); refused != nil {
		s.refused(refused.code, s.address(r), r.URL.Path)
		refused.answerEvents(w, r)
		return
	}
	s.stream(w, r, id, sseDialect, func(c *sseConn) (start func()) {
		sub := s.Hub.NewSubscriber(id, c.kick)
		c.feed = sub
		return func() {
			for _, err := range want.errs {
				s.refused(string(err.Code), s.address(r), r.URL.Path)
				sub.Tell(err, realtime.Channel{})
			}
			sub.Subscribe(c.ctx, want.channels, want.options)
		}
	})
}

// stream answers a request with a stream of Server-Sent Events, which prepare completes, until the client goes or is told goodbye.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, id *realtime.Identity, d *dialect, prepare func(c *sseConn) (start func())) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	c := &sseConn{conn: conn{server: s, dialect: d, ctx: ctx, cancel: cancel}, w: w, control: http.NewResponseController(w)}
	c.wire = c
	start := prepare(c)
	defer c.close()
	defer c.endTenure()
	if refused := c.identify(id); refused != nil {
		s.refused(refused.code, s.address(r), r.URL.Path)
		refused.answerEvents(w, r)
		return
	}
	if !s.add(&c.conn) {
		notReady.answerEvents(w, r)
		return
	}
	defer s.remove(&c.conn)

	beginEvents(w)
	c.say(retryIn(750))
	start()

	beat := time.NewTicker(s.options.PingInterval)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			c.say([]byte(":\n\n")) // shows a client, and what is in between, that the stream lives
			c.feed.Refresh()
		}
	}
}

func beginEvents(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache, no-transform")
	header.Set("X-Accel-Buffering", "no") // nginx would wait for more
	w.WriteHeader(http.StatusOK)
}

// retryIn says after how many milliseconds, and up to twice as many more, to come back: who does so at the same time should
// not do so again.
func retryIn(ms int) []byte {
	return fmt.Appendf(nil, "retry: %d\n\n", ms+rand.N(2*ms))
}

// unanswerable says why there is nothing to stream, if that is so.
func (s *Server) unanswerable(r *http.Request, id *realtime.Identity, want *wanted) *refusal {
	var first *realtime.Error
	for _, err := range want.errs {
		if first == nil || err.Code != codeBadRequest {
			first = err
		}
	}
	if len(want.channels) == 0 && first == nil {
		first = realtime.Errorf(codeBadRequest, "no channel is asked for: %s?channel=messages", r.URL.Path)
	}
	open := slices.ContainsFunc(want.channels, func(c realtime.Channel) bool {
		err := s.Hub.Authorize(r.Context(), id, c)
		if err != nil {
			first = err
		}
		return err == nil
	})
	if open {
		return nil
	}
	return refusalOf(first)
}

// answerEvents answers instead of a stream. A browser's EventSource never comes back from any status but 200, so where it
// should, it is told in a stream that ends.
func (f *refusal) answerEvents(w http.ResponseWriter, r *http.Request) {
	if f.retryAfter == 0 || !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		f.answer(w)
		return
	}
	beginEvents(w)
	n := &realtime.Notice{Kind: realtime.NoticeError, Err: &realtime.Error{Code: realtime.Code(f.code), Message: f.message}}
	_, _ = w.Write(sseDialect.notice(retryIn(1000*f.retryAfter), n)) // the client may be gone
}

// write writes whole messages, part by part: the time that the client has begins anew with each.
func (c *sseConn) write(messages []byte, written int) error {
	messages = messages[written:]
	if len(messages) == 0 {
		return nil
	}
	for len(messages) > 0 {
		part := messages[:min(len(messages), writeSlice)]
		messages = messages[len(part):]
		if err := c.control.SetWriteDeadline(time.Now().Add(c.server.options.StallTimeout)); err != nil {
			return err
		}
		if err := c.ctx.Err(); err != nil {
			return err // abort's deadline may be the one that has just been put off
		}
		if _, err := c.w.Write(part); err != nil {
			return err
		}
		if err := c.control.Flush(); err != nil {
			return err
		}
	}
	return c.control.SetWriteDeadline(time.Time{}) // HTTP/2 ends a stream whose deadline passes, though nothing be written
}

// close is the handler's end.
func (c *sseConn) close() {
	if !c.gone() {
		c.abort()
	}
	c.pumps.Wait()
	_ = c.control.SetWriteDeadline(time.Now().Add(lingerTime)) // of the stream's end
}

// said ends the stream.
func (c *sseConn) said() { c.cancel() }

// abort ends the stream, with what is written of it.
func (c *sseConn) abort() {
	c.cancel()
	_ = c.control.SetWriteDeadline(time.Now()) // of a write that hangs
}
