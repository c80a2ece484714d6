package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Doctor looks at a database, and says what is wrong and how to mend it. It writes nothing: it looks in transactions that are read only, but for a
// notification on a channel of its own, by which it finds out whether it is heard.
type Doctor struct {
	DB       *DB
	Listen   *DB          // where LISTEN is said; nil: DB
	NoListen bool         // LISTEN is not said, as services are to poll
	Live     MigrationSet // schema tidings as this program knows it
	Channel  MigrationSet // the application's tables

	// Old is how long a transaction may be open before it is told of; 5 minutes.
	Old time.Duration
	// Timeout is how long a check may take; 10 s.
	Timeout time.Duration
	// Patience is how long a notification is waited for; 3 s.
	Patience time.Duration
	// Now is this machine's clock; nil: time.Now.
	Now func() time.Time
	// Limits are those beyond which a number is told of; of its fields, those that are zero are as documented there.
	Limits DoctorLimits
}

// DoctorLimits are the limits of Doctor that are matters of taste.
type DoctorLimits struct {
	DeadRows    int64   // that are yet to be vacuumed in a table of tidings'; 50,000
	Revocations int64   // rows of tidings.revocations, which each instance has in memory; 100,000
	SlotBytes   int64   // of WAL that a replication slot that nobody uses holds back; 1 GiB
	Age         int64   // of the oldest transaction id that is not frozen; twice autovacuum_freeze_max_age
	QueueUsage  float64 // of what NOTIFY's queue may hold; 0.1
}

// Severity is how bad a finding is.
type Severity string

// The severities, from none to the worst.
const (
	SeverityOK      Severity = "ok"
	SeverityNote    Severity = "note"    // all works: it is good to know
	SeverityWarning Severity = "warning" // it works, and will not always, or not for all
	SeverityProblem Severity = "problem" // something does not work
)

// Finding is what a check has found.
type Finding struct {
	Check string   `json:"check"`
	Level Severity `json:"level"`
	Found string   `json:"found"`          // a sentence
	Mend  string   `json:"mend,omitempty"` // what to do; what is to be said in SQL stands behind it
	SQL   []string `json:"sql,omitempty"`  // to be run one after another, each in a transaction of its own
}

// need is what has to be there for a check.
type need int

const (
	needsNothing need = iota
	needsSchema       // schema tidings, of a version that this program knows
)

// check is one thing that is looked at. Where it finds nothing, it is well.
type check struct {
	name  string
	well  string
	needs need

	asFound bool // the session's settings are left as they are
	apart   bool // it opens connections of its own, and has no transaction: where a pooler has few sessions, that would be in its way

	look func(ctx context.Context, e *examination) error
}

// checks are all of them, in the order in which they are told of: what explains others comes first.
func checks() []check {
	var all []check
	for _, group := range [][]check{serverChecks, sessionChecks, schemaChecks, watchChecks, logChecks, transactionChecks, vacuumChecks, instanceChecks} {
		all = append(all, group...)
	}
	return all
}

// DoctorChecks are the names of the checks that a Doctor makes.
func DoctorChecks() []string {
	names := []string{checkReachable}
	for _, c := range checks() {
		names = append(names, c.name)
	}
	return names
}

// examination is one run of a Doctor.
type examination struct {
	*Doctor
	tx    pgx.Tx // read only, of the check
	name  string
	found []Finding
	well  string // said by the check itself instead of what is said otherwise
	live  MigrationStatus

	pooled bool // a pooler of transactions stands between
	hidden bool // the role may not look at all of schema tidings
}

// add tells of something.
func (e *examination) add(level Severity, found, mend string, sql ...string) {
	e.found = append(e.found, Finding{Check: e.name, Level: level, Found: found, Mend: mend, SQL: sql})
}

// asked is a check that is a query, whose rows are findings: their level, what was found, how to mend it, and the SQL for that, or null.
func asked(query string, args ...func(*examination) any) func(context.Context, *examination) error {
	return func(ctx context.Context, e *examination) error {
		values := make([]any, 0, len(args))
		for _, arg := range args {
			values = append(values, arg(e))
		}
		rows, _ := e.tx.Query(ctx, query, values...)
		found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f Finding, err error) {
			f.Check = e.name
			err = row.Scan(&f.Level, &f.Found, &f.Mend, &f.SQL)
			return f, err
		})
		e.found = append(e.found, found...)
		return err
	}
}

