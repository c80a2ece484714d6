// Command scaling calculates what tidings needs for so many clients, from what single operations were measured to cost. It writes the tables of
// docs/scaling.md, or answers for a load of one's own.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"tidings/cmd/scaling/model"
)

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "scaling:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("scaling", flag.ContinueOnError)
	flags.SetOutput(stderr)
	document := flags.String("write", "", "the document whose tables are to be written anew")
	site, l := model.Small, model.Load{EventBytes: 400, Retention: 86400}
	flags.Float64Var(&l.Clients, "clients", 0, "clients that are connected; 0: the tables of the document")
	flags.Float64Var(&l.Instances, "instances", 0, "instances; 0: as many as are needed")
	flags.BoolVar(&l.Redis, "redis", false, "one instance reads the log for all, by Redis")
	flags.Float64Var(&l.Rows, "rows", 100, "rows that are written in a second, each in a transaction of its own")
	flags.Float64Var(&l.Subscribers, "subscribers", 10, "clients that get an event, on average")
	flags.Float64Var(&l.EventBytes, "bytes", l.EventBytes, "of an event on the wire")
	flags.Float64Var(&l.Users, "users", 0, "clients that have signed in: each another user, with a presence")
	flags.Float64Var(&l.Minutes, "minutes", 30, "that a client stays; 0: for ever")
	flags.Float64Var(&l.Rights, "rights", 0, "sets of rights of an instance's clients, where all rows have row level security")
	flags.Float64Var(&l.Slow, "slow", 0, "the share of clients that do not read")
	flags.BoolVar(&l.GraphQL, "graphql", false, "clients are on /graphql")
	flags.Float64Var(&site.Instance.Cores, "cores", site.Instance.Cores, "of an instance")
	flags.Float64Var(&site.Connections, "max-connections", site.Connections, "of an instance")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q: there are only flags", flags.Arg(0))
	case l.Clients < 0:
		return fmt.Errorf("-clients: %v is less than none", l.Clients)
	case l.Subscribers > l.Clients && l.Clients > 0:
		return fmt.Errorf("-subscribers: %v get an event, and there are %v clients", l.Subscribers, l.Clients)
	case l.Clients > 0:
		return answer(stdout, site, l)
	case *document != "":
		before, err := os.ReadFile(*document)
		if err != nil {
			return err
		}
		after, err := renew(string(before), tables())
		if err != nil {
			return fmt.Errorf("%s: %w", *document, err)
		}
		return os.WriteFile(*document, []byte(after), 0o644)
	}
	for _, t := range tables() {
		if _, err := fmt.Fprintf(stdout, "%s\n\n%s\n", t.name, t.markdown()); err != nil {
			return err
		}
	}
	return nil
}

// answer says what a load needs.
func answer(out io.Writer, site model.Site, l model.Load) error {
	if l.Instances == 0 {
		if l.Instances = site.Enough(model.Measured, l); l.Instances == 0 {
			return errors.New("no number of instances is enough: each reads every event")
		}
	}
	u := model.Measured.Predict(l)
	t := table{head: []string{"", ""}}
	t.add("instances", count(l.Instances))
	t.add("of each: CPU", cores(u.CPU))
	t.add("of each: memory", size(u.Memory))
	t.add("of each: connections", count(u.Connections))
	t.add("of each: deliveries a second", count(u.Deliveries))
	t.add("of each: to clients", bandwidth(u.Out))
	t.add("PostgreSQL: CPU for writing what is watched", cores(u.PostgresWriting))
	t.add("PostgreSQL: CPU for instances that read", cores(u.PostgresReading))
	t.add("PostgreSQL: CPU for presence", cores(u.PostgresPresence))
	t.add("PostgreSQL: to instances", bandwidth(u.PostgresOut))
	t.add("PostgreSQL: connections", count(u.PostgresConnections))
	t.add("PostgreSQL: log of a day", size(u.Log))
	if l.Redis {
		t.add("Redis: CPU", cores(u.RedisCPU))
		t.add("Redis: to it, and from it", bandwidth(u.RedisIn)+", "+bandwidth(u.RedisOut))
	}
	for n, p := range site.Parts(model.Measured, l) {
		if n < 4 {
			t.add("most used: "+p.Name, percent(p.Share))
		}
	}
	_, err := io.WriteString(out, t.markdown())
	return err
}

// renew puts tables in the place of those that stand between <!-- table: name --> and <!-- end of table -->.
func renew(document string, tables []table) (string, error) {
	for _, t := range tables {
		begin, end := "<!-- table: "+t.name+" -->\n", "<!-- end of table -->"
		head, rest, found := strings.Cut(document, begin)
		if !found {
			return "", fmt.Errorf("it has no place for table %s", t.name)
		}
		_, tail, found := strings.Cut(rest, end)
		if !found {
			return "", fmt.Errorf("table %s does not end", t.name)
		}
		document = head + begin + "\n" + t.markdown() + "\n" + end + tail
	}
	return document, nil
}
