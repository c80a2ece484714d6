package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Errors are in words, remain what they are, and end a start only where waiting is of no use.
func TestErrorsAreInWords(t *testing.T) {
	t.Parallel()
	pooler := func(message string) error { return &pgconn.PgError{Severity: "FATAL", Code: "08P01", Message: message} }
	for _, c := range []struct {
		err  error
		want string
		ends bool
	}{
		{pooler("SASL authentication failed"), "the pooler refuses the user or the password: SASL authentication failed", true},
		{pooler("no such database: shop"), "the pooler knows no such database: shop", true},
		{pooler("server login has been failing, try again later"), "the pooler says: server login has been failing, try again later", false},
		{fmt.Errorf("timeout: %w", context.DeadlineExceeded), "the database does not answer in time", false},
		{fmt.Errorf("receive: %w", io.ErrUnexpectedEOF), "the connection to the database was closed", false},
	} {
		got := explain(c.err)
		var unusable *UnusableError
		if got.Error() != c.want || errors.As(got, &unusable) != c.ends {
			t.Errorf("%v: got %q", c.err, got)
		}
	}
	if err := explain(fmt.Errorf("timeout: %w", context.DeadlineExceeded)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not known by what it is", err)
	}
}
