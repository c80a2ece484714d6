package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// table is one of the document.
type table struct {
	name string
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t table) markdown() string {
	var out strings.Builder
	line := func(cells []string) { out.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(t.head)
	rule := make([]string, len(t.head))
	for i := range rule {
		rule[i] = "---:"
		for _, row := range t.rows {
			if row[i] == "" || !strings.ContainsRune("0123456789–", []rune(row[i])[0]) {
				rule[i] = "---"
			}
		}
	}
	line(rule)
	for _, row := range t.rows {
		line(row)
	}
	return out.String()
}

// digits writes a figure with two that count, and whole thousands with commas: more would be a promise.
func digits(v float64) string {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return "0"
	}
	step := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-1)
	v = math.Round(v/step) * step
	step = math.Pow(10, math.Floor(math.Log10(math.Abs(v))+1e-9)-1) // 9.99 has become 10
	decimals := 0
	if step < 1 {
		decimals = int(math.Round(-math.Log10(step)))
	}
	return grouped(strconv.FormatFloat(v, 'f', decimals, 64))
}

func grouped(text string) string {
	whole, rest, fraction := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction {
		whole += "." + rest
	}
	return whole
}

func count(v float64) string { return grouped(strconv.FormatFloat(math.Ceil(v), 'f', 0, 64)) }

func cores(v float64) string {
	if v < 0.01 {
		return digits(v*1000) + " thousandths of a core"
	}
	return digits(v) + " cores"
}

func percent(v float64) string { return digits(v*100) + " %" }

func size(bytes float64) string { return scaled(bytes, "B") }

// bandwidth is in bits, as networks are sold.
func bandwidth(bytes float64) string { return scaled(bytes*8, "bit/s") }

func scaled(v float64, unit string) string {
	for _, prefix := range []string{"", "k", "M", "G"} {
		if v < 1000 {
			return digits(v) + " " + prefix + unit
		}
		v /= 1000
	}
	return digits(v) + " T" + unit
}

func seconds(v float64) string { return fmt.Sprintf("%s s", digits(v)) }
