package bench

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what came of a run. Rows, deliveries and latencies are those that are measured, without the warm-up; what was
// lost, doubled or out of order is counted over the whole run.
type Report struct {
	Load struct {
		Transport   Transport `json:"transport"`
		Subscribers int       `json:"subscribers"`
		Channels    int       `json:"channels"`
		Writers     int       `json:"writers"`
		Rate        float64   `json:"rate"`
		Payload     int       `json:"payload_bytes"`
		Duration    float64   `json:"duration_seconds"`
		Warmup      float64   `json:"warmup_seconds"`
	} `json:"load"`
	Connections struct {
		Opened  int     `json:"opened"`
		Seconds float64 `json:"seconds"`
	} `json:"connections"`
	Rows struct {
		Written   int64   `json:"written"`
		PerSecond float64 `json:"per_second"`
		Warmup    int64   `json:"warmup"`
		Due       int64   `json:"due"` // by the schedule: more than were written, if it could not be kept
	} `json:"rows"`
	Deliveries struct {
		Count     int64   `json:"count"`
		PerSecond float64 `json:"per_second"`
		Expected  int64   `json:"expected"`
	} `json:"deliveries"`
	FromSchedule *Latency `json:"latency_from_schedule_ms"` // null without one
	FromCommit   *Latency `json:"latency_from_commit_ms"`
	BegunLate    *Latency `json:"rows_begun_late_ms"` // null without a schedule

	Lost       int64            `json:"lost"`
	Late       int64            `json:"late"` // had not come when the wait for them ended, though others still came
	Doubled    int64            `json:"doubled"`
	OutOfOrder int64            `json:"out_of_order"`
	Reconnects int64            `json:"reconnects"`
	Incidents  map[string]int64 `json:"incidents"` // by their names

	Service   *ServiceUsage  `json:"service"` // null: not known
	Generator GeneratorUsage `json:"generator"`
	Warnings  []string       `json:"warnings"`
}

// Latency has the percentiles, in milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// ServiceUsage is what the service used.
type ServiceUsage struct {
	CPUSeconds           float64  `json:"cpu_seconds"` // while it was measured
	CPUSecondsPerMillion *float64 `json:"cpu_seconds_per_million_deliveries"`
	MemoryBytes          uint64   `json:"memory_bytes"` // resident, at the end, with all connected
}

// GeneratorUsage is what this process used to make the load.
type GeneratorUsage struct {
	CPUSeconds *float64 `json:"cpu_seconds"` // while it measured; null: not known
	CPUShare   *float64 `json:"cpu_share"`   // of all cores that it may use, 0 to 1
	Cores      int      `json:"cores"`
	LateP99    float64  `json:"late_p99_ms"` // how late it does what should be done now
}

// Clean is nil if each subscriber got each row once and in order, and says otherwise what was not so.
func (r *Report) Clean() error {
	if r.Lost+r.Doubled+r.OutOfOrder == 0 {
		return nil
	}
	return fmt.Errorf("of the deliveries %d are lost, %d doubled and %d out of order", r.Lost, r.Doubled, r.OutOfOrder)
}

func milliseconds(microseconds int64) float64 { return float64(microseconds) / 1000 }

// latencyOf is nil of nothing.
func latencyOf(h *hdrhistogram.Histogram) *Latency {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(percent float64) float64 { return milliseconds(h.ValueAtQuantile(percent)) }
	return &Latency{at(50), at(90), at(99), at(99.9), milliseconds(h.Max())}
}

// newReport has what is known before the run.
func newReport(o *Options) *Report {
	r := new(Report)
	r.Load.Transport, r.Load.Subscribers, r.Load.Channels, r.Load.Writers = o.Transport, o.Subscribers, o.Channels, o.Writers
	r.Load.Rate, r.Load.Payload = o.Rate, o.Payload
	r.Load.Duration, r.Load.Warmup = o.Duration.Seconds(), o.Warmup.Seconds()
	return r
}

// count counts what there was, when nothing goes on any more.
func (r *Report) count(c *crowd, w *writers, coming bool) {
	l := c.ledger.Load()
	r.Rows.Written, r.Rows.Warmup = l.taken-l.warm, l.warm
	r.Rows.Due = max(l.scheduled()-l.warm, r.Rows.Written)
	r.Rows.PerSecond = perSecond(r.Rows.Written, max(l.last, l.end)-l.measured)

	last, missing := int64(0), int64(0)
	for _, s := range c.subscribers {
		r.Deliveries.Count += s.measured
		r.Deliveries.Expected += l.of(s.channel, l.taken) - l.of(s.channel, l.warm)
		r.Doubled += s.account.doubled
		r.OutOfOrder += s.account.misplaced
		missing += l.of(s.channel, l.taken) - s.account.received
		last = max(last, s.last)
	}
	r.Deliveries.PerSecond = perSecond(r.Deliveries.Count, max(last, l.end)-l.measured)
	if coming {
		r.Late = missing
	} else {
		r.Lost = missing
	}
	fromDue, fromCommits := c.latencies.merged()
	r.FromCommit = latencyOf(fromCommits)
	if l.rate > 0 {
		r.FromSchedule = latencyOf(fromDue)
		r.BegunLate = latencyOf(w.lateness())
	}
	if r.Service != nil && r.Deliveries.Count > 0 {
		r.Service.CPUSecondsPerMillion = new(r.Service.CPUSeconds / float64(r.Deliveries.Count) * 1e6)
	}
	r.Reconnects = c.reconnects.Load()
	r.Incidents = c.incidents.all()
}

// perSecond is of a time that is at least as long as what was to be measured, and longer where something came late.
func perSecond(n, nanoseconds int64) float64 {
	return float64(n) / time.Duration(nanoseconds).Seconds()
}
