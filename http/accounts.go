package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"tidings/http/graph"
)

// AccountStore keeps accounts and their sessions.
type AccountStore interface {
	SignUp(ctx context.Context, username, displayName, passwordHash string) (graph.StoredSession, error)
	Credentials(ctx context.Context, username string) (graph.StoredAccount, error)
	CredentialsOf(ctx context.Context, userID int64) (graph.StoredAccount, error)
	CreateSession(ctx context.Context, account graph.StoredAccount) (graph.StoredSession, error)
	Refresh(ctx context.Context, token string) (graph.StoredSession, error)
	SessionOf(ctx context.Context, token string) (graph.StoredSession, error)
	EndSession(ctx context.Context, userID int64, session string) error
	EndAllSessions(ctx context.Context, userID int64, session string) error
	ChangePassword(ctx context.Context, account graph.StoredAccount, session, passwordHash string) error
}

// Accounts signs users up and in, for HTTP and GraphQL. It is graph.Accounts.
//
// What it promises: neither what is answered nor how long it takes tells whether there is a user of a name that somebody tries to sign in
// with; passwords and tokens are in no error and in no log.
type Accounts struct {
	Store   AccountStore
	Signer  *Signer
	Hasher  PasswordHasher // nil: an Argon2 with its defaults
	Logger  *slog.Logger   // nil: none
	Options AccountOptions

	once                     sync.Once
	options                  AccountOptions
	names, addresses, signUp *attempts
}

func (a *Accounts) init() {
	a.once.Do(func() {
		a.options = a.Options.withDefaults()
		if a.Hasher == nil {
			a.Hasher = &Argon2{}
		}
		if a.Logger == nil {
			a.Logger = slog.New(slog.DiscardHandler)
		}
		a.names = newAttempts(a.options.NameFailures, a.options.NamePause, a.options.MaxRemembered)
		a.addresses = newAttempts(a.options.AddressFailures, a.options.AddressPause, a.options.MaxRemembered)
		a.signUp = newAttempts(a.options.SignUps, a.options.SignUpPause, a.options.MaxRemembered)
	})
}

// The lengths in bytes of a password.
const (
	minPassword = 8
	maxPassword = 1024
)

// checkPassword says what is wrong with a password that is to be set.
func checkPassword(field, password, username string) error {
	switch {
	case len(password) < minPassword || len(password) > maxPassword:
		return badValue(field, "has %d to %d bytes, not %d", minPassword, maxPassword, len(password))
	case strings.EqualFold(password, username):
		return badValue(field, "is the username")
	}
	return nil
}

func badValue(field, format string, args ...any) error {
	return &graph.AccountError{Code: graph.CodeBadInput, Field: field, Message: fmt.Sprintf(format, args...)}
}

func unauthenticated(format string, args ...any) error {
	return &graph.AccountError{Code: graph.CodeUnauthenticated, Message: fmt.Sprintf(format, args...)}
}

func tooManyAttempts(wait time.Duration, what string) error {
	err := &graph.AccountError{Code: graph.CodeTooManyAttempts, RetryAfter: wait}
	err.Message = fmt.Sprintf("%s: try again in %d s", what, err.Seconds())
	return err
}

// unsuitable reports whether a username cannot have the character: what is not seen makes one name look like another.
func unsuitable(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}

// SignUp implements graph.Accounts.
func (a *Accounts) SignUp(ctx context.Context, client graph.Client, username, displayName, password string) (*graph.SignedIn, error) {
	a.init()
	if a.options.SignUpClosed {
		return nil, &graph.AccountError{Code: graph.CodeForbidden, Message: "nobody can sign up here: the service was started with --no-sign-up"}
	}
	// The database would say so, too, but not before the password is hashed, and perhaps of the display name first.
	if n := utf8.RuneCountInString(username); n < 1 || n > 64 || strings.ContainsFunc(username, unsuitable) {
		return nil, badValue("username", "has 1 to 64 characters, and no white space or control characters")
	}
	if err := checkPassword("password", password, username); err != nil {
		return nil, err
	}
	address := addressKey(client.Address)
	if at, err := netip.ParseAddr(client.Address); err != nil || !at.IsLoopback() || !a.options.localSignUps {
		if wait := a.signUp.begin(address, time.Now()); wait > 0 {
			return nil, tooManyAttempts(wait, "too many have signed up from your address")
		}
		defer func() { a.signUp.end(address, time.Now(), failed) }() // whatever came of it
	}
	hash, err := a.Hasher.Hash(ctx, password)
	if err != nil {
		return nil, err
	}
	session, err := a.Store.SignUp(ctx, username, displayName, hash)
	if err != nil {
		return nil, err
	}
	return a.signedIn(session)
}

// SignIn implements graph.Accounts.
func (a *Accounts) SignIn(ctx context.Context, client graph.Client, username, password string) (*graph.SignedIn, error) {
	a.init()
	switch {
	case username == "":
		return nil, badValue("username", "is missing")
	case password == "" || len(password) > maxPassword:
		return nil, badValue("password", "has at most %d bytes, and is not empty", maxPassword)
	}
	var account graph.StoredAccount
	right, err := a.guess(ctx, client, username, password, func() (_ graph.StoredAccount, err error) {
		account, err = a.Store.Credentials(ctx, username)
		return account, err
	})
	if err != nil {
		return nil, err
	}
	var session graph.StoredSession
	if right {
		session, err = a.Store.CreateSession(ctx, account)
	}
	if !right || errors.Is(err, graph.ErrNoSession) { // the password has been changed since
		return nil, unauthenticated("the username or the password is wrong")
	}
	if err != nil {
		return nil, err
	}
	return a.signedIn(session)
}

