//go:build unix

package main

import (
	"os"
	"syscall"
)

// replaceProcess runs this program in the place of itself, with other arguments. It returns only if it cannot.
func replaceProcess(args, env []string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(program, args, env)
}
