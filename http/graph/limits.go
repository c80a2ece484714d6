package graph

import (
	"context"
	"errors"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
)

// limits refuses documents that are too large before they are validated, which can take the square of their size, or forever.
type limits struct {
	options *Options
	checked *cache[struct{}]
}

// ExtensionName implements graphql.HandlerExtension.
func (l *limits) ExtensionName() string { return "Limits" }

// Validate implements graphql.HandlerExtension.
func (l *limits) Validate(graphql.ExecutableSchema) error {
	l.checked = newCache(cacheText, func(struct{}) int { return 0 })
	return nil
}

// MutateOperationParameters implements graphql.OperationParameterMutator. It is called before a document is parsed to be
// validated.
func (l *limits) MutateOperationParameters(ctx context.Context, params *graphql.RawParams) *gqlerror.Error {
	o := l.options
	if params.Query == "" {
		return errorf(CodeBadRequest, "the query is missing")
	}
	if n := len(params.Query); n > o.MaxQueryBytes {
		return errorf(CodeTooComplex, "a document has at most %d bytes, not %d", o.MaxQueryBytes, n)
	}
	if _, ok := l.checked.Get(ctx, params.Query); ok {
		return nil
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: params.Query}, o.MaxTokens)
	if err != nil {
		var syntax *gqlerror.Error
		if !errors.As(err, &syntax) {
			syntax = gqlerror.Errorf("%s", err)
		}
		if strings.HasPrefix(syntax.Message, "exceeded ") {
			return errorf(CodeTooComplex, "a document has at most %d words and marks, and nests nothing a thousand deep", o.MaxTokens)
		}
		errcode.Set(syntax, errcode.ParseFailed)
		return syntax
	}
	measures := measuring{doc: doc, introspection: o.Introspection, fragments: make(map[string]*measure)}
	for _, operation := range doc.Operations {
		m, err := measures.of(operation.SelectionSet)
		switch {
		case err != nil:
			return err
		case m.depth > o.MaxDepth:
			return errorf(CodeTooComplex, "fields are nested at most %d deep, not %d", o.MaxDepth, m.depth)
		case m.fields > o.MaxFields:
			return errorf(CodeTooComplex, "an operation has at most %d fields, not %d", o.MaxFields, m.fields)
		case m.aliases > o.MaxAliases:
			return errorf(CodeTooComplex, "an operation has at most %d aliases, not %d", o.MaxAliases, m.aliases)
		}
	}
	for _, f := range doc.Fragments { // those that are not spread are validated, too
		if _, err := measures.fragment(f.Name); err != nil {
			return err
		}
	}
	l.checked.Add(ctx, params.Query, struct{}{})
	return nil
}

// measure is what a selection comes to.
type measure struct {
	depth, fields, aliases int
}

// measuring measures selections, each fragment once.
type measuring struct {
	doc           *ast.QueryDocument
	introspection bool                // is allowed
	fragments     map[string]*measure // nil: is being measured
}

// enough is where counting stops.
const enough = 1 << 20

func (m *measuring) of(selections ast.SelectionSet) (total measure, err *gqlerror.Error) {
	for _, selection := range selections {
		var part measure
		switch s := selection.(type) {
		case *ast.Field:
			part, err = m.of(s.SelectionSet)
			part.depth++
			part.fields++
			if !m.introspection && (s.Name == "__schema" || s.Name == "__type") {
				return total, errorf(CodeIntrospection, "the schema is not told here: introspection is on in development alone")
			}
			if s.Alias != s.Name {
				part.aliases++
			}
		case *ast.InlineFragment:
			part, err = m.of(s.SelectionSet)
		case *ast.FragmentSpread:
			part, err = m.fragment(s.Name)
		}
		if err != nil {
			return total, err
		}
		total.depth = max(total.depth, part.depth)
		total.fields = min(total.fields+part.fields, enough)
		total.aliases = min(total.aliases+part.aliases, enough)
	}
	return total, nil
}

func (m *measuring) fragment(name string) (measure, *gqlerror.Error) {
	known, seen := m.fragments[name]
	switch {
	case seen && known == nil:
		err := gqlerror.Errorf("Cannot spread fragment %q within itself.", name)
		errcode.Set(err, errcode.ValidationFailed)
		return measure{}, err
	case seen:
		return *known, nil
	}
	fragment := m.doc.Fragments.ForName(name)
	if fragment == nil {
		return measure{}, nil // validation will say so
	}
	m.fragments[name] = nil
	total, err := m.of(fragment.SelectionSet)
	if err != nil {
		return total, err
	}
	m.fragments[name] = &total
	return total, nil
}

// weigh says what fields cost: as many as the answer has if all pages are full.
func (a *API) weigh(c *ComplexityRoot) {
	page := func(child int, first, last *int) int {
		n := a.options.DefaultPageSize
		if first != nil {
			n = *first
		} else if last != nil {
			n = *last
		}
		return 1 + min(max(n, 1), a.options.MaxPageSize)*min(child, enough)
	}
	c.Query.Users = func(child int, first *int, _ *string, last *int, _ *string, _ *UserFilter, _ UserOrder) int {
		return page(child, first, last)
	}
	c.Query.OnlineUsers = func(child int, first *int, _ *string) int {
		return page(child, first, nil)
	}
	c.Query.Messages = func(child int, first *int, _ *string, last *int, _ *string, _ *MessageFilter, _ Order) int {
		return page(child, first, last)
	}
	c.Query.Comments = func(child int, first *int, _ *string, last *int, _ *string, _ *CommentFilter, _ Order) int {
		return page(child, first, last)
	}
	c.Query.Notifications = func(child int, first *int, _ *string, _ bool) int {
		return page(child, first, nil)
	}
	c.User.Messages = func(child int, first *int, _ *string, last *int, _ *string, _ Order) int {
		return page(child, first, last)
	}
	c.Message.Comments = func(child int, first *int, _ *string, last *int, _ *string, _ Order) int {
		return page(child, first, last)
	}
}
