package main

import (
	"math"
	"testing"
)

func TestSpreadOf(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{3, 1, 2}, spread{2, 1, 3}},
		{[]float64{4, 1, 3, 2}, spread{2.5, 1, 4}},
	} {
		if got := spreadOf(test.values); got != test.want {
			t.Errorf("spreadOf(%v) = %v, want %v", test.values, got, test.want)
		}
	}
}

func TestRatioOf(t *testing.T) {
	got, want := ratioOf([]float64{10, 30, 20}, []float64{10, 10, 40}), spread{1, 0.5, 3}
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRank(t *testing.T) {
	values := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for p, want := range map[float64]int{0: 1, 0.5: 5, 0.51: 6, 0.99: 10, 1: 10} {
		if got := rank(values, p); got != want {
			t.Errorf("rank(1 to 10, %v) = %d, want %d", p, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, test := range []struct {
		value  float64
		digits int
		want   string
	}{
		{0, 0, "0"}, {999, 0, "999"}, {1000, 0, "1,000"}, {1234567.891, 1, "1,234,567.9"},
		{-1234.5, 2, "-1,234.50"}, {-0.001, 2, "0.00"},
	} {
		if got := number(test.value, test.digits); got != test.want {
			t.Errorf("number(%v, %d) = %q, want %q", test.value, test.digits, got, test.want)
		}
	}
}

func TestWhatIsNotKnownHasNoUnit(t *testing.T) {
	if got := asSeconds(math.NaN()); got != "–" {
		t.Errorf("got %q", got)
	}
	if got := asMilliseconds(0.00123); got != "1.23 ms" {
		t.Errorf("got %q", got)
	}
}
