package main

import (
	"testing"
	"time"
)

func TestParseRedisInfo(t *testing.T) {
	const info = "# Stats\r\ntotal_commands_processed:12\r\ntotal_net_input_bytes:345\r\ntotal_net_output_bytes:6789\r\n# CPU\r\nused_cpu_sys:0.250000\r\nused_cpu_user:1.500000\r\n"
	got, err := parseRedisInfo(info)
	if want := (redisStrain{cpu: 1750 * time.Millisecond, commands: 12, in: 345, out: 6789}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseRedisInfo("# Stats\r\ntotal_commands_processed:12\r\n"); err == nil {
		t.Error("what Redis does not say was taken")
	}
}
