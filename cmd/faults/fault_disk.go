package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

var fullDisk = fault{
	name: "full-disk", title: "disk full for the log", about: "the log's partitions are in a tablespace of their own, which is filled up and freed again",
	possible: func() error {
		if runtime.GOOS != "linux" || os.Geteuid() != 0 {
			return impossible("a small file system can be mounted by root on Linux only")
		}
		return nil
	},
	prepare: func(ctx context.Context, s *stage) error {
		dir := s.smallDisk()
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		owner := s.workshop.owner
		options := fmt.Sprintf("size=64m,mode=700,uid=%d,gid=%d", owner.Uid, owner.Gid)
		if err := command(ctx, nil, nil, "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir); err != nil {
			return impossible("%w", err)
		}
		s.atEnd(func() error { return command(context.WithoutCancel(ctx), nil, nil, "umount", dir) })
		c := s.primary()
		if err := c.start(ctx); err != nil {
			return err
		}
		if err := c.exec(ctx, `create tablespace small location '`+dir+`'`); err != nil {
			return err
		}
		return c.exec(ctx, `do $$
			declare r record;
			begin
				for r in select c.oid::regclass as name, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace
				          where n.nspname = 'tidings' and c.relname ~ '^log_[0-7]' and c.relkind in ('r', 'i') loop
					execute format('alter %s %s set tablespace small', case r.relkind when 'r' then 'table' else 'index' end, r.name);
				end loop;
			end $$`)
	},
	cause: func(ctx context.Context, s *stage) error {
		return every(ctx, s.load.duration/4, func() error {
			if err := fill(filepath.Join(s.smallDisk(), "filling")); err != nil {
				return err
			}
			pause(ctx, s.load.duration/6)
			return os.Remove(filepath.Join(s.smallDisk(), "filling"))
		})
	},
	check: func(_ *stage, r *row) {
		if r.refused == 0 {
			r.wrong = append(r.wrong, "no writer noticed that the disk was full")
		}
	},
}

func (s *stage) smallDisk() string { return filepath.Join(s.dir, "small") }

// fill writes until there is no room.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	zeros := make([]byte, 4<<10)
	for {
		if _, err := file.Write(zeros); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return nil
			}
			return err
		}
	}
}
