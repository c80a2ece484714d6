package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// section is one part of the page.
type section struct {
	title   string
	method  string
	tables  []resultTable
	charts  []chart
	remarks string
}

// resultTable is a table of the page. All its columns but the first are set right if they hold figures.
type resultTable struct {
	head []string
	rows [][]string
}

// add adds a row; a cell is a string or several of them.
func (t *resultTable) add(cells ...any) {
	var row []string
	for _, cell := range cells {
		switch cell := cell.(type) {
		case string:
			row = append(row, cell)
		case []string:
			row = append(row, cell...)
		}
	}
	t.rows = append(t.rows, row)
}

// markdown writes the table so that it can be read as it is.
func (t *resultTable) markdown(out *strings.Builder) {
	widths := make([]int, len(t.head))
	right := make([]bool, len(t.head))
	for i, name := range t.head {
		widths[i] = max(3, utf8.RuneCountInString(name))
		right[i] = true
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
			right[i] = right[i] && isFigure(row[i])
		}
	}
	line := func(cells []string) {
		for i, cell := range cells {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if right[i] {
				cell = gap + cell
			} else {
				cell += gap
			}
			out.WriteString("| " + cell + " ")
		}
		out.WriteString("|\n")
	}
	line(t.head)
	rule := make([]string, len(t.head))
	for i := range rule {
		rule[i] = strings.Repeat("-", widths[i])
		if right[i] {
			rule[i] = rule[i][1:] + ":"
		}
	}
	line(rule)
	for _, row := range t.rows {
		line(row)
	}
}

func isFigure(cell string) bool {
	return cell != "" && strings.ContainsRune("0123456789-–", []rune(cell)[0])
}

// page is the whole, in Markdown.
func (b *bench) page(m machine, sections []section) string {
	out := &strings.Builder{}
	fmt.Fprintf(out, `# Benchmarks

tidings measured on one machine, against the same machine without it. This page is written by `+"`cmd/benchmarks`"+`; do not edit it.
`)
	if b.quick {
		out.WriteString("\n**A quick run: one short round, to see that the program works. Its figures mean little.**\n")
	}
	fmt.Fprintf(out, "\n## The machine\n\n")
	t := resultTable{head: []string{"", ""}}
	for _, fact := range m.facts(b.fsync) {
		t.add(fact[0], fact[1])
	}
	t.markdown(out)

	fmt.Fprintf(out, `
Measured on %s in %s, with

    %s

## How it is measured

The database is a PostgreSQL of its own with its default settings%s, migrated with both sets. The service is the program
as it is shipped, in a process of its own, with its default settings where nothing else is said. The clients are WebSocket
connections over the loopback interface, in the process that measures; each keeps account of every row that it gets, so that a row that is lost, or
comes twice, is seen. CPU is what the system counts for a process, in its own code and in the kernel.

%s The variants alternate within a round, in the other direction every other round, and a ratio is of two
measurements of the same round: what slowly changes on the machine changes both. The figures are the medians of the rounds, beside
them the lowest and the highest round; in the plots, the bars are from the lowest to the highest.
`, b.begun.Format("2 January 2006"), time.Since(b.begun).Round(time.Second), strings.Join(append([]string{"go run ./cmd/benchmarks"}, b.args...), " "),
		map[bool]string{true: " (`fsync` is on)", false: ", except that `fsync` is off"}[b.fsync],
		map[bool]string{true: "Everything is measured once.", false: fmt.Sprintf("Everything is measured in %d rounds.", b.rounds)}[b.rounds == 1])

	for _, s := range sections {
		fmt.Fprintf(out, "\n## %s\n\n%s\n", s.title, s.method)
		for _, t := range s.tables {
			out.WriteString("\n")
			t.markdown(out)
		}
		for _, c := range s.charts {
			if b.plots != "" {
				fmt.Fprintf(out, "\n![%s](%s)\n", c.title, b.link(c))
			}
		}
		if s.remarks != "" {
			fmt.Fprintf(out, "\n%s\n", s.remarks)
		}
	}
	if len(b.problems) > 0 {
		out.WriteString("\n## What should not have been\n\n")
		for _, problem := range b.problems {
			fmt.Fprintf(out, "- %s\n", problem)
		}
	}
	out.WriteString(repeat)
	return out.String()
}

// link is where a chart is, seen from the page.
func (b *bench) link(c chart) string {
	to := filepath.Join(b.plots, c.name+".svg")
	if b.out != "" {
		if relative, err := filepath.Rel(filepath.Dir(b.out), to); err == nil {
			to = relative
		}
	}
	return filepath.ToSlash(to)
}

const repeat = `
## To repeat it

    make bench                                                # all of it, and this page and its plots anew
    make bench BENCHFLAGS="-help"                             # what can be chosen
    go run ./cmd/benchmarks -only latency,fanout -rounds 3    # some of it, on the terminal

Nothing else should run on the machine meanwhile. It needs PostgreSQL's programs, as the embedded database does, and pgbench beside
them if it is there. Nothing is left behind.

## What these figures do not say

- Writers, PostgreSQL, service and clients share one machine and its cores. On machines of their own, each would be faster; here,
  what one of them saves, the others get. Where a thousand clients read, they use as much of the machine as what they measure.
- There is no network: the loopback interface loses nothing and takes microseconds.
- A ratio of row rates depends on what a commit costs. Where the disk is slow to flush, all variants come closer to each
  other; with ` + "`-fsync=false`" + ` they go further apart. A disk that says "flushed" too early, as those of virtual machines may, is like the latter.
- Rows are small and alike, and the tables begin empty. Larger rows cost more in the log, and more to send.
- But for one table, ` + "`INSERT`" + ` alone is measured. An ` + "`UPDATE`" + ` or a ` + "`DELETE`" + ` writes the same log entry beside more work of its own.
- The bare loop is a floor, not a server: it authenticates nobody, keeps nothing, and would wait for whoever does not read.
- What grows was measured one thing at a time. Many channels with many subscribers each, or a large log with many who resume from it, can cost more
  than each of them.
- A round is a few seconds: what takes hours to show (vacuum of the tables themselves, a large heap) is not in it. How the log fares
  when writing goes on is measured for some minutes; ` + "`-only upkeep -long 1h`" + ` makes it an hour.
- The clients read as fast as they are given time to. Slow and broken clients are the subject of the tests.
`
