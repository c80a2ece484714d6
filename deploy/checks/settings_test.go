package checks

import (
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"
)

var helpOnce = sync.OnceValues(func() (map[string]bool, error) {
	built, err := theImage()
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool)
	for _, command := range []string{"serve", "migrate up", "ready"} {
		help := exec.Command("sh", "-c", `exec "$0" `+command+" --help", built.root+"/tidings")
		help.Env = environ()
		out, err := help.Output()
		if err != nil {
			return nil, err
		}
		for _, match := range regexp.MustCompile(`\(\$([A-Z_]+)[,)]|\$([A-Z_]+)\)`).FindAllStringSubmatch(string(out), -1) {
			known[match[1]+match[2]] = true
		}
	}
	return known, nil
})

// knownSettings are the environment variables that the program has, by its own help.
func knownSettings(t *testing.T) map[string]bool {
	t.Helper()
	known, err := helpOnce()
	if err != nil {
		t.Fatal(err)
	}
	return known
}

var ours = regexp.MustCompile(`\b(TIDINGS_[A-Z_]+|DATABASE_URL(_FILE)?)\b`)

// checkSettings holds names of environment variables, or a text in which they stand, against what the program has.
func checkSettings(t *testing.T, where, text string, except ...string) {
	t.Helper()
	known := knownSettings(t)
	for _, name := range except {
		known[name] = true
	}
	for _, name := range ours.FindAllString(text, -1) {
		if !known[name] {
			t.Errorf("%s has %s, which tidings does not", where, name)
		}
	}
}

func TestSettingsAreKnown(t *testing.T) {
	t.Parallel()
	known := knownSettings(t)
	if len(known) < 40 || !known["TIDINGS_LISTEN"] || !known["DATABASE_URL_FILE"] {
		t.Fatalf("the program's help has %v", known)
	}
}

// checkStop holds what an instance is given to stop against the time after which it is killed.
func checkStop(t *testing.T, where string, setting func(name string) string, killed time.Duration) {
	t.Helper()
	var sum time.Duration
	for _, name := range []string{"TIDINGS_DRAIN_DELAY", "TIDINGS_DRAIN_TIME", "TIDINGS_SHUTDOWN_TIMEOUT"} {
		d, err := time.ParseDuration(setting(name))
		if err != nil {
			t.Errorf("%s: %s: %s", where, name, err)
		}
		sum += d
	}
	if killed < sum+5*time.Second {
		t.Errorf("%s: it is killed after %s, and may take %s to stop: at least five seconds longer are wanted", where, killed, sum)
	}
}
