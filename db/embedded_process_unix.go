//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

var errLocked = syscall.EWOULDBLOCK

func lockFile(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func unlockFile(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
}

// pgOwner is the user that PostgreSQL runs as where that isn't the user we run as. Its methods work on nil, which is
// ourselves.
type pgOwner struct {
	name     string
	uid, gid uint32
}

// findOwner finds the user to run PostgreSQL as if we are root, whom it refuses.
func findOwner(dataDir string) (*pgOwner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if info, err := os.Stat(filepath.Join(dataDir, "postgres")); err == nil {
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 0 {
			name := strconv.Itoa(int(stat.Uid))
			if known, err := user.LookupId(name); err == nil {
				name = known.Username
			}
			return &pgOwner{name, stat.Uid, stat.Gid}, nil
		}
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		known, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseInt(known.Uid, 10, 64) // nobody can be -2
		gid, err2 := strconv.ParseInt(known.Gid, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &pgOwner{name, uint32(uid), uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to be run by root, and there is no user postgres or nobody to run it")
}

// childAttr is how PostgreSQL's programs are started: as their user, and in a process group of their own, so that Ctrl-C in
// a terminal reaches us alone, and we stop them when we no longer need them.
func (o *pgOwner) childAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if o != nil {
		attr.Credential = &syscall.Credential{Uid: o.uid, Gid: o.gid}
	}
	return attr
}

// give makes the user the owner of the file.
func (o *pgOwner) give(path string) error {
	if o == nil {
		return nil
	}
	return os.Lchown(path, int(o.uid), int(o.gid))
}

// owns says whether the file belongs to the user, or to us who would give it to the user.
func (o *pgOwner) owns(info fs.FileInfo) bool {
	uid := info.Sys().(*syscall.Stat_t).Uid
	return int(uid) == os.Geteuid() || o != nil && uid == o.uid
}

// checkReach tries as the user to enter the directory, and if that doesn't work says which of the directories above is in
// the way.
func (o *pgOwner) checkReach(ctx context.Context, bin pgBinaries, dir string) error {
	if o == nil {
		return nil
	}
	enter := func(dir string) error {
		cmd := exec.CommandContext(ctx, bin.path("postgres"), "--version")
		cmd.Dir = dir
		cmd.SysProcAttr = o.childAttr()
		return cmd.Run()
	}
	if err := enter("/"); err != nil {
		return fmt.Errorf("as user %s, because PostgreSQL refuses root: %w", o.name, err)
	}
	if enter(dir) == nil {
		return nil
	}
	var path []string
	for at := dir; at != "/"; at = filepath.Dir(at) {
		path = append(path, at)
	}
	for _, at := range slices.Backward(path) {
		if err := enter(at); err != nil {
			return fmt.Errorf("user %s, who must run PostgreSQL because it refuses root, cannot enter %s: "+
				"choose a data directory elsewhere, or type: chmod o+x %s", o.name, at, at)
		}
	}
	return ctx.Err()
}
