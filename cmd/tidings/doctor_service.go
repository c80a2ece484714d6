package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tidings/db"
)

// checkService is the name of what is asked of a running service.
const checkService = "service"

// askService asks a service's /readyz how it is.
func askService(ctx context.Context, server string) []db.Finding {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	finding := func(level db.Severity, found, mend string) []db.Finding {
		return []db.Finding{{Check: checkService, Level: level, Found: found, Mend: mend}}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(server, "/")+"/readyz", nil)
	if err != nil {
		return finding(db.SeverityProblem, fmt.Sprintf("%s is not a URL.", server), "Give one such as http://127.0.0.1:8080")
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return finding(db.SeverityProblem, fmt.Sprintf("The service at %s cannot be reached: %s.", server, err), "Is it running, and is that its --listen? What is its log's last line?")
	}
	defer response.Body.Close()
	var health struct {
		Live      *bool   `json:"live"`
		Listening bool    `json:"listening"`
		Beating   bool    `json:"beating"`
		Stopping  bool    `json:"stopping"`
		Lag       float64 `json:"lag_seconds"`
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(body, &health)
	}
	if err != nil || health.Live == nil {
		return finding(db.SeverityProblem, fmt.Sprintf("What answers at %s/readyz with %d is not tidings.", strings.TrimSuffix(server, "/"), response.StatusCode),
			"Give the address of the service itself, and not of what stands in front.")
	}
	var not []string
	for _, state := range []struct {
		wrong bool
		what  string
	}{
		{!*health.Live, "does not read the log"},
		{!health.Beating, "does not hear its heartbeat"},
		{!health.Listening, "does not hear the doorbell"},
		{health.Lag > 5, fmt.Sprintf("is %.1f seconds behind", health.Lag)},
		{health.Stopping, "is stopping"},
	} {
		if state.wrong {
			not = append(not, state.what)
		}
	}
	switch {
	case response.StatusCode != http.StatusOK:
		return finding(db.SeverityProblem, fmt.Sprintf("The service at %s is not ready: it %s.", server, strings.Join(append(not, fmt.Sprintf("answers %d", response.StatusCode)), ", ")),
			"Look at its log, and at the other findings.")
	case len(not) > 0:
		return finding(db.SeverityWarning, fmt.Sprintf("The service at %s %s.", server, strings.Join(not, ", ")), "Look at its log, and at the other findings.")
	}
	return finding(db.SeverityOK, fmt.Sprintf("The service at %s is ready.", server), "")
}
