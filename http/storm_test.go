package http_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	tidingshttp "tidings/http"
	"tidings/realtime"
)

// Clients of all kinds come, do all that they may and may not do, and go in all ways, while rows are written, tables are
// watched and unwatched, connections to the database break, and at last the service stops in the middle of it. What is
// looked for is what nobody thought of: races, panics, locks, connections and goroutines that stay.
func TestStorm(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.message("one")
	d.exec(`create table things (id int)`)
	s := start(t, d.url, options{
		hub: realtime.Options{QueueBytes: 4096, RecentBytes: 16 << 10, MaxChannels: 5, Readers: 2},
		server: tidingshttp.Options{
			MaxConnections: 40, MaxFrame: 512, PingInterval: 20 * time.Millisecond, PongTimeout: 200 * time.Millisecond,
			StallTimeout: 500 * time.Millisecond, ShutdownTimeout: 5 * time.Second,
		},
	})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()

	var storm errgroup.Group
	for _, statement := range []string{
		`insert into messages (author_id, title, content) select 1, 'storm', repeat('x', 300) from generate_series(1, 10)`,
		`insert into comments (message_id, author_id, content) values (1, 1, 'storm')`,
		`update comments set content = content || '.' where id % 7 = 0 and length(content) < 20`,
		`select tidings.watch('things', read => 'public')`,
		`select tidings.unwatch('things')`,
		`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'tidings _%'
			and random() < 0.02`,
	} {
		storm.Go(func() error {
			for ctx.Err() == nil {
				_, _ = d.pool.Exec(ctx, statement) // some of them are in each other's way
			}
			return nil
		})
	}
	var connected, frames atomic.Int64
	for n := range 50 {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		storm.Go(func() error {
			for ctx.Err() == nil {
				if ws, err := s.connect(ctx, stormQueries[random.IntN(len(stormQueries))]); err == nil {
					connected.Add(1)
					frames.Add(int64(behave(ws, random)))
				}
			}
			return nil
		})
	}
	eventually(t, "many have come and gone", func() bool { return connected.Load() >= 400 })
	s.tell()
	s.awaitServed()
	stop()
	if err := storm.Wait(); err != nil {
		t.Error(err)
	}
	if stats := s.hub.Stats(); stats.Subscribers != 0 || len(stats.Subscriptions) != 0 {
		t.Errorf("what is left: %+v", stats)
	}
	t.Logf("%d connections were told %d frames", connected.Load(), frames.Load())
	if frames.Load() == 0 {
		t.Error("nobody was told anything")
	}
}

var stormQueries = []string{
	"", "channel=messages", "channel=messages&channel=comments:1", "channel=comments&channel=things", "channel=things:1&x=y", "channel=messages&since=x",
	"channel=messages&since=00000000-3", "channel=%zz",
}

var stormCommands = []string{
	`{"type":"subscribe","channel":"messages"}`, `{"type":"subscribe","channel":"comments:1"}`, `{"type":"subscribe","channel":"things"}`,
	`{"type":"unsubscribe","channel":"messages"}`, `{"type":"switch","channel":"comments"}`, `{"type":"switch","channel":"things"}`,
	`{"type":"ping"}`, `nonsense`, `{"type":"subscribe","channel":":"}`, fmt.Sprintf(`{"type":"%0600d"}`, 0), fmt.Sprintf(`%09000d`, 0),
}

// behave does what clients do until it has enough, and returns how many frames it was told.
func behave(ws *websocket.Conn, random *rand.Rand) (frames int) {
	defer ws.Close()
	cursor := ""
	for range random.IntN(60) {
		switch random.IntN(12) {
		case 0, 1, 2:
			if ws.WriteMessage(websocket.TextMessage, []byte(stormCommands[random.IntN(len(stormCommands))])) != nil {
				return frames
			}
		case 3:
			command := `{"type":"subscribe","channel":"messages","since":"` + cursor + `"}`
			if ws.WriteMessage(websocket.TextMessage, []byte(command)) != nil {
				return frames
			}
		case 4:
			if ws.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Second)) != nil {
				return frames
			}
		default:
			f, err := readSoon(ws)
			if err != nil {
				return frames
			}
			if f.Cursor != "" {
				cursor = f.Cursor
			}
			frames++
		}
	}
	switch random.IntN(4) {
	case 0: // goes as one should
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
		_, _ = readSoon(ws)
	case 1: // goes in the middle of a frame
		_, _ = ws.NetConn().Write([]byte{0x81, 0xFE, 0x10})
	case 2: // breaks the protocol
		_, _ = ws.NetConn().Write([]byte{0x81, 0x05, 'h', 'e', 'l', 'l', 'o'})
		_, _ = readSoon(ws)
	}
	return frames
}

// readSoon reads a frame that may not come.
func readSoon(ws *websocket.Conn) (frame, error) {
	var f frame
	if err := ws.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return f, err
	}
	return f, ws.ReadJSON(&f)
}
