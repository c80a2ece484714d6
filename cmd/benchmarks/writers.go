package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// writers write single rows as fast as they can.
type writers interface {
	// write has n writers write to the table for so many seconds, and returns how many rows they wrote in a second, and
	// when they had ended.
	write(ctx context.Context, t table, n, seconds int) (perSecond float64, ended time.Time, err error)
	// String says how.
	String() string
}

// writers are pgbench's, if it is there beside the server.
func (p *postgres) writers(ctx context.Context, dir string) (writers, error) {
	var bin string
	if err := p.db.Pool.QueryRow(ctx, `select setting from pg_config where name = 'BINDIR'`).Scan(&bin); err != nil {
		return nil, fmt.Errorf("find pgbench: %w", err)
	}
	program := filepath.Join(bin, "pgbench")
	_, err := os.Stat(program)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &goWriters{p}, nil
	case err != nil:
		return nil, fmt.Errorf("find pgbench: %w", err)
	}
	return &pgbench{program: program, url: p.url, dir: dir}, nil
}

// pgbench is PostgreSQL's own program for such measurements.
type pgbench struct {
	program, url, dir string
}

func (w *pgbench) String() string { return "`pgbench -n -M prepared -j 2`, one `INSERT` a transaction" }

func (w *pgbench) write(ctx context.Context, t table, n, seconds int) (float64, time.Time, error) {
	script := filepath.Join(w.dir, string(t)+".sql")
	if err := os.WriteFile(script, []byte(t.insertOne()+";\n"), 0o600); err != nil {
		return 0, time.Time{}, err
	}
	cmd := exec.CommandContext(ctx, w.program, "-n", "-M", "prepared", "-j", "2",
		"-c", strconv.Itoa(n), "-T", strconv.Itoa(seconds), "-f", script, w.url)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	ended := time.Now()
	if err != nil {
		return 0, ended, fmt.Errorf("pgbench: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	perSecond, err := pgbenchRate(stdout.String())
	return perSecond, ended, err
}

// pgbenchRate reads "tps = 1234.5 (without initial connection time)".
func pgbenchRate(output string) (float64, error) {
	for line := range strings.Lines(output) {
		if rest, ok := strings.CutPrefix(line, "tps = "); ok {
			rate, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				return 0, fmt.Errorf("pgbench said %q: %w", line, err)
			}
			return rate, nil
		}
	}
	return 0, fmt.Errorf("pgbench said nothing of its speed: %q", output)
}

// goWriters are goroutines with a connection each, where there is no pgbench.
type goWriters struct {
	postgres *postgres
}

func (w *goWriters) String() string {
	return "goroutines with a connection each (pgx), one `INSERT` a transaction"
}

func (w *goWriters) write(ctx context.Context, t table, n, seconds int) (float64, time.Time, error) {
	begun := time.Now()
	end := begun.Add(time.Duration(seconds) * time.Second)
	counts := make([]int, n)
	group, ctx := errgroup.WithContext(ctx)
	for i := range n {
		group.Go(func() error {
			conn, err := w.postgres.db.Pool.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			for time.Now().Before(end) {
				if _, err := conn.Exec(ctx, t.insertOne()); err != nil {
					return err
				}
				counts[i]++
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, time.Now(), fmt.Errorf("write to %s: %w", t, err)
	}
	ended := time.Now()
	sum := 0
	for _, count := range counts {
		sum += count
	}
	return float64(sum) / ended.Sub(begun).Seconds(), ended, nil
}
