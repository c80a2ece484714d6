package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
	"github.com/goccy/go-yaml"

	"tidings/db/dbtest"
	"tidings/redis/redistest"
)

// What is for operators is at their address alone, as long as there are clients; and what cannot be is said.
func TestOperatorsAddress(t *testing.T) {
	t.Parallel()
	database := channelDatabase(t)
	p, address, operators := serveForOperators(t, environ(), "--database-url", database)
	for path, want := range map[string]string{
		"/metrics": "tidings_live 1", "/healthz": "alive", "/readyz": `"ready":`, "/debug/pprof/": "goroutine",
		"/debug/pprof/goroutine?debug=1": "goroutine profile", "/debug/pprof/profile?seconds=1": "", "/debug/pprof/heap": "",
	} {
		if status, body := get(t, "http://"+operators+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: status %d, %q; want 200 and %q in it", path, status, body[:min(len(body), 200)], want)
		}
	}
	for _, at := range []string{"http://" + address + "/metrics", "http://" + address + "/debug/pprof/", "http://" + operators + "/debug/pprof/cmdline", "http://" + operators + "/"} {
		if status, _ := get(t, at); status != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", at, status)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+operators+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host, request.Close = "evil.example.com", true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("by another name: status %d, want 403", response.StatusCode)
	}

	// A client that does not answer the goodbye has the service wait; it can be looked at meanwhile.
	dial(t, "ws://"+address+"/ws?channel=messages").expect("subscribed", "")
	p.signal(15)
	eventually(t, "it says that it stops, or has", func() bool {
		select {
		case <-p.ended:
			return true
		default:
		}
		_, body := tryGet(t, "http://"+operators+"/metrics")
		return strings.Contains(body, "tidings_stopping 1")
	})
	if code := p.wait(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// tryGet is get of somebody who may be gone.
func tryGet(t testing.TB, address string) (status int, body string) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	var text bytes.Buffer
	_, _ = text.ReadFrom(response.Body)
	return response.StatusCode, text.String()
}

func TestOperatorsAddressIsWrong(t *testing.T) {
	t.Parallel()
	taken, address := serve(t, environ(), "--database-url", dbtest.Database(t))
	url := "postgres://nobody@127.0.0.1:1/none"
	fail(t, environ("DATABASE_URL="+url), []string{"serve", "--admin-listen", "9090"}, "--admin-listen", `"9090"`, "host:port")
	fail(t, environ("DATABASE_URL="+url), []string{"serve", "--listen", "127.0.0.1:8080", "--admin-listen", "127.0.0.1:8080"}, "--admin-listen", "another port")
	fail(t, environ("DATABASE_URL="+url), []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", address}, "--admin-listen", address, "in use")
	fail(t, environ("DATABASE_URL="+url, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
		[]string{"serve", "--listen", "127.0.0.1:0"}, "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	for variables, complaint := range map[string]string{
		"OTEL_TRACES_SAMPLER=sometimes":                                            `"sometimes" is not known here`,
		"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=1%":              `"1%" is not a share from 0 to 1`,
		"OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=1.5": `"1.5" is not a share from 0 to 1`,
	} {
		env := append(environ("DATABASE_URL="+url, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"), strings.Fields(variables)...)
		fail(t, env, []string{"serve", "--listen", "127.0.0.1:0"}, complaint)
		if code, _, _ := run(t, env, "serve"); code != 2 {
			t.Errorf("%s ends with %d, as if it could be better the next time", variables, code)
		}
	}
	fail(t, environ("DATABASE_URL="+url, "OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318"), []string{"serve", "--listen", "127.0.0.1:0"}, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://")
	taken.signal(15)
	taken.wait()
}

// busy is what a service exports that has been used for all there is.
func busy(t testing.TB) map[string][]string {
	t.Helper()
	database := channelDatabase(t)
	_, address, operators := serveForOperators(t, environ(), "--database-url", database, "--redis-url", redistest.Start(t).URL())
	ws := dial(t, "ws://"+address+"/ws?channel=messages")
	ws.expect("subscribed", "")
	sql(t, database, `insert into messages (author_id, title, content) values (1, 'one', 'more')`)
	ws.expect("message_added", "one")
	for _, query := range []string{`{ messages { edges { node { title } } } }`, `{ nonsense }`} {
		status, body := post(t, "http://"+address+"/graphql", map[string]string{"query": query})
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, status, body)
		}
	}
	gone := dial(t, "ws://"+address+"/ws?channel=messages")
	gone.expect("subscribed", "")
	if err := gone.ws.WriteControl(8, []byte{3, 232}, deadline()); err != nil {
		t.Fatal(err)
	}
	gone.expectGoodbye(1000)
	exported := map[string][]string{"up": {"job", "instance"}}
	eventually(t, "the log was looked at, and the event delivered", func() bool {
		s := scrape(t, operators)
		return s.of("tidings_log_bytes") > 0 && s.of("tidings_delivery_lag_seconds_count") > 0 && s.of("tidings_heartbeat_lag_seconds_count") >= 0
	})
	for name, family := range families(t, operators) {
		var labels []string
		for _, m := range family.Metric {
			for _, l := range m.Label {
				if !slices.Contains(labels, l.GetName()) {
					labels = append(labels, l.GetName())
				}
			}
		}
		slices.Sort(labels)
		exported[name] = labels
	}
	return exported
}

// What is exported is explained, with its labels, and what is explained is exported; dashboard and alerts use nothing else.
func TestMetrics(t *testing.T) {
	t.Parallel()
	exported := busy(t)

	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(tidings_[a-z_]+)` \\| (gauge|counter|histogram) \\| (.*?) \\| ").FindAllStringSubmatch(string(text), -1) {
		name := row[1]
		explained[name] = true
		var labels []string
		for _, l := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(row[3], -1) {
			labels = append(labels, l[1])
		}
		if got, there := exported[name]; !there {
			t.Errorf("docs/metrics.md explains %s, which is not exported", name)
		} else if !slices.Equal(got, labels) {
			t.Errorf("docs/metrics.md has the labels %q of %s, which has %q", labels, name, got)
		}
	}
	for name := range exported {
		if strings.HasPrefix(name, "tidings_") && !explained[name] {
			t.Errorf("docs/metrics.md does not explain %s", name)
		}
	}

	for where, expressions := range expressions(t) {
		for _, expression := range expressions {
			checkExpression(t, where, expression, exported)
		}
	}
}

// Prometheus takes the rules, and all that the dashboard asks.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", rulesFile)
	promtool(t, "check", "config", "../../deploy/prometheus/prometheus.yml")
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var rules []rule
	for _, all := range expressions(t) {
		for _, expression := range all {
			rules = append(rules, rule{fmt.Sprintf("asked_%d", len(rules)), expression})
		}
	}
	out, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "all", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/dashboard.yml"
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}

// Each alert says what it is, and where it is said what to do.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	alerts := map[string]bool{}
	for _, group := range readRules(t).Groups {
		for _, rule := range group.Rules {
			alerts[rule.Alert] = true
			if want := "docs/operations.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook"] != want {
				t.Errorf("%s: the runbook is %q, want %q", rule.Alert, rule.Annotations["runbook"], want)
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || !slices.Contains([]string{"page", "ticket"}, rule.Labels["severity"]) {
				t.Errorf("%s lacks a summary, a description or a severity", rule.Alert)
			}
			if !strings.Contains(string(text), "\n### "+rule.Alert+"\n") {
				t.Errorf("docs/operations.md does not say what to do about %s", rule.Alert)
			}
		}
	}
	for _, match := range regexp.MustCompile(`(?m)^### (Tidings\w+)$`).FindAllStringSubmatch(string(text), -1) {
		if !alerts[match[1]] {
			t.Errorf("docs/operations.md says what to do about %s, which is no alert", match[1])
		}
	}
}

// expressions are those of the rules and the dashboard, by where they stand, as Prometheus gets them.
func expressions(t testing.TB) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, group := range readRules(t).Groups {
		for _, rule := range group.Rules {
			all[rule.Alert] = []string{rule.Expr}
		}
	}
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var found []string
	var walk func(node any)
	walk = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			if expression, ok := node["expr"].(string); ok {
				found = append(found, strings.ReplaceAll(expression, "$__rate_interval", "1m"))
			}
			if query, ok := node["definition"].(string); ok { // of a variable: label_values(selector, label)
				selector, label, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(query, "label_values("), ")"), ", ")
				found = append(found, fmt.Sprintf("count by (%s) (%s)", label, selector))
			}
			for _, inner := range node {
				walk(inner)
			}
		case []any:
			for _, inner := range node {
				walk(inner)
			}
		}
	}
	walk(dashboard)
	if len(found) < 50 {
		t.Errorf("the dashboard has %d expressions, want at least 50", len(found))
	}
	all["the dashboard"] = found
	return all
}

// checkExpression looks for names and labels that are not exported.
func checkExpression(t testing.TB, where, expression string, exported map[string][]string) {
	t.Helper()
	parsed, err := metricsql.Parse(expression)
	if err != nil {
		t.Errorf("%s: %s: %v", where, expression, err)
		return
	}
	labels := []string{"job", "instance", "le"} // of all that is in the expression
	var asked []string
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			for _, filters := range e.LabelFilterss {
				name := filters[0].Value
				own, there := exported[name]
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					if !there {
						own, there = exported[strings.TrimSuffix(name, suffix)]
					}
				}
				if !there {
					t.Errorf("%s: there is no metric %s: %s", where, name, expression)
				}
				for _, f := range filters[1:] {
					if f.Label != "job" && f.Label != "instance" && !slices.Contains(own, f.Label) {
						t.Errorf("%s: %s has no label %s: %s", where, name, f.Label, expression)
					}
				}
				labels = append(labels, own...)
			}
		case *metricsql.AggrFuncExpr:
			asked = append(asked, e.Modifier.Args...)
		}
	})
	for _, label := range asked {
		if !slices.Contains(labels, label) {
			t.Errorf("%s: nothing has the label %s: %s", where, label, expression)
		}
	}
}
