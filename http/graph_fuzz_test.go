package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"tidings/db"
	tidingshttp "tidings/http"
	"tidings/http/graph"
	"tidings/realtime"
)

// FuzzGraphProtocol says anything to GraphQL's WebSocket protocols. The server answers, or says goodbye with a code of the
// protocol.
func FuzzGraphProtocol(f *testing.F) {
	for _, text := range []string{
		`{"type":"connection_init"}`, `{"type":"connection_init","payload":{"token":"x"}}`, `{"type":"ping"}`, `{"type":"pong","payload":{}}`,
		`{"type":"subscribe","id":"1","payload":{"query":"{ __typename }"}}`, `{"type":"subscribe","id":"1","payload":{"query":"subscription { messageAdded { id } }"}}`,
		`{"type":"complete","id":"1"}`, `{"type":"start","id":"1","payload":{"query":"{ me { id } }","variables":{"a":1}}}`, `{"type":"stop","id":"1"}`,
		`{"type":"connection_terminate"}`, `{"type":1}`, `[]`, `x`, "\xff", `{"type":"subscribe","id":"1","payload":{"query":1}}`,
		`{"type":"subscribe","id":"\u0000\"","payload":{"query":"{ x }","extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}}}`,
	} {
		f.Add(text, true, false)
		f.Add(text, false, true)
	}
	hub := realtime.NewHub(noSource{}, realtime.Options{})
	hub.Start(realtime.Cursor{Origin: "0a1b2c3d", Seen: realtime.Snapshot{Xmin: 1, Xmax: 1}})
	hub.SetLive(true)
	api := graph.New(&db.Channel{}, func() bool { return false }, hub, slog.New(slog.DiscardHandler), graph.Options{})
	f.Cleanup(api.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	server := &tidingshttp.Server{Hub: hub, Graph: api}
	go func() { served <- server.Serve(ctx, listener) }()
	f.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			f.Error(err)
		}
	})
	codes := []int{1000, 1011, 4400, 4401, 4403, 4409, 4429}
	f.Fuzz(func(t *testing.T, text string, begin, legacy bool) {
		dialer := websocket.Dialer{Subprotocols: []string{transportWS}}
		if legacy {
			dialer.Subprotocols[0] = legacyWS
		}
		ws, _, err := dialer.Dial("ws://"+listener.Addr().String()+"/graphql", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		last := `{"type":"ping","payload":"the last"}`
		if legacy {
			last = `{"type":"connection_terminate"}`
		}
		messages := []string{text, last}
		if begin {
			messages = slices.Insert(messages, 0, `{"type":"connection_init"}`)
		}
		for _, m := range messages {
			if ws.WriteMessage(websocket.TextMessage, []byte(m)) != nil {
				break // it has said goodbye
			}
		}
		for {
			f, err := readFrame(ws)
			var closed *websocket.CloseError
			switch {
			case errors.As(err, &closed):
				if !slices.Contains(codes, closed.Code) || !utf8.ValidString(closed.Text) {
					t.Errorf("the goodbye %d %q", closed.Code, closed.Text)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			var said graphFrame
			if err := json.Unmarshal([]byte(f.text), &said); err != nil || said.Type == "" {
				t.Fatalf("got %s", f.text)
			}
			if said.Type == "pong" && string(said.Payload) == `"the last"` {
				return
			}
		}
	})
}
