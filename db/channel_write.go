package db

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Actor is on whose behalf the application's tables are written to.
type Actor struct {
	UserID  int64 // 0: nobody's
	Anybody bool  // may act as any user: as a person in psql may
}

func (a Actor) mayActAs(user int64) bool { return a.Anybody || a.UserID == user }

// Once names a thing to be done, so that it can be asked for again and is done once: by a key that the actor has chosen. Without a
// key it is done.
type Once struct {
	Key   string
	Input any // what is asked for; the same key with another input is refused
}

var (
	// ErrNotFound says that the row to be changed is not there.
	ErrNotFound = errors.New("there is no such row")
	// ErrNotTheirs says that the row is not the actor's.
	ErrNotTheirs = errors.New("the row is somebody else's")
	// ErrKeyUsed says that a key was used for something else.
	ErrKeyUsed = errors.New("the key was used for something else")
	// ErrGone says that what a key has made is not there any more.
	ErrGone = errors.New("what was made has been deleted since")
)

// InvalidError says that the database refuses a value.
type InvalidError struct {
	Column  string
	Message string
}

func (e *InvalidError) Error() string { return e.Column + " " + e.Message }

// constraints are what the tables' constraints are broken by.
var constraints = map[string]InvalidError{
	"users_username":           {"username", "is taken"},
	"users_username_check":     {"username", "has 1 to 64 characters, and no white space"},
	"users_display_name_check": {"display_name", "is not empty, and has at most 200 characters"},
	"messages_title_check":     {"title", "is not empty, and has at most 500 characters"},
	"messages_author_id_fkey":  {"author_id", "is of no user"},
	"comments_content_check":   {"content", "is not empty"},
	"comments_author_id_fkey":  {"author_id", "is of no user"},
	"comments_message_id_fkey": {"message_id", "is of no message"},
	"mutations_key_check":      {"key", "has 1 to 200 bytes"},
}

// refusal is what the database refuses; nil: it does not, or not for a value.
func refusal(err error) *InvalidError {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return nil
	}
	if invalid, known := constraints[refused.ConstraintName]; known {
		return &invalid
	}
	switch refused.Code {
	case "22021", "22P05": // character_not_in_repertoire, untranslatable_character
		return &InvalidError{"", "text has no NUL character"}
	case "22007", "22008": // invalid_datetime_format, datetime_field_overflow
		return &InvalidError{"", "there is no such moment"}
	}
	return nil
}

// Who may change what is somebody else's, beside whoever may act as any user.
var (
	admins  = []string{"admin"}
	keepers = []string{"moderator", "admin"} // of order
)

// UpdateUser changes what is not nil.
func (c *Channel) UpdateUser(ctx context.Context, actor Actor, id int64, username, displayName *string, once Once) (User, error) {
	return write(ctx, c, actor, once, userRows, change{
		what: "update user", of: id, lock: "no key update", others: admins,
		sql: `update users set username = coalesce($2, username), display_name = coalesce($3, display_name) where id = $1`, args: []any{id, username, displayName},
	})
}

// SetRole says what a user may do with what others wrote.
func (c *Channel) SetRole(ctx context.Context, actor Actor, id int64, role string, once Once) (User, error) {
	return write(ctx, c, actor, once, userRows, change{
		what: "set role", of: id, lock: "no key update", others: admins, notOwner: true,
		sql: `update users set role = $2 where id = $1`, args: []any{id, role},
	})
}

// CreateMessage writes a message by its author.
func (c *Channel) CreateMessage(ctx context.Context, actor Actor, m Message, once Once) (Message, error) {
	if !actor.mayActAs(m.AuthorID) {
		return Message{}, ErrNotTheirs
	}
	return write(ctx, c, actor, once, messageRows, change{
		what: "create message", sql: `insert into messages (author_id, title, content) values ($1, $2, $3)`, args: []any{m.AuthorID, m.Title, m.Content},
	})
}

// UpdateMessage changes what is not nil.
func (c *Channel) UpdateMessage(ctx context.Context, actor Actor, id int64, title, content *string, once Once) (Message, error) {
	return write(ctx, c, actor, once, messageRows, change{
		what: "update message", of: id, lock: "no key update", others: keepers,
		sql: `update messages set title = coalesce($2, title), content = coalesce($3, content) where id = $1`, args: []any{id, title, content},
	})
}

// DeleteMessage deletes a message and its comments.
func (c *Channel) DeleteMessage(ctx context.Context, actor Actor, id int64, once Once) error {
	_, err := write(ctx, c, actor, once, messageRows, change{
		what: "delete message", of: id, lock: "update", others: keepers, deletes: true, sql: `delete from messages where id = $1`, args: []any{id},
	})
	return err
}

// CreateComment writes a comment by its author.
func (c *Channel) CreateComment(ctx context.Context, actor Actor, m Comment, once Once) (Comment, error) {
	if !actor.mayActAs(m.AuthorID) {
		return Comment{}, ErrNotTheirs
	}
	return write(ctx, c, actor, once, commentRows, change{
		what: "create comment", sql: `insert into comments (message_id, author_id, content) values ($1, $2, $3)`, args: []any{m.MessageID, m.AuthorID, m.Content},
	})
}

// UpdateComment changes a comment.
func (c *Channel) UpdateComment(ctx context.Context, actor Actor, id int64, content string, once Once) (Comment, error) {
	return write(ctx, c, actor, once, commentRows, change{
		what: "update comment", of: id, lock: "no key update", others: keepers, sql: `update comments set content = $2 where id = $1`, args: []any{id, content},
	})
}

