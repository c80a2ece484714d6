package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"tidings/db"
)

// Every flag is in docs/configuration.md, with its environment variable and its default.
func TestConfigurationIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	parser, err := kong.New(&cli{}, kong.Vars{"default_data_dir": "DIR"})
	if err != nil {
		t.Fatal(err)
	}
	flags := parser.Model.Flags
	for _, command := range parser.Model.Leaves(false) {
		flags = append(flags, command.Flags...)
	}
	documented := 0
	for _, flag := range flags {
		if len(flag.Envs) == 0 {
			continue // of one command alone, which explains it
		}
		name := "`--" + flag.Name + "`"
		if flag.Tag.Negatable != "" {
			name = "`--[no-]" + flag.Name + "`"
		}
		found := slices.ContainsFunc(lines, func(line string) bool {
			return strings.HasPrefix(line, "| "+name+" | `"+flag.Envs[0]+"` |") &&
				(flag.Default == "" || strings.Contains(line, "| `"+flag.Default+"` |"))
		})
		if !found {
			t.Errorf("docs/configuration.md has no row of %s, %s, default %q", name, flag.Envs[0], flag.Default)
		}
		documented++
	}
	if documented < 20 {
		t.Errorf("flags looked for: got %d, want at least 20", documented)
	}
}

// Every flag of bench, tail and doctor is in a document of theirs, with its default.
func TestCommandsAreDocumented(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&cli{}, kong.Vars{"default_data_dir": "DIR"})
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]int{"bench": 0, "tail": 0, "doctor": 0}
	for _, command := range parser.Model.Leaves(false) {
		if _, wanted := documented[command.Name]; !wanted {
			continue
		}
		path := "docs/" + command.Name + ".md"
		text, err := os.ReadFile("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		for _, flag := range command.Flags {
			found := slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
				return strings.HasPrefix(line, "| `") && strings.Contains(line, "`--"+flag.Name+"`") &&
					(flag.Default == "" || strings.Contains(line, "`"+flag.Default+"`"))
			})
			if !found {
				t.Errorf("%s has no row of --%s, default %q", path, flag.Name, flag.Default)
			}
			documented[command.Name]++
		}
	}
	for name, n := range documented {
		if n < 6 {
			t.Errorf("flags of %s looked for: got %d, want at least 6", name, n)
		}
	}
}

// Every check of doctor is in docs/doctor.md, in the order in which they are made, and no other is.
func TestChecksAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	_, below, _ := strings.Cut(string(text), "\n## Checks\n")
	below, _, _ = strings.Cut(below, "\n## ")
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ").FindAllStringSubmatch(below, -1) {
		documented = append(documented, row[1])
	}
	if want := append(db.DoctorChecks(), checkService, checkRedis); !slices.Equal(documented, want) {
		t.Errorf("docs/doctor.md has\n%q, want\n%q", documented, want)
	}
}

// Imports run one way: the hub knows nothing of PostgreSQL and HTTP, only db speaks to PostgreSQL, and cmd wires them.
func TestImports(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "tidings/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string][]string{
		"tidings/realtime":                   {},
		"tidings/triggers":                   {},
		"tidings/clients/go":                 {},
		"tidings/clients/js":                 {},
		"tidings/db":                         {"tidings/realtime"},
		"tidings/docs":                       {},
		"tidings/http":                       {"tidings/clients/js", "tidings/docs", "tidings/http/graph", "tidings/realtime"},
		"tidings/http/graph":                 {"tidings/db", "tidings/realtime"},
		"tidings/http/graph/internal/docs":   {},
		"tidings/http/browsertest":           {},
		"tidings/redis":                      {"tidings/realtime"},
		"tidings/redis/redistest":            {},
		"tidings/db/dbtest":                  {"tidings/db", "tidings/triggers"},
		"tidings/metrics":                    {"tidings/db", "tidings/http", "tidings/realtime"},
		"tidings/traces":                     {"tidings/realtime"},
		"tidings/cmd/tidings":                {"tidings/clients/go", "tidings/cmd/tidings/internal/bench", "tidings/db", "tidings/http", "tidings/http/graph", "tidings/metrics", "tidings/realtime", "tidings/redis", "tidings/traces", "tidings/triggers"},
		"tidings/cmd/tidings/internal/bench": {"tidings/db"},
		"tidings/cmd/tidings/programtest":    {},
		"tidings/cmd/faults":                 {"tidings/db", "tidings/realtime", "tidings/triggers"},
		"tidings/cmd/benchmarks":             {"tidings/cmd/scaling/model", "tidings/db", "tidings/redis/redistest", "tidings/triggers"},
		"tidings/cmd/scaling":                {"tidings/cmd/scaling/model"},
		"tidings/cmd/scaling/model":          {},
	}
	drivers := []string{"github.com/jackc/pgx/v5", "github.com/jackc/pgxlisten", "github.com/golang-migrate/migrate/v4"}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for decoder.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		ours, known := allowed[p.ImportPath]
		if !known {
			t.Errorf("package %s is new: say here what it may import", p.ImportPath)
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, "tidings/") && !slices.Contains(ours, i) {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
			if p.ImportPath == "tidings/realtime" && strings.Contains(strings.Split(i, "/")[0], ".") {
				t.Errorf("realtime imports %s: it has the standard library only", i)
			}
			driver := slices.ContainsFunc(drivers, func(d string) bool { return i == d || strings.HasPrefix(i, d+"/") })
			if driver && !strings.HasPrefix(p.ImportPath, "tidings/db") && p.ImportPath != "tidings/cmd/benchmarks" {
				t.Errorf("%s imports %s: only db speaks to PostgreSQL", p.ImportPath, i)
			}
		}
	}
}
