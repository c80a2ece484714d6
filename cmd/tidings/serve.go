package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"tidings/db"
	tidingshttp "tidings/http"
	"tidings/http/graph"
	"tidings/metrics"
	"tidings/realtime"
	"tidings/redis"
	"tidings/triggers"
)

// liveMigrations are schema tidings.
var liveMigrations = db.MigrationSet{Name: "live", Files: triggers.Migrations}

// Run starts the service and ends it when ctx does: first the clients move, then reading stops, then the database.
func (c *serveCmd) Run(ctx context.Context, where *database, log *logging) error {
	logger := log.logger(os.Stderr)

	if where.DatabaseURL != "" {
		if err := c.requireSecret(); err != nil {
			return err
		}
	}
	if files := filesAllowed(); 0 < files && files < uint64(c.MaxConnections) { // the last clients would not be refused, but wait
		logger.Warn("fewer files may be open than connections are allowed", "files", files, "max_connections", c.MaxConnections)
	}
	var certificate *tidingshttp.Certificate
	if c.TLSCert != "" {
		var err error
		if certificate, err = tidingshttp.LoadCertificate(c.TLSCert, c.TLSKey, logger); err != nil {
			return fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
	}
	listener, err := listenAt(ctx, "--listen", c.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	observed, err := c.observe(ctx, logger)
	if err != nil {
		return err
	}
	defer observed.close(logger)

	// What is below goes on until what is above has ended.
	below, stopBelow := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBelow()

	url := where.DatabaseURL
	var embedded *db.Embedded
	var supervised errgroup.Group
	if url == "" {
		embedded = &db.Embedded{DataDir: where.dataDir(), Logger: logger}
		logger.Info("starting the embedded PostgreSQL", "data", embedded.DataDir)
		if err := embedded.Start(ctx); err != nil {
			return err
		}
		url = embedded.URL()
		if c.Secret == "" && !c.NoSignIn {
			if c.Secret, err = embedded.Secret(); err != nil {
				return err
			}
		}
		supervise, stop := context.WithCancel(context.WithoutCancel(ctx))
		supervised.Go(func() error { return embedded.Run(supervise) })
		defer func() {
			stop()
			if err := supervised.Wait(); err != nil {
				logger.Error("the embedded PostgreSQL did not stop well", "error", err)
			}
		}()
	}
	database, err := db.OpenDirect(ctx, url, where.DirectURL)
	if err != nil {
		return err
	}
	defer database.Close()
	database.Schema = liveMigrations

	reader := &db.Reader{
		DB: database, Logger: logger, PollInterval: c.PollInterval, Timeout: c.DatabaseTimeout, NoListen: !c.Listening,
		BeatInterval: orNever(c.HeartbeatInterval), Lagged: observed.heartbeats(),
	}
	if relay := c.Redis.open(reader, logger); relay != nil {
		defer relay.Close()
		reader.Relay = relay
	}
	hub := realtime.NewHub(reader, realtime.Options{
		MaxChannels: c.MaxChannels, QueueBytes: c.QueueBytes, RecentBytes: c.RecentBytes, RecentAge: c.RecentAge, Readers: c.LogReaders,
		RecheckInterval: c.RecheckInterval, Follow: observed.followers(),
	})
	reader.Sink = hub
	presence := &db.Presence{DB: database, Logger: logger, Heartbeat: c.Presence.Heartbeat, DeadAfter: c.Presence.DeadAfter, Grace: orNever(c.Presence.Grace)}
	channel := &db.Channel{DB: database}
	var hasChannel atomic.Bool
	var server *tidingshttp.Server
	status := func() realtime.Instance { return server.Status() }
	graphOptions := c.graphOptions(embedded != nil)
	graphOptions.Status, graphOptions.Observe = status, observed.operations()
	accounts := c.Accounts.open(c.Secret, database, logger)
	if accounts != nil {
		graphOptions.Accounts = accounts
	}
	api := graph.New(channel, hasChannel.Load, hub, logger, graphOptions)
	defer api.Close()
	server = &tidingshttp.Server{
		Instance: tidingshttp.Named{Name: reader.Name(), Version: version, Address: listener.Addr().String()},
		Hub:      hub, Graph: api, Accounts: accounts, Presence: presence, Logger: logger, Certificate: certificate,
		Health: func() tidingshttp.Health {
			s := reader.Status()
			return tidingshttp.Health{
				Relay: string(s.Role), Live: s.Live, Listening: s.Listening, Beating: s.Beating, LastRead: s.LastRead, Lag: s.Lag, Events: s.Events,
				Logged: s.Audited.Logged, Audited: s.Audited.Read, Missing: s.Audited.Missing,
			}
		},
		Channel: hasChannel.Load, Observers: observed.requests(), Options: c.serverOptions(),
	}
	reporter := &db.Reporter{DB: database, Reader: reader, Status: status, Logger: logger, Schema: liveMigrations}
	outdated := make(chan error, 1)
	reporter.TooOld = func(err error) { outdated <- err }
	server.Alone = reporter.Alone
	revocations := &db.Revocations{DB: database, Logger: logger}
	logWatch := &db.LogWatch{DB: database, Logger: logger, Timeout: c.DatabaseTimeout}
	service := metrics.Service{Hub: hub, Server: server, Reader: reader, DB: database, Log: logWatch, Revocations: revocations}
	observed.watch(service)
	server.Revoked, server.Signal = revocations.Revoked, database.Signal
	subjects := c.JWT.subjects(database, hasChannel.Load)
	issuer, err := c.JWT.issuer(below, logger)
	if err != nil {
		return err
	}
	if issuer != nil || accounts != nil {
		tokens := &tidingshttp.Tokens{Issuer: issuer, Users: subjects, Revoked: revocations.Revoked}
		if accounts != nil {
			tokens.Own = accounts.Signer
		}
		server.Authenticate = tokens.Authenticate
	}
	revocations.Learned = func(user, session string) {
		subjects.Forget(user)
		server.Disconnect(user, session, true)
	}
	reader.Missed = revocations.Refresh
	reader.Disconnect = func(user, session string, revoked bool, at time.Time) {
		if revoked {
			revocations.Add(user, session, at)
		} else {
			server.Disconnect(user, session, false)
		}
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer stopBelow()
		return server.Serve(ctx, listener)
	})
	group.Go(func() error { return observed.serve(below, service, logger) })
	group.Go(func() error {
		tables, err := c.prepare(ctx, database, channel, embedded != nil, logger)
		if err != nil || ctx.Err() != nil {
			return err
		}
		hasChannel.Store(tables)
		var following errgroup.Group
		following.Go(func() error { return reader.Run(below) })
		following.Go(func() error { return hub.Run(below) })
		following.Go(func() error { return presence.Run(below) })
		following.Go(func() error { return revocations.Run(below) })
		following.Go(func() error { return reporter.Run(below) })
		following.Go(func() error { return logWatch.Run(below) })
		return following.Wait()
	})
	group.Go(func() error {
		select {
		case err := <-outdated: // its clients are told goodbye, and what is below goes on until they are gone
			logger.Error("the database is of a version that this program cannot serve: it stops", "error", err)
			return err
		case <-ctx.Done():
			return nil
		}
	})
	group.Go(func() error {
		if !awaitLive(ctx, hub) {
			return nil
		}
		logger.Info("live", "address", listener.Addr().String())
		if embedded != nil {
			fmt.Fprint(os.Stdout, invitation(listener.Addr(), certificate != nil, where))
		}
		return nil
	})
	return group.Wait()
}

// open puts together what shares the reading of the log; nil: nothing does.
func (f *redisFlags) open(reader *db.Reader, logger *slog.Logger) *redis.Relay {
	if f.URL == "" {
		return nil
	}
	return &redis.Relay{
		URL: f.URL, Name: reader.Name(), Logger: logger, OnNudge: reader.Nudge, Lease: f.Lease, Timeout: f.Timeout,
		StreamBytes: f.StreamBytes, StreamAge: f.StreamAge,
	}
}

// open puts together the service's own accounts; nil: there are none.
func (f *accountFlags) open(secret string, database *db.DB, logger *slog.Logger) *tidingshttp.Accounts {
	if secret == "" {
		return nil
	}
	store := &db.Accounts{DB: database, Lifetime: f.SessionTTL, Grace: orNever(f.RefreshGrace)}
	return &tidingshttp.Accounts{
		Store: store, Signer: &tidingshttp.Signer{Secret: []byte(secret), TTL: f.AccessTokenTTL}, Logger: logger,
		Options: tidingshttp.AccountOptions{
			SignUpClosed: !f.SignUp, NameFailures: f.NameFailures, NamePause: f.NamePause,
			AddressFailures: f.AddressFailures, AddressPause: f.AddressPause, SignUps: f.SignUps, SignUpPause: f.SignUpPause,
		},
	}
}

func listenAt(ctx context.Context, flag, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("%s: cannot listen on %s: %w", flag, address, err)
	}
	return listener, nil
}

