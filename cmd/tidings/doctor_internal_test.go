package main

import (
	"maps"
	"strings"
	"testing"

	"tidings/db"
)

func TestJudgeRedis(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		said  map[string]string
		level db.Severity
		word  string
	}{
		{nil, db.SeverityOK, ""},
		{map[string]string{"redis_version": "5.0.14"}, db.SeverityProblem, "5.0.14"},
		{map[string]string{"role": "slave"}, db.SeverityProblem, "replica"},
		{map[string]string{"maxmemory_policy": "allkeys-lru"}, db.SeverityOK, ""}, // there is no limit
		{map[string]string{"maxmemory_policy": "allkeys-lru", "maxmemory": "1000"}, db.SeverityWarning, "throws away"},
		{map[string]string{"maxmemory_policy": "volatile-lru", "maxmemory": "1000"}, db.SeverityOK, ""}, // the stream does not run out
		{map[string]string{"maxmemory": "1000", "used_memory": "950"}, db.SeverityWarning, "uses"},
		{map[string]string{"loading": "1"}, db.SeverityWarning, "loading"},
	} {
		said := map[string]string{"redis_version": "7.2.4", "role": "master", "maxmemory": "0", "maxmemory_policy": "noeviction", "used_memory": "10", "loading": "0"}
		maps.Copy(said, c.said)
		level, text := db.SeverityOK, ""
		judgeRedis(said, func(l db.Severity, found, mend string) { level, text = l, text+found })
		if level != c.level || !strings.Contains(text, c.word) {
			t.Errorf("%v: got %s, %q", c.said, level, text)
		}
	}
}
