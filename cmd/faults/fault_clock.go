package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

var jumpingClock = fault{
	name: "clock-jumps", title: "PostgreSQL's clock jumps", about: "PostgreSQL's clock goes an hour forwards, back, an hour backwards, and back (libfaketime)",
	possible: func() error {
		if fakeTime() == "" {
			return impossible("libfaketime is not there (deploy/install-test-tools.sh installs it)")
		}
		return nil
	},
	prepare: func(ctx context.Context, s *stage) error {
		if err := s.setClock("+0"); err != nil {
			return err
		}
		s.primary().env = []string{"LD_PRELOAD=" + fakeTime(), "FAKETIME_TIMESTAMP_FILE=" + s.clockFile(), "FAKETIME_NO_CACHE=1",
			"FAKETIME_DONT_FAKE_MONOTONIC=1"}
		return nil
	},
	cause: func(ctx context.Context, s *stage) error {
		jumps := 0
		err := every(ctx, s.load.duration/8, func() error {
			to := []string{"+3600", "+0", "-3600", "+0"}[jumps%4]
			jumps++
			if err := s.setClock(to); err != nil {
				return err
			}
			off, err := s.primary().value(context.WithoutCancel(ctx), `select round(extract(epoch from clock_timestamp()) - $1)::text`, s.wallClock())
			if err != nil {
				return err
			}
			if n, err := strconv.Atoi(to); err != nil || off != strconv.Itoa(n) && off != strconv.Itoa(n-1) && off != strconv.Itoa(n+1) {
				return fmt.Errorf("the clock was set to %s, and is off by %s", to, off)
			}
			return nil
		})
		s.did(jumps)
		if err != nil {
			return err
		}
		return s.setClock("+0")
	},
}

func (s *stage) clockFile() string { return filepath.Join(s.dir, "clock") }

func (s *stage) wallClock() float64 { return float64(s.epoch.Add(s.now()).UnixMilli()) / 1000 }

// setClock has PostgreSQL's clock go wrong by so many seconds.
func (s *stage) setClock(seconds string) error {
	next := s.clockFile() + ".new"
	if err := os.WriteFile(next, []byte(seconds+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(next, s.clockFile()) // nobody reads half of it
}

// fakeTime finds libfaketime. macOS lets no library be put before the system's programs.
func fakeTime() string {
	for _, pattern := range []string{
		"/usr/lib/*/faketime/libfaketime.so.1", // Debian, Ubuntu
		"/usr/lib64/faketime/libfaketime.so.1", // Fedora, openSUSE
		"/usr/lib/faketime/libfaketime.so.1",   // Arch
		"/usr/lib/libfaketime.so*",             // Alpine
		"/usr/local/lib/faketime/libfaketime.so.1",
	} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}
