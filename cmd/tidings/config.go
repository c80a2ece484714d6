package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"tidings/db"
	tidingshttp "tidings/http"
	"tidings/redis"
	"tidings/traces"
)

// cli is the command line. Every flag has an environment variable; the flag wins.
type cli struct {
	database `embed:""`
	logging  `embed:""`

	Serve   serveCmd   `cmd:"" help:"Run the service."`
	Migrate migrateCmd `cmd:"" help:"Install, remove or show what tidings keeps in the database."`
	Watch   watchCmd   `cmd:"" help:"Make a table live, or change how it is."`
	Unwatch unwatchCmd `cmd:"" help:"End a table's events."`
	Watched watchedCmd `cmd:"" help:"List the watched tables."`
	Doctor  doctorCmd  `cmd:"" help:"Look at a database, and say what is wrong and how to mend it."`
	Tail    tailCmd    `cmd:"" help:"Follow channels in the terminal."`
	Bench   benchCmd   `cmd:"" help:"Put load on a running service, and measure what it takes."`
	Ready   readyCmd   `cmd:"" help:"Ask a running service whether it is ready: ends with 0 if it is."`
	URL     urlCmd     `cmd:"" name:"url" help:"Print the database's URL, for psql."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// database says which database is meant.
type database struct {
	DatabaseURL     string `help:"The database, as postgres://user:password@host:port/name. Empty: an embedded PostgreSQL, run from the programs installed on this machine." env:"DATABASE_URL" placeholder:"URL"`
	DatabaseURLFile string `name:"database-url-file" help:"A file with the database's URL." env:"DATABASE_URL_FILE" placeholder:"FILE"`
	DirectURL       string `name:"direct-database-url" help:"The same database past a pooler, for LISTEN and whatever else needs a session of its own. Empty: there is no pooler, or no way past it." env:"DIRECT_DATABASE_URL" placeholder:"URL"`
	DirectURLFile   string `name:"direct-database-url-file" help:"A file with it." env:"DIRECT_DATABASE_URL_FILE" placeholder:"FILE"`
	DataDir         string `help:"Where the embedded PostgreSQL keeps its data (${default_data_dir})." env:"TIDINGS_DATA_DIR" placeholder:"DIR"`

	exposed []string // files with a secret that all may read
}

func (d *database) Validate() error {
	err := readSecrets(&d.exposed, secretFile{"database-url", d.DatabaseURLFile, &d.DatabaseURL},
		secretFile{"direct-database-url", d.DirectURLFile, &d.DirectURL})
	if err != nil {
		return err
	}
	d.DatabaseURLFile, d.DirectURLFile = "", "" // they have been read
	if d.DatabaseURL == "" && d.DirectURL != "" {
		return errors.New("--direct-database-url: it goes with --database-url, which leads through a pooler; alone, it is to be that")
	}
	for _, url := range []struct{ name, value string }{{"database-url", d.DatabaseURL}, {"direct-database-url", d.DirectURL}} {
		if url.value == "" {
			continue
		}
		if err := db.CheckURL(url.value); err != nil {
			return fmt.Errorf("--%s: %w", url.name, err)
		}
	}
	return nil
}

func (d *database) dataDir() string {
	if d.DataDir != "" {
		return d.DataDir
	}
	return db.DefaultDataDir()
}

// logging says what is logged, and how.
type logging struct {
	LogFormat string `help:"text or json." enum:"text,json" default:"text" env:"TIDINGS_LOG_FORMAT" placeholder:"FORMAT"`
	LogLevel  string `help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info" env:"TIDINGS_LOG_LEVEL" placeholder:"LEVEL"`
}

