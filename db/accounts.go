package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Accounts is the store of users who sign in here: their passwords' hashes, and their sessions.
//
// What it promises: a refresh token is used once, and if it is used again its session ends; a session that has ended is not refreshed, and
// nothing else is done in its name; a password that is being changed begins no session. All of that holds for whatever is done at the same
// time, on any instance.
type Accounts struct {
	DB *DB
	// Lifetime is how long a session lasts, however often it is refreshed; 30 days.
	Lifetime time.Duration
	// Grace is how long a refresh token that was used is taken once more: by a client that has not heard the answer, or that asks twice at
	// the same time. 10 s; negative: not at all.
	Grace time.Duration
}

// Account is a user who signs in here.
type Account struct {
	User
	PasswordHash string
}

// ErrNoSession says that a session, or a refresh token's, is not there or has ended.
var ErrNoSession = errors.New("there is no such session")

// ErrReused says that a refresh token was used a second time, and that its session was ended for that. It is an ErrNoSession.
var ErrReused = fmt.Errorf("the refresh token was used before: %w", ErrNoSession)

func (a *Accounts) lifetime() time.Duration {
	if a.Lifetime == 0 {
		return 30 * 24 * time.Hour
	}
	return a.Lifetime
}

func (a *Accounts) grace() time.Duration {
	if a.Grace == 0 {
		return 10 * time.Second
	}
	return a.Grace
}

// do does something in a transaction.
func (a *Accounts) do(ctx context.Context, what string, f func(tx pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, a.DB.Pool, f)
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrNoSession) {
		return ErrNoSession
	}
	if invalid := refusal(err); invalid != nil {
		return invalid
	}
	return fmt.Errorf("%s: %w", what, Unavailable(err))
}

// SignUp adds a user with an account, and begins its first session.
func (a *Accounts) SignUp(ctx context.Context, username, displayName, passwordHash string) (s Session, err error) {
	err = a.do(ctx, "sign up", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `insert into users (username, display_name) values ($1, $2) returning `+userRows.list(), username, displayName)
		if err != nil {
			return err
		}
		user, err := pgx.CollectExactlyOneRow(rows, userRows.scan)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into accounts (user_id, password_hash) values ($1, $2)`, user.ID, passwordHash); err != nil {
			return err
		}
		s, err = a.begin(ctx, tx, user)
		return err
	})
	return s, err
}

// Credentials returns the account of a name, without regard to case. Its ID is 0 where there is none.
func (a *Accounts) Credentials(ctx context.Context, username string) (Account, error) {
	return a.account(ctx, `lower(username) = lower($1)`, username)
}

// CredentialsOf returns the account of a user. Its ID is 0 where there is none.
func (a *Accounts) CredentialsOf(ctx context.Context, userID int64) (Account, error) {
	return a.account(ctx, `id = $1`, userID)
}

func (a *Accounts) account(ctx context.Context, condition string, arg any) (account Account, err error) {
	_, columns := userRows.fields(&account.User)
	err = a.DB.Pool.QueryRow(ctx, `select password_hash, `+userRows.list()+` from users join accounts on user_id = id where `+condition, arg).
		Scan(append([]any{&account.PasswordHash}, columns...)...)
	switch {
	case err == nil:
		return account, nil
	case errors.Is(err, pgx.ErrNoRows):
		return Account{}, nil
	}
	if invalid := refusal(err); invalid != nil {
		return Account{}, invalid
	}
	return Account{}, fmt.Errorf("read an account: %w", Unavailable(err))
}

// ChangePassword sets the password's hash of an account in the name of one of its sessions, and ends all its others. It is ErrNoSession if
// the session has ended, or the hash is not the account's any more.
func (a *Accounts) ChangePassword(ctx context.Context, account Account, session, passwordHash string) error {
	return a.do(ctx, "change a password", func(tx pgx.Tx) error {
		if err := lockAccount(ctx, tx, account); err != nil {
			return err
		}
		if err := lockSession(ctx, tx, account.ID, session); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `update accounts set password_hash = $2, changed_at = now() where user_id = $1`, account.ID, passwordHash)
		if err != nil {
			return err
		}
		return endOthers(ctx, tx, account.ID, session)
	})
}

// lockAccount has an account to itself until the transaction ends. It is locked before more than one of its sessions is. It is ErrNoSession
// if the hash is not the account's any more.
func lockAccount(ctx context.Context, tx pgx.Tx, account Account) error {
	locked, err := tx.Exec(ctx, `select from accounts where user_id = $1 and password_hash = $2 for update`, account.ID, account.PasswordHash)
	if err == nil && locked.RowsAffected() == 0 {
		err = ErrNoSession
	}
	return err
}
