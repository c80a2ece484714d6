package db

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Actor is on whose behalf the application's tables are written to.
type Actor struct {
	UserID  int64 // 0: nobody's
	Anybody bool  // may act as any user: as a person in psql may
}

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

// unreadable returns why a value cannot be read by the database at all, nil if that is not it.
func unreadable(err error) *InvalidError {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return nil
	}
	switch refused.Code {
	case "22021", "22P05":
		return &InvalidError{"", "text has no NUL character"}
	case "22007", "22008":
		return &InvalidError{"", "there is no such moment"}
	}
	return nil
}

// constraints are what the tables' constraints are broken by.
var constraints = map[string]InvalidError{
	"messages_title_check":     {"title", "is not empty, and has at most 500 characters"},
	"messages_author_id_fkey":  {"author_id", "is of no user"},
	"comments_content_check":   {"content", "is not empty"},
	"comments_author_id_fkey":  {"author_id", "is of no user"},
	"comments_message_id_fkey": {"message_id", "is of no message"},
}

// CreateMessage writes a message by its author.
func (c *Channel) CreateMessage(ctx context.Context, actor Actor, m Message, once Once) (Message, error) {
	return write(ctx, c, actor, once, "create message", "messages", messageColumns, messageFields, func(ctx context.Context, tx pgx.Tx) (pgx.Rows, error) {
		return tx.Query(ctx, `insert into messages (author_id, title, content) values ($1, $2, $3) returning `+strings.Join(messageColumns, ", "),
			m.AuthorID, m.Title, m.Content)
	})
}

// UpdateMessage changes what is not nil.
func (c *Channel) UpdateMessage(ctx context.Context, actor Actor, id int64, title, content *string, once Once) (Message, error) {
	return write(ctx, c, actor, once, "update message", "messages", messageColumns, messageFields, func(ctx context.Context, tx pgx.Tx) (pgx.Rows, error) {
		if err := theirs(ctx, tx, actor, `select author_id from messages where id = $1 for update`, id); err != nil {
			return nil, err
		}
		return tx.Query(ctx, `update messages set title = coalesce($2, title), content = coalesce($3, content) where id = $1 returning `+
			strings.Join(messageColumns, ", "), id, title, content)
	})
}

// DeleteMessage deletes a message and its comments.
func (c *Channel) DeleteMessage(ctx context.Context, actor Actor, id int64, once Once) error {
	_, err := write(ctx, c, actor, once, "delete message", "", messageColumns, messageFields, func(ctx context.Context, tx pgx.Tx) (pgx.Rows, error) {
		if err := theirs(ctx, tx, actor, `select author_id from messages where id = $1 for update`, id); err != nil {
			return nil, err
		}
		return tx.Query(ctx, `delete from messages where id = $1 returning `+strings.Join(messageColumns, ", "), id)
	})
	return err
}

// CreateComment writes a comment by its author.
func (c *Channel) CreateComment(ctx context.Context, actor Actor, m Comment, once Once) (Comment, error) {
	return write(ctx, c, actor, once, "create comment", "comments", commentColumns, commentFields, func(ctx context.Context, tx pgx.Tx) (pgx.Rows, error) {
		return tx.Query(ctx, `insert into comments (message_id, author_id, content) values ($1, $2, $3) returning `+strings.Join(commentColumns, ", "),
			m.MessageID, m.AuthorID, m.Content)
	})
}

// UpdateComment changes a comment.
func (c *Channel) UpdateComment(ctx context.Context, actor Actor, id int64, content string, once Once) (Comment, error) {
	return write(ctx, c, actor, once, "update comment", "comments", commentColumns, commentFields, func(ctx context.Context, tx pgx.Tx) (pgx.Rows, error) {
		if err := theirs(ctx, tx, actor, `select author_id from comments where id = $1 for update`, id); err != nil {
			return nil, err
		}
		return tx.Query(ctx, `update comments set content = $2 where id = $1 returning `+strings.Join(commentColumns, ", "), id, content)
	})
}

