package realtime_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"tidings/realtime"
)

func TestCursorText(t *testing.T) {
	snapshot := func(text string) realtime.Snapshot {
		s, err := realtime.ParseSnapshot(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, tt := range []struct {
		cursor realtime.Cursor
		want   string
	}{
		{realtime.Cursor{Origin: "3f9a", Seen: snapshot("745:745:")}, "3f9a-745"},
		{realtime.Cursor{Origin: "3f9a", Seen: snapshot("745:750:")}, "3f9a-745:5"},
		{realtime.Cursor{Origin: "3f9a", Seen: snapshot("745:750:745,747")}, "3f9a-745:5:0,2"},
		{realtime.Cursor{Origin: "3f9a", Seen: snapshot("745:750:745"), Upto: snapshot("750:752:751"),
			Last: realtime.ID{Entry: 1042, Row: 7}}, "3f9a-745:5:0-750:2:1-1042.7"},
		{realtime.Cursor{Origin: "3f9a", Seen: snapshot("745:745:"), Upto: snapshot("752:752:"),
			Last: realtime.ID{Entry: 1042}}, "3f9a-745-752-1042"},
	} {
		if got := tt.cursor.String(); got != tt.want {
			t.Errorf("text of %+v: got %q, want %q", tt.cursor, got, tt.want)
		}
		back, err := realtime.ParseCursor(tt.want)
		if err != nil || back.String() != tt.want {
			t.Errorf("parse %q: got %+v, %v", tt.want, back, err)
		}
	}
}

func TestBadCursors(t *testing.T) {
	for _, text := range []string{
		"", "-", "x", "x-", "-745", "x-0", "x--1", "x-745-746", "x-745-746-", "x-745-746-1.", "x-745-746-1-2", "x-746-745-1",
		"x-745:", "x-745:-1", "x-745:5:5", "x-745:5:2,1", "x-745:5:1,1", "x-745:5:", "x-99999999999999999999", "x-745:9223372036854775807",
		"x-745:5:0:1", "745:745:", strings.Repeat("x", 1<<20),
	} {
		if c, err := realtime.ParseCursor(text); err == nil {
			t.Errorf("parse %.40q: got %+v, want an error", text, c)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	for _, seed := range []string{"3f9a-745", "3f9a-745:5:0,2", "3f9a-745:5:0-750:2:1-1042.7", "a-1-1-0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := realtime.ParseCursor(text)
		if err != nil {
			return
		}
		back, err := realtime.ParseCursor(c.String())
		if err != nil || back.String() != c.String() {
			t.Errorf("parse %q: got %q, then %q (%v)", text, c, back, err)
		}
	})
}

// Sees and Includes agree with their definitions, transaction by transaction.
func TestSnapshotProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() realtime.Snapshot {
		s := realtime.Snapshot{Xmin: 1 + r.Uint64N(6)}
		s.Xmax = s.Xmin + r.Uint64N(6)
		for xid := s.Xmin; xid < s.Xmax; xid++ {
			if r.IntN(2) == 0 {
				s.Xip = append(s.Xip, xid)
			}
		}
		return s
	}
	for range 20000 {
		a, b := random(), random()
		back, err := realtime.ParseSnapshot(a.String())
		if err != nil || !back.Equal(a) {
			t.Fatalf("parse %q: got %v, %v", a, back, err)
		}
		includes := true
		for xid := uint64(1); xid < 20; xid++ {
			includes = includes && (a.Sees(xid) || !b.Sees(xid))
		}
		if got := a.Includes(b); got != includes {
			t.Fatalf("%s includes %s: got %t, want %t", a, b, got, includes)
		}
	}
}

func TestParseChannel(t *testing.T) {
	for _, tt := range []struct {
		name string
		want realtime.Channel
		code realtime.Code
	}{
		{"messages", realtime.Channel{Topic: "messages"}, ""},
		{"messages:5", realtime.Channel{Topic: "messages", Key: "5"}, ""},
		{"orders:a:b c", realtime.Channel{Topic: "orders", Key: "a:b c"}, ""},
		{"Заказы:№1", realtime.Channel{Topic: "Заказы", Key: "№1"}, ""},
		{"", realtime.Channel{}, realtime.CodeBadChannel},
		{":5", realtime.Channel{}, realtime.CodeBadChannel},
		{"messages:", realtime.Channel{}, realtime.CodeBadChannel},
		{"a\nb", realtime.Channel{}, realtime.CodeBadChannel},
		{"a\xff", realtime.Channel{}, realtime.CodeBadChannel},
		{strings.Repeat("x", realtime.MaxChannelName+1), realtime.Channel{}, realtime.CodeBadChannel},
	} {
		got, err := realtime.ParseChannel(tt.name)
		var code realtime.Code
		if e := (*realtime.Error)(nil); errors.As(err, &e) {
			code = e.Code
		}
		if got != tt.want || code != tt.code {
			t.Errorf("parse %.30q: got %+v, %q, want %+v, %q", tt.name, got, code, tt.want, tt.code)
		}
		if err == nil && got.String() != tt.name {
			t.Errorf("name of %+v: got %q, want %q", got, got, tt.name)
		}
	}
}
