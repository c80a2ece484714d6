//go:build !linux

package main

import "errors"

// usageOf is not known here; its figures are left out.
func usageOf(int) (usage, error) { return usage{}, errors.ErrUnsupported }
