package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"tidings/db"
)

// checkRedis is the name of what is asked of Redis.
const checkRedis = "redis"

// oldestRedis is the oldest major version that is taken.
const oldestRedis = 6

// askRedis looks at the Redis by which one service reads the log for all. An error is one of the URL.
func askRedis(ctx context.Context, url string) (findings []db.Finding, err error) {
	option, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, errors.New("it cannot be read as a URL such as redis://user:password@host:port/0") // what cannot be read may be the password
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	add := func(level db.Severity, found, mend string) {
		findings = append(findings, db.Finding{Check: checkRedis, Level: level, Found: found, Mend: mend})
	}
	option.DisableCache, option.Dialer.Timeout = true, 3*time.Second
	client, err := rueidis.NewClient(option)
	if err != nil {
		add(db.SeverityProblem, fmt.Sprintf("Redis at %s cannot be used: %s.", strings.Join(option.InitAddress, ", "), err),
			"Is it running, and are user and password its own? Without it, each service reads the database by itself.")
		return findings, nil
	}
	defer client.Close()
	info, err := client.Do(ctx, client.B().Info().Build()).ToString()
	if err != nil {
		add(db.SeverityWarning, fmt.Sprintf("Redis does not say how it is: %s.", err), "Let its user call INFO: ACL SETUSER … +info")
		return findings, nil
	}
	said := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			said[name] = value
		}
	}
	judgeRedis(said, add)
	if len(findings) == 0 {
		add(db.SeverityOK, fmt.Sprintf("Redis %s answers, is the master, and throws nothing away.", said["redis_version"]), "")
	}
	return findings, nil
}

// judgeRedis judges what INFO says.
func judgeRedis(said map[string]string, add func(level db.Severity, found, mend string)) {
	major, _, _ := strings.Cut(said["redis_version"], ".")
	if n, err := strconv.Atoi(major); err == nil && n < oldestRedis {
		add(db.SeverityProblem, fmt.Sprintf("Redis is of version %s.", said["redis_version"]), fmt.Sprintf("Upgrade it to %d or later.", oldestRedis))
	}
	if role := said["role"]; role == "slave" {
		add(db.SeverityProblem, "This Redis is a replica, which takes no writes.", "Give the URL of the master, or of Sentinels: redis://…?master_set=NAME")
	}
	if policy := said["maxmemory_policy"]; policy != "" && policy != "noeviction" && !strings.HasPrefix(policy, "volatile") && said["maxmemory"] != "0" {
		add(db.SeverityWarning, fmt.Sprintf("When its memory is full, Redis throws away whatever it has (%s), the stream of events among it: services then read the database.", policy),
			"CONFIG SET maxmemory-policy noeviction, or give tidings a Redis of its own.")
	}
	limit, _ := strconv.ParseFloat(said["maxmemory"], 64)
	used, _ := strconv.ParseFloat(said["used_memory"], 64)
	if limit > 0 && used > 0.9*limit {
		add(db.SeverityWarning, fmt.Sprintf("Redis uses %s of %s: beyond it, it takes no writes, or throws away.", said["used_memory_human"], said["maxmemory_human"]), "CONFIG SET maxmemory to more.")
	}
	if said["loading"] == "1" {
		add(db.SeverityWarning, "Redis is still loading what it had kept.", "Wait; until then each service reads the database by itself.")
	}
}