// DeleteComment deletes a comment.
func (c *Channel) DeleteComment(ctx context.Context, actor Actor, id int64, once Once) error {
	_, err := write(ctx, c, actor, once, "delete comment", "", commentColumns, commentFields, func(ctx context.Context, tx pgx.Tx) (pgx.Rows, error) {
		if err := theirs(ctx, tx, actor, `select author_id from comments where id = $1 for update`, id); err != nil {
			return nil, err
		}
		return tx.Query(ctx, `delete from comments where id = $1 returning `+strings.Join(commentColumns, ", "), id)
	})
	return err
}

// theirs locks a row, and says why the actor may not change it.
func theirs(ctx context.Context, tx pgx.Tx, actor Actor, lock string, id int64) error {
	var author int64
	err := tx.QueryRow(ctx, lock, id).Scan(&author)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return err
	case !actor.Anybody && actor.UserID != author:
		return ErrNotTheirs
	}
	return nil
}

// write does something to one row, once, and returns the row. What was done before is answered with the row as it is now; where
// there is none any more, and the table is given, that is ErrGone.
func write[T any](ctx context.Context, c *Channel, actor Actor, once Once, what, table string, columns []string, fields func(*T) (*int64, []any),
	do func(ctx context.Context, tx pgx.Tx) (pgx.Rows, error)) (row T, err error) {

	err = pgx.BeginFunc(ctx, c.DB.Pool, func(tx pgx.Tx) error {
		done, id, err := begin(ctx, tx, actor, once, what)
		if err != nil {
			return err
		}
		var rows pgx.Rows
		switch {
		case !done:
			rows, err = do(ctx, tx)
		case table == "":
			return nil
		default:
			rows, err = tx.Query(ctx, fmt.Sprintf("select %s from %s where id = $1", strings.Join(columns, ", "), table), id)
		}
		if err != nil {
			return err
		}
		row, err = pgx.CollectExactlyOneRow(rows, scanner(fields))
		switch {
		case done && errors.Is(err, pgx.ErrNoRows):
			return ErrGone
		case err != nil || done || once.Key == "":
			return err
		}
		made, _ := fields(&row)
		_, err = tx.Exec(ctx, `update mutations set row_id = $3 where user_id = $1 and key = $2`, actor.UserID, once.Key, *made)
		return err
	})
	if err == nil {
		return row, nil
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		if invalid, known := constraints[refused.ConstraintName]; known {
			return row, &invalid
		}
	}
	if invalid := unreadable(err); invalid != nil {
		return row, invalid
	}
	for _, answer := range []error{ErrNotFound, ErrNotTheirs, ErrKeyUsed, ErrGone} {
		if errors.Is(err, answer) {
			return row, answer
		}
	}
	return row, fmt.Errorf("%s: %w", what, Unavailable(err))
}

// keyAge is how long a key is remembered. Some of the older ones are forgotten with each new one.
const keyAge = `interval '1 day'`

// begin takes the key for what is to be done, and reports whether that was done before, and to which row. Who comes with the same key
// at the same time waits.
func begin(ctx context.Context, tx pgx.Tx, actor Actor, once Once, what string) (done bool, row int64, err error) {
	if once.Key == "" {
		return false, 0, nil
	}
	input, err := json.Marshal(once.Input)
	if err != nil {
		return false, 0, err
	}
	digest := sha256.Sum256(append([]byte(what+"\n"), input...))
	taken, err := tx.Exec(ctx, `insert into mutations as m (user_id, key, digest) values ($1, $2, $3)
		on conflict (user_id, key) do update set digest = excluded.digest, row_id = null, done_at = now() where m.done_at < now() - `+keyAge,
		actor.UserID, once.Key, digest[:])
	if err != nil {
		return false, 0, err
	}
	if taken.RowsAffected() == 1 {
		_, err := tx.Exec(ctx, `delete from mutations where ctid in (select ctid from mutations where done_at < now() - `+keyAge+`
			limit 10 for update skip locked)`)
		return false, 0, err
	}
	var was []byte
	err = tx.QueryRow(ctx, `select digest, row_id from mutations where user_id = $1 and key = $2`, actor.UserID, once.Key).Scan(&was, &row)
	if err == nil && !bytes.Equal(was, digest[:]) {
		err = ErrKeyUsed
	}
	return true, row, err
}