// guess reports whether a password is that of the account that find returns. Whoever has guessed too often is refused before.
func (a *Accounts) guess(ctx context.Context, client graph.Client, username, password string, find func() (graph.StoredAccount, error)) (right bool, err error) {
	name, address := nameKey(username), addressKey(client.Address)
	if wait := a.addresses.begin(address, time.Now()); wait > 0 {
		return false, tooManyAttempts(wait, "too many wrong passwords came from your address")
	}
	ofName, ofAddress := undecided, undecided
	defer func() { a.addresses.end(address, time.Now(), ofAddress) }()
	if wait := a.names.begin(name, time.Now()); wait > 0 {
		return false, tooManyAttempts(wait, "too many wrong passwords were given for this user")
	}
	defer func() { a.names.end(name, time.Now(), ofName) }()
	account, err := find()
	if err != nil {
		return false, err
	}
	right, err = a.Hasher.Verify(ctx, password, account.PasswordHash)
	switch {
	case err != nil:
		return false, err
	case right:
		ofName = succeeded
	default:
		ofName, ofAddress = failed, failed
	}
	return right, nil
}

// Refresh implements graph.Accounts.
func (a *Accounts) Refresh(ctx context.Context, refreshToken string) (*graph.SignedIn, error) {
	a.init()
	session, err := a.Store.Refresh(ctx, refreshToken)
	if err != nil {
		a.noteReuse(session, err)
		return nil, err
	}
	return a.signedIn(session)
}

// noteReuse tells of a refresh token that was used twice: somebody else may have it.
func (a *Accounts) noteReuse(session graph.StoredSession, err error) {
	if errors.Is(err, graph.ErrReused) {
		a.Logger.Warn("a refresh token was used twice: its session was ended", "user", session.User.ID, "session", session.ID)
	}
}

// SignOut implements graph.Accounts.
func (a *Accounts) SignOut(ctx context.Context, client graph.Client, refreshToken string, everywhere bool) error {
	a.init()
	var userID int64
	var id string
	if refreshToken != "" {
		session, err := a.Store.SessionOf(ctx, refreshToken)
		a.noteReuse(session, err)
		switch {
		case errors.Is(err, graph.ErrNoSession) && !everywhere:
			return nil // as it should be
		case err != nil:
			return err
		}
		userID, id = session.User.ID, session.ID
	} else {
		var err error
		if userID, id, err = a.sessionOf(client); err != nil {
			return err
		}
	}
	if everywhere {
		return a.Store.EndAllSessions(ctx, userID, id)
	}
	return a.Store.EndSession(ctx, userID, id)
}

// sessionOf is whose the client's access token is, and of which session.
func (a *Accounts) sessionOf(client graph.Client) (userID int64, session string, err error) {
	if client.AccessToken == "" {
		return 0, "", unauthenticated("an access token is needed: send it as Authorization: Bearer …")
	}
	if userID, session, _, err = a.Signer.session(client.AccessToken); err != nil {
		return 0, "", unauthenticated("the token is not valid: %s", err)
	}
	return userID, session, nil
}

// ChangePassword implements graph.Accounts.
func (a *Accounts) ChangePassword(ctx context.Context, client graph.Client, current, next string) (*graph.StoredUser, error) {
	a.init()
	userID, session, err := a.sessionOf(client)
	if err != nil {
		return nil, err
	}
	account, err := a.Store.CredentialsOf(ctx, userID)
	switch {
	case err != nil:
		return nil, err
	case account.ID == 0: // deleted since
		return nil, graph.ErrNoSession
	case current == "" || len(current) > maxPassword:
		return nil, badValue("currentPassword", "has at most %d bytes, and is not empty", maxPassword)
	}
	if err := checkPassword("newPassword", next, account.Username); err != nil {
		return nil, err
	}
	right, err := a.guess(ctx, client, account.Username, current, func() (graph.StoredAccount, error) { return account, nil })
	if err != nil {
		return nil, err
	}
	if !right {
		return nil, badValue("currentPassword", "is wrong")
	}
	hash, err := a.Hasher.Hash(ctx, next)
	if err != nil {
		return nil, err
	}
	if err := a.Store.ChangePassword(ctx, account, session, hash); err != nil {
		return nil, err
	}
	return &account.User, nil
}

// signedIn is what is answered to who has a session.
func (a *Accounts) signedIn(session graph.StoredSession) (*graph.SignedIn, error) {
	token, expires, err := a.Signer.Sign(session.User.ID, session.ID, time.Now())
	if err != nil {
		return nil, err
	}
	return &graph.SignedIn{User: session.User, AccessToken: token, Expires: expires,
		RefreshToken: session.RefreshToken, SessionExpires: session.Expires}, nil
}
