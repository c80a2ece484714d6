package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// way is how a database is reached: directly, or through a pooler. Behind a pooler that has a session of the server's for each
// transaction, what one transaction sets or prepares is not there for the next, and is there for whoever has the session then. So on such
// a way nothing is set but for a transaction, and no statement is prepared under a name.
//
// Whether there is a pooler is found out: it gives its clients numbers of its own, in place of those of the server's processes. What the
// URL says of default_query_exec_mode is kept: all but cache_statement says that there is one.
type way struct {
	config *pgx.ConnConfig
	pinned bool // the URL says how statements are executed

	mu     sync.Mutex
	known  bool
	pooled bool
	ascii  bool // the database keeps any bytes as text, and knows of no encoding to give it out in
}

func newWay(config *pgx.ConnConfig, url string) *way {
	w := &way{config: config, pinned: strings.Contains(url, "default_query_exec_mode=")}
	if config.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		w.pooled = true
	}
	return w
}

// leadsThroughPooler reports whether there is a pooler, as far as that is known.
func (w *way) leadsThroughPooler() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pooled
}

// find finds out what is there, on a connection for that alone, unless it is known.
func (w *way) find(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known {
		return nil
	}
	conn, err := pgconn.ConnectConfig(ctx, &w.config.Copy().Config)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if !w.pooled {
		own, err := ownProcess(ctx, conn, "1")
		if err != nil {
			return err
		}
		w.pooled = !own
	}
	w.known, w.ascii = true, conn.ParameterStatus("server_encoding") == "SQL_ASCII"
	return nil
}

// ownProcess has the server evaluate something, if no pooler stands before it, and reports whether none does.
func ownProcess(ctx context.Context, conn *pgconn.PgConn, expressions string) (bool, error) {
	results, err := conn.Exec(ctx, fmt.Sprintf("select %s where pg_backend_pid() = %d", expressions, int32(conn.PID()))).ReadAll()
	if err != nil {
		return false, err
	}
	return len(results) == 1 && len(results[0].Rows) == 1, nil
}

var errPoolerCame = errors.New("a pooler stands before the database, where none did before: trying again in its way")

// setting is one of PostgreSQL's.
type setting struct{ name, value string }

// prepare completes the configuration of a connection, whose session begins with the settings if it is its own.
func (w *way) prepare(ctx context.Context, config *pgx.ConnConfig, settings []setting) error {
	if err := w.find(ctx); err != nil {
		return err
	}
	if !w.ascii {
		config.RuntimeParams["client_encoding"] = "UTF8" // whatever the database's is, or its default for clients
	}
	if w.leadsThroughPooler() {
		if !w.pinned {
			config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		}
		return nil
	}
	calls := make([]string, len(settings))
	for i, s := range settings {
		calls[i] = fmt.Sprintf("set_config('%s', '%s', false)", s.name, s.value)
	}
	config.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		own, err := ownProcess(ctx, c, strings.Join(calls, ", "))
		if err != nil || own {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pooled = true
		return errPoolerCame
	}
	return nil
}

// setLocal is the settings as statements, each with a semicolon behind it, for a transaction.
func setLocal(settings []setting) string {
	var b strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&b, "set local %s = '%s'; ", s.name, s.value)
	}
	return b.String()
}

// readLog calls read with what has the settings by which the log is read: a connection or a transaction that has them, or, where a pooler keeps a
// connection from having any, a transaction on it.
func (d *DB) readLog(ctx context.Context, on querier, read func(q querier) error) error {
	conn, ok := on.(*pgx.Conn)
	if !ok || !d.direct.leadsThroughPooler() {
		return read(on)
	}
	return pgx.BeginTxFunc(ctx, conn, beginRead, func(tx pgx.Tx) error { return read(tx) })
}

// beginRead begins a transaction that reads the log.
var beginRead = pgx.TxOptions{BeginQuery: beginCommitted + setLocal(append(planForLog, unhurried...))}

// beginCommitted begins a transaction as all of ours are, also where the session has another default.
const beginCommitted = `begin isolation level read committed; `

// errShared says that connections share their sessions.
var errShared = errors.New("a transaction pooler is in the way")

// checkSession returns errShared if the connection is seen to have another session of the server's for each transaction: another
// connection is given the one it just had, or it has another one than before.
func (d *DB) checkSession(ctx context.Context, conn *pgx.Conn) error {
	if !d.direct.leadsThroughPooler() {
		return nil
	}
	other, err := d.dial(ctx, "listener", nil)
	if err != nil {
		return err
	}
	defer closeConn(other)
	first := 0
	for range 3 {
		for _, c := range []*pgx.Conn{conn, other} {
			var pid int
			if err := c.QueryRow(ctx, `select pg_backend_pid()`).Scan(&pid); err != nil {
				return explain(err)
			}
			switch {
			case first == 0:
				first = pid
			case (c == conn) != (pid == first):
				return errShared
			}
		}
	}
	return nil
}

const (
	poolerDefaultsQuery = `
select current_user, (select reset_val from pg_settings where name = 'default_transaction_isolation'),
       (select reset_val from pg_settings where name = 'search_path')`
	whichQuery = `select pg_postmaster_start_time() || ' ' || (select oid from pg_database where datname = current_database())`
)

// checkPooler says what cannot be mended on connections whose sessions are not ours.
func (d *DB) checkPooler(ctx context.Context) error {
	if !d.pooled.leadsThroughPooler() {
		return nil
	}
	var user, isolation, path string
	// In a transaction, as some are: not each pooler has them.
	if err := pgx.BeginFunc(ctx, d.Pool, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, poolerDefaultsQuery).Scan(&user, &isolation, &path)
	}); err != nil {
		return explain(err)
	}
	role := pgx.Identifier{user}.Sanitize()
	if isolation != "read committed" {
		return &UnusableError{Message: fmt.Sprintf("behind a pooler, transactions of the service have to be READ COMMITTED by default, and are %s: "+
			"alter role %s set default_transaction_isolation = 'read committed', and have the pooler connect anew", strings.ToUpper(isolation), role)}
	}
	if user == ownSchema && strings.Contains(path, "$user") {
		return &UnusableError{Message: fmt.Sprintf("behind a pooler, the search path of role %[1]s begins with schema tidings, which is not for tables: "+
			"alter role %[1]s set search_path = public, and have the pooler connect anew", role)}
	}
	return nil
}

// checkDirect says whether the direct URL leads to another database.
func (d *DB) checkDirect(ctx context.Context) error {
	if d.direct == d.pooled {
		return nil
	}
	conn, err := d.dial(ctx, "check", nil)
	if err != nil {
		return fmt.Errorf("--direct-database-url: %w", err)
	}
	defer closeConn(conn)
	var before, there, after string
	for _, ask := range []struct {
		of interface {
			QueryRow(context.Context, string, ...any) pgx.Row
		}
		here *string
	}{{d.Pool, &before}, {conn, &there}, {d.Pool, &after}} {
		if err := ask.of.QueryRow(ctx, whichQuery).Scan(ask.here); err != nil {
			return explain(err)
		}
	}
	if there != before && before == after { // otherwise it was restarted in between
		return &UnusableError{Message: "--database-url and --direct-database-url lead to different databases"}
	}
	return nil
}
