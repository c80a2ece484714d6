package http_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The names in the document are those in the code: neither has one that the other lacks.
func TestAsyncAPINames(t *testing.T) {
	t.Parallel()
	a := asyncAPIDocument(t)
	names := make(map[string]map[string]bool) // by kind
	add := func(kind, name string) {
		if names[kind] == nil {
			names[kind] = make(map[string]bool)
		}
		names[kind][name] = true
	}
	inspect(t, func(file string, node ast.Node) {
		switch node := node.(type) {
		case *ast.ValueSpec: // of constants
			for i, name := range node.Names {
				value := ""
				if i < len(node.Values) {
					value = literal(node.Values[i])
				}
				switch {
				case value != "" && (isCode(node.Type) || strings.HasPrefix(name.Name, "code")):
					add("code", value)
				case value != "" && strings.HasPrefix(name.Name, "Reset"):
					add("reason", value)
				case strings.HasPrefix(name.Name, "Notice"):
					add("notice", strings.ToLower(strings.TrimPrefix(name.Name, "Notice")))
				}
			}
		case *ast.CompositeLit:
			kind, _ := node.Type.(*ast.Ident)
			if kind == nil {
				return
			}
			switch {
			case kind.Name == "goodbye" && file == "goodbye.go":
				reason, _, _ := strings.Cut(literal(node.Elts[1]), ":")
				add("goodbye", node.Elts[0].(*ast.BasicLit).Value+" "+reason)
			case kind.Name == "refusal":
				for _, e := range node.Elts {
					if e, is := e.(*ast.KeyValueExpr); is && e.Key.(*ast.Ident).Name == "code" && literal(e.Value) != "" {
						add("refusal", literal(e.Value))
					}
				}
			}
		}
	})
	equal := func(what string, got []string, want ...map[string]bool) {
		t.Helper()
		all := make(map[string]bool)
		for _, w := range want {
			maps.Copy(all, w)
		}
		slices.Sort(got)
		if got, want := slices.Compact(got), slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s: the document has\n%q, the code\n%q", what, got, want)
		}
	}
	schemas := a.Components.Schemas
	// What only ever is an answer in HTTP, or in GraphQL.
	for _, code := range []string{"not_found", "origin_not_allowed"} {
		if !names["refusal"][code] {
			t.Errorf("nothing is refused with %s any more", code)
		}
		delete(names["refusal"], code)
	}
	equal("codes", slices.Concat(schemas["errorCode"].Enum, schemas["streamErrorCode"].Enum), names["code"], names["refusal"])
	equal("reasons", slices.Clone(schemas["resetReason"].Enum), names["reason"])
	var goodbyes, reasons []string
	for _, g := range a.Goodbyes {
		goodbyes, reasons = append(goodbyes, fmt.Sprint(g.Code, " ", g.Reason)), append(reasons, g.Reason)
	}
	equal("goodbyes", goodbyes, names["goodbye"])
	for _, code := range schemas["streamGoodbye"].Enum {
		if !slices.Contains(reasons, code) {
			t.Errorf("a stream's goodbye is %s, and no WebSocket's", code)
		}
	}
	for notice := range names["notice"] {
		if notice != "kind" && notice != "signal" && a.Channels["ws"].said[notice] == nil {
			t.Errorf("there is no message %s", notice)
		}
	}
	if len(names["notice"]) < 8 {
		t.Errorf("the notices are %v", names["notice"])
	}

	// What is broadcast cannot be taken for something else.
	d := newDatabase(t)
	fixed := 0
	for _, c := range []string{"ws", "events"} {
		for name, m := range a.Channels[c].said {
			for _, e := range m.Examples {
				var f frame
				if err := json.Unmarshal(e.Payload, &f); err != nil {
					t.Fatal(err)
				}
				own := name == "told" || name == "toldNow"
				if query[bool](d, `select tidings.reserved_type($1)`, f.Type) == own {
					t.Errorf("reserved is %q: %t", f.Type, !own)
				}
				fixed++
			}
		}
	}
	if fixed < 30 {
		t.Errorf("%d types were looked at", fixed)
	}
}

// inspect visits what the packages http and realtime are made of.
func inspect(t *testing.T, visit func(file string, node ast.Node)) {
	t.Helper()
	for _, directory := range []string{".", "../realtime"} {
		files, err := filepath.Glob(directory + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(node ast.Node) bool {
				if node != nil {
					visit(filepath.Base(name), node)
				}
				return true
			})
		}
	}
}

// literal is a string's value; empty: it is none.
func literal(e ast.Expr) string {
	if e, is := e.(*ast.BasicLit); is && e.Kind == gotoken.STRING {
		value, _ := strconv.Unquote(e.Value) // it is Go
		return value
	}
	return ""
}

// isCode reports whether it is the type Code of package realtime.
func isCode(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "Code"
	case *ast.SelectorExpr:
		return e.Sel.Name == "Code"
	}
	return false
}
