// Command docs writes docs/graphql-reference.md: all that a GraphQL schema has, with what it says of it, as a document with links.
//
//	docs SCHEMA DOCUMENT
package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: docs SCHEMA DOCUMENT")
		os.Exit(2)
	}
	text, err := reference(os.Args[1])
	if err == nil {
		err = os.WriteFile(os.Args[2], []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

const preface = `# GraphQL reference

All that the schema has. How it is used, with examples, is in [graphql.md](graphql.md). ` + "`make generate`" + ` writes this page from
[http/graph/schema.graphql](../http/graph/schema.graphql): change it there.

A type with ` + "`!`" + ` is never null; ` + "`[…]`" + ` is a list.
`

// reference returns the document of the schema in a file.
func reference(path string) (string, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: path, Input: string(source)})
	if err != nil {
		return "", err
	}
	var p page
	p.WriteString(preface)
	p.contents(schema)
	for _, root := range roots(schema) {
		p.operations(root.title, root.definition)
	}
	for _, kind := range kinds {
		found := kind.of(schema)
		if len(found) == 0 {
			continue
		}
		fmt.Fprintf(&p, "\n## %s\n", kind.title)
		for _, d := range found {
			p.definition(d)
		}
	}
	return p.String(), nil
}

type root struct {
	title      string
	definition *ast.Definition
}

// roots are what operations begin with.
func roots(schema *ast.Schema) []root {
	all := []root{{"Queries", schema.Query}, {"Mutations", schema.Mutation}, {"Subscriptions", schema.Subscription}}
	return slices.DeleteFunc(all, func(r root) bool { return r.definition == nil })
}

type kind struct {
	title string
	kinds []ast.DefinitionKind
}

var kinds = []kind{
	{"Types", []ast.DefinitionKind{ast.Object, ast.Interface, ast.Union}},
	{"Inputs", []ast.DefinitionKind{ast.InputObject}},
	{"Enums", []ast.DefinitionKind{ast.Enum}},
	{"Scalars", []ast.DefinitionKind{ast.Scalar}},
}

// of returns a schema's own definitions of the kind, in the schema's order.
func (k kind) of(schema *ast.Schema) []*ast.Definition {
	var found []*ast.Definition
	for _, d := range schema.Types {
		root := d == schema.Query || d == schema.Mutation || d == schema.Subscription
		if !d.BuiltIn && !root && slices.Contains(k.kinds, d.Kind) {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b *ast.Definition) int { return cmp.Compare(a.Position.Start, b.Position.Start) })
	return found
}

// page is a document that is being written.
type page struct{ strings.Builder }

// contents has a link to everything.
func (p *page) contents(schema *ast.Schema) {
	p.WriteString("\n| | |\n|---|---|\n")
	row := func(title string, links []string) {
		fmt.Fprintf(p, "| [%s](#%s) | %s |\n", title, strings.ToLower(title), strings.Join(links, ", "))
	}
	for _, r := range roots(schema) {
		var links []string
		for _, f := range ownFields(r.definition) {
			links = append(links, fmt.Sprintf("[%s](#%s)", f.Name, operationAnchor(r.title, f)))
		}
		row(r.title, links)
	}
	for _, k := range kinds {
		var links []string
		for _, d := range k.of(schema) {
			links = append(links, fmt.Sprintf("[%s](#%s)", d.Name, typeAnchor(d.Name)))
		}
		if len(links) > 0 {
			row(k.title, links)
		}
	}
}

// operations has a section for each field of a root.
func (p *page) operations(title string, d *ast.Definition) {
	fmt.Fprintf(p, "\n## %s\n\n%s\n", title, prose(d.Description))
	for _, f := range ownFields(d) {
		fmt.Fprintf(p, "\n<a id=\"%s\"></a>\n\n### %s\n\n%s\n\nReturns %s.\n", operationAnchor(title, f), f.Name, described(f.Description, f.Directives), typeLink(f.Type))
		if len(f.Arguments) == 0 {
			continue
		}
		p.WriteString("\n| argument | type | default | |\n|---|---|---|---|\n")
		for _, a := range f.Arguments {
			fmt.Fprintf(p, "| `%s` | %s | %s | %s |\n", a.Name, typeLink(a.Type), value(a.DefaultValue), cell(described(a.Description, a.Directives)))
		}
	}
}

