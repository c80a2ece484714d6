package redis

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"tidings/realtime"
)

func cursor(t testing.TB, text string) realtime.Cursor {
	t.Helper()
	c, err := realtime.ParseCursor(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// samples are records of every kind.
func samples(t testing.TB) []record {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)
	midway := func(entry string) realtime.Cursor { return cursor(t, "ab12-700:20:3,7-745:5:2-"+entry) }
	end := cursor(t, "ab12-745:5:2")
	return []record{
		{},
		{signal: &realtime.Signal{Channel: realtime.Channel{Topic: "messages", Key: "5"}, Type: "typing", Data: []byte(`{"user":"anna"}`), From: "anna"}},
		{batch: &realtime.Batch{From: cursor(t, "ab12-700:20:3,7"), To: cursor(t, "ab12-745:5:2")}},
		{batch: &realtime.Batch{From: cursor(t, "ab12-700:20:3,7"), To: end, Events: []*realtime.Event{
			{ID: realtime.ID{Entry: 9}, Xid: 703, At: at, Topic: "messages", Type: "message_added", Key: "9", Keyed: true, Data: []byte(`{"id":9}`), Cursor: midway("9")},
			{ID: realtime.ID{Entry: 9, Row: 1}, Xid: 703, At: at, Topic: "messages", Type: "message_added", Keyed: true, Data: []byte(`{}`), Cursor: midway("9.1")},
			{ID: realtime.ID{Entry: 10}, Xid: 744, At: at, Topic: "comments", Type: "comment_updated", Key: "1", Keyed: true, OldKey: "2", Moved: true, Omitted: true, Open: true, Cursor: midway("10")},
			{ID: realtime.ID{Entry: 11}, Xid: 744, At: at, Topic: "comments", Type: "comments_truncated", Everywhere: true, Cursor: midway("11")},
			{ID: realtime.ID{Entry: 12}, Xid: 744, At: at, Topic: "notes", Type: "note_added", Data: []byte(`{}`), Guard: &realtime.Guard{Now: []byte("1"), Left: []byte{}}, Cursor: end},
		}}},
	}
}

func TestRecordsComeAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, want := range samples(t) {
		payload := appendRecord(nil, want)
		got, err := decodeRecord(payload)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		for n := range payload {
			if _, err := decodeRecord(payload[:n]); err == nil {
				t.Errorf("the first %d of %d bytes are read as a record", n, len(payload))
			}
		}
		if _, err := decodeRecord(append(bytes.Clone(payload), 0)); err == nil {
			t.Error("a record with a byte behind it is read")
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range samples(f) {
		f.Add(appendRecord(nil, r))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := decodeRecord(payload)
		if err != nil {
			return
		}
		again := appendRecord(nil, r)
		same, err := decodeRecord(again)
		if err != nil {
			t.Fatalf("%v: %q", err, again)
		}
		if !reflect.DeepEqual(same, r) {
			t.Fatalf("got %+v\nwant %+v", same, r)
		}
	})
}
