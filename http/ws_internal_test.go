package http

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/gorilla/websocket"

	"tidings/realtime"
)

// serveHub serves a hub that is fed by nobody but the test, until stop is called.
func serveHub(t *testing.T, o Options) (_ *Server, address string, stop func()) {
	t.Helper()
	hub := realtime.NewHub(nil, realtime.Options{})
	hub.Start(realtime.Cursor{Origin: "x", Seen: realtime.Snapshot{Xmin: 1, Xmax: 1}})
	hub.SetTopics([]realtime.Topic{{Name: "messages", Keyed: true, Read: "public"}})
	hub.SetLive(true)
	s := &Server{Hub: hub, Health: func() Health { return Health{} }, Options: o}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	return s, listener.Addr().String(), func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// A connection that has ended is forgotten, whenever in its life that was: no timer holds it.
func TestEndedConnectionIsForgotten(t *testing.T) {
	t.Parallel()
	// So that many end in the middle of a ping.
	s, address, stop := serveHub(t, Options{PingInterval: time.Millisecond, PongTimeout: time.Second})
	var conns []weak.Pointer[conn]
	for range 200 {
		ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+address+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		for c := range s.conns {
			conns = append(conns, weak.Make(c))
		}
		s.mu.Unlock()
		if err := ws.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	left := 0
	for range 20 { // what is referred to by what goes, goes a round later
		runtime.GC()
		left = 0
		for _, c := range conns {
			if c.Value() != nil {
				left++
			}
		}
		if left == 0 {
			return
		}
	}
	t.Errorf("%d of %d connections that have ended are still there", left, len(conns))
}

func TestGoodbyesFit(t *testing.T) {
	t.Parallel()
	for _, g := range []goodbye{goodbyeNormal, goodbyeShutdown, goodbyeProtocol, goodbyeCorrupt, goodbyeTooLarge, goodbyeSilent, goodbyeStalled, goodbyeBadCommand} {
		frame := appendClose(nil, g)
		if want := 2 + 2 + len(g.reason); len(frame) != want {
			t.Errorf("the frame of goodbye %d has %d bytes, want %d: at most 125 in a control frame's payload", g.code, len(frame), want)
		}
	}
	if frame := appendClose(nil, goodbye{}); string(frame) != "\x88\x00" {
		t.Errorf("a goodbye without a code is %q", frame)
	}
}
