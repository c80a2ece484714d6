package main

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	tidings "tidings/clients/go"
)

// style is how something looks on a terminal: the number of an ANSI sequence.
type style string

const (
	styleNone   style = ""
	styleFaint  style = "2"
	styleRed    style = "31"
	styleGreen  style = "32"
	styleYellow style = "33"
)

func styleOf(m tidings.Message) style {
	switch m.Action() {
	case tidings.Added:
		return styleGreen
	case tidings.Updated:
		return styleYellow
	case tidings.Deleted, tidings.Truncated:
		return styleRed
	}
	return styleFaint
}

// span is text in one style.
type span struct {
	style style
	text  string
}

// writeSpans appends spans, cut to so many columns; all, if they are negative.
func writeSpans(b *bytes.Buffer, spans []span, columns int, color bool) {
	total := 0
	for _, s := range spans {
		total += displayWidth(s.text)
	}
	cut := columns >= 0 && total > columns
	left := columns - 1 // for the ellipsis
	for i, s := range spans {
		text := s.text
		if i == len(spans)-1 && !cut {
			text = strings.TrimRight(text, " ")
		}
		end := false
		if cut {
			fitting := fit(text, left)
			end = len(fitting) < len(text)
			left -= displayWidth(fitting)
			text = fitting
			if end {
				text += "…"
			}
		}
		if color && s.style != styleNone && text != "" {
			fmt.Fprintf(b, "\x1b[%sm%s\x1b[0m", s.style, text)
		} else {
			b.WriteString(text)
		}
		if end {
			return
		}
	}
}

// fit is as much of the text as has its place in so many columns.
func fit(text string, columns int) string {
	for i, r := range text {
		if columns -= runeWidth(r); columns < 0 {
			return text[:i]
		}
	}
	return text
}

// displayWidth is how many columns a text takes.
func displayWidth(text string) int {
	n := 0
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case r < 0x7F:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(0, columns-displayWidth(text)))
}

// plain is text that does nothing to a terminal but to be read: what would is written as in JSON.
func plain(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if !strings.ContainsFunc(text, commands) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if commands(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// commands reports whether a terminal would do something by a character: move, ring, or turn the direction of writing.
func commands(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// jsonSpans are those of compact JSON, in which the names are faint and the values are not.
func jsonSpans(text []byte) []span {
	s := plain(string(text))
	var spans []span
	begun := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '"' {
			continue
		}
		end := i + 1
		for end < len(s) && s[end] != '"' {
			if s[end] == '\\' {
				end++
			}
			end++
		}
		if end+1 < len(s) && s[end+1] == ':' {
			if begun < i {
				spans = append(spans, span{styleNone, s[begun:i]})
			}
			spans = append(spans, span{styleFaint, s[i : end+2]})
			begun = end + 2
			end++
		}
		i = end
	}
	return append(spans, span{styleNone, s[min(begun, len(s)):]})
}
