package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// readyCmd asks a running service how it is, for what can ask by a command only: a container without curl, a script that
// restarts one instance after another.
type readyCmd struct {
	Server  string        `help:"The service." default:"http://127.0.0.1:8080" env:"TIDINGS_SERVER" placeholder:"URL"`
	Alive   bool          `help:"Ask only whether the process answers (/healthz), and not whether events are delivered (/readyz)."`
	Wait    time.Duration `help:"Ask until the answer is yes, for so long." placeholder:"DURATION"`
	Timeout time.Duration `help:"How long one answer may take." default:"3s"`
}

func (c *readyCmd) Validate() error {
	switch {
	case c.Wait < 0:
		return fmt.Errorf("--wait: %s is too short", c.Wait)
	case c.Timeout <= 0:
		return fmt.Errorf("--timeout: %s is too short", c.Timeout)
	}
	return checkServer(c.Server)
}

// Run ends with nil if the answer is yes.
func (c *readyCmd) Run(ctx context.Context) error {
	patience := time.NewTimer(c.Wait)
	defer patience.Stop()
	for {
		err := c.ask(ctx)
		if err == nil {
			return nil
		}
		pause := time.NewTimer(250 * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-patience.C:
			pause.Stop()
			return err
		case <-pause.C:
		}
	}
}

// ask asks once. The error says what is amiss.
func (c *readyCmd) ask(ctx context.Context) error {
	path := "/readyz"
	if c.Alive {
		path = "/healthz"
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.Server, "/")+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if response.StatusCode == http.StatusOK {
		return nil
	}
	var health struct {
		Live, Listening, Beating, Stopping *bool
	}
	if json.Unmarshal(body, &health) != nil || health.Live == nil {
		return fmt.Errorf("%s%s answers %s", c.Server, path, response.Status)
	}
	var amiss []string
	for _, part := range []struct {
		good bool
		word string
		is   *bool
	}{
		{true, "live", health.Live}, {true, "listening", health.Listening}, {true, "beating", health.Beating}, {false, "stopping", health.Stopping},
	} {
		if part.is != nil && *part.is != part.good {
			amiss = append(amiss, fmt.Sprintf("%s is %t", part.word, *part.is))
		}
	}
	return errors.New("not ready: " + strings.Join(amiss, ", "))
}
