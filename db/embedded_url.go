package db

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// embeddedName is the name of the embedded server's database and of the superuser who owns it.
const embeddedName = "tidings"

// URL is the address of the database over the server's socket. It needs no password, but may only be used by the user that
// runs the server, and by root.
func (e *Embedded) URL() string { return socketURL(embeddedName, e.socketDir, e.port) }

// TCPURL is the address of the database over TCP on this machine, with its password.
func (e *Embedded) TCPURL() string { return tcpURL(e.password, e.port) }

// EmbeddedURL returns the addresses of the embedded server that now runs in dataDir, whichever process looks after it. It is
// an error if none runs.
func EmbeddedURL(dataDir string) (socket, tcp string, err error) {
	dir, err := openEmbeddedDir(dataDir)
	if err != nil {
		return "", "", fmt.Errorf("address of postgres: %w", err)
	}
	running, err := dir.postmaster()
	if err != nil {
		return "", "", fmt.Errorf("address of postgres: %w", err)
	}
	if running.socketDir == "" {
		return "", "", fmt.Errorf("address of postgres: the server in %s has just begun to start", dir)
	}
	password, err := dir.readPassword()
	if err != nil {
		return "", "", fmt.Errorf("address of postgres: %w", err)
	}
	return socketURL(embeddedName, running.socketDir, running.port), tcpURL(password, running.port), nil
}

func socketURL(database, dir string, port int) string {
	// libpq takes a plus sign for a plus sign, not for a space. A slash needs no escape, and is easier to read without.
	host := strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(dir))
	return fmt.Sprintf("postgres:///%s?host=%s&port=%d&user=%s", database, host, port, embeddedName)
}

func tcpURL(password string, port int) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(embeddedName, password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Path:     "/" + embeddedName,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}
