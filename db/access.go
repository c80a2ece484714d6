package db

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tidings/realtime"
)

// Judge implements realtime.Judge: all questions in one exchange with the database.
func (r *Reader) Judge(ctx context.Context, questions []realtime.Judging) ([][]bool, error) {
	batch := &pgx.Batch{}
	for _, q := range questions {
		rows := make([]*string, len(q.Rows))
		for i, row := range q.Rows {
			if row != nil {
				rows[i] = new(string(row))
			}
		}
		batch.Queue(`select allowed, problem from tidings.judge($1, $2::text::jsonb, $3, $4)`, q.Topic, string(q.Rights.Claims), orNull(q.Rights.User), rows)
	}
	answers := make([][]bool, len(questions))
	for i, q := range questions {
		answers[i] = make([]bool, len(q.Rows))
	}
	err := r.askAll(ctx, "ask row security", batch, func(i int, row pgx.Row) (problem *string, err error) {
		err = row.Scan(&answers[i], &problem)
		if err == nil && len(answers[i]) != len(questions[i].Rows) {
			answers[i] = make([]bool, len(questions[i].Rows))
		}
		return problem, err
	}, func(i int) string { return questions[i].Topic })
	return answers, err
}

// Permit implements realtime.Permits, in the same way.
func (r *Reader) Permit(ctx context.Context, asks []realtime.Ask) ([]bool, error) {
	batch := &pgx.Batch{}
	for _, a := range asks {
		var user *string
		if a.Rights.SignedIn {
			user = &a.Rights.User
		}
		batch.Queue(`select allowed, problem from tidings.may_subscribe($1, $2, $3::text::jsonb, $4)`, a.Channel.Topic, orNull(a.Channel.Key),
			string(a.Rights.Claims), user)
	}
	answers := make([]bool, len(asks))
	err := r.askAll(ctx, "ask a policy", batch, func(i int, row pgx.Row) (problem *string, err error) {
		return problem, row.Scan(&answers[i], &problem)
	}, func(i int) string { return asks[i].Channel.String() })
	return answers, err
}

// askAll sends the batch, and reads its answers. What is wrong with a policy is logged: nobody can be told anything until a person mends it.
// What the database cannot even read – a token may say what no row can hold – is no to who asks, and nobody else's concern.
func (r *Reader) askAll(ctx context.Context, what string, batch *pgx.Batch, scan func(i int, row pgx.Row) (problem *string, err error), of func(i int) string) error {
	r.init()
	ctx, progress, stop := watched(ctx, 2*r.Timeout)
	defer stop()
	// A question that cannot be read spoils those that are sent with it, and is found by halves.
	var ask func(from, to int) error
	ask = func(from, to int) error {
		err := r.askSome(ctx, batch.QueuedQueries[from:to], func(i int, row pgx.Row) error {
			problem, err := scan(from+i, row)
			if err == nil {
				progress()
				r.complain(of(from+i), problem)
			}
			return err
		})
		switch {
		case !unreadable(err):
			return err
		case to-from == 1:
			r.complain(of(from), new(err.Error()))
			return nil
		}
		progress()
		middle := (from + to) / 2
		if err := ask(from, middle); err != nil {
			return err
		}
		return ask(middle, to)
	}
	if err := ask(0, batch.Len()); err != nil {
		return fmt.Errorf("%s: %w", what, silent(ctx, explain(err), 2*r.Timeout))
	}
	return nil
}

// askSome sends queries in one exchange.
func (r *Reader) askSome(ctx context.Context, queries []*pgx.QueuedQuery, scan func(i int, row pgx.Row) error) error {
	batch := &pgx.Batch{}
	for _, q := range queries {
		batch.Queue(q.SQL, q.Arguments...)
	}
	results := r.DB.Pool.SendBatch(ctx, batch)
	defer results.Close()
	for i := range queries {
		if err := scan(i, results.QueryRow()); err != nil {
			return err
		}
	}
	return nil
}

// unreadable reports whether an error is of what was sent, and will be the same the next time: a data exception, or a limit.
func unreadable(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "22") || strings.HasPrefix(refused.Code, "54"))
}

// complain logs what is wrong with a policy, once until it changes.
func (r *Reader) complain(of string, problem *string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := ""
	if problem != nil {
		text = *problem
	}
	switch {
	case text == "":
		delete(r.problems, of)
	case r.problems[of] != text:
		if r.problems == nil || len(r.problems) > 100 {
			r.problems = make(map[string]string)
		}
		r.problems[of] = text
		r.Logger.Error("nobody is told: a policy cannot be asked", "of", of, "problem", text)
	}
}

// Broadcast tells all who subscribe to just this channel; what cannot be said is an *InvalidError.
func (d *DB) Broadcast(ctx context.Context, channel, typ string, data []byte, kept bool) error {
	_, err := d.Pool.Exec(ctx, `select tidings.broadcast($1, $2, $3::text::json, $4)`, channel, typ, string(data), kept)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "22021" { // character_not_in_repertoire
		return &InvalidError{Message: "the channel or the type has a character that the database does not take"}
	}
	if errors.As(err, &refused) && (refused.Code == "22023" || refused.Code == "54000") {
		return &InvalidError{Message: refused.Message}
	}
	if err != nil {
		return fmt.Errorf("broadcast: %w", Unavailable(err))
	}
	return nil
}

// Disconnect closes a user's connections on all servers; with revoke, the tokens that he has are not valid any more.
func (d *DB) Disconnect(ctx context.Context, user string, revoke bool) error {
	statement := `select tidings.disconnect($1)`
	if revoke {
		statement = `select tidings.revoke($1)`
	}
	_, err := d.Pool.Exec(ctx, statement, user)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (refused.Code == "22023" || refused.Code == "22021") {
		return &InvalidError{Column: "user", Message: "is the name of nobody"}
	}
	if err != nil {
		return fmt.Errorf("disconnect: %w", Unavailable(err))
	}
	return nil
}
