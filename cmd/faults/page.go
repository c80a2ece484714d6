package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// What is between the markers is written by us, the rest of the page by people.
const (
	beginMarker = "<!-- begin: written by cmd/faults -->"
	endMarker   = "<!-- end -->"
)

// conditions says under what the table was made.
func conditions(ctx context.Context, w *workshop, args []string, begun time.Time) string {
	version := "tidings"
	if out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output(); err == nil {
		version += " " + strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("Made on %s in %s, on %d cores, %s/%s, %s, PostgreSQL %s, with\n\n    %s\n",
		begun.Format("2 January 2006"), time.Since(begun).Round(time.Second), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH,
		version, w.version, strings.Join(append([]string{"go run ./cmd/faults"}, args...), " "))
}

// writePage puts the table into the page.
func writePage(path, table, conditions string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), beginMarker)
	_, after, ended := strings.Cut(rest, endMarker)
	if !ok || !ended {
		return fmt.Errorf("%s has no line %q with %q after it", path, beginMarker, endMarker)
	}
	page := before + beginMarker + "\n\n" + table + "\n" + conditions + "\n" + endMarker + after
	return os.WriteFile(path, []byte(page), 0o644)
}
