package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"time"

	"tidings/cmd/tidings/internal/bench"
	"tidings/db"
)

// benchCmd puts load on a service, so that who runs it can say how large his machine must be.
type benchCmd struct {
	Server      string        `help:"The service." default:"http://127.0.0.1:8080" env:"TIDINGS_SERVER" placeholder:"URL"`
	Subscribers int           `help:"Connections that follow a channel each." default:"100"`
	Channels    int           `help:"Keyed channels over which subscribers and rows are spread; 1: everybody gets everything." default:"1"`
	Transport   string        `help:"How subscribers are connected: ws (/ws), events (/ws/events) or sse (/events)." enum:"ws,events,sse" default:"ws"`
	ConnectRate float64       `help:"Connections opened a second. 0: as fast as the service takes them." default:"0"`
	Writers     int           `help:"Connections that write to the database." default:"1"`
	Rate        float64       `help:"Rows a second, of all writers together. 0: as fast as they can." default:"100"`
	Payload     int           `help:"Bytes of text in a row." default:"100"`
	Duration    time.Duration `help:"How long it is measured." default:"10s"`
	Warmup      time.Duration `help:"How long rows are written before that." default:"1s"`
	Drain       time.Duration `help:"How long, at the end, nothing may come before what is lacking counts as lost." default:"10s"`
	Progress    time.Duration `help:"How often a line says how it goes. 0: never." default:"5s"`
	JSON        bool          `name:"json" help:"Print the report as JSON."`
}

// Validate names what is wrong with a value.
func (c *benchCmd) Validate() error {
	if err := checkServer(c.Server); err != nil {
		return err
	}
	for _, n := range []struct {
		name            string
		value, min, max int
	}{
		{"subscribers", c.Subscribers, 1, 1e6}, {"channels", c.Channels, 1, 1e6}, {"writers", c.Writers, 1, 1e4}, {"payload", c.Payload, 0, 8 << 20},
	} {
		if n.value < n.min {
			return fmt.Errorf("--%s: %d is too low: at least %d", n.name, n.value, n.min)
		}
		if n.value > n.max {
			return fmt.Errorf("--%s: %d is too high: at most %d", n.name, n.value, n.max)
		}
	}
	for _, rate := range []struct {
		name  string
		value float64
	}{{"rate", c.Rate}, {"connect-rate", c.ConnectRate}} {
		if !(rate.value == 0 || rate.value >= 0.01 && rate.value <= 1e6) { // what is no number is not either
			return fmt.Errorf("--%s: %g is neither 0 nor between 0.01 and 1000000", rate.name, rate.value)
		}
	}
	for _, d := range []struct {
		name       string
		value, min time.Duration
	}{
		{"duration", c.Duration, 100 * time.Millisecond}, {"warmup", c.Warmup, 0}, {"drain", c.Drain, 100 * time.Millisecond}, {"progress", c.Progress, 0},
	} {
		if d.value < d.min {
			return fmt.Errorf("--%s: %s is too short: at least %s", d.name, d.value, d.min)
		}
	}
	return nil
}

// Run puts the load on, and prints the report. What it has made in the database is gone then, also when ctx ended.
func (c *benchCmd) Run(ctx context.Context, where *database) error {
	server, err := url.Parse(c.Server)
	if err != nil {
		return err
	}
	return withDatabase(ctx, where, func(database *db.DB) error {
		if err := bringUpToDate(ctx, database, liveMigrations, false); err != nil {
			return err
		}
		report, err := bench.Run(ctx, database, bench.Options{
			Server: server, Transport: bench.Transport(c.Transport), Subscribers: c.Subscribers, Channels: c.Channels, ConnectRate: c.ConnectRate,
			Writers: c.Writers, Rate: c.Rate, Payload: c.Payload, Duration: c.Duration, Warmup: c.Warmup, Drain: c.Drain,
			Every: c.Progress, Progress: os.Stderr,
		})
		if err != nil {
			return err
		}
		if c.JSON {
			encoder := json.NewEncoder(os.Stdout)
			encoder.SetIndent("", "  ")
			err = encoder.Encode(report)
		} else {
			err = report.WriteText(os.Stdout)
		}
		if err != nil {
			return err
		}
		return report.Clean()
	})
}
