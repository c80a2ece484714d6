package main_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"tidings/db/dbtest"
)

// All that the service does, it does through a transaction pooler: with a way past it for what needs sessions, or without one, by polling.
func TestServeThroughPooler(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{true, false} {
		t.Run(map[bool]string{true: "with a way past it", false: "alone"}[direct], func(t *testing.T) {
			t.Parallel()
			address := dbtest.Database(t)
			pooler := dbtest.StartPooler(t, address, map[string]string{"default_pool_size": "4"})
			env := environ("DATABASE_URL=" + pooler.URL())
			flags := []string{"--poll-interval=50ms", "--no-listen-notify"}
			if direct {
				env, flags = append(env, "DIRECT_DATABASE_URL="+address), nil
			}
			succeed(t, env, "migrate", "up", "--public")
			sql(t, address, tourTables)
			p, at := serve(t, env, flags...)
			// What the service is told by its environment, the doctor is, too.
			eventually(t, "the service has told how it is", func() bool {
				return ask[int](t, address, `select count(*) from tidings.running where live and beating and listening`) == 1
			})
			doctor(t, append(env, fmt.Sprintf("TIDINGS_LISTEN_NOTIFY=%t", direct)), 0)
			write := func(statement string) { sql(t, address, statement) }
			tour(t, at, write, direct, func() {
				pooler.Stop()
				write(`insert into notes values (100, 'nobody', 'meanwhile')`)
				pooler.Start()
			})
			p.signal(syscall.SIGTERM)
			if code := p.wait(); code != 0 {
				t.Errorf("it ends with %d", code)
			}
			if said := p.stderr.String(); strings.Contains(said, "prepared statement") || strings.Contains(said, "is not heard") {
				t.Errorf("it says %s", said)
			}
		})
	}
}