func (l *logging) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.LogLevel)) // one of the enum
	options := &slog.HandlerOptions{Level: level}
	if l.LogFormat == "json" {
		options.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindDuration {
				a.Value = slog.StringValue(a.Value.Duration().String()) // as text has it, in place of nanoseconds
			}
			return a
		}
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// serveCmd is the service's configuration.
type serveCmd struct {
	Listen       string   `help:"Where to listen, as host:port." default:"127.0.0.1:8080" env:"TIDINGS_LISTEN" placeholder:"ADDRESS"`
	AdminListen  string   `help:"An address of its own, as host:port, for metrics, profiles and health, without sign-in: of this machine alone, or of a network that others do not reach. Empty: none." env:"TIDINGS_ADMIN_LISTEN" placeholder:"ADDRESS"`
	AllowOrigin  []string `help:"Origins whose pages may connect, besides the server's own: https://app.example.com. \"*\" is any." env:"TIDINGS_ALLOW_ORIGIN" placeholder:"ORIGIN"`
	TLSCert      string   `name:"tls-cert" help:"A file with the certificate, and those that lead from it to an authority, as PEM: clients connect by TLS. It is read again when it changes." env:"TIDINGS_TLS_CERT" placeholder:"FILE"`
	TLSKey       string   `name:"tls-key" help:"A file with the certificate's key, as PEM." env:"TIDINGS_TLS_KEY" placeholder:"FILE"`
	TrustedProxy []string `help:"Addresses, or ranges of them, of proxies whose X-Forwarded-For says who a client is: 10.0.0.0/8." env:"TIDINGS_TRUSTED_PROXY" placeholder:"ADDRESS"`
	Migrate      bool     `help:"Install or bring up to date schema tidings at start." default:"true" negatable:"" env:"TIDINGS_MIGRATE"`
	Demo         bool     `help:"Write a few users, messages and comments into an empty embedded database." default:"true" negatable:"" env:"TIDINGS_DEMO"`

	Development *bool  `help:"Let whoever sends no token write as any user, and tell GraphQL's schema to anybody. By default so with the embedded PostgreSQL, and not with a database of yours." negatable:"" env:"TIDINGS_DEVELOPMENT"`
	AdminWatch  *bool  `help:"Let users with the role admin make tables live, and end that, by GraphQL and at /admin. By default so in development." negatable:"" env:"TIDINGS_ADMIN_WATCH"`
	Secret      string `name:"secret" help:"The service's own secret, of 32 bytes at least, by which it signs the tokens of accounts. With the embedded PostgreSQL, one is made and kept beside it." env:"TIDINGS_SECRET" placeholder:"SECRET"`
	SecretFile  string `name:"secret-file" help:"A file with the service's own secret." env:"TIDINGS_SECRET_FILE" placeholder:"FILE"`
	NoSignIn    bool   `name:"no-sign-in" help:"Nobody signs in: no secret is needed." env:"TIDINGS_NO_SIGN_IN"`

	JWT jwtFlags `embed:"" prefix:"jwt-" group:"Tokens of an issuer"`

	Accounts accountFlags `embed:"" group:"Accounts"`

	MaxConnections           int           `help:"Clients connected for events, by any transport." default:"20000" env:"TIDINGS_MAX_CONNECTIONS" placeholder:"N" group:"Limits"`
	MaxConnectionsPerAddress int           `help:"Connections for events of one address, or of one IPv6 network of 64 bits. 0: 1000, and this machine as many as it likes." default:"0" env:"TIDINGS_MAX_CONNECTIONS_PER_ADDRESS" placeholder:"N" group:"Limits"`
	MaxConnectionsPerUser    int           `help:"Connections for events of one user, to each server." default:"1000" env:"TIDINGS_MAX_CONNECTIONS_PER_USER" placeholder:"N" group:"Limits"`
	MaxCommandsPerSecond     int           `help:"Commands a second, GraphQL operations included, of one user, or of one WebSocket of nobody's." default:"50" env:"TIDINGS_MAX_COMMANDS_PER_SECOND" placeholder:"N" group:"Limits"`
	CommandBurst             int           `help:"Commands that may be sent at once, after a quiet time." default:"500" env:"TIDINGS_COMMAND_BURST" placeholder:"N" group:"Limits"`
	MaxChannels              int           `help:"Channels of one connection." default:"100" env:"TIDINGS_MAX_CHANNELS" placeholder:"N" group:"Limits"`
	MaxFrame                 int           `help:"Bytes of one command." default:"65536" env:"TIDINGS_MAX_FRAME" placeholder:"BYTES" group:"Limits"`
	CompressMinBytes         int           `help:"Bytes of JSON from which on an event is compressed, for WebSockets whose clients offer permessage-deflate. 0: none is." default:"0" env:"TIDINGS_COMPRESS_MIN_BYTES" placeholder:"BYTES" group:"Limits"`
	QueueBytes               int           `help:"Bytes that may wait for one slow client, before it is fed from the log." default:"1048576" env:"TIDINGS_QUEUE_BYTES" placeholder:"BYTES" group:"Limits"`
	RecentBytes              int           `help:"Bytes of the newest events that are kept in memory." default:"67108864" env:"TIDINGS_RECENT_BYTES" placeholder:"BYTES" group:"Limits"`
	RecentAge                time.Duration `help:"How long they are kept in memory." default:"5m" env:"TIDINGS_RECENT_AGE" group:"Limits"`
	LogReaders               int           `help:"Clients that are fed from the log at the same time; others wait their turn." default:"4" env:"TIDINGS_LOG_READERS" placeholder:"N" group:"Limits"`
	PageRows                 int           `help:"Rows of one page of a channel." default:"1000" env:"TIDINGS_PAGE_ROWS" placeholder:"N" group:"Limits"`
	PageBytes                int           `help:"Bytes of one page of a channel." default:"4194304" env:"TIDINGS_PAGE_BYTES" placeholder:"BYTES" group:"Limits"`
	PingInterval             time.Duration `help:"How often clients are pinged." default:"25s" env:"TIDINGS_PING_INTERVAL" group:"Limits"`
	PongTimeout              time.Duration `help:"How long after a ping a silent client is taken for gone." default:"10s" env:"TIDINGS_PONG_TIMEOUT" group:"Limits"`
	StallTimeout             time.Duration `help:"How long a client may read nothing of what waits for it." default:"90s" env:"TIDINGS_STALL_TIMEOUT" group:"Limits"`
	TokenWarning             time.Duration `help:"How long before a token runs out its client is warned." default:"1m" env:"TIDINGS_TOKEN_WARNING" group:"Limits"`
	RecheckInterval          time.Duration `help:"How often policies are asked again who may subscribe." default:"1m" env:"TIDINGS_RECHECK_INTERVAL" group:"Limits"`
	DrainDelay               time.Duration `help:"How long the service, told to stop, goes on but for /readyz, so that load balancers notice." default:"0s" env:"TIDINGS_DRAIN_DELAY" group:"Limits"`
	DrainTime                time.Duration `help:"Over what time clients are then asked to move, where they are many and there is another server. 0: all at once." default:"10s" env:"TIDINGS_DRAIN_TIME" group:"Limits"`
	ShutdownTimeout          time.Duration `help:"How long clients have after that to read what is queued for them." default:"10s" env:"TIDINGS_SHUTDOWN_TIMEOUT" group:"Limits"`

	GraphQL graphQLFlags `embed:"" prefix:"graphql-" group:"GraphQL"`

	Presence presenceFlags `embed:"" prefix:"presence-" group:"Presence"`

	Redis redisFlags `embed:"" prefix:"redis-" group:"Redis"`

	PollInterval      time.Duration `help:"The longest time between two reads of the log." default:"1s" env:"TIDINGS_POLL_INTERVAL" group:"Database"`
	DatabaseTimeout   time.Duration `help:"How long the database may be silent in the middle of a read." default:"5s" env:"TIDINGS_DATABASE_TIMEOUT" group:"Database"`
	HeartbeatInterval time.Duration `help:"How often, by all instances together, an entry is written whose way through the log is watched. 0: never." default:"5s" env:"TIDINGS_HEARTBEAT_INTERVAL" group:"Database"`
	Listening         bool          `name:"listen-notify" help:"Hear the doorbell by LISTEN; switched off, the log is polled alone: for a transaction pooler that there is no way past." default:"true" negatable:"" env:"TIDINGS_LISTEN_NOTIFY" group:"Database"`

	exposed []string // files with a secret that all may read
}

