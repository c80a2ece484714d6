package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

var columns = []string{"fault", "instances", "Redis", "times", "events written", "deliveries expected", "lost", "doubled", "out of order", "untrue", "leaked", "untrue presence", "resets", "longest silence"}

// report is the table, in Markdown, and what there is to say beside it.
func report(rows []row) string {
	cells := [][]string{columns}
	var notes []string
	for _, r := range rows {
		by := "no"
		if r.fleet.redis {
			by = "yes"
		}
		line := []string{r.fault.title, strconv.Itoa(r.fleet.size()), by}
		if r.skipped != "" {
			notes = append(notes, fmt.Sprintf("%s: %s.", r.title(), r.skipped))
			for range columns[len(line):] {
				line = append(line, "–")
			}
			cells = append(cells, line)
			continue
		}
		times := "–"
		if r.times != nil {
			times = thousands(*r.times)
		}
		line = append(line, times)
		for _, n := range []int{r.written, r.expected, r.lost, r.doubled, r.disordered, r.untrue, r.leaked, r.misled, r.resets} {
			line = append(line, thousands(n))
		}
		cells = append(cells, append(line, fmt.Sprintf("%.1f s", r.silence.Round(100*time.Millisecond).Seconds())))
		for _, remark := range r.remarks {
			notes = append(notes, fmt.Sprintf("%s: %s.", r.title(), remark))
		}
		for _, wrong := range r.wrong {
			notes = append(notes, fmt.Sprintf("%s: WRONG: %s.", r.title(), wrong))
		}
	}
	out := &strings.Builder{}
	writeTable(out, cells)
	if len(notes) > 0 {
		out.WriteString("\n")
	}
	for _, note := range notes {
		out.WriteString("- " + note + "\n")
	}
	return out.String()
}

// writeTable writes a table whose first line is its head, and whose columns but the first hold figures.
func writeTable(out *strings.Builder, cells [][]string) {
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range cells {
		for i, cell := range line {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				cell += gap
			} else {
				cell = gap + cell
			}
			out.WriteString("| " + cell + " ")
		}
		out.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, width := range widths {
			rule := strings.Repeat("-", width)
			if i > 0 {
				rule = rule[1:] + ":"
			}
			out.WriteString("| " + rule + " ")
		}
		out.WriteString("|\n")
	}
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
