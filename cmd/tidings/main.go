// Command tidings turns a PostgreSQL database into a live one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // for TZ, where there is nothing but this program

	"github.com/alecthomas/kong"

	"tidings/db"
)

// version is set by the linker.
var version = "dev"

func main() {
	hideSecrets()
	err := run(untilSignal(), os.Args[1:])
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "tidings:", err)
		os.Exit(exitCode(err))
	}
}

// untilSignal is until the process is asked to stop. A second time, it ends at once, as one that does not listen.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 2)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup has it go on when its terminal is gone
		signal.Notify(asked, syscall.SIGHUP)
	}
	go func() {
		<-asked
		cancel()
		again := <-asked
		signal.Reset(again)
		if process, err := os.FindProcess(os.Getpid()); err != nil || process.Signal(again) != nil {
			os.Exit(1)
		}
	}()
	return ctx
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	error
}

// exitCode is 2 where the command line makes no sense, and otherwise 1, unless the error has one of its own.
func exitCode(err error) int {
	var usage *kong.ParseError
	var own *exitError
	switch {
	case errors.As(err, &usage):
		return 2
	case errors.As(err, &own):
		return own.code
	}
	return 1
}

// run parses the command line and runs its command.
func run(ctx context.Context, args []string) error {
	var cli cli
	parser, err := kong.New(&cli,
		kong.Name("tidings"),
		kong.Description("Turns a PostgreSQL database into a live one: whoever writes a row, every subscribed client hears of it."),
		kong.UsageOnError(),
		kong.ValueFormatter(helpWithDefault),
		kong.Vars{"default_data_dir": db.DefaultDataDir()},
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		return err
	}
	for _, path := range slices.Concat(cli.database.exposed, cli.Serve.exposed) {
		cli.logging.logger(os.Stderr).Warn("all users of this machine can read a secret", "file", path)
	}
	if command.Command() == "serve" {
		if unknown := unknownVariables(parser.Model, os.Environ()); len(unknown) > 0 {
			cli.logging.logger(os.Stderr).Warn("no setting has these variables; are they misspelt?", "variables", strings.Join(unknown, " "))
		}
	}
	return command.Run(&cli.database, &cli.logging)
}

// unknownVariables are those that are named as settings are, and are none of any command.
func unknownVariables(model *kong.Application, environ []string) []string {
	known := make(map[string]bool)
	for _, node := range append(model.Leaves(false), model.Node) {
		for _, flag := range node.Flags {
			for _, name := range flag.Envs {
				known[name] = true
			}
		}
	}
	var unknown []string
	for _, variable := range environ {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "TIDINGS_") && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// helpWithDefault is a flag's help with its variable and, where a word stands for its value in the usage, its default.
func helpWithDefault(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	shown := v.Default
	switch {
	case v.Tag == nil || !v.HasDefault:
		return help
	case v.IsBool() && shown == "true":
		shown = "yes"
	case v.IsBool() || v.Tag.PlaceHolder == "" || shown == "" || shown == "0" || strings.Contains(v.Help, "("+shown+")"):
		return help
	}
	return help + " Default: " + shown + "."
}
