package http

import (
	"testing"
	"time"
)

// Few clients are done quickly, many in the time that there is, and all at once where nobody gains by waiting.
func TestPace(t *testing.T) {
	t.Parallel()
	yes, no := func() bool { return true }, func() bool { return false }
	for _, tt := range []struct {
		time    time.Duration
		alone   func() bool
		clients int
		over    time.Duration
	}{
		{0, nil, 0, 0},
		{0, nil, 1, 10 * time.Millisecond},
		{0, no, 500, 5 * time.Second},
		{0, no, 20_000, 10 * time.Second},
		{time.Minute, no, 20_000, time.Minute},
		{time.Second, no, 20_000, time.Second},
		{-1, no, 20_000, 0},
		{0, yes, 20_000, 0},
		{time.Nanosecond, nil, 3, 0},
	} {
		s := &Server{Options: Options{DrainTime: tt.time}, Alone: tt.alone}
		s.init()
		if got := s.pace(tt.clients) * time.Duration(tt.clients); got != tt.over {
			t.Errorf("%d clients in %s: they are asked over %s, want %s", tt.clients, tt.time, got, tt.over)
		}
	}
}
