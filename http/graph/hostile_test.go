package graph_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2/ast"

	"tidings/db"
	"tidings/http/graph"
	"tidings/realtime"
)

// noSource is the source of a hub that nobody feeds.
type noSource struct{}

func (noSource) Nudge()                              {}
func (noSource) RefreshTopics(context.Context) error { return nil }

func (noSource) Judge(context.Context, []realtime.Judging) ([][]bool, error) {
	return nil, errors.New("there is nobody to ask")
}

func (noSource) Permit(context.Context, []realtime.Ask) ([]bool, error) {
	return nil, errors.New("there is nobody to ask")
}
func (noSource) Read(context.Context, realtime.Cursor, realtime.Snapshot, []string, int) (realtime.LogPage, error) {
	return realtime.LogPage{}, errors.New("there is nothing to be read here")
}
func (noSource) Load(context.Context, ...realtime.Page) ([]realtime.Loaded, error) {
	return nil, errors.New("there is nothing to be read here")
}

// newAPI is an API without a database, for what does not come so far.
func newAPI(t testing.TB, options graph.Options) *graph.API {
	t.Helper()
	api := graph.New(&db.Channel{}, func() bool { return false }, realtime.NewHub(noSource{}, realtime.Options{}), slog.New(slog.DiscardHandler), options)
	t.Cleanup(api.Close)
	return api
}

func nested(n int, open, inner, end string) string {
	return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
}

// What would take the server's time or memory is refused before it does. Not parallel: what others allocate would be counted.
func TestHostileDocuments(t *testing.T) {
	var fragments, chain strings.Builder
	for i := range 60 { // each spread twice by the one before: 2^60 fields
		fmt.Fprintf(&fragments, "fragment f%d on Message { ...f%d ...f%d }\n", i, i+1, i+1)
	}
	fragments.WriteString("fragment f60 on Message { id }")
	for i := range 1000 {
		fmt.Fprintf(&chain, "fragment g%d on Message { ...g%d }\n", i, i+1)
	}
	chain.WriteString("fragment g1000 on Message { id }")
	each := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	variables := make(map[string]any)
	for i := range 500_000 {
		variables[fmt.Sprint("v", i)] = i
	}
	const tooComplex, invalid = graph.CodeTooComplex, "GRAPHQL_VALIDATION_FAILED"
	for _, tt := range []struct {
		name      string
		document  string
		variables map[string]any
		code      string // "": it is executed
	}{
		{"1,000 deep", `{ message(id: 1) ` + nested(500, `{ author { messages { nodes `, `{ id }`, ` } } }`) + ` }`, nil, tooComplex},
		{"100,000 deep", nested(100_000, `{a`, ``, `}`), nil, tooComplex},
		{"100,000 deep, not closed", strings.Repeat(`{a`, 30_000), nil, tooComplex},
		{"a value 20,000 deep", `{ message(id: ` + nested(20_000, `[`, ``, `]`) + `) { id } }`, nil, tooComplex},
		{"an object 2,000 deep", `{ messages(filter: ` + nested(1200, `{a:`, `1`, `}`) + `) { nodes { id } } }`, nil, tooComplex},
		{"a type 2,000 deep", `query ($a: ` + nested(2000, `[`, `Int`, `]`) + `) { me { id } }`, nil, tooComplex},
		{"1,000 aliases", `{ ` + each(1000, `a%d: me { id } `) + ` }`, nil, tooComplex},
		{"aliases of what is dear", `{ ` + each(40, `a%d: messages(first: 100) { nodes { comments(first: 100) { nodes { id } } } } `) + ` }`, nil, "COMPLEXITY_LIMIT_EXCEEDED"},
		{"pages in pages", `{ users(first: 100) { nodes { messages(first: 100) { nodes { comments(first: 100) { nodes { author { messages(first: 100) { nodes { comments(first: 100) { nodes { id } } } } } } } } } } } }`, nil, "COMPLEXITY_LIMIT_EXCEEDED"},
		{"pages for each event", `subscription { messageAdded { author { messages(first: 100) { nodes { comments(first: 10) { nodes { id } } } } } } }`, nil, "COMPLEXITY_LIMIT_EXCEEDED"},
		{"a field 2,000 times", `{ me { ` + strings.Repeat(`id `, 2000) + ` } }`, nil, tooComplex},
		{"a field 900 times", `{ me { ` + strings.Repeat(`id `, 900) + ` } }`, nil, ""},
		{"fields that may overlap", `{ ` + strings.Repeat(`me { messages { nodes { author { id } } } } `, 190) + ` }`, nil, ""},
		{"a fragment within itself", `{ message(id: 1) { ...a } } fragment a on Message { ...b } fragment b on Message { ...a }`, nil, invalid},
		{"a fragment that nobody spreads within itself", `{ me { id } } fragment a on Message { id ...a }`, nil, invalid},
		{"fragments that double", `{ message(id: 1) { ...f0 } } ` + fragments.String(), nil, tooComplex},
		{"fragments that double, with fields", `{ message(id: 1) { ...f0 } } ` + strings.ReplaceAll(fragments.String(), `{ ...`, `{ id ...`), nil, tooComplex},
		{"a long chain of fragments", `{ message(id: 1) { ...g0 } } ` + chain.String(), nil, tooComplex},
		{"fragments in fragments", `{ me { ` + nested(600, `... { `, `id`, ` }`) + ` } }`, nil, ""},
		{"1,000 directives", `{ me ` + strings.Repeat(`@skip(if: false) `, 700) + ` { id } }`, nil, invalid},
		{"1,000 operations", each(1000, `query q%d { me { id } } `), nil, tooComplex},
		{"1,000 variables", `query (` + each(800, `$v%d: Int `) + `) { me { id } }`, nil, invalid},
		{"half a million variables", `{ me { id } }`, variables, ""},
		{"a long name", `{ ` + strings.Repeat(`x`, 60_000) + ` }`, nil, invalid},
		{"a long text", `{ message(id: "` + strings.Repeat(`1`, 60_000) + `") { id } }`, nil, ""},
		{"a document that is too long", `{ me { id } } #` + strings.Repeat(`x`, 70_000), nil, tooComplex},
		{"comments and commas", `{ me { id } }` + strings.Repeat(",\n#\n", 15_000), nil, tooComplex},
		{"nothing", ``, nil, graph.CodeBadRequest},
		{"a byte order mark", "\ufeff{ me { id } }", nil, ""},
		{"NULs", "{ me\x00 { id } }", nil, "GRAPHQL_PARSE_FAILED"},
		{"no UTF-8", "{ me { id } } # \xff\xfe", nil, ""},
		{"a schema told at length", `{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }`, nil, invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := newAPI(t, graph.Options{Introspection: true})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			op, refused := api.Prepare(t.Context(), graph.Viewer{}, graph.Request{Query: tt.document, Variables: tt.variables})
			took := time.Since(begun)
			runtime.ReadMemStats(&after)
			allocated := (after.TotalAlloc - before.TotalAlloc) >> 10
			t.Logf("%d bytes: %s, %d KB allocated", len(tt.document), took, allocated)
			if allocated > 40<<10 {
				t.Errorf("%d KB were allocated for a document of %d bytes", allocated, len(tt.document))
			}
			if took > 10*time.Second { // where it were not bounded, it would take for ever
				t.Errorf("it took %s", took)
			}
			switch got := codeOf(t, refused); {
			case got != tt.code:
				t.Errorf("got the code %q, want %q", got, tt.code)
			case op == nil && refused == nil:
				t.Error("it is neither understood nor refused")
			}
		})
	}
}

