package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// WriteText writes the report for a person.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s "+format+"\n", append([]any{name}, args...)...)
	}

	load := &r.Load
	rate := "as fast as they can"
	if load.Rate > 0 {
		rate = strconv.FormatFloat(load.Rate, 'f', -1, 64) + " rows a second"
		if load.Rate == 1 {
			rate = "1 row a second"
		}
	}
	line("load", "%s over %s, %s; %s, %s, %s bytes of text each; %g s after %g s of warm-up",
		plural(load.Subscribers, "subscriber"), load.Transport.path(), plural(load.Channels, "channel"),
		plural(load.Writers, "writer"), rate, count(int64(load.Payload)), load.Duration, load.Warmup)
	line("connections", "%s opened in %.2f s", count(int64(r.Connections.Opened)), r.Connections.Seconds)
	line("rows", "%s written, %s a second", count(r.Rows.Written), quantity(r.Rows.PerSecond))
	line("deliveries", "%s of %s, %s a second", count(r.Deliveries.Count), count(r.Deliveries.Expected), quantity(r.Deliveries.PerSecond))
	line("faults", "%s lost, %s doubled, %s out of order; %s reconnects",
		count(r.Lost), count(r.Doubled), count(r.OutOfOrder), count(r.Reconnects))
	for _, name := range slices.Sorted(maps.Keys(r.Incidents)) {
		line("", "%s: %s", name, plural(int(r.Incidents[name]), "time"))
	}

	const cells = "%10s%10s%10s%10s%10s"
	line("latency", cells, "p50", "p90", "p99", "p99.9", "max")
	for _, l := range []struct {
		*Latency
		from string
	}{{r.FromSchedule, "from when a row was due to its receipt"}, {r.FromCommit, "from its commit to its receipt"}} {
		if l.Latency != nil {
			line("", cells+"   %s", duration(l.P50), duration(l.P90), duration(l.P99), duration(l.P999), duration(l.Max), l.from)
		}
	}
	if load.Rate == 0 {
		line("", "without a rate there is no schedule, so no row was due")
	}

	if s := r.Service; s == nil {
		line("service", "its CPU and its memory are not known")
	} else {
		per := ""
		if s.CPUSecondsPerMillion != nil {
			per = fmt.Sprintf(", %.1f s per million deliveries", *s.CPUSecondsPerMillion)
		}
		line("service", "%.2f s of CPU%s; %.0f MB of memory", s.CPUSeconds, per, float64(s.MemoryBytes)/1e6)
	}
	if g := r.Generator; g.CPUShare == nil {
		line("generator", "its CPU is not known; %s late", duration(g.LateP99))
	} else {
		line("generator", "%.2f s of CPU, %.0f %% of %s; up to %s late, but for one time in a hundred",
			*g.CPUSeconds, 100**g.CPUShare, plural(g.Cores, "core"), duration(g.LateP99))
	}
	for _, warning := range r.Warnings {
		line("note", "%s", warning)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// path is the transport's in the service.
func (t Transport) path() string {
	return map[Transport]string{WebSocket: "/ws", Envelope: "/ws/events", SSE: "/events"}[t]
}

// duration prints milliseconds.
func duration(ms float64) string {
	switch {
	case ms >= 9999.5:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 99.95:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 9.995:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", ms)
}

// quantity prints a number with as many digits as are worth it.
func quantity(n float64) string {
	if n < 100 {
		return fmt.Sprintf("%.1f", n)
	}
	return count(int64(n + 0.5))
}

// count prints a number with commas.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(int64(n)) + " " + noun + "s"
}
