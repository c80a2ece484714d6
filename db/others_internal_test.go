package db

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

// An instance that says nothing any more is told of once, and so is one that comes back. One that has left is not, nor anybody by who was
// cut off itself.
func TestOthers(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	var o others
	at := time.Now()
	hear := func(after time.Duration, want string, others ...otherInstance) {
		t.Helper()
		at = at.Add(after)
		log.Reset()
		o.heard(others, at, logger)
		if got := log.String(); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	well := func(name string) otherInstance { return otherInstance{Name: name, Host: "h", Address: name + ":80"} }
	silent := func(name string, seconds time.Duration) otherInstance {
		i := well(name)
		i.SilentFor = seconds * time.Second
		return i
	}
	alone := func(want bool) {
		t.Helper()
		if got := o.none(at.Add(time.Second)); got != want {
			t.Errorf("alone: %v", got)
		}
	}
	const gone, back = `level=WARN msg="an instance is gone without a word" host=h address=b:80 instance=b silent_for=11s`, `level=INFO msg="an instance that was gone is back" host=h address=b:80`

	if o.none(at) {
		t.Error("who has heard nothing yet says that it is alone")
	}
	hear(0, "", silent("b", 20)) // it has just come itself
	alone(true)
	hear(2*time.Second, "", well("a"), well("b"))
	alone(false)
	for range 6 {
		hear(2*time.Second, "", well("a"), well("b"))
	}
	hear(2*time.Second, "", well("a"), silent("b", 9))
	hear(2*time.Second, gone, well("a"), silent("b", 11))
	hear(2*time.Second, "", well("a"), silent("b", 13))
	hear(2*time.Second, back, well("a"), well("b"))
	hear(2*time.Second, "", well("b")) // a has left
	alone(false)
	stopping := well("b")
	stopping.Stopping = true
	hear(2*time.Second, "", stopping)
	alone(true)
	hear(time.Minute, "", silent("b", 60)) // it was cut off itself
	hear(2*time.Second, "")
	alone(true)
	if o.none(at.Add(time.Minute)) {
		t.Error("who has heard nothing for a minute says that it is alone")
	}
}
