package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"tidings/realtime"
)

// sseDialect is the protocol of /events, Server-Sent Events as the HTML standard has them: the data is the JSON of
// /ws, and the id is the cursor, which browsers send along when they come back.
var sseDialect = &dialect{
	events: realtime.NewFormat(func(b []byte, e *realtime.Event) []byte {
		return appendMessage(b, e.Cursor, func(b []byte) []byte { return appendEvent(b, "type", e) })
	}),
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
	goodbye: func(b []byte, g goodbye) []byte {
		return appendMessage(b, realtime.Cursor{}, func(b []byte) []byte {
			text, _ := json.Marshal(map[string]any{"type": "goodbye", "code": g.code, "reason": g.reason}) // can always be
			return append(b, text...)
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
		b = append(b, "data: "...)
		start := len(b)
		b = data(b)
		for i, char := range b[start:] {
			if char == '\n' || char == '\r' {
				b[start+i] = ' ' // in JSON it is white space: inside a string it would be escaped
			}
		}
		b = append(b, '\n')
	}
	return append(b, '\n')
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
	if !s.admit(w, r) {
		return
	}
	defer s.connections.Add(-1)
	want := parseQuery(r.URL.RawQuery)
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		want.options.Since = last // it is newer than what the URL says, which stays the same for ever
	}
	if !s.answerable(w, r, &want) {
		return
	}

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	c := &sseConn{conn: conn{server: s, dialect: sseDialect, ctx: ctx, cancel: cancel}, w: w, control: http.NewResponseController(w)}
	c.wire = c
	c.sub = s.Hub.NewSubscriber(c.kick)
	defer c.close()
	if !s.add(&c.conn) {
		writeError(w, http.StatusServiceUnavailable, "not_ready", "the service is stopping: come back in a second")
		return
	}
	defer s.remove(&c.conn)

	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache, no-transform")
	header.Set("X-Accel-Buffering", "no") // nginx would wait for more
	w.WriteHeader(http.StatusOK)
	// Who comes back at the same time should not do so again.
	c.say(fmt.Appendf(nil, "retry: %d\n\n", 500+rand.N(2000)))
	for _, err := range want.errs {
		c.sub.Tell(err, realtime.Channel{})
	}
	c.sub.Subscribe(ctx, want.channels, want.options)

	beat := time.NewTicker(s.options.PingInterval)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			c.say([]byte(":\n\n")) // shows a client, and what is in between, that the stream lives
			c.sub.Refresh()
		}
	}
}

// answerable reports whether there is something to stream; otherwise it answers, and a browser does not come back.
func (s *Server) answerable(w http.ResponseWriter, r *http.Request, want *wanted) bool {
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
		err := s.Hub.Authorize(r.Context(), c)
		if err != nil {
			first = err
		}
		return err == nil
	})
	if open {
		return true
	}
	writeError(w, statusOf(first.Code), string(first.Code), first.Message)
	return false
}

// statusOf is the HTTP status of an error.
func statusOf(code realtime.Code) int {
	switch code {
	case realtime.CodeUnknownChannel:
		return http.StatusNotFound
	case realtime.CodeForbidden:
		return http.StatusForbidden
	case realtime.CodeUnavailable:
		return http.StatusServiceUnavailable
	case realtime.CodeSnapshotTooLarge:
		return http.StatusUnprocessableEntity
	}
	return http.StatusBadRequest
}

// write writes whole messages, part by part: the time that the client has begins anew with each.
func (c *sseConn) write(messages []byte) error {
	for len(messages) > 0 {
		part := messages[:min(len(messages), writeSlice)]
		messages = messages[len(part):]
		if err := c.control.SetWriteDeadline(time.Now().Add(c.server.options.StallTimeout)); err != nil {
			return err
		}
		if _, err := c.w.Write(part); err != nil {
			return err
		}
		if err := c.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
	return nil
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
	_ = c.control.SetWriteDeadline(time.Now()) // of a write that hangs
	c.cancel()
}
