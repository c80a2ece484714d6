// Package programtest gives tests the program itself, as it is run.
package programtest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
)

// alive is what those who remove the programs watch: it is closed when this process ends.
var alive []io.Closer

// New builds the program as of a version, in a directory that goes when this process does, however it ends.
func New(version string) (path string, err error) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if signal.Ignored(s) { // as nohup has it; what is caught here, programs do not ignore
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	dir, err := os.MkdirTemp("", "tidings-program-")
	if err != nil {
		return "", err
	}
	reaper := exec.Command("sh", "-c", `trap '' INT TERM HUP; cat >/dev/null; rm -rf "$1"`, "reap", dir)
	stdin, err := reaper.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := reaper.Start(); err != nil {
		return "", err
	}
	alive = append(alive, stdin)
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL runs as another user where we are root
		return "", err
	}
	path = filepath.Join(dir, "tidings")
	return path, Build(path, version)
}

// Build builds the program as of a version, with the race detector where this process has it, and with more arguments of go build's.
func Build(path, version string, more ...string) error {
	args := append([]string{"build", "-buildvcs=false", "-ldflags", "-X main.version=" + version, "-o", path}, more...)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	if out, err := exec.Command("go", append(args, "tidings/cmd/tidings")...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return nil
}

// Output is what a program writes. It may be read meanwhile.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
