package redis

import (
	"maps"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		said  map[string]string
		level string
		word  string
	}{
		{nil, Well, ""},
		{map[string]string{"redis_version": "5.0.14"}, Problem, "5.0.14"},
		{map[string]string{"redis_version": "6.0.20"}, Problem, "6.0.20"},
		{map[string]string{"redis_version": "6.2.1"}, Well, ""},
		{map[string]string{"role": "slave"}, Problem, "replica"},
		{map[string]string{"maxmemory_policy": "allkeys-lru"}, Well, ""}, // there is no limit
		{map[string]string{"maxmemory_policy": "allkeys-lru", "maxmemory": "1000"}, Warning, "throws away"},
		{map[string]string{"maxmemory_policy": "volatile-lru", "maxmemory": "1000"}, Well, ""}, // the stream does not run out
		{map[string]string{"maxmemory": "1000", "used_memory": "950"}, Warning, "uses"},
		{map[string]string{"loading": "1"}, Warning, "loading"},
	} {
		said := map[string]string{"redis_version": "7.2.4", "role": "master", "maxmemory": "0", "maxmemory_policy": "noeviction", "used_memory": "10", "loading": "0"}
		maps.Copy(said, c.said)
		level, text := Well, ""
		judge(said, func(l, found, mend string) { level, text = l, text+found })
		if level != c.level || !strings.Contains(text, c.word) {
			t.Errorf("%v: got %s, %q", c.said, level, text)
		}
	}
}
