package dbtest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// dataDir is a temporary directory that goes when the test process does, along with the server in it.
type dataDir struct {
	path   string
	reaper *exec.Cmd
	alive  io.Closer // what the reaper watches
}

// reap waits for the end of its input, which is the end of the test process at the latest: it may panic, run out of time or
// be killed, and a server lives on.
const reap = `
trap '' INT TERM HUP
cat >/dev/null
pid=$(head -n 1 "$1/postgres/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && ps -o args= -p "$pid" 2>/dev/null | grep -qF "$1/"; then
	kill -QUIT "$pid"
	while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
fi
until rm -rf "$1" 2>/dev/null; do sleep 0.1; done
`

func newDataDir() (*dataDir, error) {
	path, err := os.MkdirTemp("", "tidings-test-")
	if err != nil {
		return nil, err
	}
	d := &dataDir{}
	if d.path, err = filepath.EvalSymlinks(path); err == nil {
		err = os.Chmod(d.path, 0o711) // the server may run as another user
	}
	if err == nil {
		err = d.startReaper()
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return d, nil
}

func (d *dataDir) startReaper() error {
	d.reaper = exec.Command("sh", "-c", reap, "reap", d.path)
	stdin, err := d.reaper.StdinPipe()
	if err != nil {
		return err
	}
	d.alive = stdin
	return d.reaper.Start()
}

func (d *dataDir) remove() {
	_ = d.alive.Close()
	_ = d.reaper.Wait()
}
