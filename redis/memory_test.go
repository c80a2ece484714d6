package redis_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/redis/redistest"
)

// maxMemory sets how much memory Redis may use; 0: any. Where it has more already, it takes nothing that needs some.
func maxMemory(t *testing.T, server *redistest.Server, bytes int) {
	t.Helper()
	if answer, err := server.Do("CONFIG", "SET", "maxmemory", strconv.Itoa(bytes)); err != nil || answer != "OK" {
		t.Fatalf("maxmemory cannot be set: %s, %v", answer, err)
	}
}

// Where Redis has no memory left, nothing is written to it past its limit: each reads for itself.
func TestMemoryIsFull(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	database := newDatabase(t, dbtest.Database(t))
	all := []*instance{start(t, database, server.URL(), nil), start(t, database, server.URL(), nil)}
	leader(t, all...)
	maxMemory(t, server, 1)
	write(t, database, 1, 5)
	for _, i := range all {
		await(t, "the events without Redis", func() bool { return i.role() == db.RoleAlone && len(i.told()) == 5 })
	}
	maxMemory(t, server, 0)
	leader(t, all...)
	write(t, database, 1, 5)
	for _, i := range all {
		await(t, "the events with Redis", func() bool { return len(i.told()) == 10 })
	}
}

// Where the stream is what fills the memory, it keeps less.
func TestStreamGivesWay(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	database := newDatabase(t, dbtest.Database(t))
	i := start(t, database, server.URL(), steady)
	leader(t, i)
	const all = 20 * 100000
	fill := func() {
		t.Helper()
		for range 20 {
			if _, err := database.Pool.Exec(t.Context(), `insert into notes (writer, n, filler) select 1, coalesce(max(n), 0) + 1, repeat('x', 100000) from notes`); err != nil {
				t.Fatal(err)
			}
		}
		await(t, "the stream", func() bool { return used(t, server) > all })
	}
	fill()
	maxMemory(t, server, used(t, server)-all/2)
	write(t, database, 1, 1)
	await(t, "the event", func() bool { return len(i.told()) == 21 })
	await(t, "the stream to give way", func() bool { return used(t, server) < all })
	leader(t, i)

	// So it does where nobody leads, as nobody could.
	maxMemory(t, server, 0)
	fill()
	i.stop()
	maxMemory(t, server, used(t, server))
	i = start(t, database, server.URL(), steady)
	leader(t, i)
}

// used is how much memory the stream has.
func used(t *testing.T, server *redistest.Server) (bytes int) {
	t.Helper()
	info, err := server.Do("INFO", "memory")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		_, _ = fmt.Sscanf(line, "used_memory_dataset:%d", &bytes)
	}
	return bytes
}
