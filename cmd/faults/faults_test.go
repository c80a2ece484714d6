package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var shop *workshop

func TestMain(m *testing.M) {
	code := m.Run()
	if shop != nil {
		shop.clean()
	}
	os.Exit(code)
}

// Every fault of the short run, two at a time or as many as the machine has processors.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	t.Parallel()
	var err error
	if shop, err = prepare(t.Context(), io.Discard, false); err != nil {
		t.Fatal(err)
	}
	for _, one := range trials() {
		if !one.short {
			continue
		}
		t.Run(one.fault.name, func(t *testing.T) {
			t.Parallel()
			r, err := shop.try(t.Context(), one, load{clients: 40, writers: 4, duration: 3 * time.Second})
			switch {
			case err != nil:
				t.Fatal(err)
			case r.skipped != "":
				t.Skip(r.skipped)
			case !r.good():
				t.Error(report([]row{r}))
			case r.expected == 0 || r.connections <= 40+guestsOf(40) && one.fault.name != "none":
				t.Errorf("nothing happened: %s, %d connections", r.tally, r.connections)
			}
			t.Log(r.tally, fmt.Sprintf("silence %s", r.silence.Round(time.Millisecond)))
		})
	}
}

func TestFaultsAreNamed(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, f := range faults {
		if f.name == "" || f.title == "" || f.about == "" || seen[f.name] || strings.Contains(f.title, "|") {
			t.Errorf("fault %q, %q, %q", f.name, f.title, f.about)
		}
		seen[f.name] = true
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--only=nothing"}, {"--clients=0"}, {"--writers=0"}, {"--duration=1ms"}, {"stray"}, {"--redis=some"}, {"--instances=3"}, {"--only=kill-redis", "--redis=without"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v: got no error", args)
		}
	}
}

// The table goes between the markers, and all else stays.
func TestWritePage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte("before\n"+beginMarker+"\nold\n"+endMarker+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writePage(path, "table\n", "conditions\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + beginMarker + "\n\ntable\n\nconditions\n\n" + endMarker + "\nafter\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
