package main_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const (
	rulesFile     = "../../deploy/prometheus/alerts.yml"
	dashboardFile = "../../deploy/grafana/tidings.json"
)

// serveForOperators starts the service with an address for operators, and returns both.
func serveForOperators(t testing.TB, env []string, args ...string) (p *program, address, operators string) {
	t.Helper()
	p, address = serve(t, env, append([]string{"--admin-listen", "127.0.0.1:0"}, args...)...)
	return p, address, operatorsOf(p)
}

// operatorsOf is where the service tells operators how it is.
func operatorsOf(p *program) string {
	p.t.Helper()
	return p.await(&p.stderr, `msg="metrics, profiles and health, without sign-in" address=(\S+)`)[1]
}

// families are what a service exports.
func families(t testing.TB, operators string) map[string]*dto.MetricFamily {
	t.Helper()
	status, text := get(t, "http://"+operators+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: status %d: %s", status, text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sample is a scrape, as Prometheus has it: values by series.
type sample map[string]float64

// scrape is what Prometheus has of a service.
func scrape(t testing.TB, operators string) sample {
	t.Helper()
	s := sample{series("up", nil): 1}
	for name, family := range families(t, operators) {
		for _, m := range family.Metric {
			switch {
			case m.Histogram != nil:
				s[series(name+"_sum", m.Label)] = m.Histogram.GetSampleSum()
				s[series(name+"_count", m.Label)] = float64(m.Histogram.GetSampleCount())
			case m.Summary != nil:
			default:
				s[series(name, m.Label)] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
			}
		}
	}
	return s
}

// instance is what the services of these tests are called, one at a time.
const instance = "the one"

// series names one, with the labels that Prometheus adds.
func series(name string, labels []*dto.LabelPair) string {
	pairs := []string{`job="tidings"`, fmt.Sprintf("instance=%q", instance)}
	for _, l := range labels {
		pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	slices.Sort(pairs)
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// of is the value of a series, by the labels that are its own: 0 if there is none.
func (s sample) of(name string, labels ...string) float64 {
	var pairs []*dto.LabelPair
	for i := 0; i < len(labels); i += 2 {
		pairs = append(pairs, &dto.LabelPair{Name: &labels[i], Value: &labels[i+1]})
	}
	return s[series(name, pairs)]
}

// ruleFile is what of alerts.yml is looked at.
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Alert       string
			Expr        string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

func readRules(t testing.TB) ruleFile {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var rules ruleFile
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

// promtool runs Prometheus' own program.
func promtool(t testing.TB, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("these tests need promtool: run deploy/install-test-tools.sh")
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", args[:2], err, out)
	}
}

// Prometheus asks every minute, for so many times, which is longer than any alert waits.
const scrapes = 122

// fires has Prometheus evaluate the rules over what was scraped, as if it went on like this for two hours: what has risen from one scrape to
// the next goes on to rise, and the rest stays. Exactly the alerts named are to fire then.
func fires(t testing.TB, before, after sample, alerts ...string) {
	t.Helper()
	moved := map[string]string{}
	for name, value := range after {
		was := before[name] // of what was never counted before, 0
		switch plain, _, _ := strings.Cut(name, "{"); {
		case strings.HasSuffix(plain, "_timestamp_seconds"): // promtool's time begins at 0, and ends as long ago as it was
			ago := after[series("tidings_log_state_timestamp_seconds", nil)] - value
			value = 60*scrapes - ago
			moved[name] = fmt.Sprintf("%gx%d", value, scrapes)
		case value > was && (strings.HasSuffix(plain, "_total") || strings.HasSuffix(plain, "_sum") || strings.HasSuffix(plain, "_count")):
			moved[name] = fmt.Sprintf("%g+%gx%d", was, value-was, scrapes)
		default:
			moved[name] = fmt.Sprintf("%gx%d", value, scrapes)
		}
	}
	firesOver(t, moved, alerts...)
}

// firesOver does so over series in promtool's notation.
func firesOver(t testing.TB, values map[string]string, alerts ...string) {
	t.Helper()
	path, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	type given struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	type expected struct {
		Labels string `yaml:"labels"`
		Value  int    `yaml:"value"`
	}
	type question struct {
		Expr    string     `yaml:"expr"`
		At      string     `yaml:"eval_time"`
		Samples []expected `yaml:"exp_samples"`
	}
	var input []given
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if plain, _, _ := strings.Cut(name, "{"); strings.Contains(string(rules), plain) { // the rest makes it slow
			input = append(input, given{name, values[name]})
		}
	}
	known := map[string]bool{}
	var questions []question
	for _, group := range readRules(t).Groups {
		for _, rule := range group.Rules {
			known[rule.Alert] = true
			want := 0
			if slices.Contains(alerts, rule.Alert) {
				want = 1
			}
			questions = append(questions, question{
				Expr: fmt.Sprintf(`count(ALERTS{alertname=%q,alertstate="firing"}) > bool 0 or vector(0)`, rule.Alert), At: "2h", Samples: []expected{{"{}", want}},
			})
		}
	}
	for _, alert := range alerts {
		if !known[alert] {
			t.Errorf("there is no alert %s", alert)
		}
	}
	text, err := yaml.Marshal(map[string]any{
		"rule_files": []string{path}, "evaluation_interval": "1m",
		"tests": []any{map[string]any{"interval": "1m", "input_series": input, "promql_expr_test": questions}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "test", "rules", file)
}
