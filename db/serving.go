package db

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// GrantServing lets a role do what the service does and nothing else, and returns what is still missing, in words; empty: nothing. It is for the
// owner of schema tidings. After migrations it is done again for who was granted it before.
func (d *DB) GrantServing(ctx context.Context, role string) (missing string, err error) {
	var problem *string
	if err := d.Pool.QueryRow(ctx, `select tidings.grant_serving($1)`, role).Scan(&problem); err != nil {
		return "", fmt.Errorf("let %s serve: %w", role, sentence(err))
	}
	if problem != nil {
		missing = *problem
	}
	return missing, nil
}

// RevokeServing takes that from a role.
func (d *DB) RevokeServing(ctx context.Context, role string) error {
	if _, err := d.Pool.Exec(ctx, `select tidings.revoke_serving($1)`, role); err != nil {
		return fmt.Errorf("let %s not serve: %w", role, sentence(err))
	}
	return nil
}

// renewServing grants what new migrations have made to who may serve, if nobody else has taken it back meanwhile.
func (d *DB) renewServing(ctx context.Context) error {
	err := d.beginPatiently(ctx, migratePatience, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockQuery); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, `select to_regprocedure('tidings.grant_serving(name)') is not null`).Scan(&there); err != nil || !there {
			return err
		}
		_, err := tx.Exec(ctx, `select tidings.grant_serving(role) from tidings.serving_roles() as role`)
		return err
	})
	if err != nil {
		return fmt.Errorf("grant anew who may serve: %w", sentence(err))
	}
	return nil
}

// notGranted says what a role needs that may not use the schema.
func (d *DB) notGranted(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42501" { // insufficient_privilege
		return &UnusableError{Message: fmt.Sprintf("%s: role %s may not serve; as the role that owns schema tidings, say tidings migrate grant %s",
			refused.Message, d.pooled.config.User, d.pooled.config.User)}
	}
	return explain(err)
}

// mayNotMake says what a role needs that may not make anything in the database or a schema of it.
func (d *DB) mayNotMake(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42501" { // insufficient_privilege
		where, _ := strings.CutPrefix(refused.Message, "permission denied for ")
		if kind, name, _ := strings.Cut(where, " "); kind == "database" || kind == "schema" && name != ownSchema {
			return fmt.Errorf("%s: as its owner, say grant create on %s to %s", refused.Message, where, pgx.Identifier{d.direct.config.User}.Sanitize())
		}
	}
	return sentence(err)
}
