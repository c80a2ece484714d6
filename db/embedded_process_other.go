//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package db

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// Here the embedded server is not to be had: findOwner, which Start calls first, says so, and the rest is for the compiler.

var errLocked = errors.ErrUnsupported

type pgOwner struct{}

func findOwner(string) (*pgOwner, error) {
	return nil, errors.New("the embedded PostgreSQL does not work on " + runtime.GOOS + ": give the address of a database")
}

func lockFile(*os.File) error                                         { return errLocked }
func unlockFile(*os.File) error                                       { return errLocked }
func (*pgOwner) childAttr() *syscall.SysProcAttr                      { return nil }
func (*pgOwner) give(string) error                                    { return nil }
func (*pgOwner) owns(fs.FileInfo) bool                                { return false }
func (*pgOwner) checkReach(context.Context, pgBinaries, string) error { return nil }
