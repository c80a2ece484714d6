package graph

import (
	"context"
	"errors"
	"strings"
	"time"

	"tidings/db"
)

// Accounts signs users up and in, where they have accounts of this service's own. Its errors are those of AccountErrorOf, or are not for
// clients.
type Accounts interface {
	// SignUp adds a user and begins a session.
	SignUp(ctx context.Context, client Client, username, displayName, password string) (*SignedIn, error)
	// SignIn begins a session.
	SignIn(ctx context.Context, client Client, username, password string) (*SignedIn, error)
	// Refresh gives new tokens for a refresh token.
	Refresh(ctx context.Context, refreshToken string) (*SignedIn, error)
	// SignOut ends the session of the refresh token or, where it is empty, of the client's access token; or all of its user's.
	SignOut(ctx context.Context, client Client, refreshToken string, everywhere bool) error
	// ChangePassword changes the password of the user whose the client's access token is, and ends all other sessions.
	ChangePassword(ctx context.Context, client Client, current, next string) (*db.User, error)
}

// SignedIn is a user who is signed in.
type SignedIn struct {
	User           db.User
	AccessToken    string
	Expires        time.Time // of the access token
	RefreshToken   string
	SessionExpires time.Time // of the last refresh token
}

// Client is who asks for something that has to do with accounts.
type Client struct {
	Address     string // without a port
	AccessToken string // as it was sent; empty: none
}

type clientKey struct{}

// WithClient returns a context for requests of a client.
func WithClient(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

func clientOf(ctx context.Context) Client {
	c, _ := ctx.Value(clientKey{}).(Client)
	return c
}

// StoredAccount is what the store of accounts speaks of, for those who may not import it.
type StoredAccount = db.Account

// StoredSession is the same of sessions.
type StoredSession = db.Session

// StoredUser is the same of users.
type StoredUser = db.User

// The store's errors, likewise.
var (
	ErrNoSession = db.ErrNoSession
	ErrReused    = db.ErrReused
)

// AccountError is why something cannot be done with an account, for whoever asked for it.
type AccountError struct {
	Code       string // one of this package's
	Field      string // which value is wrong; empty: none
	Message    string // goes on from the field, if there is one
	RetryAfter time.Duration
}

func (e *AccountError) Error() string {
	if e.Field != "" {
		return e.Field + " " + e.Message
	}
	return e.Message
}

// AccountErrorOf is the error as clients may see it; nil: they may not.
func AccountErrorOf(err error) *AccountError {
	var known *AccountError
	var invalid *db.InvalidError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &invalid):
		return &AccountError{Code: CodeBadInput, Field: fieldOf(invalid.Column), Message: invalid.Message}
	case errors.Is(err, db.ErrNoSession):
		return &AccountError{Code: CodeUnauthenticated, Message: "the session has ended: sign in again"}
	case errors.Is(err, context.DeadlineExceeded):
		return &AccountError{Code: CodeUnavailable, Message: "the service has too much to do: try again", RetryAfter: time.Second}
	case errors.Is(err, db.ErrUnavailable):
		return &AccountError{Code: CodeUnavailable, Message: "the database does not answer: try again", RetryAfter: time.Second}
	}
	return nil
}

// Seconds is RetryAfter as whole seconds, at least that long.
func (e *AccountError) Seconds() int { return int((e.RetryAfter + time.Second - 1) / time.Second) }

func (e *AccountError) forGraph() error {
	err := errorf(e.Code, "%s", e)
	if e.Field != "" {
		err.Extensions["field"] = e.Field
	}
	if e.RetryAfter > 0 {
		err.Extensions["retryAfter"] = e.Seconds()
	}
	return err
}

// accounts are those of the service, and who asks.
func accounts(ctx context.Context) (Accounts, Client, error) {
	s := of(ctx)
	if _, err := s.reading(); err != nil {
		return nil, Client{}, err
	}
	if s.options.Accounts == nil {
		return nil, Client{}, errorf(CodeNotFound, "there are no accounts here: the service has no --secret, and users are signed in by whoever issues their tokens")
	}
	return s.options.Accounts, clientOf(ctx), nil
}

// accountError has the error presented as that of an account, if it is one.
func accountError(err error) error {
	if known := AccountErrorOf(err); known != nil {
		return known.forGraph()
	}
	return err
}

func (s *SignedIn) user() *User { return newUsers([]db.User{s.User})[0] }

func (s *SignedIn) tokens() *Tokens {
	return &Tokens{AccessToken: s.AccessToken, ExpiresAt: s.Expires, RefreshToken: s.RefreshToken}
}

func (mutations) SignUp(ctx context.Context, input SignUpInput) (*SignUpPayload, error) {
	a, client, err := accounts(ctx)
	if err != nil {
		return nil, err
	}
	displayName := input.Username
	if input.DisplayName != nil {
		displayName = *input.DisplayName
	}
	signed, err := a.SignUp(ctx, client, input.Username, displayName, input.Password)
	if err != nil {
		return nil, accountError(err)
	}
	return &SignUpPayload{User: signed.user(), Tokens: signed.tokens()}, nil
}

func (mutations) SignIn(ctx context.Context, input SignInInput) (*SignInPayload, error) {
	a, client, err := accounts(ctx)
	if err != nil {
		return nil, err
	}
	signed, err := a.SignIn(ctx, client, input.Username, input.Password)
	if err != nil {
		return nil, accountError(err)
	}
	return &SignInPayload{User: signed.user(), Tokens: signed.tokens()}, nil
}

func (mutations) RefreshSession(ctx context.Context, input RefreshSessionInput) (*RefreshSessionPayload, error) {
	a, _, err := accounts(ctx)
	if err != nil {
		return nil, err
	}
	signed, err := a.Refresh(ctx, input.RefreshToken)
	if err != nil {
		return nil, accountError(err)
	}
	return &RefreshSessionPayload{User: signed.user(), Tokens: signed.tokens()}, nil
}

func (mutations) SignOut(ctx context.Context, input SignOutInput) (*SignOutPayload, error) {
	a, client, err := accounts(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.SignOut(ctx, client, value(input.RefreshToken), input.Everywhere); err != nil {
		return nil, accountError(err)
	}
	return &SignOutPayload{Everywhere: input.Everywhere}, nil
}

func (mutations) ChangePassword(ctx context.Context, input ChangePasswordInput) (*ChangePasswordPayload, error) {
	a, client, err := accounts(ctx)
	if err != nil {
		return nil, err
	}
	user, err := a.ChangePassword(ctx, client, input.CurrentPassword, input.NewPassword)
	if err != nil {
		return nil, accountError(err)
	}
	return &ChangePasswordPayload{User: newUsers([]db.User{*user})[0]}, nil
}

// Role is what the user may do.
func (u *User) Role() Role { return Role(strings.ToUpper(u.User.Role)) }
