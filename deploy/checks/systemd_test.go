package checks

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// readUnit returns the settings of a unit, in order.
func readUnit(t *testing.T, path string) (settings [][2]string) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(readFile(t, path)))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			settings = append(settings, [2]string{name, value})
		}
	}
	return settings
}

// systemd itself takes the unit without a word, and has little to say against what it leaves open.
func TestUnit(t *testing.T) {
	t.Parallel()
	analyze := need(t, "systemd-analyze")
	dir := directory(t)
	unit := writeFile(t, filepath.Join(dir, "tidings@8081.service"),
		substitute(t, readFile(t, "../systemd/tidings@.service"), "/usr/local/bin/tidings", program(t)))
	verify := exec.Command(analyze, "verify", "--man=no", unit)
	if out := output(t, verify); strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	for _, setting := range readUnit(t, unit) {
		if setting[0] == "ProcSubset" && setting[1] != "all" {
			t.Errorf("%s=%s hides net.core.somaxconn and when the machine was started: the queue of connections is short, and no alert tells of restarts",
				setting[0], setting[1])
		}
	}
	// 0 is everything taken away, 10 nothing. What is left is the network, which it needs.
	out := output(t, exec.Command(analyze, "security", "--offline=yes", "--threshold=15", unit))
	t.Logf("%s", out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:])
}

// The unit's command, run with its environment and credentials as systemd gives them, serves at the port that it is named after.
func TestUnitCommand(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	port := 9000 + os.Getpid()%500 // four digits; with a 1 before them for the metrics
	for !free(port) || !free(10000+port) {
		port++
	}
	postgres := startPostgres(t, freePort(t), "secret")
	specifiers := strings.NewReplacer("%i", fmt.Sprint(port), "%d", dir, "/usr/local/bin/tidings", program(t))
	var command []string
	var environment []string
	credentials := make(map[string]string)
	settings := make(map[string]string)
	for _, setting := range readUnit(t, "../systemd/tidings@.service") {
		name, value := setting[0], specifiers.Replace(setting[1])
		settings[name] = value
		switch name {
		case "ExecStart":
			command = strings.Fields(value)
		case "Environment":
			environment = append(environment, strings.Fields(value)...)
			checkSettings(t, "tidings@.service", value)
		case "LoadCredential":
			id, _, _ := strings.Cut(value, ":")
			credentials[id] = ""
		}
	}
	database := postgres.database(t, "unit")
	for id := range credentials {
		text, known := map[string]string{"database-url": database, "secret": strings.Repeat("x", 32)}[id]
		if !known {
			t.Fatalf("credential %s is not known here", id)
		}
		if err := os.Chmod(writeFile(t, filepath.Join(dir, id), text+"\n"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	stop, err := time.ParseDuration(settings["TimeoutStopSec"] + "s")
	if err != nil {
		t.Fatal(err)
	}
	checkStop(t, "tidings@.service", func(name string) string {
		for _, v := range environment {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	}, stop)

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = environment // of the system's manager, no other
	server := start(t, cmd)
	output(t, exec.Command(program(t), "ready", "--server", fmt.Sprintf("http://127.0.0.1:%d", port), "--wait", patience.String()))
	server.end(syscall.SIGTERM)
	if code := server.cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(server.wrote(), "level=WARN") {
		t.Errorf("it ends with %d: %s", code, server.wrote())
	}
}
