package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	tidings "tidings/clients/go"
)

func TestConditions(t *testing.T) {
	t.Parallel()
	row := json.RawMessage(`{"id":9007199254740993,"total":12.50,"title":"a=b","empty":"","nothing":null,"yes":true,"tags":["x","y"],"n":"12.5"}`)
	for condition, want := range map[string]bool{
		"id=9007199254740993": true, "id=9007199254740992": false, "id!=9007199254740992": true,
		"total=12.5": true, "total=12.50": true, "total=1.25e1": true, "total!=12.5": false, "total=12": false,
		"n=12.5": true, "n=12.50": false, // it is text
		"title=a=b": true, "title=a": false, "title~a": true, "title~^a=": true, "title~^b": false, "title!=a": true,
		"empty=": true, "empty!=": false, "empty=null": false, "nothing=null": true, "nothing=": false, "yes=true": true,
		`tags=["x","y"]`: true, `tags~"y"`: true,
		"other=1": false, "other!=1": true, "other~.*": false,
	} {
		f, err := newTailFilter(nil, []string{condition})
		if err != nil {
			t.Errorf("%s: %v", condition, err)
		} else if got := f.wantsRow("row", row); got != want {
			t.Errorf("%s is %t", condition, got)
		}
	}
}

// Two that keep their cursor in one file do not keep each other from it: it has a whole one at any time.
func TestCursorFileOfTwo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cursor")
	var two errgroup.Group
	for _, cursor := range []string{"a-1", "a-" + strings.Repeat("2", 5000)} {
		two.Go(func() error {
			f, _, err := openCursorFile(path)
			for i := 0; i < 200 && err == nil; i++ {
				err = f.write(cursor, false)
				if text, readErr := os.ReadFile(path); err == nil && (readErr != nil || len(text) != 4 && len(text) != 5003) {
					err = fmt.Errorf("there are %d bytes, %w", len(text), readErr)
				}
			}
			return err
		})
	}
	if err := two.Wait(); err != nil {
		t.Error(err)
	}
}

// What a row has in it does nothing to a terminal, as JSON neither; jq is given it as it came.
func TestTailJSON(t *testing.T) {
	t.Parallel()
	frame := "{\"type\":\"a_added\",\t\"data\":{\"a\":\"\u009b2J\u202e\x7f\u0436\"}}"
	for want, terminal := range map[string]bool{frame + "\n": false, `{"type":"a_added","data":{"a":"\u009b2J\u202e\u007fж"}}` + "\n": true} {
		var b bytes.Buffer
		p := tailPrinter{out: &b, json: true, terminal: terminal}
		if err := p.frame([]byte(frame)); err != nil || b.String() != want {
			t.Errorf("on a terminal %t: got %q, %v, want %q", terminal, &b, err, want)
		}
	}
}

// A disk that is full leaves nothing behind but the cursor that there was.
func TestCursorFileIsNotWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cursor")
	f, _, err := openCursorFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.keep("a-1"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".old", 0o700); err != nil {
		t.Fatal(err)
	}
	f.path = path + ".old" // which no file takes the place of
	if err := f.keep("a-2"); err == nil || !strings.Contains(err.Error(), "--cursor-file") {
		t.Errorf("got %v", err)
	}
	if left, err := filepath.Glob(path + "*new"); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "a-1\n" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestTailLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 10, 20, 30, 123_000_000, time.Local)
	m := tidings.Message{Kind: tidings.Event, Type: "message_added", Channel: "messages:5", At: at, Data: json.RawMessage(`{"id": 5, "a\"b": "c:\"d"}`)}
	for _, c := range []struct {
		name  string
		p     tailPrinter
		m     tidings.Message
		lines []string
	}{
		{"as it is", tailPrinter{}, m, []string{`2026-03-01 10:20:30.123  message_added  messages:5  {"id":5,"a\"b":"c:\"d"}`}},
		{"in colours", tailPrinter{color: true, terminal: true, day: "2026-03-01"}, m,
			[]string{"\x1b[2m10:20:30.123  \x1b[0m\x1b[32mmessage_added  \x1b[0mmessages:5  {\x1b[2m\"id\":\x1b[0m5,\x1b[2m\"a\\\"b\":\x1b[0m\"c:\\\"d\"}"}},
		{"of another day", tailPrinter{terminal: true}, m, []string{"2026-03-01", `10:20:30.123  message_added  messages:5  {"id":5,"a\"b":"c:\"d"}`}},
		{"with columns", tailPrinter{typ: 15, channel: 12}, m, []string{`2026-03-01 10:20:30.123  message_added    messages:5    {"id":5,"a\"b":"c:\"d"}`}},
		{"a truncation", tailPrinter{}, tidings.Message{Kind: tidings.Event, Type: "messages_truncated", Channel: "messages", At: at},
			[]string{`2026-03-01 10:20:30.123  messages_truncated  messages`}},
		{"too large", tailPrinter{}, tidings.Message{Kind: tidings.Event, Type: "a_added", Channel: "a", At: at, Omitted: true, MovedFrom: "b"},
			[]string{`2026-03-01 10:20:30.123  a_added  a  from b  (too large to be sent)`}},
		{"a row", tailPrinter{}, tidings.Message{Type: "row", Channel: "a", Data: json.RawMessage(`{}`)}, []string{strings.Repeat(" ", 23) + `  row  a  {}`}},
		{"what a terminal would do", tailPrinter{}, tidings.Message{Kind: tidings.Event, Type: "a_added", Channel: "a:\x1b[2J", At: at, Data: json.RawMessage("{\"a\":\"\u202e\u009b\u0436\"}")},
			[]string{`2026-03-01 10:20:30.123  a_added  a:\u001b[2J  {"a":"\u202e\u009bж"}`}},
	} {
		var b bytes.Buffer
		c.p.line(&b, c.m)
		if got, want := b.String(), strings.Join(c.lines, "\n")+"\n"; got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, want)
		}
	}
}

// A line is as wide as the terminal at most, whatever the characters.
func TestCutting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text    string
		columns int
		want    string
	}{
		{"abcdef", 6, "abcdef"}, {"abcdef", 5, "abcd…"}, {"abcdef", 1, "…"}, {"abcdef", -1, "abcdef"},
		{"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"},
		{"е\u0301е\u0301е\u0301", 3, "е\u0301е\u0301е\u0301"}, {"е\u0301е\u0301е\u0301", 2, "е\u0301…"},
	} {
		for at := range c.text {
			spans := []span{{styleNone, c.text[:at]}, {styleNone, c.text[at:]}}
			var b bytes.Buffer
			if writeSpans(&b, spans, c.columns, false); b.String() != c.want {
				t.Errorf("%q in %d columns is %q, want %q", c.text, c.columns, &b, c.want)
			}
		}
	}
}

func TestQuoteForShell(t *testing.T) {
	t.Parallel()
	for channel, want := range map[string]string{"comments:1": "comments:1", "files:a b": "'files:a b'", "files:it's": `'files:it'\''s'`, "x:$y": "'x:$y'"} {
		if got := quoteForShell(channel); got != want {
			t.Errorf("%s is %s", channel, got)
		}
	}
}
