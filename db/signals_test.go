package db_test

import (
	"context"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/realtime"
)

// signalled is a hub, and hands on what it is told.
type signalled struct {
	*realtime.Hub
	told chan realtime.Signal
}

func (s signalled) Signal(signal realtime.Signal) { s.told <- signal }

// What is kept nowhere is told by whoever knows the channel's secret name. Anybody may ring the doorbell, and that is all he does.
func TestSignals(t *testing.T) {
	t.Parallel()
	database := install(t, dbtest.Database(t))
	reader := &db.Reader{DB: database}
	sink := signalled{realtime.NewHub(reader, realtime.Options{}), make(chan realtime.Signal, 10)}
	reader.Sink = sink
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- reader.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	await(t, "the reader to listen", func() bool { return reader.Status().Listening })

	const forged = `"channel":"messages","type":"forged","data":{}`
	execute(t, database, `select pg_notify('tidings', $1)`, `{"signal":{`+forged+`}}`)
	execute(t, database, `select pg_notify('tidings', $1)`, `{`+forged+`}`)
	execute(t, database, `notify tidings, 'no JSON'`)
	for _, typ := range []string{"reset", "message_added", ""} { // the last is no signal at all
		execute(t, database, `select pg_notify(signals, $1) from tidings.settings`, `{"channel":"messages","type":"`+typ+`","data":{}}`)
	}
	execute(t, database, `select tidings.broadcast('messages', 'wave', '{}', kept => false)`)
	channel := realtime.Channel{Topic: "messages", Key: "5"}
	if err := database.Signal(t.Context(), realtime.Signal{Channel: channel, Type: "typing", Data: []byte(`{"user":"4"}`), From: "4"}); err != nil {
		t.Fatal(err)
	}
	if got := <-sink.told; got.Type != "wave" || got.Channel.String() != "messages" {
		t.Errorf("told %+v", got)
	}
	if got := <-sink.told; got.Type != "typing" || got.Channel != channel || string(got.Data) != `{"user":"4"}` || got.From != "4" {
		t.Errorf("told %+v", got)
	}
	if !reader.Status().Listening {
		t.Error("who says nonsense makes the reader deaf")
	}

	rows, err := database.Pool.Query(t.Context(), `select t, tidings.reserved_type(t) from unnest($1::text[]) as t`,
		[]string{"row", "subscribed", "unsubscribed", "loaded", "reset", "cursor", "error", "pong", "ping", "goodbye", "authenticated", "token_expiring", "typing", "user_online", "user_offline",
			"wave", "rows", "x_added", "x_updated", "x_deleted", "x_truncated", "added", "added_x"})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var typ string
		var reserved bool
		if err := rows.Scan(&typ, &reserved); err != nil {
			t.Fatal(err)
		}
		if db.ReservedType(typ) != reserved {
			t.Errorf("%q: reserved in the database: %t", typ, reserved)
		}
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
}

// The name is random, and nobody's but the owner's.
func TestSignalsAreSecret(t *testing.T) {
	t.Parallel()
	ask := func() (name string) {
		t.Helper()
		if err := install(t, dbtest.Database(t)).Pool.QueryRow(t.Context(), `select signals from tidings.settings
			where not has_table_privilege('public', 'tidings.settings', 'select')
			  and not has_column_privilege('public', 'tidings.settings', 'signals', 'select')`).Scan(&name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	if a, b := ask(), ask(); a == b || len(a) < 32 {
		t.Errorf("the names are %q and %q", a, b)
	}
}
