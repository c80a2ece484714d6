package http_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// sightings are what was seen of what the document tells of, by channel: messages, and their codes, reasons and goodbyes.
type sightings struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (s *sightings) add(labels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = make(map[string]bool)
	}
	for _, l := range labels {
		s.seen[l] = true
	}
}

// listener is a client of an endpoint, a channel of the document, in which each frame has to be one that is said there.
type listener struct {
	t       testing.TB
	channel string
	said    map[string]*asyncMessage
	seen    *sightings
	*client // of a WebSocket; nil: it is a stream
	stream  *stream
}

// listen opens one.
func (s *service) listen(seen *sightings, channel, query string) *listener {
	s.t.Helper()
	l := &listener{t: s.t, channel: channel, said: asyncAPIDocument(s.t).Channels[channel].said, seen: seen}
	switch channel {
	case "ws":
		l.client = s.dialQuery(query)
	case "envelope":
		l.client = s.dialEnvelope(query)
	case "events":
		l.stream = s.events("HTTP/1.1", query, "")
	}
	return l
}

// endpoints are the document's channels.
var endpoints = []string{"ws", "envelope", "events"}

// listenAll opens one of each.
func (s *service) listenAll(seen *sightings, query string) (all []*listener) {
	s.t.Helper()
	for _, channel := range endpoints {
		all = append(all, s.listen(seen, channel, query))
	}
	return all
}

// next reads a frame and says what it was: the name of its message, or that and its code, reason or type, where it has several.
func (l *listener) next() (string, error) {
	var text string
	if l.stream != nil {
		f, err := l.stream.read()
		if err != nil {
			return "", err
		}
		text = f.text
	} else {
		if err := l.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return "", err
		}
		_, frame, err := l.ws.ReadMessage()
		if err != nil {
			return "", err
		}
		text = string(frame)
	}
	return l.look(text)
}

// look looks a frame up.
func (l *listener) look(text string) (string, error) {
	name, err := which(l.said, text)
	if err != nil {
		return "", fmt.Errorf("the frame %.1000s of %s: %w", text, l.channel, err)
	}
	var f struct {
		Type, Event, Code, Reason string
		MovedFrom                 *string `json:"moved_from"`
		Omitted                   bool
	}
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return "", err
	}
	label := name
	switch {
	case f.Code+f.Reason != "":
		label += " " + f.Code + f.Reason
	case name == "presence":
		label += " " + f.Type + f.Event
	case f.MovedFrom != nil:
		label += " moved"
	case f.Omitted:
		label += " omitted"
	}
	l.seen.add(l.channel+" "+name, l.channel+" "+label)
	return label, nil
}

// await reads until all of that was said, in whatever order.
func (l *listener) await(labels ...string) {
	l.t.Helper()
	late := time.Now().Add(patience)
	for missing := slices.Clone(labels); len(missing) > 0; {
		label, err := l.next()
		if err == nil && time.Now().After(late) {
			err = errors.New("it does not come") // but other things
		}
		if err != nil {
			l.t.Fatalf("waiting for %q on %s: %v", missing, l.channel, err)
		}
		if i := slices.Index(missing, label); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		}
	}
}

// awaitGoodbye reads until the connection's end.
func (l *listener) awaitGoodbye(code int, reason string) {
	l.t.Helper()
	if l.stream != nil {
		l.await("goodbye " + reason)
		if label, err := l.next(); !errors.Is(err, io.EOF) {
			l.t.Errorf("behind the goodbye comes %q, %v", label, err)
		}
		return
	}
	for {
		_, err := l.next()
		var closed *websocket.CloseError
		switch {
		case err == nil:
			continue
		case !errors.As(err, &closed):
			l.t.Fatalf("%s ended with %v, want %d %s", l.channel, err, code, reason)
		}
		said, _, _ := strings.Cut(closed.Text, ":")
		if closed.Code != code || said != reason {
			l.t.Errorf("got the goodbye %d %q, want %d %s", closed.Code, closed.Text, code, reason)
		}
		l.seen.add(fmt.Sprint("goodbye ", closed.Code, " ", said))
		return
	}
}

// check compares what was seen with what the document has. Nothing else can have been seen; unseen is what cannot be had cheaply.
func (s *sightings) check(t *testing.T, unseen ...string) {
	t.Helper()
	a := asyncAPIDocument(t)
	want := make(map[string]bool)
	codes := func(channel, message, schema string) {
		for _, code := range a.Components.Schemas[schema].Enum {
			want[channel+" "+message+" "+code] = true
		}
	}
	for _, channel := range endpoints {
		for name := range a.Channels[channel].said {
			want[channel+" "+name] = true
		}
		codes(channel, "reset", "resetReason")
	}
	codes("ws", "error", "errorCode")
	codes("envelope", "error", "errorCode")
	codes("events", "streamError", "streamErrorCode")
	codes("events", "goodbye", "streamGoodbye")
	for _, g := range a.Goodbyes {
		want[fmt.Sprint("goodbye ", g.Code, " ", g.Reason)] = true
	}
	for _, label := range unseen {
		if !want[label] || s.seen[label] {
			t.Errorf("%q is not in the document, or was seen", label)
		}
		delete(want, label)
	}
	for _, label := range slices.Sorted(maps.Keys(want)) {
		if !s.seen[label] {
			t.Errorf("nobody has said %q", label)
		}
	}
}

// channels is the query for them, with more parameters.
func channels(names []string, more ...string) string {
	query := url.Values{"channel": names}
	for i := 0; i < len(more); i += 2 {
		query.Add(more[i], more[i+1])
	}
	return query.Encode()
}
