package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of the times in /proc/<pid>/stat: for programs it is the same on every Linux.
const clockTick = 10 * time.Millisecond

// Fields of /proc/<pid>/stat, counted from the one behind the program's name.
const (
	statParent   = 1
	statTimes    = 11 // utime and stime
	statChildren = 13 // cutime and cstime: of children that have ended
	statFields   = 15
)

// statOf reads the fields of /proc/<pid>/stat behind the program's name, which is in parentheses and may contain anything.
func statOf(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < statFields {
		return nil, fmt.Errorf("/proc/%d/stat is %q", pid, stat)
	}
	return fields, nil
}

// ticks is the sum of some times of a process.
func ticks(pid int, fields []string) (sum time.Duration, err error) {
	for _, field := range fields {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		sum += time.Duration(n) * clockTick
	}
	return sum, nil
}

// parentOf returns the process that started another.
func parentOf(pid int) (int, error) {
	fields, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(fields[statParent])
}

// familyCPU is the CPU time of a process and its children, also of those that have ended.
func familyCPU(pid int) (time.Duration, error) {
	fields, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	sum, err := ticks(pid, fields[statChildren:statFields])
	if err != nil {
		return 0, err
	}
	own, err := singleCPU(pid, fields)
	if err != nil {
		return 0, err
	}
	sum += own
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // no process
		}
		fields, err := statOf(child)
		if err != nil || fields[statParent] != strconv.Itoa(pid) {
			continue // it has ended, or is another's
		}
		used, err := singleCPU(child, fields)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// singleCPU is the CPU time of a process with a single thread, as PostgreSQL's are: to the nanosecond where the kernel counts it so.
func singleCPU(pid int, fields []string) (time.Duration, error) {
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid)); err == nil {
		first, _, _ := strings.Cut(string(text), " ")
		if n, err := strconv.ParseInt(first, 10, 64); err == nil && n > 0 {
			return time.Duration(n), nil
		}
	}
	return ticks(pid, fields[statTimes:statChildren])
}

// usageOf reads what a process has used.
func usageOf(pid int) (u usage, err error) {
	fields, err := statOf(pid)
	if err != nil {
		return u, err
	}
	if u.cpu, err = ticks(pid, fields[statTimes:statChildren]); err != nil {
		return u, err
	}

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		target := map[string]*int64{"VmRSS": &u.resident, "VmHWM": &u.peak}[name]
		if target == nil {
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
		if err != nil {
			return u, fmt.Errorf("/proc/%d/status: %w", pid, err)
		}
		*target = kilobytes << 10
	}
	return u, nil
}
