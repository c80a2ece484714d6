package db

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"tidings/realtime"
)

// What PostgreSQL's format says is what pgx says that it says.
func FuzzDecodeTexts(f *testing.F) {
	types := pgtype.NewMap()
	for _, texts := range [][]*string{nil, {}, {nil}, {new("")}, {new("a"), nil, new("\x00\xff"), new("")}, {nil, nil, new("z")}} {
		b, err := types.Encode(pgtype.TextArrayOID, pgtype.BinaryFormatCode, texts, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x19\xff\xff\xff\xff\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeTexts(bytes.Clone(b))
		var want []*string
		wantErr := types.Scan(pgtype.TextArrayOID, pgtype.BinaryFormatCode, b, &want)
		if err != nil {
			return // it may be stricter
		}
		if wantErr != nil && len(got) > 0 {
			t.Fatalf("%x is %q, and for pgx: %v", b, got, wantErr)
		}
		if wantErr == nil && len(got) != len(want) {
			t.Fatalf("%x is %q, want %d elements", b, got, len(want))
		}
		for i := range want {
			if (got[i] == nil) != (want[i] == nil) || want[i] != nil && string(got[i]) != *want[i] {
				t.Fatalf("%x: element %d is %q", b, i, got[i])
			}
		}
	})
}

// It takes what PostgreSQL sends: none of these is refused.
func TestDecodeTexts(t *testing.T) {
	t.Parallel()
	types := pgtype.NewMap()
	for _, want := range [][]*string{{nil}, {new("")}, {new("a"), nil, new("b\nc"), new("")}, make([]*string, 1000)} {
		b, err := types.Encode(pgtype.TextArrayOID, pgtype.BinaryFormatCode, want, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeTexts(b)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%x is %q, %v, want %d elements", b, got, err, len(want))
		}
		for i := range want {
			if (got[i] == nil) != (want[i] == nil) || want[i] != nil && string(got[i]) != *want[i] {
				t.Errorf("%x: element %d is %q", b, i, got[i])
			}
		}
		for n := range b {
			if got, err := decodeTexts(b[:n:n]); err == nil && len(got) > 0 {
				t.Errorf("the first %d bytes of %x are %q", n, b, got)
			}
		}
	}
}