// prepare waits until the database can be reached, brings it up to date, and returns whether the application's tables are there. A database that
// will not do is an error; one that is down is waited for, and the service says that it isn't ready.
func (c *serveCmd) prepare(ctx context.Context, database *db.DB, channel *db.Channel, embedded bool, logger *slog.Logger) (tables bool, _ error) {
	for attempt := 0; ; attempt++ {
		tables, err := c.prepareOnce(ctx, database, channel, embedded)
		var unusable *db.UnusableError
		if err == nil || ctx.Err() != nil || errors.As(err, &unusable) {
			return tables, err
		}
		if attempt == 0 {
			logger.Error("the database is not ready; trying again until it is", "error", err)
		}
		timer := time.NewTimer(min(100*time.Millisecond<<min(attempt, 5), 2*time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false, nil
		case <-timer.C:
		}
	}
}

func (c *serveCmd) prepareOnce(ctx context.Context, database *db.DB, channel *db.Channel, embedded bool) (tables bool, _ error) {
	if err := database.Check(ctx); err != nil {
		return false, err
	}
	if err := bringUpToDate(ctx, database, liveMigrations, c.Migrate); err != nil {
		return false, err
	}
	if embedded {
		fresh, err := database.MigrationStatus(ctx, db.ChannelMigrations)
		if err == nil {
			err = bringUpToDate(ctx, database, db.ChannelMigrations, c.Migrate)
		}
		if err == nil && fresh.Version == 0 {
			err = channel.OpenToAll(ctx) // so that the first minute needs no token
		}
		if err != nil {
			return false, err
		}
		if c.Demo {
			if err := channel.Demonstrate(ctx); err != nil {
				return false, err
			}
		}
	}
	return channel.HasTables(ctx)
}

// bringUpToDate applies what is missing of a set, or says that it is missing.
func bringUpToDate(ctx context.Context, database *db.DB, set db.MigrationSet, migrate bool) error {
	status, err := database.MigrationStatus(ctx, set)
	if err != nil {
		return err
	}
	switch {
	case status.Version == status.Latest:
		return nil
	case status.Version > status.Latest:
		if set.Name == liveMigrations.Name {
			return database.CheckCompatible(ctx, set)
		}
		return &db.UnusableError{Message: fmt.Sprintf("the database's %s part has version %d, and this program knows %d: it is too old",
			set.Name, status.Version, status.Latest)}
	case !migrate:
		return &db.UnusableError{Message: fmt.Sprintf("the database's %s part has version %d of %d: run tidings migrate up --only %s",
			set.Name, status.Version, status.Latest, set.Name)}
	}
	return database.MigrateUp(ctx, set)
}

// awaitLive returns true once the hub is live, false if ctx ends before.
func awaitLive(ctx context.Context, hub *realtime.Hub) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !hub.Live() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// invitation tells a newcomer what to do next.
func invitation(address net.Addr, tls bool, where *database) string {
	host := address.String()
	if tcp, ok := address.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		host = fmt.Sprintf("localhost:%d", tcp.Port)
	}
	secure := ""
	if tls {
		secure = "s"
	}
	urlCommand := shellQuote(os.Args[0]) + " url"
	if where.DataDir != "" {
		urlCommand += " --data-dir " + shellQuote(where.DataDir)
	}
	return fmt.Sprintf(`
tidings is live.

  The page:     http%[3]s://%[1]s/
  GraphQL:      http%[3]s://%[1]s/graphql
  A WebSocket:  ws%[3]s://%[1]s/ws?channel=messages

  To see something happen, paste this into another terminal:

    psql "$(%[2]s)" -c "insert into messages (author_id, title, content) values (1, 'Hello', 'World')"

`, host, urlCommand, secure)
}

// shellQuote quotes a word where a shell would not take it as it is.
func shellQuote(word string) string {
	for _, r := range word {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '/' || r == '.' || r == '-' || r == '_'
		if !plain {
			return "'" + replaceQuotes(word) + "'"
		}
	}
	return word
}
