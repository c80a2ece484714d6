package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"tidings/db"
)

type watchCmd struct {
	Table   string   `arg:"" help:"The table, with its schema if it is not on the search path."`
	Topic   string   `help:"Its public name; the table's, unless given."`
	Event   string   `help:"What its events' types begin with; the topic's singular, unless given."`
	Key     string   `help:"The column whose values are channels of their own; the primary key's only column, unless given."`
	Columns []string `help:"The columns that go out; all, unless given."`
	Claims  []string `help:"For a table with row security: which claims of a token its policies look at, sub for the user. Who has the same is asked about once; all, unless given."`
	Typing  bool     `help:"Let clients say in its channels that they are writing something."`
	Read    string   `help:"Who may subscribe: public, signed_in, owner:<column> or policy:<function>." default:"signed_in"`
}

func (c *watchCmd) Run(ctx context.Context, where *database) error {
	return withDatabase(ctx, where, func(database *db.DB) error {
		if err := bringUpToDate(ctx, database, liveMigrations, true); err != nil {
			return err
		}
		topic, err := database.SetWatch(ctx, db.Watch{
			Table: c.Table, Topic: c.Topic, Event: c.Event, Key: c.Key, Columns: c.Columns, Read: c.Read,
			Claims: c.Claims, Typing: c.Typing,
		})
		if err != nil {
			return err
		}
		fmt.Printf("%s is live: channel %s", c.Table, topic)
		if c.Read != "public" {
			fmt.Printf(" (read is %s: clients bring a token; say --read public for anybody)", c.Read)
		}
		fmt.Println()
		watches, err := database.Watches(ctx)
		if err != nil {
			return err
		}
		for _, w := range watches {
			if w.Topic == topic && w.Problem != "" {
				fmt.Fprintln(os.Stderr, "but not all is well:", w.Problem)
			}
		}
		return nil
	})
}

type unwatchCmd struct {
	Table string `arg:"" help:"The table."`
}

func (c *unwatchCmd) Run(ctx context.Context, where *database) error {
	return withDatabase(ctx, where, func(database *db.DB) error {
		was, err := database.RemoveWatch(ctx, c.Table)
		if err != nil {
			return err
		}
		if !was {
			return fmt.Errorf("table %s is not watched", c.Table)
		}
		fmt.Println(c.Table, "is no longer live")
		return nil
	})
}

type watchedCmd struct{}

func (c *watchedCmd) Run(ctx context.Context, where *database) error {
	return withDatabase(ctx, where, func(database *db.DB) error {
		status, err := database.MigrationStatus(ctx, liveMigrations)
		if err != nil {
			return err
		}
		var watches []db.Watch
		if status.Version > 0 {
			if watches, err = database.Watches(ctx); err != nil {
				return err
			}
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "TABLE\tTOPIC\tEVENTS\tKEY\tCOLUMNS\tREAD\tPROBLEM")
		for _, w := range watches {
			columns := "all"
			if w.Columns != nil {
				columns = strings.Join(w.Columns, ",")
			}
			fmt.Fprintf(table, "%s\t%s\t%s_…\t%s\t%s\t%s\t%s\n", w.Table, w.Topic, w.Event, dash(w.Key), columns, w.Read, dash(w.Problem))
		}
		return table.Flush()
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
