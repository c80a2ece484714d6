package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figure is a metric that is read when somebody asks.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

var figures []*figure // all of them

func figureOf(kind prometheus.ValueType, name, help string, labels []string) *figure {
	f := &figure{prometheus.NewDesc("tidings_"+name, help, labels, nil), kind}
	figures = append(figures, f)
	return f
}

func gauge(name, help string, labels ...string) *figure {
	return figureOf(prometheus.GaugeValue, name, help, labels)
}

func counter(name, help string, labels ...string) *figure {
	return figureOf(prometheus.CounterValue, name+"_total", help, labels)
}

// sink is where a scrape's figures go.
type sink chan<- prometheus.Metric

func (s sink) put(f *figure, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
}

func (s sink) is(f *figure, holds bool, labels ...string) {
	value := 0.0
	if holds {
		value = 1
	}
	s.put(f, value, labels...)
}

// when puts a moment, if there was one.
func (s sink) when(f *figure, t time.Time, labels ...string) {
	if !t.IsZero() {
		s.put(f, float64(t.UnixMilli())/1000, labels...)
	}
}