// definition has a section for a type.
func (p *page) definition(d *ast.Definition) {
	fmt.Fprintf(p, "\n<a id=\"%s\"></a>\n\n### %s\n\n%s\n", typeAnchor(d.Name), d.Name, described(d.Description, d.Directives))
	switch d.Kind {
	case ast.Enum:
		p.WriteString("\n| value | |\n|---|---|\n")
		for _, v := range d.EnumValues {
			fmt.Fprintf(p, "| `%s` | %s |\n", v.Name, cell(described(v.Description, v.Directives)))
		}
	case ast.InputObject:
		p.WriteString("\n| field | type | default | |\n|---|---|---|---|\n")
		for _, f := range d.Fields {
			fmt.Fprintf(p, "| `%s` | %s | %s | %s |\n", f.Name, typeLink(f.Type), value(f.DefaultValue), cell(described(f.Description, f.Directives)))
		}
	case ast.Union:
		fmt.Fprintf(p, "\nOne of %s.\n", strings.Join(typeLinks(d.Types), ", "))
	case ast.Object, ast.Interface:
		if len(d.Interfaces) > 0 {
			fmt.Fprintf(p, "\nIt is a %s.\n", strings.Join(typeLinks(d.Interfaces), ", "))
		}
		p.WriteString("\n| field | type | |\n|---|---|---|\n")
		for _, f := range ownFields(d) {
			says := cell(described(f.Description, f.Directives))
			for _, a := range f.Arguments {
				says += fmt.Sprintf("<br>`%s`: %s", a.Name, typeLink(a.Type))
				if a.DefaultValue != nil {
					says += ", by default " + value(a.DefaultValue)
				}
				if a.Description != "" {
					says += ". " + cell(prose(a.Description))
				}
			}
			fmt.Fprintf(p, "| `%s` | %s | %s |\n", f.Name, typeLink(f.Type), says)
		}
	case ast.Scalar:
	}
}

// ownFields are a type's, without those that every schema has.
func ownFields(d *ast.Definition) ast.FieldList {
	return slices.DeleteFunc(slices.Clone(d.Fields), func(f *ast.FieldDefinition) bool { return strings.HasPrefix(f.Name, "__") })
}

func typeAnchor(name string) string { return "type-" + strings.ToLower(name) }

func operationAnchor(title string, f *ast.FieldDefinition) string {
	return strings.ToLower(title) + "-" + strings.ToLower(f.Name)
}

// typeLink is a type, linked to where it is explained.
func typeLink(t *ast.Type) string {
	text := t.String()
	name := t.Name()
	if slices.Contains([]string{"ID", "Int", "Float", "String", "Boolean"}, name) {
		return "`" + text + "`"
	}
	return strings.NewReplacer("[", `\[`, "]", `\]`, name, fmt.Sprintf("[%s](#%s)", name, typeAnchor(name))).Replace(text)
}

func typeLinks(names []string) []string {
	links := make([]string, len(names))
	for i, name := range names {
		links[i] = typeLink(ast.NamedType(name, nil))
	}
	return links
}

func value(v *ast.Value) string {
	if v == nil {
		return ""
	}
	return "`" + v.String() + "`"
}

// described is what is said of something, and whether it is on its way out.
func described(description string, directives ast.DirectiveList) string {
	text := prose(description)
	if d := directives.ForName("deprecated"); d != nil {
		reason := ""
		if a := d.Arguments.ForName("reason"); a != nil {
			reason = " " + a.Value.Raw
		}
		text = strings.TrimSpace("**Deprecated.**" + reason + " " + text)
	}
	return text
}

// prose is a description on one line; paragraphs stay apart.
func prose(description string) string {
	paragraphs := strings.Split(strings.TrimSpace(description), "\n\n")
	for i := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(paragraphs[i]), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}

// cell is prose in a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n\n", "<br>").Replace(text)
}
