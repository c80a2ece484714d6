//go:build !linux

package main

import (
	"errors"
	"time"
)

// usageOf is not known here; its figures are left out.
func usageOf(int) (usage, error) { return usage{}, errors.ErrUnsupported }

// familyCPU is not known here either.
func familyCPU(int) (time.Duration, error) { return 0, errors.ErrUnsupported }

// parentOf neither.
func parentOf(int) (int, error) { return 0, errors.ErrUnsupported }
