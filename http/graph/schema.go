package graph

import _ "embed"

// Schema is the schema as text, for tools that make code of it.
//
//go:embed schema.graphql
var Schema []byte
