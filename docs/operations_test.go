package docs_test

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// An operator does what docs/operations.md says, and looks at what it explains.
func TestOperations(t *testing.T) {
	t.Parallel()
	w := newWalk(t, "operations.md")
	w.run(readBlocks(t, "operations.md"))

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.service.address+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	explained := section(t, "operations.md", "Is it well?")
	for _, field := range fields(body) {
		if !strings.Contains(explained, "`"+field+"`") {
			t.Errorf("docs/operations.md does not explain %s of /readyz", field)
		}
	}
	for _, match := range regexp.MustCompile("(?m)^\\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \\|").FindAllStringSubmatch(explained, -1) {
		for name := range strings.SplitSeq(match[1], ", ") {
			if !slices.Contains(fields(body), strings.Trim(name, "`")) {
				t.Errorf("docs/operations.md explains %s, which /readyz has not", name)
			}
		}
	}
}

// fields are the names in an object, those of objects in it with theirs; but not what has names of its own.
func fields(object map[string]any) (names []string) {
	for name, value := range object {
		inner, nested := value.(map[string]any)
		if !nested || name == "subscriptions" || name == "refused" {
			names = append(names, name)
			continue
		}
		for _, n := range fields(inner) {
			names = append(names, name+"."+n)
		}
	}
	return names
}

// section is a document's text below a heading.
func section(t testing.TB, document, title string) string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, below, found := strings.Cut(string(text), "\n## "+title+"\n")
	if !found {
		t.Fatalf("%s has no section %q", document, title)
	}
	below, _, _ = strings.Cut(below, "\n## ")
	return below
}

// What the service warns of is explained, and what is explained is said.
func TestLogLines(t *testing.T) {
	t.Parallel()
	explained := section(t, "operations.md", "What it logs")
	logged := regexp.MustCompile(`\.(Warn|Error|Info)\("((?:[^"\\]|\\.)*)"`)
	said := make(map[string]string)
	for _, root := range []string{"../cmd/tidings", "../db", "../http", "../realtime"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, match := range logged.FindAllStringSubmatch(string(text), -1) {
				said[match[2]] = match[1]
				if match[1] != "Info" && !strings.Contains(explained, "`"+match[2]+"`") {
					t.Errorf("docs/operations.md does not explain the line %q (%s)", match[2], path)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	said["refused"] = "Warn" // its level depends on the code
	rows := regexp.MustCompile("(?m)^\\| (ERROR|WARN) \\| (`.*?`) \\| ").FindAllStringSubmatch(explained, -1)
	if len(rows) < 10 {
		t.Errorf("%d lines are explained, want at least 10", len(rows))
	}
	for _, row := range rows {
		for line := range strings.SplitSeq(row[2], "`, `") {
			line = strings.Trim(line, "`")
			if level, there := said[line]; !there || strings.ToUpper(level) != row[1] {
				t.Errorf("docs/operations.md explains %q at %s, and the level of it is %q", line, row[1], level)
			}
		}
	}
}
