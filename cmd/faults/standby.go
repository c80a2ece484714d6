package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// addStandby starts the first cluster and a streaming replica of it.
func (s *stage) addStandby(ctx context.Context) (*cluster, error) {
	from := s.primary()
	if err := from.start(ctx); err != nil {
		return nil, err
	}
	to := &cluster{workshop: s.workshop, home: filepath.Join(s.dir, "b"), settings: from.settings}
	s.clusters = append(s.clusters, to)
	if err := to.makeHome(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(to.data(), 0o700); err != nil {
		return nil, err
	}
	owner := s.workshop.owner
	if owner != nil {
		if err := os.Chown(to.data(), int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, err
		}
	}
	if err := command(ctx, owner, nil, from.program("pg_basebackup"), "-h", from.socket(), "-p", strconv.Itoa(from.port), "-U", "tidings",
		"-D", to.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync"); err != nil {
		return nil, err
	}
	if err := to.open(ctx); err != nil {
		return nil, err
	}
	if err := to.start(ctx); err != nil {
		return nil, err
	}
	return to, s.awaitTrue(ctx, from, `select exists (select from pg_stat_replication where state = 'streaming')`)
}

// awaitTrue returns when a query says true.
func (s *stage) awaitTrue(ctx context.Context, c *cluster, query string, args ...any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s was not true within %s", query, patience))
	defer cancel()
	for {
		var is bool
		if err := c.db.Pool.QueryRow(ctx, query, args...).Scan(&is); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		if is {
			return nil
		}
		if !pause(ctx, 20*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// promote makes the standby the one that is written to.
func (s *stage) promote(ctx context.Context, standby *cluster) error {
	if err := standby.exec(ctx, `select pg_promote(true, 60)`); err != nil {
		return err
	}
	s.main.Store(standby)
	return nil
}
