package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// spread is what the rounds of one measurement came to.
type spread struct {
	median, min, max float64
}

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	return spread{(sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1]}
}

// ratioOf divides round by round.
func ratioOf(values, bases []float64) spread {
	ratios := make([]float64, len(values))
	for i := range values {
		ratios[i] = values[i] / bases[i]
	}
	return spreadOf(ratios)
}

// cells are the median, and the lowest and the highest round.
func (s spread) cells(format func(float64) string) []string {
	return []string{format(s.median), format(s.min) + " – " + format(s.max)}
}

// rank returns the smallest of the sorted values that at least the share p of them does not exceed.
func rank[T cmp.Ordered](sorted []T, p float64) T {
	i := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[max(0, min(i, len(sorted)-1))]
}

// seconds is a duration as the other figures are.
func seconds(d time.Duration) float64 { return d.Seconds() }

func asRatio(v float64) string { return number(v, 2) }

func asCount(v float64) string { return number(v, 0) }

func asMilliseconds(s float64) string {
	digits := 0
	switch ms := math.Abs(s * 1000); {
	case ms < 10:
		digits = 2
	case ms < 100:
		digits = 1
	}
	return quantity(s*1000, digits, "ms")
}

func asMicroseconds(s float64) string { return quantity(s*1e6, 1, "µs") }

func asSeconds(s float64) string { return quantity(s, 2, "s") }

func asWholeSeconds(d time.Duration) string { return plural(int(d.Seconds()), "second") }

func asMegabytes(bytes float64) string { return quantity(bytes/1e6, 0, "MB") }

func asKilobytes(bytes float64) string { return quantity(bytes/1e3, 1, "KB") }

// quantity is a number with its unit.
func quantity(v float64, digits int, unit string) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	return number(v, digits) + " " + unit
}

// number groups the digits of a number.
func number(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	text := strconv.FormatFloat(math.Abs(v), 'f', digits, 64)
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	if v < 0 && strings.Trim(text, "0.") != "" {
		whole = "-" + whole
	}
	return whole
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%s %ss", number(float64(n), 0), what)
}
