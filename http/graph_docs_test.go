package http_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What docs/graphql.md shows can be done.
func TestGraphDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/graphql.md")
	if err != nil {
		t.Fatal(err)
	}
	d := newDatabase(t)
	d.conversation()
	s := start(t, d.url, options{})
	c := s.graphInit()
	examples := regexp.MustCompile("(?s)```graphql\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) < 6 {
		t.Fatalf("there are %d examples", len(examples))
	}
	for i, example := range examples {
		document := example[1]
		if !strings.HasPrefix(document, "subscription") {
			if a := s.ask(graphRequest{Query: document}, nil); len(a.Errors) > 0 {
				t.Errorf("%s: %v", document, a.Errors)
			}
			continue
		}
		c.begin("1", document, nil)
		s.awaitSubscriptions(1 + strings.Count(document, `"comments:1"`)) // or an error has come
		c.send(`{"type":"complete","id":"1"}`)
		s.awaitSubscriptions(0)
		c.begin("still there", `{ __typename }`, nil)
		c.expectResult("still there", `{"__typename":"Query"}`)
		c.expect("complete")
		t.Logf("example %d is a subscription", i)
	}
	// Each code of an error is in its table.
	source, err := os.ReadFile("graph/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range regexp.MustCompile(`Code\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		if !strings.Contains(string(text), "`"+code[1]+"`") {
			t.Errorf("docs/graphql.md does not tell of the code %s", code[1])
		}
	}
}
