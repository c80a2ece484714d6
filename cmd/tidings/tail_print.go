package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	tidings "tidings/clients/go"
)

// tailPrinter prints events: for people in columns, or as the frames that they are.
type tailPrinter struct {
	out      io.Writer
	json     bool
	terminal bool // out is one
	full     bool
	color    bool
	fields   []string
	day      string // that was printed last
	typ      int    // the columns' widths, which only grow
	channel  int
}

// maxColumn is how wide a column becomes for what is in it.
const maxColumn = 36

func newTailPrinter(c *tailCmd) *tailPrinter {
	p := &tailPrinter{out: os.Stdout, json: c.JSON, full: c.Full, fields: c.Fields, terminal: term.IsTerminal(int(os.Stdout.Fd()))}
	p.color = c.Color == "always" || c.Color == "auto" && p.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	for _, channel := range c.Channels {
		topic, _, keyed := strings.Cut(channel, ":")
		if !keyed {
			channel += ":123456"
		}
		p.typ = max(p.typ, min(len(topic+"_truncated"), maxColumn))
		p.channel = max(p.channel, min(len(channel), maxColumn))
	}
	return p
}

// frame prints a frame as it is, on one line.
func (p *tailPrinter) frame(frame []byte) error {
	_, err := p.out.Write(append(p.oneLine(frame), '\n'))
	return err
}

// oneLine is JSON without the line breaks that a column of type json may have; for a terminal, also without what it would do something by.
func (p *tailPrinter) oneLine(text []byte) []byte {
	if p.terminal {
		return []byte(plain(string(compact(text))))
	}
	if !bytes.ContainsAny(text, "\r\n") {
		return bytes.Clone(text)
	}
	return compact(text)
}

func compact(text []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return bytes.Clone(text) // it was none
	}
	return b.Bytes()
}

// message prints an event or a signal.
func (p *tailPrinter) message(m tidings.Message) error {
	if p.json {
		return p.frame(m.Raw)
	}
	if m.At.IsZero() {
		m.At = time.Now()
	}
	var b bytes.Buffer
	p.line(&b, m)
	_, err := p.out.Write(b.Bytes())
	return err
}

// rows prints those of a channel's rows that are wanted.
func (p *tailPrinter) rows(m tidings.Message, filter *tailFilter) error {
	out := bufio.NewWriter(p.out)
	for _, row := range m.Rows {
		if !filter.wantsRow("row", row) {
			continue
		}
		if p.json {
			channel, err := json.Marshal(m.Channel)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, `{"type":"row","channel":%s,"data":%s}`+"\n", channel, p.oneLine(row))
			continue
		}
		one := tidings.Message{Type: "row", Channel: m.Channel, Data: row}
		if one.Omitted = string(row) == "null"; one.Omitted {
			one.Data = nil
		}
		var b bytes.Buffer
		p.line(&b, one)
		_, _ = out.Write(b.Bytes()) // Flush says it
	}
	return out.Flush()
}

// line appends a message in columns.
func (p *tailPrinter) line(b *bytes.Buffer, m tidings.Message) {
	clock := ""
	if at := m.At.Local(); !m.At.IsZero() {
		day := at.Format(time.DateOnly)
		clock = at.Format("15:04:05.000")
		if !p.terminal {
			clock = day + " " + clock
		} else if today := time.Now().Format(time.DateOnly); p.day != day && (p.day != "" || day != today) {
			p.write(b, []span{{styleFaint, day}})
		}
		p.day = day
	}
	typ, channel := plain(m.Type), plain(m.Channel)
	p.typ = max(p.typ, min(displayWidth(typ), maxColumn))
	p.channel = max(p.channel, min(displayWidth(channel), maxColumn))
	clockWidth := len("15:04:05.000")
	if !p.terminal {
		clockWidth = len("2006-01-02 15:04:05.000")
	}
	spans := []span{{styleFaint, pad(clock, clockWidth) + "  "}, {styleOf(m), pad(typ, p.typ) + "  "}, {styleNone, pad(channel, p.channel) + "  "}}
	if m.MovedFrom != "" {
		spans = append(spans, span{styleFaint, "from " + plain(m.MovedFrom) + "  "})
	}
	switch {
	case m.Omitted:
		spans = append(spans, span{styleFaint, "(too large to be sent)"})
	case m.Data == nil: // of a truncation
	default:
		spans = append(spans, jsonSpans(p.choose(m.Data))...)
	}
	p.write(b, spans)
}

// choose leaves of a row the columns that are wanted.
func (p *tailPrinter) choose(row json.RawMessage) []byte {
	text := compact(row)
	var columns map[string]json.RawMessage
	if len(p.fields) == 0 || json.Unmarshal(text, &columns) != nil || columns == nil {
		return text
	}
	var kept []string
	for _, name := range p.fields {
		if value, there := columns[name]; there {
			quoted, _ := json.Marshal(name) // a string can always be
			kept = append(kept, string(quoted)+":"+string(value))
		}
	}
	return []byte("{" + strings.Join(kept, ",") + "}")
}

// write appends a line, cut to the terminal's width.
func (p *tailPrinter) write(b *bytes.Buffer, spans []span) {
	left := -1
	if p.terminal && !p.full {
		if columns, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && columns > 0 {
			left = columns
		}
	}
	writeSpans(b, spans, left, p.color)
	b.WriteByte('\n')
}