// redisFlags say how instances share the reading of the log.
type redisFlags struct {
	URL         string        `name:"url" help:"Redis, by which one server reads the log for all: redis://user:password@host:port/db, rediss:// for TLS. ?addr=host:port names further nodes of a cluster or, with ?master_set=name, further Sentinels. Empty: each reads for itself." env:"TIDINGS_REDIS_URL" placeholder:"URL"`
	URLFile     string        `name:"url-file" help:"A file with the URL of Redis." env:"TIDINGS_REDIS_URL_FILE" placeholder:"FILE"`
	Lease       time.Duration `help:"After what silence of the server that reads for all another takes its place." default:"2s" env:"TIDINGS_REDIS_LEASE"`
	Timeout     time.Duration `help:"How long Redis may take to answer, before each reads for itself." default:"2s" env:"TIDINGS_REDIS_TIMEOUT"`
	StreamBytes int64         `help:"Bytes that the stream keeps for clients that come back." default:"268435456" env:"TIDINGS_REDIS_STREAM_BYTES" placeholder:"BYTES"`
	StreamAge   time.Duration `help:"How long it keeps them." default:"1h" env:"TIDINGS_REDIS_STREAM_AGE"`
}

// presenceFlags say how who is online is found out.
type presenceFlags struct {
	Grace     time.Duration `help:"How long a user without a connection stays online, as a page may be loading anew. 0: not at all." default:"5s" env:"TIDINGS_PRESENCE_GRACE"`
	Heartbeat time.Duration `help:"How often a server says that it is there." default:"2s" env:"TIDINGS_PRESENCE_HEARTBEAT"`
	DeadAfter time.Duration `help:"After what silence others take it for dead: three heartbeats, or more." default:"6s" env:"TIDINGS_PRESENCE_DEAD_AFTER"`
}

