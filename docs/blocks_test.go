package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of a document.
type block struct {
	line int    // of its first line, counted from 1
	lang string // what it is marked as: sh, sql, console, …
	name string // the word behind that: a terminal or a file; empty: the terminal in which one writes
	text string
}

var fence = regexp.MustCompile("^( *)(```+)([a-z]*) ?(.*)$")

// readBlocks returns the fenced blocks of a document, in order.
func readBlocks(t testing.TB, path string) []block {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	var open *block
	var indent, ticks string
	for i, line := range strings.Split(string(text), "\n") {
		match := fence.FindStringSubmatch(line)
		switch {
		case open == nil && match != nil:
			indent, ticks = match[1], match[2]
			open = &block{line: i + 2, lang: match[3], name: match[4]}
		case open != nil && match != nil && match[2] == ticks && match[3] == "":
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block has no end", path, open.line)
	}
	return blocks
}
