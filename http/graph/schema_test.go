package graph_test

import (
	"strings"
	"testing"

	"tidings/http/graph"
)

// Everything in the schema says what it is.
func TestSchemaIsDescribed(t *testing.T) {
	t.Parallel()
	for name, d := range graph.NewExecutableSchema(graph.Config{}).Schema().Types {
		if d.BuiltIn {
			continue
		}
		if d.Description == "" {
			t.Errorf("the type %s says nothing", name)
		}
		for _, f := range d.Fields {
			if f.Description == "" && !strings.HasPrefix(f.Name, "__") {
				t.Errorf("%s.%s says nothing", name, f.Name)
			}
		}
	}
}