// accountFlags are of the service's own accounts.
type accountFlags struct {
	SignUp          bool          `help:"Let anybody sign up." default:"true" negatable:"" env:"TIDINGS_SIGN_UP"`
	AccessTokenTTL  time.Duration `name:"access-token-ttl" help:"How long an access token is valid, before it is to be refreshed." default:"15m" env:"TIDINGS_ACCESS_TOKEN_TTL"`
	SessionTTL      time.Duration `name:"session-ttl" help:"How long one is signed in, however often that is refreshed." default:"720h" env:"TIDINGS_SESSION_TTL"`
	RefreshGrace    time.Duration `help:"How long after its use a refresh token is taken once more, from a client that has not heard the answer. 0: not at all." default:"10s" env:"TIDINGS_REFRESH_GRACE"`
	NameFailures    int           `name:"sign-in-failures" help:"Wrong passwords for a username, before it has to wait." default:"10" env:"TIDINGS_SIGN_IN_FAILURES" placeholder:"N"`
	NamePause       time.Duration `name:"sign-in-pause" help:"After what time one more is allowed." default:"1m" env:"TIDINGS_SIGN_IN_PAUSE"`
	AddressFailures int           `name:"sign-in-address-failures" help:"Wrong passwords from an address, before it has to wait." default:"50" env:"TIDINGS_SIGN_IN_ADDRESS_FAILURES" placeholder:"N"`
	AddressPause    time.Duration `name:"sign-in-address-pause" help:"After what time one more is allowed." default:"1s" env:"TIDINGS_SIGN_IN_ADDRESS_PAUSE"`
	SignUps         int           `name:"sign-up-burst" help:"Users who sign up from an address, before it has to wait. 0: 20, and from this machine as many as like." default:"0" env:"TIDINGS_SIGN_UP_BURST" placeholder:"N"`
	SignUpPause     time.Duration `help:"After what time one more is allowed." default:"1m" env:"TIDINGS_SIGN_UP_PAUSE"`
}

