package main_test

import (
	"net"
	"strings"
	"testing"

	"tidings/db/dbtest"
)

// What restarts instances one by one asks by a command whether the next one may go.
func TestReady(t *testing.T) {
	t.Parallel()
	refused := func(args []string, mentions string) {
		t.Helper()
		if code, _, stderr := run(t, environ(), append([]string{"ready"}, args...)...); code == 0 || !strings.Contains(stderr, mentions) {
			t.Errorf("tidings ready %v: exit code %d, %q; want another than 0, and %q", args, code, stderr, mentions)
		}
	}
	_, at := serve(t, environ(), "--database-url", dbtest.Database(t))
	succeed(t, environ(), "ready", "--server", "http://"+at, "--wait", patience.String())
	succeed(t, environ("TIDINGS_SERVER=http://"+at+"/"), "ready", "--alive")

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	refused([]string{"--server", "http://" + silent.Addr().String(), "--timeout", "50ms"}, "deadline")

	// The process is there before its database.
	alone := closedAddress(t)
	begin(t, environ(), "serve", "--listen", alone, "--database-url", "postgres://ada@"+silent.Addr().String()+"/db?sslmode=disable")
	succeed(t, environ(), "ready", "--server", "http://"+alone, "--alive", "--wait", patience.String())
	refused([]string{"--server", "http://" + alone, "--wait", "300ms"}, "not ready: live is false")
	refused([]string{"--server", "127.0.0.1"}, "is not a URL")
	refused([]string{"--wait", "-1s"}, "--wait")
	refused([]string{"--timeout", "0s"}, "--timeout")
}

// closedAddress is one that nothing listens on.
func closedAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
