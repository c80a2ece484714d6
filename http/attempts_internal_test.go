package http

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

func fails(a *attempts, key string, now time.Time) (wait time.Duration) {
	if wait = a.begin(key, now); wait == 0 {
		a.end(key, now, failed)
	}
	return wait
}

func TestAttempts(t *testing.T) {
	t.Parallel()
	a := newAttempts(3, time.Minute, 100)
	now := time.Now()
	for range 3 {
		if wait := fails(a, "ada", now); wait != 0 {
			t.Fatalf("has to wait %s", wait)
		}
	}
	if wait := a.begin("ada", now); wait != time.Minute {
		t.Errorf("has to wait %s, want a minute", wait)
	}
	if wait := a.begin("boris", now); wait != 0 { // as nobody else has
		t.Errorf("has to wait %s", wait)
	}
	a.end("boris", now, undecided)
	if len(a.keys) != 1 {
		t.Errorf("%d keys are remembered, want 1", len(a.keys))
	}
	now = now.Add(30 * time.Second)
	if wait := a.begin("ada", now); wait < 29*time.Second || wait > 31*time.Second {
		t.Errorf("has to wait %s, want half a minute", wait)
	}
	now = now.Add(31 * time.Second)
	if wait := fails(a, "ada", now); wait != 0 {
		t.Errorf("has to wait %s after its time", wait)
	}
	if wait := fails(a, "ada", now); wait == 0 {
		t.Error("one more is two")
	}
	now = now.Add(61 * time.Second)
	if wait := a.begin("ada", now); wait != 0 {
		t.Errorf("has to wait %s after its time", wait)
	}
	a.end("ada", now, succeeded)
	if len(a.keys) != 0 {
		t.Error("who has succeeded is remembered")
	}
}

// Who tries many things at a time has no more tries than others.
func TestAttemptsAtOnce(t *testing.T) {
	t.Parallel()
	a := newAttempts(3, time.Minute, 100)
	now := time.Now()
	for range 3 {
		if wait := a.begin("ada", now); wait != 0 {
			t.Fatalf("has to wait %s", wait)
		}
	}
	if wait := a.begin("ada", now); wait == 0 {
		t.Error("a fourth was begun")
	}
	a.end("ada", now, undecided)
	if wait := a.begin("ada", now); wait != 0 {
		t.Errorf("has to wait %s for what came to nothing", wait)
	}
	for range 3 {
		a.end("ada", now, failed)
	}
	if wait := a.begin("ada", now); wait == 0 {
		t.Error("after three, a fourth was begun")
	}
}

// What is remembered is bounded, and what has failed most is remembered longest.
func TestAttemptsForget(t *testing.T) {
	t.Parallel()
	a := newAttempts(3, time.Hour, 20)
	now := time.Now()
	for range 3 {
		fails(a, "locked", now)
	}
	if wait := a.begin("being tried", now); wait != 0 {
		t.Fatal(wait)
	}
	for i := range 1000 {
		fails(a, strconv.Itoa(i), now)
		if len(a.keys) > 20 {
			t.Fatalf("%d keys are remembered", len(a.keys))
		}
	}
	if a.begin("locked", now) == 0 {
		t.Error("what was locked is forgotten")
	}
	a.end("being tried", now, failed)
	now = now.Add(4 * time.Hour)
	fails(a, "another", now)
	if len(a.keys) != 1 {
		t.Errorf("%d keys are remembered, want 1", len(a.keys))
	}
}

func TestAttemptKeys(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::1": "2001:db8:1:2::/64",
		"@": "@", "fe80::1%eth0": "fe80::/64",
	} {
		if got := addressKey(address); got != want {
			t.Errorf("%s is known by %s, want %s", address, got, want)
		}
	}
	if nameKey("ADA") != nameKey("ada") || len(nameKey(strings.Repeat("x", 10_000))) != maxNameKey {
		t.Error("a name's key depends on its case, or is long")
	}
}
