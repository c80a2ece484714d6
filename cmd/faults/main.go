// Command faults breaks things while rows are written and clients listen, and counts what the clients were told: what of
// it was lost, came twice, came in the wrong order, was not true, or not theirs to know.
//
// PostgreSQL is a real cluster, the service is the real program in processes of its own, so that kill -9 is real, and the
// clients are real WebSocket clients, a third of them by GraphQL and a third signed in, that keep nothing but their last cursor.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// cli is the command line.
type cli struct {
	Clients   int           `help:"WebSocket clients, a third of them by GraphQL." default:"200" placeholder:"N"`
	Writers   int           `help:"Writers that write at the same time." default:"8" placeholder:"N"`
	Duration  time.Duration `help:"How long writers write under each fault." default:"20s"`
	Only      []string      `help:"Only these faults; may be repeated." placeholder:"NAME"`
	Instances []int         `help:"Only with so many instances of the service: 1, 2 or 4; may be repeated." placeholder:"N"`
	Redis     string        `help:"Only with Redis, or only without: with, without." default:"" placeholder:"WHICH"`
	Short     bool          `help:"A short run: fewer clients, a few seconds each, without the faults that take longer."`
	Output    string        `help:"A page into which the table is written, between its markers." placeholder:"FILE"`
	Verbose   bool          `help:"Say what happens, and what the service logged."`
	List      bool          `help:"List the faults, and do nothing."`
}

// Validate names what is wrong with a value.
func (c *cli) Validate() error {
	switch {
	case c.Clients < 1:
		return fmt.Errorf("--clients: %d is too low: at least 1", c.Clients)
	case c.Writers < 1:
		return fmt.Errorf("--writers: %d is too low: at least 1", c.Writers)
	case c.Duration < time.Second:
		return fmt.Errorf("--duration: %s is too short: at least 1s", c.Duration)
	}
	for _, name := range c.Only {
		if findFault(name) == nil {
			return fmt.Errorf("--only: there is no fault %q: it is one of %s", name, strings.Join(faultNames(), ", "))
		}
	}
	if c.Redis != "" && c.Redis != "with" && c.Redis != "without" {
		return fmt.Errorf("--redis: %q is neither with nor without", c.Redis)
	}
	if len(c.chosen()) == 0 {
		return errors.New("nothing is left to be tried: --list says with how many instances each fault is, and whether with Redis")
	}
	return nil
}

// chosen returns what is to be tried.
func (c *cli) chosen() []trial {
	return slices.DeleteFunc(trials(), func(t trial) bool {
		switch {
		case len(c.Instances) > 0 && !slices.Contains(c.Instances, t.fleet.size()), c.Redis != "" && (c.Redis == "with") != t.fleet.redis:
			return true
		case len(c.Only) > 0:
			return !slices.Contains(c.Only, t.fault.name)
		}
		return c.Short && !t.short
	})
}

// errFound says that the run was complete, and what it found is not good.
var errFound = errors.New("not every row is as it should be")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once; what it leaves behind is swept up.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c cli
	parser, err := kong.New(&c, kong.Name("faults"), kong.Writers(stdout, stderr),
		kong.Description("Breaks things while rows are written and clients listen, and counts what the clients were told."))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return err
	}
	if c.List {
		list(stdout)
		return nil
	}
	if c.Short {
		c.Clients, c.Writers, c.Duration = min(c.Clients, 40), min(c.Writers, 4), min(c.Duration, 4*time.Second)
	}
	begun := time.Now()
	w, err := prepare(ctx, stderr, c.Verbose)
	if err != nil {
		return err
	}
	defer w.clean()

	var rows []row
	for _, t := range c.chosen() {
		fmt.Fprintf(stderr, "%6.1fs  %s\n", time.Since(begun).Seconds(), t.title())
		r, err := w.try(ctx, t, load{clients: c.Clients, writers: c.Writers, duration: c.Duration})
		if err != nil {
			return fmt.Errorf("%s: %w", t.title(), err)
		}
		for _, remark := range r.wrong {
			fmt.Fprintf(stderr, "         WRONG: %s\n", remark)
		}
		rows = append(rows, r)
	}
	fmt.Fprintf(stderr, "%6.1fs  done\n", time.Since(begun).Seconds())
	text := report(rows)
	if _, err := io.WriteString(stdout, text); err != nil {
		return err
	}
	if c.Output != "" {
		if err := writePage(c.Output, text, conditions(ctx, w, args, begun)); err != nil {
			return err
		}
	}
	for _, r := range rows {
		if !r.good() {
			return errFound
		}
	}
	return nil
}

// list says what there is to be tried.
func list(out io.Writer) {
	for _, f := range faults {
		fmt.Fprintf(out, "%-22s %s\n", f.name, f.about)
		var with []string
		for _, one := range f.triedWith() {
			with = append(with, one.String())
		}
		fmt.Fprintf(out, "%-22s with %s\n", "", strings.Join(with, ", "))
	}
}