// graphQLFlags are the limits of /graphql.
type graphQLFlags struct {
	MaxBody            int           `help:"Bytes of one request, or of one message on a WebSocket." default:"262144" env:"TIDINGS_GRAPHQL_MAX_BODY" placeholder:"BYTES"`
	MaxBatch           int           `help:"Operations that may be sent in one request." default:"10" env:"TIDINGS_GRAPHQL_MAX_BATCH" placeholder:"N"`
	MaxOperations      int           `help:"Operations at a time on one WebSocket." default:"100" env:"TIDINGS_GRAPHQL_MAX_OPERATIONS" placeholder:"N"`
	MaxQueryBytes      int           `help:"Bytes of one document." default:"65536" env:"TIDINGS_GRAPHQL_MAX_QUERY_BYTES" placeholder:"BYTES"`
	MaxTokens          int           `help:"Words and marks of one document." default:"5000" env:"TIDINGS_GRAPHQL_MAX_TOKENS" placeholder:"N"`
	MaxDepth           int           `help:"How deep fields may be nested." default:"16" env:"TIDINGS_GRAPHQL_MAX_DEPTH" placeholder:"N"`
	MaxFields          int           `help:"Fields of one operation, those of its fragments counted as often as they are spread." default:"1000" env:"TIDINGS_GRAPHQL_MAX_FIELDS" placeholder:"N"`
	MaxAliases         int           `help:"Aliases of one operation, counted likewise." default:"50" env:"TIDINGS_GRAPHQL_MAX_ALIASES" placeholder:"N"`
	MaxComplexity      int           `help:"Fields of an answer, if all of its pages are full." default:"20000" env:"TIDINGS_GRAPHQL_MAX_COMPLEXITY" placeholder:"N"`
	MaxEventComplexity int           `help:"Fields that a subscription tells of one event, likewise." default:"1000" env:"TIDINGS_GRAPHQL_MAX_EVENT_COMPLEXITY" placeholder:"N"`
	MaxBytes           int           `help:"Bytes of rows that are read for one answer." default:"33554432" env:"TIDINGS_GRAPHQL_MAX_BYTES" placeholder:"BYTES"`
	PageSize           int           `help:"Rows of a page where the request does not say." default:"20" env:"TIDINGS_GRAPHQL_PAGE_SIZE" placeholder:"N"`
	MaxPageSize        int           `help:"Rows of a page." default:"100" env:"TIDINGS_GRAPHQL_MAX_PAGE_SIZE" placeholder:"N"`
	Timeout            time.Duration `help:"How long a query or a mutation may take." default:"10s" env:"TIDINGS_GRAPHQL_TIMEOUT"`
	InitTimeout        time.Duration `help:"How long a client may take to begin on a WebSocket." default:"10s" env:"TIDINGS_GRAPHQL_INIT_TIMEOUT"`
}

