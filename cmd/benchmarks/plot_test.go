package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"testing"
)

func TestDecades(t *testing.T) {
	for _, test := range []struct {
		values    []float64
		low, high float64
	}{
		{nil, 1, 10},
		{[]float64{1}, 1, 10},
		{[]float64{1, 10_000}, 1, 10_000},
		{[]float64{0.03, 2, 11}, 0.01, 100},
		{[]float64{1000}, 1000, 10_000},
		{[]float64{250}, 100, 1000},
	} {
		low, high := decades(test.values)
		if math.Abs(low/test.low-1) > 1e-9 || math.Abs(high/test.high-1) > 1e-9 {
			t.Errorf("decades(%v) = %v, %v, want %v, %v", test.values, low, high, test.low, test.high)
		}
	}
}

func TestDecadeTicks(t *testing.T) {
	var labels []string
	marks := 0
	for _, tick := range decadeTicks(0.01, 1000) {
		if tick.Label == "" {
			marks++
			continue
		}
		labels = append(labels, tick.Label)
	}
	want := []string{"0.01", "0.1", "1", "10", "100", "1,000"}
	if len(labels) != len(want) || marks != 8*(len(want)-1) {
		t.Fatalf("got %q and %d marks, want %q", labels, marks, want)
	}
	for i := range want {
		if labels[i] != want[i] {
			t.Errorf("got %q, want %q", labels[i], want[i])
		}
	}
}

func TestFiguresAreMedians(t *testing.T) {
	f := figures{}
	for _, value := range []float64{0.003, 0.001, 0.002} {
		f.add(10, value)
		f.add(1, 2*value)
	}
	got := f.curve("p50", 1000)
	if len(got.points) != 2 || got.points[0] != (point{1, spread{4, 2, 6}}) || got.points[1] != (point{10, spread{2, 1, 3}}) {
		t.Errorf("got %v", got.points)
	}
	if c := (chart{curves: []curve{got}}); c.rises() {
		t.Error("a curve that falls is said to rise")
	}
}

func TestChartIsSVG(t *testing.T) {
	fast, slow := curve{name: "p50"}, curve{name: "p99"}
	for _, x := range []float64{1, 10, 100} {
		fast.add(x, spread{x, x / 2, x * 2})
		slow.add(x, spread{0, 0, 0}) // has no place on a logarithmic axis
	}
	slow.add(1000, spread{20, 10, 50})
	c := chart{name: "test", title: "A title", x: "rows", y: "ms", curves: []curve{fast, slow}}
	text, err := c.svg()
	if err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{">A title<", ">p99<", ">1,000<", "fill:#FFFFFF", "Arial"} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("there is no %q in it", part)
		}
	}
}
