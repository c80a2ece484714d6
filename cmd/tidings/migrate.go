package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"tidings/db"
)

// migrateCmd has the two sets: live is schema tidings, channel the application's tables.
type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Install what is missing."`
	Down   migrateDownCmd   `cmd:"" help:"Remove all, and the application's rows with it."`
	Status migrateStatusCmd `cmd:"" help:"Show what is installed."`
	Grant  migrateGrantCmd  `cmd:"" help:"Let a role serve that owns nothing here, and may do nothing else."`
	Revoke migrateRevokeCmd `cmd:"" help:"Let it no more."`
}

// migrationSets are in the order in which they are installed.
func migrationSets(only string) []db.MigrationSet {
	switch only {
	case "live":
		return []db.MigrationSet{liveMigrations}
	case "channel":
		return []db.MigrationSet{db.ChannelMigrations}
	}
	return []db.MigrationSet{liveMigrations, db.ChannelMigrations}
}

type onlyFlag struct {
	Only string `help:"live: schema tidings, all that a database of your own needs; channel: the tables of the information channel (users, messages, comments)." enum:"live,channel,both" default:"both" placeholder:"SET"`
}

type migrateUpCmd struct {
	onlyFlag `embed:""`
	Public   bool `help:"Let anybody follow what is told of the application's tables, and not only who has signed in."`
}

func (c *migrateUpCmd) Run(ctx context.Context, where *database) error {
	return withDatabase(ctx, where, func(database *db.DB) error {
		for _, set := range migrationSets(c.Only) {
			if err := database.MigrateUp(ctx, set); err != nil {
				if set.Name == "channel" && strings.Contains(err.Error(), "already exists") {
					err = fmt.Errorf("%w\nThe database has a table of that name already. For a database of your own, the live part is enough, "+
						"and it is installed: tidings migrate up --only live", err)
				}
				return err
			}
		}
		if c.Public && c.Only != "live" {
			if err := (&db.Channel{DB: database}).OpenToAll(ctx); err != nil {
				return err
			}
		}
		return printStatus(ctx, database)
	})
}

type migrateDownCmd struct {
	onlyFlag `embed:""`
	Yes      bool `help:"Remove the application's tables even if they have rows."`
}

func (c *migrateDownCmd) Run(ctx context.Context, where *database) error {
	return withDatabase(ctx, where, func(database *db.DB) error {
		sets := migrationSets(c.Only)
		for i := len(sets) - 1; i >= 0; i-- {
			if sets[i].Name == "channel" && !c.Yes {
				if rows, err := (&db.Channel{DB: database}).HasRows(ctx); err != nil {
					return err
				} else if rows {
					return errors.New("the application's tables have rows, which would be lost: say --yes if they should be")
				}
			}
			if sets[i].Name == "live" {
				if status, err := database.MigrationStatus(ctx, db.ChannelMigrations); err == nil && status.Version > 0 {
					return errors.New("the application's tables need schema tidings: remove them first, or both")
				}
				if err := database.UnwatchAll(ctx); err != nil {
					return err
				}
			}
			if err := database.MigrateDown(ctx, sets[i]); err != nil {
				return err
			}
		}
		return printStatus(ctx, database)
	})
}

type migrateStatusCmd struct{}

func (c *migrateStatusCmd) Run(ctx context.Context, where *database) error {
	return withDatabase(ctx, where, func(database *db.DB) error { return printStatus(ctx, database) })
}

type migrateGrantCmd struct {
	Role string `arg:"" help:"The role that tidings serve connects as."`
}

func (c *migrateGrantCmd) Run(ctx context.Context, where *database) error {
	return withDatabase(ctx, where, func(database *db.DB) error {
		missing, err := database.GrantServing(ctx, c.Role)
		if err != nil {
			return err
		}
		fmt.Printf("%s may serve: tidings serve --no-migrate\n", c.Role)
		if missing != "" {
			fmt.Println("What is missing:", missing)
		}
		return nil
	})
}

type migrateRevokeCmd struct {
	Role string `arg:"" help:"The role."`
}

func (c *migrateRevokeCmd) Run(ctx context.Context, where *database) error {
	return withDatabase(ctx, where, func(database *db.DB) error {
		if err := database.RevokeServing(ctx, c.Role); err != nil {
			return err
		}
		fmt.Println(c.Role, "may serve no more")
		return nil
	})
}

func printStatus(ctx context.Context, database *db.DB) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SET\tVERSION\tLATEST\tSTATE")
	for _, set := range migrationSets("") {
		s, err := database.MigrationStatus(ctx, set)
		if err != nil {
			return err
		}
		state := "up to date"
		switch {
		case s.Dirty:
			state = "a migration was cut off"
		case s.Version == 0:
			state = "not installed"
		case s.Version < s.Latest:
			state = "behind"
		case s.Version > s.Latest:
			state = "newer than this program"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", set.Name, s.Version, s.Latest, state)
	}
	return table.Flush()
}

// withDatabase opens the database that is meant: the one given, or the embedded one, if the service runs it.
func withDatabase(ctx context.Context, where *database, use func(*db.DB) error) error {
	url, err := where.url(false)
	if err != nil {
		return err
	}
	database, err := db.OpenDirect(ctx, url, where.DirectURL)
	if err != nil {
		return err
	}
	defer database.Close()
	if err := database.Check(ctx); err != nil {
		return err
	}
	return use(database)
}
