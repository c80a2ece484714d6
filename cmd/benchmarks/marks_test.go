package main

import "testing"

func TestMarks(t *testing.T) {
	m := &marks{}
	for _, id := range []int64{130, 1, 64, 63, 1_000_001, 0, 129} {
		if !m.add(id) {
			t.Errorf("%d came for the first time, and was called doubled", id)
		}
		if m.add(id) {
			t.Errorf("%d came twice, and was not noticed", id)
		}
	}
}

func TestMarksBeginAtTheFirst(t *testing.T) {
	m := &marks{}
	for id := int64(latencyFirstID); id < latencyFirstID+1000; id++ {
		m.add(id)
	}
	if len(m.bits) > 64 {
		t.Errorf("a thousand rows from the millionth on take %d words", len(m.bits))
	}
}
