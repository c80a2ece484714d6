package bench

import (
	"reflect"
	"strings"
	"testing"

	"tidings/db"
)

const rowFrame = `{"type":"bench_added","channel":"tidings_bench_x:3","id":"1042","cursor":"27c6d97a-747","at":"2026-03-01T10:20:30.123456Z",` +
	`"data":{"id":5,"channel":3,"sequence":17,"settled":160,"sent_at":123456789012,"content":"tidings tidings"}}`

// Frames as the service writes them are looked through.
func TestScanRow(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		rowFrame,
		strings.Replace(rowFrame, `"type"`, `"event"`, 1),
		strings.Replace(rowFrame, `"tidings tidings"`, `""`, 1),
		strings.Replace(rowFrame, `"tidings tidings"`, `"\"sequence\":18"`, 1),
	} {
		f, ok := scanRow([]byte(text))
		want := db.BenchRow{Channel: 3, Sequence: 17, Settled: 160, SentAt: 123456789012}
		if !ok || f.kind != db.BenchEvent || string(f.cursor) != "27c6d97a-747" || f.row != want {
			t.Errorf("%s: got %+v, %t", text, f, ok)
		}
	}
}

// Whatever is not as the service writes it today is decoded, and comes to the same.
func TestReadFrame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text               string
		kind, cursor, code string
		sequence           int64
	}{
		{rowFrame, "bench_added", "27c6d97a-747", "", 17},
		{strings.ReplaceAll(rowFrame, `,"`, `, "`), "bench_added", "27c6d97a-747", "", 17},
		{strings.ReplaceAll(rowFrame, `"settled":160,`, ``), "bench_added", "27c6d97a-747", "", 17},
		{strings.Replace(rowFrame, `"id":"1042",`, ``, 1), "bench_added", "27c6d97a-747", "", 17},
		{strings.Replace(rowFrame, `27c6d97a`, `\u0032`, 1), "bench_added", "2-747", "", 17},
		{strings.Replace(rowFrame, `{"type"`, `{"new":{"sequence":1},"type"`, 1), "bench_added", "27c6d97a-747", "", 17},
		{`{"type":"subscribed","channel":"tidings_bench_x:3","cursor":"27c6d97a-746"}`, "subscribed", "27c6d97a-746", "", 0},
		{`{"event":"subscribed","channel":"tidings_bench_x:3","cursor":"27c6d97a-746"}`, "subscribed", "27c6d97a-746", "", 0},
		{`{"type":"cursor","cursor":"27c6d97a-801"}`, "cursor", "27c6d97a-801", "", 0},
		{`{"type":"reset","reason":"expired","message":"load afresh"}`, "reset", "", "expired", 0},
		{`{"type":"error","code":"unknown_channel","message":"there is no channel"}`, "error", "", "unknown_channel", 0},
		{`{"type":"goodbye","code":"shutdown","message":"come back"}`, "goodbye", "", "shutdown", 0},
	} {
		f, err := readFrame([]byte(c.text))
		if err != nil || f.kind != c.kind || string(f.cursor) != c.cursor || f.code != c.code || f.row.Sequence != c.sequence {
			t.Errorf("%s: got %+v, %v", c.text, f, err)
		}
	}
	for _, text := range []string{"", "nonsense", rowFrame[:100], `{"type":"bench_added","cursor":"1-2","omitted":true,"data":null}`} {
		if f, err := readFrame([]byte(text)); err == nil {
			t.Errorf("%s: got %+v, want an error", text, f)
		}
	}
}

// Where a frame is looked through and can be decoded, both say the same.
func FuzzScanRow(f *testing.F) {
	f.Add([]byte(rowFrame))
	f.Add([]byte(strings.Replace(rowFrame, "17", "0", 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		scanned, ok := scanRow(text)
		decoded, err := decodeFrame(text)
		if !ok || err != nil || strings.Count(string(text), `"sequence"`) > 1 {
			return
		}
		decoded.row.Content = ""
		if !reflect.DeepEqual(scanned, decoded) {
			t.Errorf("%s: looked through %+v, decoded %+v", text, scanned, decoded)
		}
	})
}

func BenchmarkReadFrame(b *testing.B) {
	text := []byte(rowFrame)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readFrame(text); err != nil {
			b.Fatal(err)
		}
	}
}
