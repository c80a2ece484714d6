package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// bench is one run of the whole.
type bench struct {
	config
	args     []string
	progress io.Writer
	begun    time.Time

	dir      string // for all that is temporary
	postgres *postgres
	writers  writers
	binary   string
	measured bool     // whether the system tells what processes use
	problems []string // what should not have been seen: lost or doubled events, errors of the service
}

// sections are what is measured, in the page's order.
var sections = []struct {
	name    string
	measure func(*bench, context.Context) (section, error)
}{
	{"throughput", (*bench).throughput},
	{"bulk", (*bench).bulk},
	{"latency", (*bench).latency},
	{"fanout", (*bench).fanout},
	{"graphql", (*bench).graphql},
	{"rights", (*bench).rights},
	{"idle", (*bench).idle},
	{"presence", (*bench).presence},
	{"subscribers", (*bench).subscribers},
	{"channels", (*bench).channels},
	{"log", (*bench).log},
	{"statement", (*bench).statement},
	{"upkeep", (*bench).upkeep},
	{"stall", (*bench).stall},
	{"storm", (*bench).storm},
	{"instances", (*bench).instances},
	{"model", (*bench).model},
}

func sectionNames() []string {
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

// run measures, and returns the page and its charts.
func (b *bench) run(ctx context.Context) (page string, charts []chart, err error) {
	machine := describeMachine(b.config.dir)
	switch _, err := usageOf(os.Getpid()); {
	case err == nil:
		b.measured = true
	case !errors.Is(err, errors.ErrUnsupported):
		return "", nil, err
	}

	if b.dir, err = os.MkdirTemp(b.config.dir, "tidings-benchmarks-"); err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o711); err != nil { // the database may run as another user
		return "", nil, err
	}
	if err := b.build(ctx); err != nil {
		return "", nil, fmt.Errorf("build tidings: %w", err)
	}
	b.say("starting PostgreSQL")
	if b.postgres, err = startPostgres(ctx, filepath.Join(b.dir, "database"), b.fsync); err != nil {
		return "", nil, err
	}
	defer b.postgres.stop()
	if machine.postgres, err = b.postgres.version(ctx); err != nil {
		return "", nil, err
	}
	if b.writers, err = b.postgres.writers(ctx, b.dir); err != nil {
		return "", nil, err
	}

	var done []section
	for _, s := range sections {
		if len(b.only) > 0 && !slices.Contains(b.only, s.name) {
			continue
		}
		b.say("%s", s.name)
		section, err := s.measure(b, ctx)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", s.name, err)
		}
		done = append(done, section)
		charts = append(charts, section.charts...)
	}
	b.say("done")
	return b.page(machine, done), charts, nil
}

// build makes the program that is measured, unless one was given.
func (b *bench) build(ctx context.Context) error {
	if b.tidings != "" {
		var err error
		b.binary, err = filepath.Abs(b.tidings)
		return err
	}
	b.say("building tidings")
	b.binary = filepath.Join(b.dir, "tidings")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.binary, "tidings/cmd/tidings")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = b.progress, b.progress
	return cmd.Run()
}

// say tells whoever waits how far it has come.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "%6.1fs  %s\n", time.Since(b.begun).Seconds(), fmt.Sprintf(format, args...))
}

// problem notes what should not have been seen.
func (b *bench) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	b.say("PROBLEM: %s", text)
	b.problems = append(b.problems, text)
}

// alternate calls measure for each of the variants, in every round in the other direction: what slowly changes on the
// machine favours none of them.
func alternate[V any](rounds int, variants []V, measure func(round int, v V) error) error {
	for round := range rounds {
		order := slices.Clone(variants)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, v := range order {
			if err := measure(round, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// few is how many rounds are made of what takes long.
func (b *bench) few() int { return min(b.rounds, 3) }

// indices are those of a slice's elements.
func indices[V any](of []V) []int {
	all := make([]int, len(of))
	for i := range all {
		all[i] = i
	}
	return all
}

// pause waits, or returns why ctx has ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
