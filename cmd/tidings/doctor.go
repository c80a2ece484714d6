package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"tidings/db"
	"tidings/redis"
)

// checkRedis is the name of what is asked of Redis.
const checkRedis = "redis"

type doctorCmd struct {
	Server       string `help:"Ask this running service, too, whether it is well: http://127.0.0.1:8080." env:"TIDINGS_SERVER" placeholder:"URL"`
	Listening    bool   `name:"listen-notify" help:"Find out whether notifications are heard; switched off: services poll alone." default:"true" negatable:"" env:"TIDINGS_LISTEN_NOTIFY"`
	RedisURL     string `name:"redis-url" help:"Ask this Redis, too: redis://user:password@host:port/0." env:"TIDINGS_REDIS_URL" placeholder:"URL"`
	RedisURLFile string `name:"redis-url-file" help:"A file with it." env:"TIDINGS_REDIS_URL_FILE" placeholder:"FILE"`
	Strict       bool   `help:"End with 1 also where there are only warnings."`
	Format       string `help:"text or json." enum:"text,json" default:"text" placeholder:"FORMAT"`
	Color        string `help:"Colours: auto (on a terminal, unless NO_COLOR is set), always or never." enum:"auto,always,never" default:"auto"`
}

// Validate reads the secret that is in a file.
func (c *doctorCmd) Validate() error {
	var exposed []string // the services say so
	return readSecrets(&exposed, secretFile{"redis-url", c.RedisURLFile, &c.RedisURL})
}

// doctorFailure has the process end with a code of its own.
func doctorFailure(err error) error { return &exitError{2, err} }

// Run looks, and prints what was found. It ends with 0 where nothing is wrong, with 1 where something is, and with 2 where it could not look.
func (c *doctorCmd) Run(ctx context.Context, where *database) error {
	findings, failed := c.examine(ctx, where)
	if failed != nil && len(findings) == 0 {
		return doctorFailure(failed)
	}
	var err error
	if c.Format == "json" {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(findings)
	} else {
		color := c.Color == "always" || c.Color == "auto" && term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		err = printFindings(os.Stdout, findings, color)
	}
	if err = errors.Join(failed, err); err != nil {
		return doctorFailure(err)
	}
	n := count(findings)
	if n[db.SeverityProblem] > 0 || c.Strict && n[db.SeverityWarning] > 0 {
		return &exitError{1, errSomethingWrong}
	}
	return nil
}

var errSomethingWrong = errors.New("something is wrong")

func (c *doctorCmd) examine(ctx context.Context, where *database) ([]db.Finding, error) {
	url, err := where.url(false)
	if err != nil {
		return nil, err
	}
	database, err := db.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	defer database.Close()
	doctor := &db.Doctor{DB: database, NoListen: !c.Listening, Live: liveMigrations, Channel: db.ChannelMigrations}
	if where.DirectURL != "" {
		if doctor.Listen, err = db.Open(ctx, where.DirectURL); err != nil {
			return nil, fmt.Errorf("--direct-database-url: %w", err)
		}
		defer doctor.Listen.Close()
	}
	findings, err := doctor.Examine(ctx)
	if err != nil {
		return findings, err
	}
	if c.Server != "" {
		findings = append(findings, askService(ctx, c.Server)...)
	}
	if c.RedisURL != "" {
		more, err := redis.Examine(ctx, c.RedisURL)
		if err != nil {
			return findings, fmt.Errorf("--redis-url: %w", err)
		}
		for _, f := range more {
			findings = append(findings, db.Finding{Check: checkRedis, Level: db.Severity(f.Level), Found: f.Found, Mend: f.Mend})
		}
	}
	return findings, nil
}

func count(findings []db.Finding) map[db.Severity]int {
	n := make(map[db.Severity]int)
	for _, f := range findings {
		n[f.Level]++
	}
	return n
}

// severityStyles are in the order in which findings are printed: the worst is at the end, where it is seen.
var severityStyles = []struct {
	level         db.Severity
	style         style
	singular, all string
}{
	{db.SeverityOK, styleGreen, "check is well", "checks are well"},
	{db.SeverityNote, styleNone, "note", "notes"},
	{db.SeverityWarning, styleYellow, "warning", "warnings"},
	{db.SeverityProblem, styleRed, "problem", "problems"},
}

func printFindings(w io.Writer, findings []db.Finding, color bool) error {
	var b bytes.Buffer
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Check))
	}
	n := count(findings)
	var sums []string
	for _, s := range severityStyles {
		if n[s.level] > 0 {
			sums = append(sums, fmt.Sprintf("%d %s", n[s.level], cmp.Or(map[bool]string{true: s.singular}[n[s.level] == 1], s.all)))
		}
		for _, f := range findings {
			if f.Level == s.level {
				printFinding(&b, f, s.style, width, color)
			}
		}
	}
	slices.Reverse(sums)
	fmt.Fprintf(&b, "\n%s\n", strings.Join(sums, ", "))
	_, err := w.Write(b.Bytes())
	return err
}

func printFinding(b *bytes.Buffer, f db.Finding, s style, width int, color bool) {
	line := func(spans ...span) {
		writeSpans(b, spans, -1, color)
		b.WriteByte('\n')
	}
	if f.Level != db.SeverityOK {
		b.WriteByte('\n')
	}
	line(span{s, pad(string(f.Level), len(db.SeverityProblem))}, span{styleNone, "  "}, span{styleFaint, pad(f.Check, width)}, span{styleNone, "  " + plain(f.Found)})
	indent := strings.Repeat(" ", len(db.SeverityProblem)+2)
	if f.Mend != "" {
		line(span{styleNone, indent + plain(f.Mend)})
	}
	for i := 0; i < len(f.SQL); {
		times := 1
		for i+times < len(f.SQL) && f.SQL[i+times] == f.SQL[i] {
			times++
		}
		spans := []span{{styleNone, indent + "    " + plain(f.SQL[i]) + ";"}}
		if times > 1 {
			spans = append(spans, span{styleFaint, fmt.Sprintf("  -- %d times", times)})
		}
		line(spans...)
		i += times
	}
}
