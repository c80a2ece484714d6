package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
)

// The tables of the document are what is calculated.
func TestDocument(t *testing.T) {
	t.Parallel()
	const path = "../../docs/scaling.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	now, err := renew(string(text), tables())
	if err != nil {
		t.Fatal(err)
	}
	if now != string(text) {
		t.Errorf("%s has other tables: go run ./cmd/scaling -write docs/scaling.md", path)
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(strings.Fields("-clients 50000 -rows 400 -subscribers 20 -users 50000 -redis"), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| instances | 3 |", "| Redis: CPU |", "| most used: an instance's connections |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	for _, args := range []string{"-clients 10 -subscribers 20", "-clients=-5", "-clients 1000 -rows 1000000", "more", "-write nowhere.md"} {
		if err := run(strings.Fields(args), io.Discard, io.Discard); err == nil {
			t.Errorf("%s was answered", args)
		}
	}
}

func TestDigits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		v    float64
		want string
	}{{0, "0"}, {0.01234, "0.012"}, {1, "1.0"}, {9.99, "10"}, {123, "120"}, {1234567, "1,200,000"}} {
		if got := digits(test.v); got != test.want {
			t.Errorf("%v is written %s, not %s", test.v, got, test.want)
		}
	}
	if got := size(403) + ", " + size(7800) + ", " + bandwidth(1.25e9); got != "400 B, 7.8 kB, 10 Gbit/s" {
		t.Errorf("got %s", got)
	}
}