// DeleteComment deletes a comment.
func (c *Channel) DeleteComment(ctx context.Context, actor Actor, id int64, once Once) error {
	_, err := write(ctx, c, actor, once, commentRows, change{
		what: "delete comment", of: id, lock: "update", others: keepers, deletes: true, sql: `delete from comments where id = $1`, args: []any{id},
	})
	return err
}

// change is what is done to one row.
type change struct {
	what     string
	of       int64    // the row's id
	lock     string   // how it is locked first, to see whose it is; empty: it is made
	others   []string // the roles of those who may do it to what is somebody else's
	notOwner bool     // whose it is may not do it, without such a role
	deletes  bool
	sql      string
	args     []any
}

// allowed locks the row, and says why the actor may not change it. His role is that of the moment.
func allowed[T any](ctx context.Context, tx pgx.Tx, actor Actor, in relation[T], c change) error {
	if c.lock == "" {
		return nil
	}
	var owner int64
	err := tx.QueryRow(ctx, fmt.Sprintf("select %s from %s where id = $1 for %s", in.owner, in.table, c.lock), c.of).Scan(&owner)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return err
	case actor.Anybody || actor.UserID == owner && !c.notOwner:
		return nil
	}
	var role string
	err = tx.QueryRow(ctx, `select role from users where id = $1`, actor.UserID).Scan(&role)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if !slices.Contains(c.others, role) {
		return ErrNotTheirs
	}
	return nil
}

// acting begins a transaction whose triggers know who acts: nobody is empty.
func acting(actor Actor) pgx.TxOptions {
	user := ""
	if actor.UserID != 0 {
		user = strconv.FormatInt(actor.UserID, 10)
	}
	return pgx.TxOptions{BeginQuery: beginCommitted + `select set_config('tidings.user', '` + user + `', true)`} // one exchange
}

// write does something to one row, once, and returns the row. What was done before is answered with the row as it is now; where
// there is none any more, that is ErrGone, unless that was what was to be done.
func write[T any](ctx context.Context, c *Channel, actor Actor, once Once, in relation[T], change change) (row T, err error) {
	digest, err := once.digest(change.what)
	if err != nil {
		return row, fmt.Errorf("%s: %w", change.what, err)
	}
	err = pgx.BeginTxFunc(ctx, c.DB.Pool, acting(actor), func(tx pgx.Tx) error {
		done, id, err := begin(ctx, tx, actor, once, digest)
		if err != nil {
			return err
		}
		sql, args := change.sql+" returning "+in.list(), change.args
		switch {
		case !done:
			err = allowed(ctx, tx, actor, in, change)
		case change.deletes:
			return nil
		default:
			sql, args = fmt.Sprintf("select %s from %s where id = $1", in.list(), in.table), []any{id}
		}
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		row, err = pgx.CollectExactlyOneRow(rows, in.scan)
		switch {
		case done && errors.Is(err, pgx.ErrNoRows):
			return ErrGone
		case err != nil || done || once.Key == "":
			return err
		}
		made, _ := in.fields(&row)
		_, err = tx.Exec(ctx, `update mutations set row_id = $3 where user_id = $1 and key = $2`, actor.UserID, once.Key, *made)
		return err
	})
	if err == nil {
		return row, nil
	}
	if invalid := refusal(err); invalid != nil {
		return row, invalid
	}
	for _, answer := range []error{ErrNotFound, ErrNotTheirs, ErrKeyUsed, ErrGone} {
		if errors.Is(err, answer) {
			return row, answer
		}
	}
	return row, fmt.Errorf("%s: %w", change.what, Unavailable(err))
}

// keyAge is how long a key is remembered. Some of the older ones are forgotten with each new one.
const keyAge = `interval '1 day'`

// digest tells what is to be done from anything else.
func (o Once) digest(what string) ([]byte, error) {
	input, err := json.Marshal(o.Input)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(append([]byte(what+"\n"), input...))
	return digest[:], nil
}

// begin takes the key for what is to be done, and reports whether that was done before, and to which row. Who comes with the same key
// at the same time waits.
func begin(ctx context.Context, tx pgx.Tx, actor Actor, once Once, digest []byte) (done bool, row int64, err error) {
	if once.Key == "" {
		return false, 0, nil
	}
	// A row in conflict stays locked even where it is not updated: nobody forgets it before it is read.
	taken, err := tx.Exec(ctx, `insert into mutations as m (user_id, key, digest) values ($1, $2, $3)
		on conflict (user_id, key) do update set digest = excluded.digest, row_id = null, done_at = now() where m.done_at < now() - `+keyAge,
		actor.UserID, once.Key, digest)
	if err != nil {
		return false, 0, err
	}
	if taken.RowsAffected() == 1 {
		_, err := tx.Exec(ctx, `delete from mutations where ctid = any (array(select ctid from mutations where done_at < now() - `+keyAge+`
			limit 10 for update skip locked))`)
		return false, 0, err
	}
	var was []byte
	err = tx.QueryRow(ctx, `select digest, row_id from mutations where user_id = $1 and key = $2`, actor.UserID, once.Key).Scan(&was, &row)
	if err == nil && !bytes.Equal(was, digest) {
		err = ErrKeyUsed
	}
	return true, row, err
}
