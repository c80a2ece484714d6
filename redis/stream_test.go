package redis_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/db/dbtest"
	"tidings/redis/redistest"
)

// The stream has no more than it may, and no older, also where the one that led is another than the one that leads.
func TestStreamIsCut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	database := newDatabase(t, dbtest.Database(t))
	small := func(i *instance) {
		steady(i)
		i.relay.StreamBytes = 2 << 20
	}
	i := start(t, database, server.URL(), small)
	leader(t, i)
	for round := range 2 {
		for range 50 { // 5 MiB
			n := len(i.told()) + 1
			if _, err := database.Pool.Exec(t.Context(), `insert into notes (writer, n, filler) values (1, 1, repeat(md5(random()::text), 3200))`); err != nil {
				t.Fatal(err)
			}
			await(t, "the event", func() bool { return len(i.told()) >= n })
		}
		await(t, "the stream to be cut", func() bool {
			text, err := server.Do("MEMORY", "USAGE", streamOf(server), "SAMPLES", "0")
			if err != nil {
				t.Fatal(err)
			}
			bytes, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			if bytes < 1<<20 {
				t.Fatalf("the stream has %d bytes: it was cut too short", bytes)
			}
			return bytes < 4<<20
		})
		if round == 0 {
			i.stop()
			i = start(t, database, server.URL(), small)
			leader(t, i)
		}
	}
}

func TestStreamIsForgotten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	database := newDatabase(t, dbtest.Database(t))
	i := start(t, database, server.URL(), func(i *instance) { i.relay.StreamAge = 2 * time.Second })
	leader(t, i)
	write(t, database, 1, 1)
	var first string
	oldest := func() string {
		entries, err := server.Do("XRANGE", streamOf(server), "-", "+", "COUNT", "1")
		if err != nil {
			t.Fatal(err)
		}
		id, _, _ := strings.Cut(entries, "\n")
		return id
	}
	await(t, "an entry", func() bool { first = oldest(); return first != "" })
	await(t, "it to be forgotten", func() bool {
		if _, err := database.Pool.Exec(t.Context(), `insert into notes (writer, n) values (1, 2)`, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		return oldest() != first
	})
}
