// Package db is all that speaks to PostgreSQL: connections, migrations, the application's stores, the reader and the
// listener of the event log, and the embedded server.
//
// What it promises of the log: a Reader publishes every committed event exactly once, in the order of the log, from
// the position at which it started, through any loss of connection. A lost notification costs at most the poll interval.
package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// MinVersion is the oldest PostgreSQL that tidings works with.
const MinVersion = 14

// connectTimeout is how long the opening of a connection may take.
const connectTimeout = 5 * time.Second

// ownSchema is the schema that tidings keeps its things in, and the name that its role mostly has.
const ownSchema = "tidings"

// DB is a database: its pool, and how to open connections beside it.
type DB struct {
	Pool *pgxpool.Pool
	// Schema is schema tidings as the program knows it: the reader's and the listener's connections are refused where the database has one for
	// which that is too old. Without files, nothing is asked.
	Schema MigrationSet

	pooled *way // of the pool
	direct *way // of connections beside it: the same, unless there is a pooler to be passed
}

// Open reads a database URL. It does not connect: the pool does when it is used, and Check says whether it can.
func Open(ctx context.Context, url string) (*DB, error) { return OpenDirect(ctx, url, "") }

// OpenDirect is Open with another URL of the same database that leads past a pooler, for what needs sessions: the listener above all, the
// reader of the log, presence and migrations. Empty: there is none.
func OpenDirect(ctx context.Context, url, directURL string) (*DB, error) {
	config, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	config.MaxConnIdleTime = 5 * time.Minute
	d := &DB{pooled: newWay(config.ConnConfig, url)}
	d.direct = d.pooled
	if directURL != "" {
		direct, err := parseURL(directURL)
		if err != nil {
			return nil, fmt.Errorf("direct database URL: %w", err)
		}
		d.direct = newWay(direct.ConnConfig, directURL)
	}
	config.BeforeConnect = func(ctx context.Context, config *pgx.ConnConfig) error {
		return d.pooled.prepare(ctx, config, settingsOf(config))
	}
	if d.Pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("database pool: %w", err)
	}
	return d, nil
}

func parseURL(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, hidePassword(err)
	}
	if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		return nil, errors.New("default_query_exec_mode=simple_protocol cannot be used, as the log is read in binary; " +
			"cache_describe does without prepared statements as well")
	}
	prepareConfig(config.ConnConfig)
	return config, nil
}

// hidePassword says why a URL cannot be read, if that can be said without a part of it: whatever cannot be read may be
// the password.
func hidePassword(err error) error {
	var file *fs.PathError // sslrootcert, sslcert, sslkey
	if errors.As(err, &file) && !strings.ContainsAny(file.Path, "@=") {
		return fmt.Errorf("it names a file that cannot be used: %w", file)
	}
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		if _, why, ok := strings.Cut(parse.Error(), "`: "); ok && !strings.ContainsAny(why, "@=/`\"") {
			return fmt.Errorf("it cannot be read as a URL such as postgres://user:password@host:port/name: %s", why)
		}
	}
	return errors.New("it cannot be read as a URL such as postgres://user:password@host:port/name")
}

// prepareConfig has a dead peer noticed by the kernel, where one of the two ends just vanishes.
func prepareConfig(config *pgx.ConnConfig) {
	dialer := &net.Dialer{
		Timeout: connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3,
		},
	}
	config.DialFunc = dialer.DialContext
	config.ConnectTimeout = connectTimeout
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "tidings"
	}
}

// settingsOf are those that sessions begin with.
func settingsOf(config *pgx.ConnConfig) []setting {
	// Reading above READ COMMITTED could make writers fail, and the log's upkeep refuses it.
	settings := []setting{{"default_transaction_isolation", "read committed"}}
	// The default search path begins with the schema of the user's name, and ours is not where tables belong.
	if config.User == ownSchema && config.RuntimeParams["search_path"] == "" {
		settings = append(settings, setting{"search_path", "public"})
	}
	return settings
}

// Close closes the pool.
func (d *DB) Close() { d.Pool.Close() }

var (
	// planForLog fixes the plans for reading the log: whatever the planner assumes of a table that grows and is emptied, of which it has
	// no statistics, what is new is found by an index.
	planForLog = []setting{
		{"enable_seqscan", "off"}, {"enable_bitmapscan", "off"}, {"jit", "off"},
		{"max_parallel_workers_per_gather", "0"}, {"plan_cache_mode", "force_generic_plan"},
	}
	// unhurried is for what takes its time, and is watched by us.
	unhurried = []setting{{"statement_timeout", "0"}}
)

// connect opens a connection of its own, for the reader and the listener.
func (d *DB) connect(ctx context.Context, name string) (*pgx.Conn, error) {
	return d.dial(ctx, name, append(planForLog, setting{"synchronous_commit", "off"}))
}

