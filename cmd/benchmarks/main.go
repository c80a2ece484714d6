// Command benchmarks measures tidings on one machine, against the same machine doing the same without it, and writes
// what it saw as a page.
//
// The database is a real PostgreSQL of its own, the service is the real program in a process of its own, the clients are
// real WebSocket clients. Every ratio is of two measurements of the same round.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// config is the command line.
type config struct {
	rounds  int
	seconds int
	long    time.Duration // that writers write in upkeep
	only    []string      // empty: all sections
	out     string
	plots   string // empty: none
	quick   bool
	fsync   bool
	dir     string
	tidings string
	timeout time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	var err error
	if slices.Equal(os.Args[1:], []string{bareLoopArgument}) {
		err = runBareLoop(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (config, error) {
	c := config{}
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&c.rounds, "rounds", 5, "how often everything is measured; the medians are told")
	flags.IntVar(&c.seconds, "seconds", 3, "how long writers write in each measurement")
	flags.DurationVar(&c.long, "long", 3*time.Minute, "how long writers write where it is to be seen what that leads to")
	only := flags.String("only", "", "comma list of sections: "+strings.Join(sectionNames(), ",")+" (default all)")
	flags.StringVar(&c.out, "out", "", "file for the page (default standard output)")
	flags.StringVar(&c.plots, "plots", "", "directory for the page's plots (default beside the page, named as it is; none without -out)")
	flags.BoolVar(&c.quick, "quick", false, "one short round, to see that it works")
	flags.BoolVar(&c.fsync, "fsync", true, "PostgreSQL's fsync; false measures what the disk has no part in")
	flags.StringVar(&c.dir, "dir", os.TempDir(), "where the database is put; its file system is part of what is measured")
	flags.StringVar(&c.tidings, "tidings", "", "the program to measure (default: built from ./cmd/tidings)")
	flags.DurationVar(&c.timeout, "timeout", 75*time.Minute, "when to give up")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("%q: there are only flags", flags.Arg(0))
	}
	if c.plots == "" && c.out != "" {
		c.plots = strings.TrimSuffix(c.out, filepath.Ext(c.out))
	}
	if c.quick {
		c.rounds, c.seconds, c.long = 1, 1, upkeepSlices*time.Second
	}
	if c.rounds < 1 {
		return c, fmt.Errorf("-rounds: %d is too low: at least 1", c.rounds)
	}
	if c.seconds < 1 {
		return c, fmt.Errorf("-seconds: %d is too low: at least 1", c.seconds)
	}
	if c.long < upkeepSlices*time.Second {
		return c, fmt.Errorf("-long: %s is too short: at least %s", c.long, upkeepSlices*time.Second)
	}
	for name := range strings.SplitSeq(*only, ",") {
		switch name = strings.TrimSpace(name); {
		case name == "":
		case !slices.Contains(sectionNames(), name):
			return c, fmt.Errorf("-only: there is no section %q, only %s", name, strings.Join(sectionNames(), ", "))
		default:
			c.only = append(c.only, name)
		}
	}
	return c, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parse(args, stderr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("it took longer than %s (-timeout)", c.timeout))
	defer cancel()
	// The clients are in this process: what they leave to be collected should not be what is measured.
	debug.SetGCPercent(400)

	b := &bench{config: c, args: args, progress: stderr, begun: time.Now()}
	text, charts, err := b.run(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return err
	}
	if c.out == "" {
		if _, err := io.WriteString(stdout, text); err != nil {
			return err
		}
	} else if err := write(c.out, text); err != nil {
		return err
	}
	if c.plots != "" {
		for _, chart := range charts {
			drawn, err := chart.svg()
			if err != nil {
				return fmt.Errorf("plot: %w", err)
			}
			if err := write(filepath.Join(c.plots, chart.name+".svg"), string(drawn)); err != nil {
				return err
			}
		}
	}
	if len(b.problems) > 0 {
		return fmt.Errorf("the measurements are complete, but: %s", strings.Join(b.problems, "; "))
	}
	return nil
}

func write(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
