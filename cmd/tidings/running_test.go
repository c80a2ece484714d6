package main_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"tidings/db/dbtest"
)

// Which instances run is to be seen in psql. One that is stopped is not there any more; one that is killed is silent, and then is not either.
func TestRunning(t *testing.T) {
	t.Parallel()
	database := dbtest.Database(t)
	running := func() []string {
		rows := ask[string](t, database, `select coalesce(string_agg(address || ' ' || live, E'\n' order by address), '') from tidings.running where silent_for < interval '5 seconds'`)
		return strings.Split(rows, "\n")
	}
	var rooms [3]*program
	var at []string
	expect := func(what string, addresses ...string) {
		t.Helper()
		want := make([]string, 0, 3)
		for _, address := range addresses {
			want = append(want, address+" true")
		}
		slices.Sort(want)
		if len(want) == 0 {
			want = []string{""}
		}
		eventually(t, what, func() bool { return slices.Equal(running(), want) })
	}
	for n := range rooms {
		var address string
		rooms[n], address = serve(t, environ(), "--database-url", database)
		at = append(at, address)
	}
	expect("all three run", at...)
	rooms[0].signal(9)
	rooms[0].wait()
	expect("the one that was killed is silent", at[1], at[2])
	eventually(t, "and then not there", func() bool { return ask[int](t, database, `select count(*) from tidings.running`) == 2 })
	for _, room := range rooms[1:] {
		room.await(&room.stderr, `level=WARN msg="an instance is gone without a word" host=\S+ address=`+regexp.QuoteMeta(at[0]))
	}
	rooms[1].signal(15)
	rooms[1].wait()
	if n := ask[int](t, database, `select count(*) from tidings.running`); n != 1 {
		t.Errorf("one was stopped, and %d are there", n)
	}
	expect("the last one runs", at[2])
}

// An instance that is stopping goes on for as long as it was told to, and a second signal ends it at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p, at := serve(t, environ(), "--database-url", dbtest.Database(t), "--drain-delay", "1h")
	p.signal(syscall.SIGTERM)
	eventually(t, "it says that it stops", func() bool { return readyz(t, at) == http.StatusServiceUnavailable })
	if status, _ := get(t, "http://"+at+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz is %d", status)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != -1 {
		t.Errorf("it ends with %d", code)
	}
}

// Whose terminal is gone is told so by SIGHUP: the service takes leave of its clients, unless nohup has it stay.
func TestTerminalIsGone(t *testing.T) {
	t.Parallel()
	p, at := serve(t, environ(), "--database-url", channelDatabase(t))
	ws := dial(t, "ws://"+at+"/ws?channel=messages")
	ws.expect("subscribed", "")
	p.signal(syscall.SIGHUP)
	if _, _, err := ws.ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("its client is told %v", err)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("it ends with %d", code)
	}

	stays := beginProgram(t, "/bin/sh", environ(), "-c", `trap '' HUP; exec "$0" "$@"`,
		tidings, "serve", "--listen", "127.0.0.1:0", "--database-url", dbtest.Database(t))
	stays.await(&stays.stderr, `msg=live`)
	stays.signal(syscall.SIGHUP)
	stays.signal(syscall.SIGTERM)
	if code := stays.wait(); code != 0 {
		t.Errorf("with nohup, SIGHUP was the first of two signals: it ends with %d", code)
	}
}
