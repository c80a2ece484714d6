package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// machine is what the figures belong to. What a system does not tell is empty.
type machine struct {
	cpu        string
	memory     string
	system     string
	filesystem string // of the database
	load       string // when it began
	postgres   string
	tidings    string
}

func describeMachine(dir string) machine {
	m := machine{
		cpu:        procField("/proc/cpuinfo", "model name"),
		system:     runtime.GOOS,
		filesystem: filesystemOf(dir),
		tidings:    output("git", "describe", "--tags", "--always", "--dirty"),
	}
	if m.cpu == "" {
		m.cpu = output("sysctl", "-n", "machdep.cpu.brand_string") // macOS
	}
	var kilobytes float64
	if n, err := fmt.Sscan(procField("/proc/meminfo", "MemTotal"), &kilobytes); err == nil && n == 1 {
		m.memory = number(kilobytes/1024/1024, 1) + " GiB"
	}
	if release, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(release)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
				m.system = strings.Trim(name, `"`)
			}
		}
	}
	if kernel := output("uname", "-sr"); kernel != "" {
		m.system += ", " + kernel
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.load, _, _ = strings.Cut(string(load), " ")
	}
	return m
}

// facts are the rows of the page's table.
func (m machine) facts(fsync bool) [][2]string {
	all := [][2]string{
		{"Cores", fmt.Sprint(runtime.NumCPU())},
		{"CPU", m.cpu},
		{"Memory", m.memory},
		{"System", m.system + ", " + runtime.GOARCH},
		{"Database on", m.filesystem},
		{"PostgreSQL", m.postgres + map[bool]string{true: ", fsync on", false: ", fsync off"}[fsync]},
		{"Go", strings.TrimPrefix(runtime.Version(), "go")},
		{"tidings", m.tidings},
		{"Load when it began", m.load},
	}
	var known [][2]string
	for _, fact := range all {
		if fact[1] != "" {
			known = append(known, fact)
		}
	}
	return known
}

// procField is the value of "name : value" in a file of /proc, empty if there is none.
func procField(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// filesystemOf is the type of the file system that a directory is on, empty if it isn't known.
func filesystemOf(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return ""
	}
	best, kind := "", ""
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		at := fields[1]
		if within := at == "/" || dir == at || strings.HasPrefix(dir, at+"/"); within && len(at) >= len(best) {
			best, kind = at, fields[2]
		}
	}
	return kind
}

// output is what a program prints, empty if there is no such program.
func output(program string, args ...string) string {
	text, err := exec.Command(program, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