// textArray is what PostgreSQL sends of a text[].
func textArray(t testing.TB, texts ...*string) []byte {
	t.Helper()
	b, err := pgtype.NewMap().Encode(pgtype.TextArrayOID, pgtype.BinaryFormatCode, texts, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An entry is one event or, if it is a chunk, one for each of its rows.
func TestDecodeEntry(t *testing.T) {
	t.Parallel()
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	at := time.Date(2024, 2, 3, 4, 5, 6, 7000, time.UTC)
	for _, c := range []struct {
		name                    string
		key, oldKey, data, rows []byte
		want                    []realtime.Event
	}{
		{"a row", []byte("5"), nil, []byte(`{"id":5}`), nil, []realtime.Event{{Keyed: true, Key: "5", Data: []byte(`{"id":5}`)}}},
		{"a row that moved", []byte("6"), []byte("5"), []byte(`{"id":6}`), nil,
			[]realtime.Event{{Keyed: true, Key: "6", Moved: true, OldKey: "5", Data: []byte(`{"id":6}`)}}},
		{"a row that moved to no key", nil, []byte("5"), []byte(`{}`), nil, []realtime.Event{{Moved: true, OldKey: "5", Data: []byte(`{}`)}}},
		{"a row with an empty key that moved from one", []byte{}, []byte{}, []byte(`{}`), nil, []realtime.Event{{Keyed: true, Moved: true, Data: []byte(`{}`)}}},
		{"a row without a key", nil, nil, []byte(`{}`), nil, []realtime.Event{{Data: []byte(`{}`)}}},
		{"a row that is too large", []byte("5"), []byte("4"), []byte(`null`), nil, []realtime.Event{{Keyed: true, Key: "5", Moved: true, OldKey: "4", Omitted: true}}},
		{"a row that is not UTF-8", nil, nil, []byte("{\"v\":\"\xff\"}"), nil, []realtime.Event{{Data: []byte("{\"v\":\"\uFFFD\"}")}}},
		{"a truncation", nil, nil, nil, nil, []realtime.Event{{Everywhere: true}}},
		{"a chunk of one", nil, nil, []byte(`1`), textArray(t, new(`{}`), new("k")), []realtime.Event{{Keyed: true, Key: "k", Data: []byte(`{}`)}}},
		{"a chunk", nil, nil, []byte(`3`), textArray(t, new(`{"n":1}`), nil, new(`{"n":3}`), new("a"), new("b"), nil), []realtime.Event{
			{Keyed: true, Key: "a", Data: []byte(`{"n":1}`)}, {Keyed: true, Key: "b", Omitted: true}, {Data: []byte(`{"n":3}`)}}},
		{"a chunk without keys", nil, nil, []byte(`2`), textArray(t, new(`{"n":1}`), new(`{"n":2}`), nil, nil), []realtime.Event{
			{Data: []byte(`{"n":1}`)}, {Data: []byte(`{"n":2}`)}}},
		{"a chunk in which rows moved", nil, nil, []byte(`3`), textArray(t, new(`{}`), new(`{}`), nil, new("a"), nil, new("c"), nil, new("b"), new("")), []realtime.Event{
			{Keyed: true, Key: "a", Data: []byte(`{}`)}, {Moved: true, OldKey: "b", Data: []byte(`{}`)}, {Keyed: true, Key: "c", Moved: true, Omitted: true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			columns := [][]byte{number(7), number(8), number(uint64(at.UnixMicro() - postgresEpoch)), []byte("items"), []byte("item_x"), c.key, c.oldKey, c.data, c.rows, nil}
			// What is left of the entry before, and what becomes of the columns' memory, does not matter.
			e := entry{topic: "others", first: row{key: []byte("x"), oldKey: []byte("x"), data: []byte("x")}, chunk: make([]row, 9)}
			if err := e.decode(columns); err != nil {
				t.Fatal(err)
			}
			var got []realtime.Event
			for _, column := range columns {
				for i := range column {
					column[i] = 'z'
				}
			}
			for i := range e.len() {
				got = append(got, *e.event(i))
			}
			for i := range c.want {
				c.want[i].ID, c.want[i].Xid, c.want[i].At, c.want[i].Topic, c.want[i].Type = realtime.ID{Entry: 7, Row: i}, 8, at, "items", "item_x"
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", show(got), show(c.want))
			}
		})
	}
}

func show(events []realtime.Event) (text string) {
	for _, e := range events {
		text += fmt.Sprintf("%v %d %s %s %s keyed %t %q moved %t %q everywhere %t omitted %t %s\n",
			e.ID, e.Xid, e.At, e.Topic, e.Type, e.Keyed, e.Key, e.Moved, e.OldKey, e.Everywhere, e.Omitted, e.Data)
	}
	return text
}

// A chunk of which number and array don't belong together is an error.
func TestDecodeChunkRefuses(t *testing.T) {
	t.Parallel()
	four, six := textArray(t, make([]*string, 4)...), textArray(t, make([]*string, 6)...)
	for _, c := range []struct {
		number string
		array  []byte
	}{
		{"", four}, {"x", four}, {"null", four}, {"1.0", four}, {`"2"`, four}, {"{}", four}, {"-2", four}, {"0", four}, {"1", four}, {"3", four}, {"4", four},
		{"1", six}, {"6", six}, {"0", textArray(t)}, {"1", textArray(t)}, {"1", nil}, {"1", []byte{}}, {"2", four[:len(four)-1]}, {"2", append(bytes.Clone(four), 0)},
		{"99999999999999999999", four},
		// numbers that times two or three are small, where numbers have 64 bits
		{"-9223372036854775806", four}, {"9223372036854775807", four}, {"6148914691236517206", textArray(t, make([]*string, 2)...)}, {"4611686018427387906", four},
	} {
		var e entry
		if err := e.decodeChunk([]byte(c.number), c.array); err == nil {
			t.Errorf("%q rows of %x: no error", c.number, c.array)
		}
	}
	for _, array := range [][]byte{four, six} {
		var e entry
		if err := e.decodeChunk([]byte("2"), array); err != nil || len(e.chunk) != 2 {
			t.Errorf("2 rows of %x: %d, %v", array, len(e.chunk), err)
		}
	}
}

// A chunk has as many events as it says, and each is what stands in its array.
func FuzzDecodeChunk(f *testing.F) {
	types := pgtype.NewMap()
	f.Add([]byte("1"), textArray(f, new("{}"), new("k")))
	f.Add([]byte("2"), textArray(f, new("{}"), nil, new("k"), nil, nil, new("o")))
	f.Add([]byte("6148914691236517206"), textArray(f, new("{}"), nil))
	f.Add([]byte("-1"), textArray(f, nil, nil))
	f.Fuzz(func(t *testing.T, number, array []byte) {
		var e entry
		if e.decodeChunk(number, bytes.Clone(array)) != nil {
			return
		}
		var texts []*string
		if err := types.Scan(pgtype.TextArrayOID, pgtype.BinaryFormatCode, array, &texts); err != nil {
			t.Fatalf("%x: %v", array, err)
		}
		n, err := strconv.Atoi(string(number))
		if err != nil || n != e.len() || len(texts) != 2*n && len(texts) != 3*n {
			t.Fatalf("%q rows of %d texts are %d events", number, len(texts), e.len())
		}
		for i := range n {
			ev := e.event(i)
			if data := texts[i]; ev.Everywhere || ev.Omitted != (data == nil || *data == "null") {
				t.Fatalf("row %d, %v, omitted %t", i, data, ev.Omitted)
			}
			if key := texts[n+i]; ev.Keyed != (key != nil) || key != nil && ev.Key != *key {
				t.Fatalf("row %d has the key %v, got %t %q", i, key, ev.Keyed, ev.Key)
			}
			if ev.Moved != (len(texts) == 3*n && texts[2*n+i] != nil) || ev.Moved && ev.OldKey != *texts[2*n+i] {
				t.Fatalf("row %d moved from %q, %t", i, ev.OldKey, ev.Moved)
			}
		}
	})
}
