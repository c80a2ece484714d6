package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/redis/rueidis"
)

// ErrLost says that Redis cannot be used.
var ErrLost = errors.New("Redis cannot be used") //nolint:staticcheck // a name

// lostError is an ErrLost that says where Redis was asked, and why it is of no use, for whoever looks after it.
type lostError struct {
	words string
	err   error
}

func (e *lostError) Error() string   { return e.words }
func (e *lostError) Unwrap() []error { return []error{ErrLost, e.err} }

func (r *Relay) lost(err error) error {
	var where string
	if option, err := options(r.URL); err == nil {
		where = strings.Join(option.InitAddress, ", ")
	}
	why := err.Error()
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		why = fmt.Sprintf("no answer within %s", r.Timeout)
	case errors.Is(err, io.EOF), errors.Is(err, rueidis.ErrClosing):
		why = "the connection was closed"
	case errors.As(err, &op):
		why = op.Err.Error()
		if op.Addr != nil {
			where = op.Addr.String() // one of several, or what a Sentinel named
		}
	case strings.HasPrefix(why, "NOAUTH"):
		why = "it wants a password, and --redis-url has none"
	case strings.HasPrefix(why, "WRONGPASS"):
		why = "it refuses the user or the password of --redis-url"
	}
	return &lostError{fmt.Sprintf("%s: %s", where, why), err}
}