// Validate names what is wrong with a value.
func (c *serveCmd) Validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("--listen: %q is not host:port, such as 127.0.0.1:8080 or :8080", c.Listen)
	}
	if c.AdminListen != "" {
		if _, _, err := net.SplitHostPort(c.AdminListen); err != nil {
			return fmt.Errorf("--admin-listen: %q is not host:port, such as 127.0.0.1:8081", c.AdminListen)
		}
		if c.AdminListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
			return fmt.Errorf("--admin-listen: %q is where clients come, by --listen: give it another port", c.AdminListen)
		}
	}
	for _, origin := range c.AllowOrigin {
		u, err := url.Parse(origin)
		if origin != "*" && origin != "null" && (err != nil || u.Scheme == "" || u.Host == "" || strings.Trim(u.Path, "/") != "") {
			return fmt.Errorf("--allow-origin: %q is not an origin, such as https://app.example.com", origin)
		}
	}
	for _, proxy := range c.TrustedProxy {
		if _, err := tidingshttp.ParseProxy(proxy); err != nil {
			return fmt.Errorf("--trusted-proxy: %w", err)
		}
	}
	if err := traces.Check(); err != nil {
		return err
	}
	if err := c.validateSecrets(); err != nil {
		return err
	}
	if c.Redis.URL != "" {
		if err := redis.CheckURL(c.Redis.URL); err != nil {
			return fmt.Errorf("--redis-url: %w", err)
		}
	}
	for _, limit := range []struct {
		name       string
		value, min int
	}{
		{"sign-in-failures", c.Accounts.NameFailures, 1}, {"sign-in-address-failures", c.Accounts.AddressFailures, 1},
		{"sign-up-burst", c.Accounts.SignUps, 0},
		{"max-connections", c.MaxConnections, 1}, {"max-connections-per-address", c.MaxConnectionsPerAddress, 0},
		{"max-connections-per-user", c.MaxConnectionsPerUser, 1}, {"max-commands-per-second", c.MaxCommandsPerSecond, 1}, {"command-burst", c.CommandBurst, 1},
		{"max-channels", c.MaxChannels, 1}, {"max-frame", c.MaxFrame, 128},
		{"compress-min-bytes", c.CompressMinBytes, 0},
		{"queue-bytes", c.QueueBytes, 4096}, {"recent-bytes", c.RecentBytes, 4096}, {"log-readers", c.LogReaders, 1},
		{"page-rows", c.PageRows, 1}, {"page-bytes", c.PageBytes, 4096},
		{"graphql-max-body", c.GraphQL.MaxBody, 1024}, {"graphql-max-batch", c.GraphQL.MaxBatch, 1},
		{"graphql-max-operations", c.GraphQL.MaxOperations, 1}, {"graphql-max-query-bytes", c.GraphQL.MaxQueryBytes, 64},
		{"graphql-max-tokens", c.GraphQL.MaxTokens, 16}, {"graphql-max-depth", c.GraphQL.MaxDepth, 1},
		{"graphql-max-fields", c.GraphQL.MaxFields, 1}, {"graphql-max-aliases", c.GraphQL.MaxAliases, 1},
		{"graphql-max-complexity", c.GraphQL.MaxComplexity, 1}, {"graphql-max-event-complexity", c.GraphQL.MaxEventComplexity, 1},
		{"graphql-max-bytes", c.GraphQL.MaxBytes, 65536}, {"graphql-page-size", c.GraphQL.PageSize, 1},
		{"graphql-max-page-size", c.GraphQL.MaxPageSize, c.GraphQL.PageSize},
	} {
		if limit.value < limit.min {
			return fmt.Errorf("--%s: %d is too low: at least %d", limit.name, limit.value, limit.min)
		}
	}
	if least := int64(1 << 20); c.Redis.StreamBytes < least {
		return fmt.Errorf("--redis-stream-bytes: %d is too low: at least %d", c.Redis.StreamBytes, least)
	}
	for _, d := range []struct {
		name       string
		value, min time.Duration
	}{
		{"access-token-ttl", c.Accounts.AccessTokenTTL, 10 * time.Second}, {"session-ttl", c.Accounts.SessionTTL, c.Accounts.AccessTokenTTL},
		{"refresh-grace", c.Accounts.RefreshGrace, 0}, {"sign-in-pause", c.Accounts.NamePause, time.Millisecond},
		{"sign-in-address-pause", c.Accounts.AddressPause, time.Millisecond}, {"sign-up-pause", c.Accounts.SignUpPause, time.Millisecond},
		{"recent-age", c.RecentAge, time.Second},
		{"ping-interval", c.PingInterval, time.Second}, {"pong-timeout", c.PongTimeout, time.Second},
		{"stall-timeout", c.StallTimeout, time.Second}, {"shutdown-timeout", c.ShutdownTimeout, 100 * time.Millisecond},
		{"drain-delay", c.DrainDelay, 0}, {"drain-time", c.DrainTime, 0},
		{"token-warning", c.TokenWarning, 0}, {"recheck-interval", c.RecheckInterval, time.Second},
		{"poll-interval", c.PollInterval, time.Millisecond}, {"database-timeout", c.DatabaseTimeout, 100 * time.Millisecond},
		{"heartbeat-interval", c.HeartbeatInterval, 0},
		{"redis-lease", c.Redis.Lease, 200 * time.Millisecond}, {"redis-timeout", c.Redis.Timeout, 100 * time.Millisecond},
		{"redis-stream-age", c.Redis.StreamAge, time.Second},
		{"presence-grace", c.Presence.Grace, 0}, {"presence-heartbeat", c.Presence.Heartbeat, 100 * time.Millisecond},
		{"presence-dead-after", c.Presence.DeadAfter, 3 * c.Presence.Heartbeat},
		{"graphql-timeout", c.GraphQL.Timeout, 100 * time.Millisecond}, {"graphql-init-timeout", c.GraphQL.InitTimeout, 100 * time.Millisecond},
	} {
		if d.value < d.min {
			return fmt.Errorf("--%s: %s is too short: at least %s", d.name, d.value, d.min)
		}
	}
	return nil
}

// trustedProxies are those given, which Validate has read.
func (c *serveCmd) trustedProxies() []netip.Prefix {
	proxies := make([]netip.Prefix, len(c.TrustedProxy))
	for i, text := range c.TrustedProxy {
		proxies[i], _ = tidingshttp.ParseProxy(text)
	}
	return proxies
}
