package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Finding is what Examine has found.
type Finding struct {
	Level       string
	Found, Mend string // a sentence each
}

// The levels of findings.
const (
	Well    = "ok"
	Warning = "warning"
	Problem = "problem"
)

// Examine looks whether the Redis at the URL, as CheckURL takes it, can be used, and is set up for that. It writes a key that is gone a moment
// later. An error is one of the URL.
func Examine(ctx context.Context, url string) (findings []Finding, err error) {
	option, err := options(url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	add := func(level, found, mend string) {
		findings = append(findings, Finding{level, found, mend})
	}
	option.Dialer.Timeout = 3 * time.Second
	client, err := rueidis.NewClient(option)
	if err != nil {
		add(Problem, fmt.Sprintf("Redis at %s cannot be used: %s.", strings.Join(option.InitAddress, ", "), err),
			"Is it running, and are user and password its own? Without it, each service reads the database by itself.")
		return findings, nil
	}
	defer client.Close()
	keys := keysOf("doctor")
	if err := pingScript.Exec(ctx, client, []string{keys.leader, keys.stream, keys.marks, keys.ping}, nil).Error(); err != nil {
		add(Problem, fmt.Sprintf("Redis does not do what is needed: %s.", err),
			"It must be a master that is not full and takes scripts, and its user needs these rules: "+UserRules)
	}
	info, err := client.Do(ctx, client.B().Info().Build()).ToString()
	if err != nil {
		add(Warning, fmt.Sprintf("Redis does not say how it is: %s.", err), "Let its user call INFO, for this alone: ACL SETUSER … +info")
		return findings, nil
	}
	said := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			said[name] = value
		}
	}
	judge(said, add)
	if len(findings) == 0 {
		add(Well, fmt.Sprintf("Redis %s answers, takes writes, and throws nothing away.", said["redis_version"]), "")
	}
	return findings, nil
}

// judge judges what INFO says.
func judge(said map[string]string, add func(level, found, mend string)) {
	var major, minor int
	if _, err := fmt.Sscanf(said["redis_version"], "%d.%d", &major, &minor); err == nil && (major < 6 || major == 6 && minor < 2) {
		add(Problem, fmt.Sprintf("Redis is of version %s.", said["redis_version"]), "Upgrade it to 6.2 or later.")
	}
	if role := said["role"]; role == "slave" {
		add(Problem, "This Redis is a replica, which takes no writes.", "Give the URL of the master, or of Sentinels: redis://…?master_set=NAME")
	}
	if policy := said["maxmemory_policy"]; policy != "" && policy != "noeviction" && !strings.HasPrefix(policy, "volatile") && said["maxmemory"] != "0" {
		add(Warning, fmt.Sprintf("When its memory is full, Redis throws away whatever it has (%s), the stream of events among it: services then read the database.", policy),
			"CONFIG SET maxmemory-policy noeviction, or give tidings a Redis of its own.")
	}
	limit, _ := strconv.ParseFloat(said["maxmemory"], 64)
	used, _ := strconv.ParseFloat(said["used_memory"], 64)
	if limit > 0 && used > 0.9*limit {
		add(Warning, fmt.Sprintf("Redis uses %s of %s: beyond it, it takes no writes, or throws away.", said["used_memory_human"], said["maxmemory_human"]), "CONFIG SET maxmemory to more.")
	}
	if said["loading"] == "1" {
		add(Warning, "Redis is still loading what it had kept.", "Wait; until then each service reads the database by itself.")
	}
}
