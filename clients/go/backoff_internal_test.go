package tidings

import (
	"testing"
	"time"
)

// The pause doubles from one end to the other, and chance takes up to half of it away.
func TestBackoff(t *testing.T) {
	t.Parallel()
	const least, most = 200 * time.Millisecond, 10 * time.Second // what is documented
	for attempt := range 200 {
		d := most
		if attempt < 6 {
			d = least << attempt
		}
		for range 50 {
			if got := (Backoff{}).wait(attempt); got < d/2 || got > d {
				t.Fatalf("attempt %d: the pause is %s, want one from %s to %s", attempt, got, d/2, d)
			}
		}
		if got := (Backoff{Min: time.Minute, Max: time.Second}).wait(attempt); got < 30*time.Second || got > time.Minute {
			t.Fatalf("attempt %d: the pause is %s", attempt, got)
		}
	}
}
