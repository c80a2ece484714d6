package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	link      = regexp.MustCompile(`\]\(<?([^)<>\s]+)>?(?: "[^"]*")?\)`)
	linkName  = regexp.MustCompile(`^\[[^\]]+\]: +<?([^<>\s]+)>?`)
	htmlLink  = regexp.MustCompile(`(?:href|src|srcset)="([^"]+)"`)
	htmlID    = regexp.MustCompile(`(?:id|name)="([^"]+)"`)
	heading   = regexp.MustCompile(`^#{1,6} +(.+?)(?: +#+)?$`)
	code      = regexp.MustCompile("`+[^`]*`+")
	elsewhere = regexp.MustCompile(`^([a-z][a-z+.-]*:|//)`)
)

// prose returns a document's lines, with those in code empty.
func prose(t testing.TB, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Split(string(text), "\n")
	inside := ""
	for i, line := range all {
		match := fence.FindStringSubmatch(line)
		switch {
		case inside == "" && match != nil:
			inside = match[2]
		case inside != "" && match != nil && match[2] == inside && match[3] == "":
			inside = ""
		case inside == "" && !strings.HasPrefix(line, "    "):
			continue
		}
		all[i] = ""
	}
	return all
}

// anchors are those that GitHub makes of a document's headings, and those that it has itself.
func anchors(t testing.TB, path string) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	for _, line := range prose(t, path) {
		for _, id := range htmlID.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
			found[id[1]] = true
		}
		match := heading.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		anchor := anchorOf(match[1])
		unique := anchor
		for i := 1; found[unique]; i++ {
			unique = fmt.Sprintf("%s-%d", anchor, i)
		}
		found[unique] = true
	}
	return found
}

// anchorOf is a heading in small letters, without marks, with hyphens for spaces.
func anchorOf(title string) string {
	title = link.ReplaceAllString(title, "]")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			return unicode.ToLower(r)
		}
		return -1
	}, title)
}

// documents are all that are read by people, by their paths from here.
func documents(t testing.TB) []string {
	t.Helper()
	found := []string{"../README.md", "../SECURITY.md", "../CHANGELOG.md"}
	for _, root := range []string{".", "../clients"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "node_modules":
				return fs.SkipDir
			case strings.HasSuffix(path, ".md"):
				found = append(found, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// Every link between the documents leads to a file that is there, and to a heading in it.
func TestLinks(t *testing.T) {
	t.Parallel()
	looked := 0
	known := make(map[string]map[string]bool)
	for _, document := range documents(t) {
		for i, line := range prose(t, document) {
			line = code.ReplaceAllString(line, "")
			for _, match := range slices.Concat(link.FindAllStringSubmatch(line, -1), linkName.FindAllStringSubmatch(line, -1), htmlLink.FindAllStringSubmatch(line, -1)) {
				target := match[1]
				if elsewhere.MatchString(target) {
					continue
				}
				looked++
				path, anchor, _ := strings.Cut(target, "#")
				if path == "" {
					path = document
				} else {
					path = filepath.Join(filepath.Dir(document), path)
				}
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s:%d: %s leads nowhere", document, i+1, target)
					continue
				}
				if anchor == "" || !strings.HasSuffix(path, ".md") {
					continue
				}
				if known[path] == nil {
					known[path] = anchors(t, path)
				}
				if !known[path][anchor] {
					t.Errorf("%s:%d: %s has no heading of which #%s is made", document, i+1, path, anchor)
				}
			}
		}
	}
	if looked < 50 {
		t.Errorf("%d links were looked at, want at least 50", looked)
	}
}

// Every document is in the index, docs/README.md.
func TestIndex(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range documents(t) {
		name := filepath.ToSlash(document)
		if name == "README.md" || name == "../README.md" {
			continue
		}
		if !strings.Contains(string(text), "]("+name+")") {
			t.Errorf("docs/README.md has no link to %s", name)
		}
	}
}

// Headings have the anchors that GitHub gives them.
func TestAnchors(t *testing.T) {
	t.Parallel()
	for title, want := range map[string]string{
		"Who may have what":               "who-may-have-what",
		"`GET /channels/{channel}`":       "get-channelschannel",
		"`/ws/events`":                    "wsevents",
		"What it does not do, or not yet": "what-it-does-not-do-or-not-yet",
		"A [link](x.md#y) in it":          "a-link-in-it",
		"snake_case – and a dash":         "snake_case--and-a-dash",
	} {
		if got := anchorOf(title); got != want {
			t.Errorf("%q: got %q, want %q", title, got, want)
		}
	}
}
