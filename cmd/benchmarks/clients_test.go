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
		{`{"type":"reset","channel":"bench","reason":"expired"}`, 0, eventOther},
		{``, 0, eventOther},
	} {
		if id, kind := parseEvent([]byte(test.text)); id != test.id || kind != test.kind {
			t.Errorf("parseEvent(%s) = %d, %d, want %d, %d", test.text, id, kind, test.id, test.kind)
		}
	}
}

func TestMark(t *testing.T) {
	c := &client{}
	for _, id := range []int64{1, 64, 63, 1_000_001, 0} {
		if !c.mark(id) {
			t.Errorf("%d came for the first time, and was called doubled", id)
		}
		if c.mark(id) {
			t.Errorf("%d came twice, and was not noticed", id)
		}
	}
}

func TestPgbenchRate(t *testing.T) {
	const output = "number of failed transactions: 0 (0.000%)\nlatency average = 0.5 ms\ntps = 8123.4567 (without initial connection time)\n"
	if got, err := pgbenchRate(output); err != nil || got != 8123.4567 {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := pgbenchRate("nothing"); err == nil {
		t.Errorf("got %v from nothing, want an error", got)
	}
}
