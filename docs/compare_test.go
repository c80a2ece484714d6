package docs_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// Words that differ from one run to the next: a document shows one, and another is as good.
var differing = []struct {
	pattern     *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}-\d+(:\d+(:\d+(,\d+)*)?)?(-\d+(:\d+(:\d+(,\d+)*)?)?-\d+(\.\d+)?)?`), "CURSOR"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d+(Z|\+00:00|\+00)?`), "TIME"}, // one with a fraction; others are rows'
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\.\d{3}\b`), "TIME"},
	{regexp.MustCompile(`"id":"\d+"`), `"id":"ID"`},
	{regexp.MustCompile(`retry: \d+`), "retry: MS"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`127\.0\.0\.1 port \d+`), "127.0.0.1 port PORT"},
	{regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`), "TOKEN"},
	{regexp.MustCompile(`" ?: `), `":`}, // JSON as PostgreSQL prints it
	{regexp.MustCompile(` +`), " "},     // columns are as wide as what is in them
	{regexp.MustCompile(`---+`), "---"},
}

// usual is text without what differs.
func usual(text string) string {
	for _, d := range differing {
		text = d.pattern.ReplaceAllString(text, d.replacement)
	}
	return strings.TrimRight(text, " \t")
}

// sameLine reports whether a line is as it is shown, where … stands for anything.
func sameLine(shown, got string) bool {
	parts := strings.Split(usual(shown), "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(usual(got))
}

// quiet are lines by which what follows only says that it is there.
var quiet = regexp.MustCompile(`^(:|id: .*|(data: )?\{"type":"(subscribed|cursor)".*|following .*|)$`)

// lines are those of a text, without empty ones at its end.
func lines(text string) []string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// errMore says that what is shown may yet be printed.
var errMore = errors.New("is not printed")

// compare looks whether lines are as shown, and returns how many there are of them. If what prints them goes on, there may be more behind those, and what
// says nothing between them.
func compare(shown, got []string, goesOn bool) (used int, err error) {
	for len(shown) > 0 {
		switch {
		case used == len(got):
			return used, fmt.Errorf("%q %w", shown[0], errMore)
		case sameLine(shown[0], got[used]):
			shown = shown[1:]
		case goesOn && quiet.MatchString(got[used]):
		default:
			return used, fmt.Errorf("printed is %q, and shown %q", got[used], shown[0])
		}
		used++
	}
	if used < len(got) && !goesOn {
		return used, fmt.Errorf("printed is %q as well", got[used])
	}
	return used, nil
}

// What is shown is compared, but for what differs from one run to the next.
func TestCompare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shown, got   string
		same, waited bool
	}{
		{"orders is live", "orders is live", true, false},
		{"orders is live", "order is live", false, false},
		{"INSERT 0 1", "INSERT 0 2", false, false},
		{`{"cursor":"6ce1a2d1-812"}`, `{"cursor":"27c6d97a-745-752-1042.7"}`, true, false},
		{`{"cursor":"6ce1a2d1-812"}`, `{"cursor":"27c6d97a-745:5:0,2"}`, true, false},
		{`{"cursor":"6ce1a2d1-812"}`, `{"cursor":""}`, false, false},
		{`10:20:30.123  order_added  {"id":4,…}`, `23:59:59.001  order_added        {"id":4,"total":1}`, true, false},
		{`10:20:30.123  order_added  {"id":4,…}`, `23:59:59.001  order_added        {"id":5,"total":1}`, false, false},
		{`"at":"2026-03-01T10:20:30.123456Z"`, `"at":"2027-03-01T10:20:30.5Z"`, true, false},
		{`"placed_at":"2025-11-03T10:15:00+00:00"`, `"placed_at":"2025-11-03T10:16:00+00:00"`, false, false},
		{"a\nb", "a", false, true},
		{"a", "a\nb", false, false},
	} {
		if _, err := compare(lines(c.shown), lines(c.got), false); (err == nil) != c.same {
			t.Errorf("shown %q, printed %q: %v", c.shown, c.got, err)
		}
		if _, err := compare(lines(c.shown), lines(c.got), true); errors.Is(err, errMore) != c.waited {
			t.Errorf("shown %q, printed %q so far: %v", c.shown, c.got, err)
		}
	}
	stream := lines(":\nid: 6ce1a2d1-811\nid: 6ce1a2d1-812\ndata: x\ndata: y")
	if used, err := compare(lines("id: 6ce1a2d1-812\ndata: x"), stream, true); err != nil || used != 4 {
		t.Errorf("of a stream, %d lines are used: %v", used, err)
	}
	if _, err := compare(lines("data: y"), stream, true); err == nil || errors.Is(err, errMore) {
		t.Errorf("a line that is not shown is passed over: %v", err)
	}
}
