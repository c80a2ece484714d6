package db_test

import (
	"testing"
	"time"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

// A heartbeat goes the whole way, and when it does not come any more, that is said.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	reader := &db.Reader{DB: database, BeatInterval: 50 * time.Millisecond, Timeout: time.Second}
	hub := realtime.NewHub(reader, realtime.Options{})
	reader.Sink = hub
	runReader(t, reader, hub)
	await(t, "a heartbeat", func() bool { return reader.Status().Lag > 0 })
	if s := reader.Status(); !s.Beating || s.Lag > time.Minute || s.Events != 0 {
		t.Errorf("got %+v", s)
	}
	if _, err := database.Pool.Exec(t.Context(), `alter function tidings.beat(interval) rename to beat_no_more`); err != nil {
		t.Fatal(err)
	}
	await(t, "its absence to be noticed", func() bool { return !reader.Status().Beating })
	if _, err := database.Pool.Exec(t.Context(), `alter function tidings.beat_no_more(interval) rename to beat`); err != nil {
		t.Fatal(err)
	}
	await(t, "a heartbeat again", func() bool { return reader.Status().Beating })
}

// One heartbeat is enough for many instances, and each of them hears it.
func TestHeartbeatOfMany(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	var readers []*db.Reader
	begun := time.Now()
	for range 4 {
		reader := &db.Reader{DB: database, BeatInterval: time.Second}
		hub := realtime.NewHub(reader, realtime.Options{})
		reader.Sink = hub
		runReader(t, reader, hub)
		readers = append(readers, reader)
	}
	beats := func() (n int) {
		if err := database.Pool.QueryRow(t.Context(), `select count(*) from tidings.log where topic = 'tidings' and type = 'beat'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var n int
	await(t, "five heartbeats", func() bool { n = beats(); return n >= 5 })
	// Each is 0.7 s after the one before it, at least.
	took := time.Since(begun)
	if most := int(took/(700*time.Millisecond)) + 1; n > most {
		t.Errorf("%d heartbeats in %s, want %d at most", n, took, most)
	}
	for _, reader := range readers {
		await(t, "an instance to hear them", func() bool { return reader.Status().Beating })
	}
}

// The audit's books agree while writers write, and do not where the log has something else than was read.
func TestAudit(t *testing.T) {
	t.Parallel()
	url := dbtest.Database(t)
	database := install(t, url)
	if _, err := database.Pool.Exec(t.Context(), historySchema); err != nil {
		t.Fatal(err)
	}
	reader := &db.Reader{DB: database, BeatInterval: -1, AuditInterval: 20 * time.Millisecond}
	hub := realtime.NewHub(reader, realtime.Options{})
	reader.Sink = hub
	runReader(t, reader, hub)
	writeAll(t, url, 8, 10, 4)
	var logged uint64
	const count = `select count(*) from tidings.log as l, tidings.entry_rows(l.key, l.old_key, l.data, l.rows) where l.topic <> 'tidings' and l.type <> 'user_joined'` // those were there before
	if err := database.Pool.QueryRow(t.Context(), count).Scan(&logged); err != nil {
		t.Fatal(err)
	}
	await(t, "everything to be read", func() bool { return reader.Status().Events == logged })
	at := time.Now()
	await(t, "an audit", func() bool { return reader.Status().Audited.At.After(at) })
	a := reader.Status().Audited
	if a.Missing != 0 || a.Logged != a.Read || a.Logged == 0 || a.Logged > logged {
		t.Errorf("of %d events: %+v", logged, a)
	}
	t.Logf("of %d events: %+v", logged, a)

	// A read that brought something else than the log has; the audit may come between the two, so this may take some.
	await(t, "the audit to find a difference", func() bool {
		read := reader.Status().Events
		if _, err := database.Pool.Exec(t.Context(), `insert into lines values ('x')`); err != nil {
			t.Fatal(err)
		}
		await(t, "the event to be read", func() bool { return reader.Status().Events > read })
		if _, err := database.Pool.Exec(t.Context(), `delete from tidings.log`); err != nil {
			t.Fatal(err)
		}
		return reader.Status().Audited.Missing > 0
	})
}
