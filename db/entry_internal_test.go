package db

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
)

// What PostgreSQL's format says is what pgx says that it says.
func FuzzDecodeTexts(f *testing.F) {
	types := pgtype.NewMap()
	for _, texts := range [][]*string{nil, {}, {nil}, {new("")}, {new("a"), nil, new("\x00\xff"), new("")}, {nil, nil, new("z")}} {
		b, err := types.Encode(pgtype.TextArrayOID, pgtype.BinaryFormatCode, texts, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x19\xff\xff\xff\xff\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeTexts(bytes.Clone(b))
		var want []*string
		wantErr := types.Scan(pgtype.TextArrayOID, pgtype.BinaryFormatCode, b, &want)
		if err != nil {
			return // it may be stricter
		}
		if wantErr != nil && len(got) > 0 {
			t.Fatalf("%x is %q, and for pgx: %v", b, got, wantErr)
		}
		if wantErr == nil && len(got) != len(want) {
			t.Fatalf("%x is %q, want %d elements", b, got, len(want))
		}
		for i := range want {
			if (got[i] == nil) != (want[i] == nil) || want[i] != nil && string(got[i]) != *want[i] {
				t.Fatalf("%x: element %d is %q", b, i, got[i])
			}
		}
	})
}

// It takes what PostgreSQL sends: none of these is refused.
func TestDecodeTexts(t *testing.T) {
	t.Parallel()
	types := pgtype.NewMap()
	for _, want := range [][]*string{{nil}, {new("")}, {new("a"), nil, new("b\nc"), new("")}, make([]*string, 1000)} {
		b, err := types.Encode(pgtype.TextArrayOID, pgtype.BinaryFormatCode, want, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeTexts(b)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%x is %q, %v, want %d elements", b, got, err, len(want))
		}
		for i := range want {
			if (got[i] == nil) != (want[i] == nil) || want[i] != nil && string(got[i]) != *want[i] {
				t.Errorf("%x: element %d is %q", b, i, got[i])
			}
		}
		for n := range b {
			if got, err := decodeTexts(b[:n:n]); err == nil && len(got) > 0 {
				t.Errorf("the first %d bytes of %x are %q", n, b, got)
			}
		}
	}
}