// codeOf is the code of an answer's first error.
func codeOf(t testing.TB, r *graph.Response) string {
	t.Helper()
	if r == nil {
		return ""
	}
	var errs []struct{ Extensions struct{ Code string } }
	if err := json.Unmarshal(r.Errors, &errs); err != nil || len(errs) == 0 {
		t.Fatalf("%v: %s", err, r.Body)
	}
	return errs[0].Extensions.Code
}

// FuzzPrepare reads requests of any kind. Each is understood or refused, with a code.
func FuzzPrepare(f *testing.F) {
	for _, document := range []string{
		`{ me { id } }`, `query q($id: ID! = 1) { message(id: $id) { ...f @include(if: true) } } fragment f on Message { id author { username } }`,
		`subscription ($since: String) { messageAdded(since: $since) { id } }`, `subscription { events(channels: ["a", "b:1"]) { id } }`,
		`mutation { createMessage(input: {title: "x", content: """y"""}) { message { id } } }`, `{ messages(filter: {createdFrom: "2026-01-01T00:00:00Z"}) { nodes { id } } }`,
		`{ __schema { types { name } } }`, "{", `{ a: me { id } b: me { id } ... on Query { me { id } } }`,
	} {
		f.Add(document, `{"id":1,"since":"x"}`, "")
	}
	api := newAPI(f, graph.Options{Introspection: true})
	f.Fuzz(func(t *testing.T, document, variables, operation string) {
		r := graph.Request{Query: document, OperationName: operation}
		if json.Unmarshal([]byte(variables), &r.Variables) != nil {
			return
		}
		op, refused := api.Prepare(t.Context(), graph.Viewer{}, r)
		switch {
		case refused != nil:
			if codeOf(t, refused) == "" {
				t.Errorf("refused without a code: %s", refused.Body)
			}
			return
		case op.Kind() == ast.Subscription:
			s, refused := op.Subscribe(t.Context(), "") // no topic is known, so there is nothing to follow
			if s != nil || codeOf(t, refused) == "" {
				t.Errorf("got %v %v", s, refused)
			}
		}
	})
}