// dial opens a connection beside the pool, whose session begins with the settings unless it is a pooler's.
func (d *DB) dial(ctx context.Context, name string, settings []setting) (*pgx.Conn, error) {
	config := d.direct.config.Copy()
	config.RuntimeParams["application_name"] = "tidings " + name
	all := slices.Concat(settings, settingsOf(config), unhurried, []setting{{"idle_session_timeout", "0"}})
	err := d.direct.prepare(ctx, config, all)
	var conn *pgx.Conn
	if err == nil {
		conn, err = pgx.ConnectConfig(ctx, config)
	}
	if err != nil {
		return nil, explain(err)
	}
	if d.Schema.Files != nil {
		level, err := d.Schema.latest()
		if err == nil {
			err = checkCompatible(ctx, conn, level)
		}
		if err != nil {
			closeConn(conn)
			return nil, err
		}
	}
	return conn, nil
}

// UnusableError says that a database will not do, now or later, unless a person changes something.
type UnusableError struct {
	Message string

	cause error
}

func (e *UnusableError) Error() string { return e.Message }
func (e *UnusableError) Unwrap() error { return e.cause }

// Check connects and says in a sentence what is wrong, if anything: an *UnusableError if trying again will not help.
func (d *DB) Check(ctx context.Context) error {
	var version string
	if err := d.Pool.QueryRow(ctx, `show server_version_num`).Scan(&version); err != nil {
		return explain(err)
	}
	n, err := strconv.Atoi(version)
	if err != nil {
		return fmt.Errorf("server version %q: %w", version, err)
	}
	if n/10000 < MinVersion {
		return &UnusableError{Message: fmt.Sprintf("the database is PostgreSQL %d: tidings needs %d or later", n/10000, MinVersion)}
	}
	if err := d.checkPooler(ctx); err != nil {
		return err
	}
	return d.checkDirect(ctx)
}

// explain turns what keeps a connection from being made into a sentence for the person who gave the URL.
func explain(err error) error {
	var failed *pgconn.ConnectError
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if parameter, refused := strings.CutPrefix(pg.Message, "unsupported startup parameter: "); refused { // as PgBouncer says it
			return &UnusableError{Message: fmt.Sprintf("the pooler takes no parameter %s, which the database's URL has: leave it out, "+
				"or have the pooler ignore it (in pgbouncer.ini: ignore_startup_parameters = %[1]s) and set it for the role", parameter)}
		}
		switch pg.Code {
		case "28P01", "28000": // invalid_password, invalid_authorization_specification
			return &UnusableError{Message: "the database refuses the user or the password: " + pg.Message}
		case "3D000": // invalid_catalog_name
			return &UnusableError{Message: "the database server has no such database: " + pg.Message}
		case "57P03", "57P01", "57P02": // cannot_connect_now, admin_shutdown, crash_shutdown
			return fmt.Errorf("the database is starting or stopping: %s", pg.Message)
		case "53300": // too_many_connections
			return fmt.Errorf("the database has no connection left: %s", pg.Message)
		case "08P01": // protocol_violation: what PgBouncer says by itself
			return explainPooler(pg.Message)
		}
		return err
	}
	if errors.As(err, &failed) {
		where := fmt.Sprintf("%s, port %d", failed.Config.Host, failed.Config.Port)
		cause := failed.Unwrap()
		var op *net.OpError
		var unknown *net.DNSError
		switch {
		case errors.As(err, &unknown):
			cause = unknown
		case errors.As(err, &op):
			cause = op.Err
		}
		return fmt.Errorf("the database at %s cannot be reached: %w", where, cause)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &wordedError{"the database does not answer in time", err}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &wordedError{"the connection to the database was closed", err}
	}
	return err
}

// explainPooler does so with what a pooler says that is not the database's.
func explainPooler(message string) error {
	switch {
	case message == "SASL authentication failed", message == "password authentication failed", strings.HasPrefix(message, "no such user"):
		return &UnusableError{Message: "the pooler refuses the user or the password: " + message}
	case strings.Contains(message, "statement pooling mode"):
		return &UnusableError{Message: "the pooler has a session for one statement at a time, and tidings needs it for a transaction: pool_mode = transaction"}
	case strings.HasPrefix(message, "no such database"):
		return &UnusableError{Message: "the pooler knows no such database: " + strings.TrimPrefix(message, "no such database: ")}
	}
	return fmt.Errorf("the pooler says: %s", message)
}

// wordedError is an error in words for whoever reads the log.
type wordedError struct {
	words string
	err   error
}

func (e *wordedError) Error() string { return e.words }
func (e *wordedError) Unwrap() error { return e.err }

// CheckURL says what is wrong with a database URL, without connecting.
func CheckURL(url string) error {
	if _, err := pgxpool.ParseConfig(url); err != nil {
		return hidePassword(err)
	}
	return nil
}
