//go:build !unix

package main

import "errors"

// replaceProcess cannot be done here.
func replaceProcess([]string, []string) error {
	return errors.New("a program cannot take its own place on this system")
}
