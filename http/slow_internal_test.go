package http

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/realtime"
)

// Clients that are too slow are told of once in a while, with how often, and not while there are none.
func TestTellOfSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines strings.Builder
		hub := realtime.NewHub(nil, realtime.Options{QueueBytes: 100})
		hub.SetTopics([]realtime.Topic{{Name: "messages", Read: "public"}})
		hub.SetLive(true)
		s := &Server{Hub: hub, Logger: slog.New(slog.NewTextHandler(&lines, nil))}
		ctx, stop := context.WithCancel(t.Context())
		go s.tellOfSlow(ctx, time.Minute)
		for range 3 {
			sub := hub.NewSubscriber(nil, func() {})
			sub.Subscribe(ctx, []realtime.Channel{{Topic: "messages"}}, realtime.SubscribeOptions{})
		}
		wait := func() {
			<-time.After(time.Minute) // on the bubble's clock
			synctest.Wait()
		}
		wait()
		if lines.Len() > 0 {
			t.Errorf("nobody was slow, and it says %q", lines.String())
		}
		for range 5 {
			hub.Publish(realtime.Batch{Events: []*realtime.Event{{Topic: "messages", Data: make([]byte, 80)}}})
		}
		wait()
		wait()
		if got := lines.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "times=3 behind=3 waiting=0 subscribers=3") {
			t.Errorf("it says %q", got)
		}
		stop()
		synctest.Wait()
	})
}
