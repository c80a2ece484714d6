package graph

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"tidings/db"
	"tidings/realtime"
)

// The codes in an error's extensions, besides those of parsing and validating, which are gqlgen's.
const (
	CodeBadInput        = "BAD_USER_INPUT"         // a value cannot be; extensions.field says which
	CodeNotFound        = "NOT_FOUND"              // what is to be changed or followed is not there
	CodeUnauthenticated = "UNAUTHENTICATED"        // a token is needed
	CodeForbidden       = "FORBIDDEN"              // it is not yours
	CodeConflict        = "CONFLICT"               // the clientMutationId was used for something else
	CodeUnavailable     = "UNAVAILABLE"            // the database does not answer; try again
	CodeTimeout         = "TIMEOUT"                // it took too long
	CodeReset           = "RESET"                  // since cannot be served: load afresh; extensions.reason says why
	CodeTruncated       = "TRUNCATED"              // all rows were deleted at once
	CodeOmitted         = "OMITTED"                // a row is too large to be sent
	CodeInternal        = "INTERNAL"               // a mistake of ours, which is in the service's log
	CodeBadRequest      = "BAD_REQUEST"            // it is no GraphQL request
	CodeTooComplex      = "QUERY_TOO_COMPLEX"      // deeper, larger or with more aliases than is answered
	CodeIntrospection   = "INTROSPECTION_DISABLED" // the schema is not told
	CodeRateLimited     = "RATE_LIMITED"           // too many in too short a time; extensions.retryAfterMs says when to try again
	CodeTooMany         = "TOO_MANY_OPERATIONS"    // more at once than a connection or a batch may have
	CodeTooManyAttempts = "TOO_MANY_ATTEMPTS"      // to sign in or up; extensions.retryAfter says for how many seconds
)

// errorf makes an error with a code.
func errorf(code, format string, args ...any) *gqlerror.Error {
	return &gqlerror.Error{Message: fmt.Sprintf(format, args...), Extensions: map[string]any{"code": code}}
}

// badInput is an error of a field of the input, or of an argument.
func badInput(field, format string, args ...any) *gqlerror.Error {
	err := errorf(CodeBadInput, "%s %s", field, fmt.Sprintf(format, args...))
	err.Extensions["field"] = field
	return err
}

// inputError is why a scalar cannot be read.
type inputError struct{ message string }

func (e *inputError) Error() string { return e.message }

func inputErrorf(format string, args ...any) error {
	return &inputError{fmt.Sprintf(format, args...)}
}

// present gives every error a code, and says nothing of what is none of the client's business.
func (a *API) present(ctx context.Context, err error) *gqlerror.Error {
	if err := a.explain(ctx, err); err != nil {
		if err.Path == nil {
			err.Path = graphql.GetPath(ctx)
		}
		return err
	}
	a.logger.Error("a GraphQL request failed", "path", graphql.GetPath(ctx).String(), "error", err)
	hidden := errorf(CodeInternal, "something went wrong; the service's log says what")
	hidden.Path = graphql.GetPath(ctx)
	return hidden
}

// explain returns the error as clients may see it; nil: they may not.
func (a *API) explain(ctx context.Context, err error) *gqlerror.Error {
	var known *gqlerror.Error
	var channel *realtime.Error
	var invalid *db.InvalidError
	var input *inputError
	switch {
	case errors.As(err, &input):
		return errorf(CodeBadInput, "%s", input.message)
	case errors.As(err, &invalid):
		if invalid.Column == "" {
			return errorf(CodeBadInput, "%s", invalid.Message)
		}
		return badInput(fieldOf(invalid.Column), "%s", invalid.Message)
	case errors.Is(err, db.ErrNotFound):
		return errorf(CodeNotFound, "there is nothing with this id")
	case errors.Is(err, db.ErrNotTheirs):
		return errorf(CodeForbidden, "it is not yours, and you have no role that may do that")
	case errors.Is(err, db.ErrKeyUsed):
		return errorf(CodeConflict, "clientMutationId was used for something else: take another one")
	case errors.Is(err, db.ErrTooMuch):
		return errorf(CodeTooComplex, "it is about more than %d bytes of rows: ask for less", a.options.MaxBytes)
	case errors.Is(err, db.ErrGone):
		return errorf(CodeNotFound, "it was done before, and what was written has been deleted since")
	case errors.Is(err, context.DeadlineExceeded):
		return errorf(CodeTimeout, "it took longer than %s: ask for less", a.options.Timeout)
	case errors.Is(err, db.ErrUnavailable):
		return errorf(CodeUnavailable, "the database does not answer: try again")
	case errors.Is(err, context.Canceled):
		return errorf(CodeUnavailable, "the service is stopping, or you have gone")
	case errors.As(err, &channel):
		return errorf(strings.ToUpper(string(channel.Code)), "%s", channel.Message)
	case errors.As(err, &known) && known.Err == nil: // made for clients
		if known.Extensions["code"] == nil {
			errcode.Set(known, errcode.ValidationFailed)
		}
		return known
	}
	return nil
}

// fieldOf is the field of a column.
func fieldOf(column string) string {
	words := strings.Split(column, "_")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}
