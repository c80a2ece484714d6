package main

import (
	"io"
	"strings"
	"testing"
)

func TestParsePlots(t *testing.T) {
	for _, test := range []struct {
		args, plots, link string
	}{
		{"", "", "log.svg"},
		{"-out docs/benchmarks.md", "docs/benchmarks", "benchmarks/log.svg"},
		{"-out page.md -plots pictures/new", "pictures/new", "pictures/new/log.svg"},
		{"-out docs/page.md -plots pictures", "pictures", "../pictures/log.svg"},
		{"-plots pictures", "pictures", "pictures/log.svg"},
	} {
		c, err := parse(strings.Fields(test.args), io.Discard)
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
			continue
		}
		b := &bench{config: c}
		if link := b.link(chart{name: "log"}); c.plots != test.plots || link != test.link {
			t.Errorf("%s: plots in %q, linked as %q, want %q and %q", test.args, c.plots, link, test.plots, test.link)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, args := range []string{"-only nothing", "-rounds 0", "-seconds 0", "-long 1s", bareLoopArgument} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("%s was taken", args)
		}
	}
}
