// Package docs_test keeps the documents true: it does what they say, line by line, and compares what comes of it with what they show.
package docs_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"tidings/db/dbtest"
)

// tidings is the program, built for these tests. It is there as long as alive is open.
var (
	tidings string
	alive   io.Closer
)

// patience is how long anything may take, on a machine that is busy with other tests.
const patience = time.Minute

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tidings-docs-")
	if err == nil {
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dbtest.Main(m)
}

// build builds the program into dir, which goes when this process does, however it ends.
func build(dir string) error {
	reaper := exec.Command("sh", "-c", `trap '' INT TERM HUP; cat >/dev/null; rm -rf "$1"`, "reap", dir)
	var err error
	if alive, err = reaper.StdinPipe(); err != nil {
		return err
	}
	if err := reaper.Start(); err != nil {
		return err
	}
	tidings = filepath.Join(dir, "tidings")
	args := []string{"build", "-buildvcs=false", "-o", tidings}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	if out, err := exec.Command("go", append(args, "../cmd/tidings")...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return nil
}
