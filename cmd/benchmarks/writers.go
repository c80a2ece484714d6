package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// job is what writers do over and over: one statement, one row, one transaction.
type job struct {
	name string // of its script
	sql  string
	ids  int // if not 0, :id in it is a random number from 1 to this
}

// written is what writers came to.
type written struct {
	rows      int64
	perSecond float64
	ended     time.Time
}

// writers write single rows as fast as they can.
type writers interface {
	// write has n writers do the job for so many seconds.
	write(ctx context.Context, j job, n, seconds int) (written, error)
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

func (w *pgbench) String() string { return "`pgbench -n -M prepared -j 2`, one row a transaction" }

func (w *pgbench) write(ctx context.Context, j job, n, seconds int) (written, error) {
	script := filepath.Join(w.dir, j.name+".sql")
	if err := os.WriteFile(script, []byte(j.pgbench()), 0o600); err != nil {
		return written{}, err
	}
	cmd := exec.CommandContext(ctx, w.program, "-n", "-M", "prepared", "-j", "2",
		"-c", strconv.Itoa(n), "-T", strconv.Itoa(seconds), "-f", script, w.url)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	ended := time.Now()
	if err != nil {
		return written{}, fmt.Errorf("pgbench: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	done, err := parsePgbench(stdout.String())
	done.ended = ended
	return done, err
}

// pgbench is the job as a script of pgbench.
func (j job) pgbench() string {
	if j.ids == 0 {
		return j.sql + ";\n"
	}
	return fmt.Sprintf("\\set id random(1, %d)\n%s;\n", j.ids, j.sql)
}

// parsePgbench reads "number of transactions actually processed: 1234" and "tps = 1234.5 (without initial connection time)".
func parsePgbench(output string) (done written, err error) {
	const count, rate = "number of transactions actually processed: ", "tps = "
	found := 0
	for line := range strings.Lines(output) {
		if rest, ok := strings.CutPrefix(line, count); ok {
			if done.rows, err = strconv.ParseInt(strings.TrimSpace(rest), 10, 64); err != nil {
				return done, fmt.Errorf("pgbench said %q: %w", line, err)
			}
			found++
		}
		if rest, ok := strings.CutPrefix(line, rate); ok {
			number, _, _ := strings.Cut(rest, " ")
			if done.perSecond, err = strconv.ParseFloat(number, 64); err != nil {
				return done, fmt.Errorf("pgbench said %q: %w", line, err)
			}
			found++
		}
	}
	if found != 2 {
		return done, fmt.Errorf("pgbench said nothing of its speed: %q", output)
	}
	return done, nil
}

// goWriters are goroutines with a connection each, where there is no pgbench.
type goWriters struct {
	postgres *postgres
}

func (w *goWriters) String() string {
	return "goroutines with a connection each (pgx), one row a transaction"
}

func (w *goWriters) write(ctx context.Context, j job, n, seconds int) (written, error) {
	begun := time.Now()
	end := begun.Add(time.Duration(seconds) * time.Second)
	counts := make([]int64, n)
	sql := strings.ReplaceAll(j.sql, ":id", "$1")
	group, ctx := errgroup.WithContext(ctx)
	for i := range n {
		group.Go(func() error {
			conn, err := w.postgres.db.Pool.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			for time.Now().Before(end) {
				var args []any
				if j.ids > 0 {
					args = []any{1 + rand.N(j.ids)}
				}
				if _, err := conn.Exec(ctx, sql, args...); err != nil {
					return err
				}
				counts[i]++
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return written{}, fmt.Errorf("%s: %w", j.name, err)
	}
	done := written{ended: time.Now()}
	for _, count := range counts {
		done.rows += count
	}
	done.perSecond = float64(done.rows) / done.ended.Sub(begun).Seconds()
	return done, nil
}
