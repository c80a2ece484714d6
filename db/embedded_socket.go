package db

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxSocketPath is the longest path of a Unix socket that all systems take; macOS has the least room.
const maxSocketPath = 103

// makeSocketDir makes the directory of the server's socket. Nobody but the server's user and root may enter it: who does is
// let in as superuser, without a password.
func (d embeddedDir) makeSocketDir(owner *pgOwner) (string, error) {
	if socketFits(d.runDir()) {
		if err := os.Mkdir(d.runDir(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if err := os.Chmod(d.runDir(), 0o700); err != nil {
			return "", err
		}
		return d.runDir(), owner.give(d.runDir())
	}

	path := filepath.Join(os.TempDir(), d.clusterName())
	if !socketFits(path) {
		path = filepath.Join("/tmp", d.clusterName())
	}
	err := os.Mkdir(path, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	// Everyone may make files there, so one of this name may be somebody's trap.
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !owner.owns(info) {
		return "", fmt.Errorf("%s, meant for the socket because the path of %s is too long for one, "+
			"is not a private directory of ours", path, d)
	}
	return path, owner.give(path)
}

func socketFits(dir string) bool {
	return len(filepath.Join(dir, ".s.PGSQL.65535")) <= maxSocketPath
}

// lastPort is the TCP port of the last start, 0 if there was none.
func (d embeddedDir) lastPort() int {
	text, err := os.ReadFile(d.portFile())
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || port < 1 || port > 65535 {
		return 0
	}
	return port
}

func (d embeddedDir) rememberPort(port int) error {
	if d.lastPort() == port {
		return nil
	}
	return replaceFile(d.portFile(), strconv.Itoa(port)+"\n")
}

// newPort finds a free TCP port below those that the system itself hands out for outgoing connections, so that none of them
// takes it while the server is down for a moment.
func newPort() int {
	const first, last = 20000, 32000
	for range 100 {
		if port := first + rand.IntN(last-first); portIsFree(port) {
			return port
		}
	}
	return first // and let the server say what is wrong
}

func portIsFree(port int) bool {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = listener.Close()
	return true
}
