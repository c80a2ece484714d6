package db

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What lies between: poolers, and whether notifications get through.
var sessionChecks = []check{
	{name: "pooler", well: "Nothing stands between that takes the sessions away.", apart: true, look: lookForPooler},
	{name: "prepared-statements", well: "Prepared statements are there when they are used.", apart: true, look: lookAtPrepared},
	{name: "notifications", well: "A notification was heard.", apart: true, look: lookAtNotifications},
	{name: "notify-queue", well: "The queue of notifications is all but empty.", look: asked(notifyQueueQuery, func(e *examination) any { return cmp.Or(e.Limits.QueueUsage, 0.1) }, old)},
}

const pastPooler = "Give a URL that leads past the pooler as well, by --direct-database-url; or serve with --no-listen-notify, and a --poll-interval of the delay that you want."

// open opens a connection of the doctor's, which works whatever stands between.
func (e *examination) open(ctx context.Context, d *DB) (*pgx.Conn, error) {
	config := d.pooled.config.Copy()
	config.RuntimeParams["application_name"] = doctorName
	// What the simple protocol needs, and times that can be read.
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.RuntimeParams["standard_conforming_strings"] = "on"
	config.RuntimeParams["datestyle"] = "ISO"
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, explain(err)
	}
	return conn, nil
}

// shared calls between while another connection is in a transaction: a pooler of transactions has then given away the session that the first
// connection had, mostly to that one.
func (e *examination) shared(ctx context.Context, d *DB, before, between func(ctx context.Context, conn *pgx.Conn) error) (pids [3]uint32, own uint32, err error) {
	conn, err := e.open(ctx, d)
	if err != nil {
		return pids, 0, err
	}
	defer closeConn(conn)
	other, err := e.open(ctx, d)
	if err != nil {
		return pids, 0, err
	}
	defer closeConn(other)
	if err := before(ctx, conn); err != nil {
		return pids, 0, err
	}
	if err := conn.QueryRow(ctx, pidQuery, pgx.QueryExecModeSimpleProtocol).Scan(&pids[0]); err != nil {
		return pids, 0, err
	}
	tx, err := other.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return pids, 0, err
	}
	defer func() { _ = tx.Rollback(ctx) }() // it has only read
	if err := tx.QueryRow(ctx, pidQuery, pgx.QueryExecModeSimpleProtocol).Scan(&pids[1]); err != nil {
		return pids, 0, err
	}
	own = conn.PgConn().PID()
	waiting, cancel := context.WithTimeout(ctx, cmp.Or(e.Patience, 3*time.Second))
	defer cancel()
	if err = between(waiting, conn); err == nil {
		err = conn.QueryRow(waiting, pidQuery, pgx.QueryExecModeSimpleProtocol).Scan(&pids[2])
	}
	if waiting.Err() != nil && ctx.Err() == nil && pids[0] != own {
		return pids, own, nil // a pooler has no other session, and waits for the one that it has given away
	}
	return pids, own, err
}

const pidQuery = `select pg_backend_pid()`

func nothing(context.Context, *pgx.Conn) error { return nil }

func lookForPooler(ctx context.Context, e *examination) error {
	pids, own, err := e.shared(ctx, e.DB, nothing, nothing)
	if err != nil {
		return err
	}
	switch {
	case pids[0] == own && pids[2] == own:
		return nil
	case pids[0] != pids[2] || pids[0] == pids[1]:
		e.pooled = true
		if e.NoListen {
			e.well = "A pooler of transactions (pool_mode = transaction) stands between; services poll."
			return nil
		}
		if e.Listen != nil {
			e.well = "A pooler of transactions (pool_mode = transaction) stands between; to listen, there is a URL of its own."
			return nil
		}
		e.add(SeverityWarning, "A pooler of transactions (pool_mode = transaction) stands between: LISTEN, settings and locks of sessions do not last.", pastPooler)
	default:
		e.add(SeverityNote, "A pooler of sessions stands between, which holds as many connections as the service does.", "It does no harm; without it, there is one thing less that can fail.")
	}
	return nil
}

func lookAtPrepared(ctx context.Context, e *examination) error {
	through := e.DB.pooled
	switch {
	case through.config.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement:
		e.well = "Prepared statements are not used: the URL says so."
		return nil
	case e.pooled && !through.pinned:
		e.well = "Prepared statements are not used: a pooler stands between."
		return nil
	}
	name := "tidings_doctor_" + rand.Text() // which is left behind in a session of the pooler's, until that ends
	_, _, err := e.shared(ctx, e.DB, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Prepare(ctx, name, `select 1`)
		return err
	}, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, name)
		return err
	})
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (refused.Code == "26000" || refused.Code == "42P05") { // invalid_sql_statement_name, duplicate_prepared_statement
		e.add(SeverityProblem, "A prepared statement was not there when it was used: a pooler of transactions stands between, which does not keep them.",
			"Leave default_query_exec_mode out of the URL: then none are used. Or have PgBouncer (1.21 or later) keep them: max_prepared_statements = 200")
		return nil
	}
	return err
}

func lookAtNotifications(ctx context.Context, e *examination) error {
	if e.NoListen {
		e.well = "Services poll, and need to hear none."
		return nil
	}
	from := e.DB
	if e.Listen != nil {
		from = e.Listen
	} else if e.pooled { // what is listened to would stay behind in the pooler's sessions
		e.add(SeverityProblem, "Notifications are not heard through a pooler of transactions: services poll, and say that the doorbell is not heard.", pastPooler)
		return nil
	}
	conn, err := e.open(ctx, from)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	channel := "tidings_doctor_" + rand.Text()
	if _, err := conn.Exec(ctx, `listen `+pgx.Identifier{channel}.Sanitize()); err != nil {
		return err
	}
	// By the other connection, so that one that leads elsewhere is noticed, and while a pooler has given the first one's session away.
	other, err := e.open(ctx, e.DB)
	if err != nil {
		return err
	}
	defer closeConn(other)
	if _, err := other.Exec(ctx, `select pg_notify($1, '')`, channel); err != nil {
		return err
	}
	begun := time.Now()
	waiting, cancel := context.WithTimeout(ctx, cmp.Or(e.Patience, 3*time.Second))
	defer cancel()
	if _, err := conn.WaitForNotification(waiting); err == nil {
		e.well = fmt.Sprintf("A notification was heard after %s.", max(time.Since(begun).Round(time.Millisecond), time.Millisecond))
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e.Listen != nil {
		e.add(SeverityProblem, "What is notified by the one URL is not heard by the other, by which is listened.", "Both must lead to one database, and the one to listen by to no pooler of transactions.")
		return nil
	}
	e.add(SeverityProblem, "A notification was not heard: services would poll, and say that the doorbell is not heard.", pastPooler)
	return nil
}

const notifyQueueQuery = `
select case when q.usage > 0.5 then 'problem' else 'warning' end,
       format('The queue of notifications is %s %% full; when it is, transactions that notify fail: all that write to a watched table while a service sleeps.', round((q.usage * 100)::numeric, 4)),
       'Whoever listens and has a transaction open keeps it from being emptied. These have been open for long; if one of them listens, end it:',
       (select array_agg(format('select pg_terminate_backend(%s)', a.pid) order by a.xact_start) from pg_stat_activity a
         where a.backend_type = 'client backend' and a.pid <> pg_backend_pid() and a.xact_start < clock_timestamp() - least($2::interval, interval '1 minute'))
  from (select pg_notification_queue_usage() as usage) as q where q.usage > $1::float8`