func old(e *examination) any { return cmp.Or(e.Old, 5*time.Minute) }

// Examine looks, and returns at least one finding of each check that could be made. An error is one of not being able to look at all.
func (d *Doctor) Examine(ctx context.Context) ([]Finding, error) {
	e := &examination{Doctor: d}
	conn, err := e.open(ctx, d.DB)
	if err != nil {
		return nil, err
	}
	defer func() { closeConn(conn) }()
	var who string
	if err := conn.QueryRow(ctx, reachableQuery).Scan(&who); err != nil {
		return nil, explain(err)
	}
	all := []Finding{{Check: checkReachable, Level: SeverityOK, Found: who}}
	var refused *pgconn.PgError
	if e.live, err = migrationStatus(ctx, conn, d.Live); errors.As(err, &refused) && refused.Code == "42501" { // insufficient_privilege
		e.hidden = true // which another check says
	} else if err != nil {
		return nil, err
	}
	if e.live.Version > 0 && !e.hidden {
		if err := conn.QueryRow(ctx, hiddenQuery).Scan(&e.hidden); err != nil {
			return nil, explain(err)
		}
	}
	known := e.live.Version == e.live.Latest && !e.live.Dirty && !e.hidden
	for _, c := range checks() {
		if c.needs == needsSchema && !known {
			continue // why, another check says
		}
		e.name, e.found, e.well = c.name, nil, c.well
		if err := e.examine(ctx, conn, c); err != nil {
			var unusable *UnusableError
			if err = explain(err); ctx.Err() != nil || errors.As(err, &unusable) {
				return all, err
			}
			e.found = nil
			code := ""
			if errors.As(err, &refused) {
				code = refused.Code
			}
			why := "This could not be looked at: " + sentence(err).Error() + "."
			switch code {
			case "55P03": // lock_not_available
				e.add(SeverityWarning, "This could not be looked at: somebody has locked what it looks at.", "See who, and look again:", lockedQuery)
			case "25006", "0A000": // read_only_sql_transaction, feature_not_supported: so a standby refuses what only a primary has
				e.add(SeverityNote, why, "Look at the primary.")
			default:
				e.add(SeverityNote, why, "Look again; if it is a right that is missing, grant it.")
			}
			if conn.IsClosed() {
				if conn, err = e.open(ctx, d.DB); err != nil {
					return append(all, e.found...), err
				}
			}
		}
		if len(e.found) == 0 {
			e.add(SeverityOK, e.well, "")
		}
		all = append(all, e.found...)
	}
	return all, nil
}

// doctorName is the application_name of the doctor's connections.
const doctorName = "tidings doctor"

const (
	checkReachable = "reachable"
	hiddenQuery    = `select exists (select from pg_class c where c.relnamespace = 'tidings'::regnamespace and c.relkind in ('r', 'v', 'S') and not has_table_privilege(c.oid, 'select'))`
	lockedQuery    = `select l.relation::regclass, a.pid, a.usename, a.xact_start, a.query from pg_locks l join pg_stat_activity a using (pid) where l.granted and l.mode = 'AccessExclusiveLock'`
	reachableQuery = `select format('PostgreSQL %s answers, for role %I in database %I.', current_setting('server_version'), current_user, current_database())`
)

func (e *examination) examine(ctx context.Context, conn *pgx.Conn, c check) error {
	timeout := cmp.Or(e.Timeout, 10*time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var err error
	if c.apart {
		err = c.look(ctx, e)
	} else {
		err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			e.tx = tx
			if _, err := tx.Exec(ctx, `set local jit = off`); err != nil { // to compile what is asked once takes longer than to run it
				return err
			}
			if !c.asFound {
				// What ends the service's statements, another check says; it is not to end the others. Nor is a lock that somebody holds to hold them up.
				if _, err := tx.Exec(ctx, `set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0; set local lock_timeout = '1s'`); err != nil {
					return err
				}
			}
			return c.look(ctx, e)
		})
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return fmt.Errorf("it took longer than %s", timeout)
	}
	return err
}
