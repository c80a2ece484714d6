package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docs/graphql-reference.md says what the schema says.
func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	want, err := reference("../../schema.graphql")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../../docs/graphql-reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/graphql-reference.md is not that of http/graph/schema.graphql: make generate writes it")
	}
}

// What a schema can have, the document has.
func TestReference(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "schema.graphql")
	err := os.WriteFile(path, []byte(`
		"What can be read."
		type Query {
			"""
			Pets, of which
			some bark.

			Or not.
			"""
			pets(kind: Kind = DOG, "At most | at least." first: Int!): [Pet!]!
			old: Int @deprecated(reason: "Ask for pets.")
		}
		"A kind."
		enum Kind { "It barks." DOG }
		"A pet."
		union Pet = Dog
		"Whoever has a name."
		interface Named { "It." name: String }
		"A dog."
		type Dog implements Named { "It." name: String  "Friends." friends(filter: Filter): [Dog] }
		"Which."
		input Filter { "The kind." kind: Kind = DOG }
		"A day."
		scalar Day
	`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	text, err := reference(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| [Queries](#queries) | [pets](#queries-pets), [old](#queries-old) |",
		"| [Types](#types) | [Pet](#type-pet), [Named](#type-named), [Dog](#type-dog) |",
		"<a id=\"queries-pets\"></a>\n\n### pets\n\nPets, of which some bark.\n\nOr not.\n\nReturns \\[[Pet](#type-pet)!\\]!.\n",
		"| `kind` | [Kind](#type-kind) | `DOG` |  |\n| `first` | `Int!` |  | At most \\| at least. |",
		"**Deprecated.** Ask for pets.",
		"| `DOG` | It barks. |",
		"One of [Dog](#type-dog).",
		"It is a [Named](#type-named).",
		"| `friends` | \\[[Dog](#type-dog)\\] | Friends.<br>`filter`: [Filter](#type-filter) |",
		"| `kind` | [Kind](#type-kind) | `DOG` | The kind. |",
		"### Day\n\nA day.\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it has no %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "__schema") || strings.Contains(text, "mutations-") {
		t.Errorf("it has what the schema has not:\n%s", text)
	}
}
