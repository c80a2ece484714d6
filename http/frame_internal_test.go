package http

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"tidings/realtime"
)

// FuzzAppendString: what a JSON reader reads is what encoding/json would have said.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "messages", "messages:5", `"`, `\`, "\n", "\x00", "\x7f", "\x80", "Ж", "\u2028", "</script>", "\xff\xfe", "a\xd0", "\U0001F600", "é\x1f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString([]byte("before"), s)
		text, found := bytes.CutPrefix(b, []byte("before"))
		if !found {
			t.Fatalf("what was there is gone: %q", b)
		}
		reference, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var got, want string
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%v: %q", err, text)
		}
		if err := json.Unmarshal(reference, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// FuzzAppendFrame: gorilla's reader gets out of several frames in one buffer what was put in.
func FuzzAppendFrame(f *testing.F) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		f.Add(bytes.Repeat([]byte("x"), n), []byte("second"))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		payloads := [][]byte{first, second, nil, first}
		var b []byte
		for _, payload := range payloads {
			b = appendFrame(b, opText, func(b []byte) []byte { return append(b, payload...) })
			b = appendControl(b, opPing, payload)
		}
		b = appendClose(b, goodbyeShutdown)
		ws := readerOf(t, b)
		var pings []string
		ws.SetPingHandler(func(data string) error {
			pings = append(pings, data)
			return nil
		})
		for i, payload := range payloads {
			kind, got, err := ws.ReadMessage()
			if err != nil || kind != websocket.TextMessage || !bytes.Equal(got, payload) {
				t.Fatalf("frame %d: got type %d, %d bytes, %v; want %d bytes", i, kind, len(got), err, len(payload))
			}
		}
		_, _, err := ws.ReadMessage()
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != goodbyeShutdown.code || closed.Text != goodbyeShutdown.reason {
			t.Errorf("the close frame is read as %v", err)
		}
		for i, payload := range payloads {
			if want := string(payload[:min(len(payload), 125)]); i >= len(pings) || pings[i] != want {
				t.Errorf("the pings are %q, want %q as number %d", pings, want, i)
			}
		}
	})
}

// FuzzAppendEvent: an event's frame is JSON with the event in it, whatever its strings are.
func FuzzAppendEvent(f *testing.F) {
	f.Add("messages", "message_added", "5", "", `{"id":5,"title":"a \"b\"","content":"</script>\u2028"}`, int64(1042), 0, uint8(1))
	f.Add("comments", "comment_updated", "2", "1", `{"id":5}`, int64(1), 17, uint8(3))
	f.Add("comments", "comments_truncated", "", "", ``, int64(1), 0, uint8(0))
	f.Add("to\"pic", "ty\\pe", "k\x00ey:\xff", "Ж", `[null, 1e5, "\ud800"]`, int64(1)<<62, 1<<30, uint8(7))
	f.Fuzz(func(t *testing.T, topic, typ, key, oldKey, data string, entry int64, row int, flags uint8) {
		at := time.Unix(entry%1e9, int64(row)%1e9).UTC()
		e := &realtime.Event{
			ID: realtime.ID{Entry: entry, Row: row}, At: at, Topic: topic, Type: typ,
			Keyed: flags&1 != 0, Moved: flags&2 != 0, Omitted: flags&4 != 0,
			Cursor: realtime.Cursor{Origin: "0123abcd", Seen: realtime.Snapshot{Xmin: 7, Xmax: 9, Xip: []uint64{7}}},
		}
		if e.Keyed {
			e.Key = key
		}
		if e.Moved {
			e.OldKey = oldKey
		}
		if json.Valid([]byte(data)) {
			e.Data = []byte(data)
		}
		ws := readerOf(t, realtimeRun(e, e))
		for range 2 {
			_, text, err := ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Type, Channel, ID, Cursor string
				At                        time.Time
				MovedFrom                 *string `json:"moved_from"`
				Omitted                   bool
				Data                      json.RawMessage
			}
			decoder := json.NewDecoder(bytes.NewReader(text))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&got); err != nil {
				t.Fatalf("%v in %q", err, text)
			}
			if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
				t.Fatalf("there is more than one value in %q", text)
			}
			if got.Type != asJSON(typ) || got.Channel != asJSON(e.Channel().String()) {
				t.Errorf("got type %q and channel %q of %q", got.Type, got.Channel, text)
			}
			if got.ID != e.ID.String() || got.Cursor != e.Cursor.String() || !got.At.Equal(at.Truncate(time.Microsecond)) {
				t.Errorf("got id %q, cursor %q and time %v of %q", got.ID, got.Cursor, got.At, text)
			}
			if (got.MovedFrom != nil) != e.Moved || e.Moved && *got.MovedFrom != asJSON(realtime.Channel{Topic: topic, Key: oldKey}.String()) {
				t.Errorf("got moved_from %v of %q", got.MovedFrom, text)
			}
			want := "null"
			if e.Data != nil {
				want = strings.TrimSpace(data) // a decoder takes white space around a value away
			}
			if got.Omitted != e.Omitted || string(got.Data) != want {
				t.Errorf("got omitted %t and data %q of %q", got.Omitted, got.Data, text)
			}
		}
	})
}

// realtimeRun is the bytes that subscribers share.
func realtimeRun(events ...*realtime.Event) []byte {
	run := realtime.Run{Events: events}
	return run.Encode(wsDialect.events)
}

// asJSON is the string as a reader of its JSON sees it: what is not UTF-8 is replaced.
func asJSON(s string) string {
	text, _ := json.Marshal(s)
	_ = json.Unmarshal(text, &s)
	return s
}

// readerOf is a client's connection on which the server has sent the frames.
func readerOf(t *testing.T, frames []byte) *websocket.Conn {
	t.Helper()
	dialer := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) {
		return &cannedConn{frames: frames}, nil
	}}
	ws, _, err := dialer.DialContext(t.Context(), "ws://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

// cannedConn answers a handshake, with frames behind it.
type cannedConn struct {
	net.Conn
	frames  []byte
	request []byte
	answer  io.Reader
}

func (c *cannedConn) Write(p []byte) (int, error) {
	if c.request = append(c.request, p...); c.answer == nil && bytes.HasSuffix(c.request, []byte("\r\n\r\n")) {
		_, rest, _ := strings.Cut(string(c.request), "Sec-WebSocket-Key: ")
		key, _, _ := strings.Cut(rest, "\r\n")
		sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		c.answer = io.MultiReader(strings.NewReader("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n"), bytes.NewReader(c.frames))
	}
	return len(p), nil
}

func (c *cannedConn) Read(p []byte) (int, error)       { return c.answer.Read(p) }
func (c *cannedConn) Close() error                     { return nil }
func (c *cannedConn) SetDeadline(time.Time) error      { return nil }
func (c *cannedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *cannedConn) SetWriteDeadline(time.Time) error { return nil }
