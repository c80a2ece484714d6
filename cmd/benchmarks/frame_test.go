package main

import "testing"

func TestParseEvent(t *testing.T) {
	for _, test := range []struct {
		text string
		id   int64
		kind eventKind
	}{
		{`{"type":"bench_added","channel":"bench:12","id":"99","cursor":"c","at":"now","data":{"id":12,"author_id":1}}`, 12, eventAdded},
		{`{"type":"bench_added","channel":"bench:12","id":"99","omitted":true,"data":null}`, 0, eventOther},
		{`{"type":"bench_truncated","channel":"bench","id":"7","data":null}`, 0, eventTruncated},
		{`{"type":"rooms_updated","channel":"rooms:3","id":"8","cursor":"c","data":{"id":5,"room":3}}`, 5, eventUpdated},
		{`{"type":"reset","channel":"bench","reason":"expired"}`, 0, eventOther},
		{`{"type":"cursor","cursor":"c"}`, 0, eventNone},
		{`{"type":"`, 0, eventOther},
		{``, 0, eventOther},
	} {
		if id, kind := parseEvent([]byte(test.text)); id != test.id || kind != test.kind {
			t.Errorf("parseEvent(%s) = %d, %d, want %d, %d", test.text, id, kind, test.id, test.kind)
		}
	}
}
