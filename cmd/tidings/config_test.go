package main_test

import (
	"net"
	"strings"
	"syscall"
	"testing"

	"tidings/db/dbtest"
)

// What is wrong with the configuration is said in a sentence that names the flag and the value.
func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		env   string
		args  string // separated by spaces
		words []string
	}{
		{"listen is no address", "", "serve --listen nonsense", []string{"--listen", `"nonsense"`}},
		{"listen has no such port", "", "serve --listen 127.0.0.1:99999", []string{"--listen", "127.0.0.1:99999"}},
		{"listen is of another machine", "", "serve --listen 192.0.2.1:8080", []string{"--listen", "192.0.2.1:8080"}},
		{"listen in the environment", "TIDINGS_LISTEN=nonsense", "serve", []string{"--listen", `"nonsense"`}},
		{"unknown flag", "", "serve --nonsense", []string{"--nonsense"}},
		{"unknown command", "", "nonsense", []string{"nonsense"}},
		{"something behind", "", "serve nonsense", []string{"nonsense"}},
		{"log level", "", "serve --log-level loud", []string{"--log-level", `"loud"`, `"debug"`}},
		{"log level in the environment", "TIDINGS_LOG_LEVEL=loud", "serve", []string{"--log-level", `"loud"`}},
		{"log format", "", "serve --log-format xml", []string{"--log-format", `"xml"`, `"json"`}},
		{"duration in the environment", "TIDINGS_PING_INTERVAL=x", "serve", []string{"--ping-interval", "TIDINGS_PING_INTERVAL", `"x"`}},
		{"duration without a unit", "", "serve --ping-interval 10", []string{"--ping-interval", `"10"`, "unit"}},
		{"number in the environment", "TIDINGS_MAX_FRAME=x", "serve", []string{"--max-frame", "TIDINGS_MAX_FRAME", `"x"`}},
		{"yes or no in the environment", "TIDINGS_MIGRATE=perhaps", "serve", []string{"--migrate", "TIDINGS_MIGRATE", `"perhaps"`}},
		{"max-connections too low", "", "serve --max-connections 0", []string{"--max-connections", "0", "at least 1"}},
		{"max-connections-per-address negative", "", "serve --max-connections-per-address=-1", []string{"--max-connections-per-address", "-1", "at least 0"}},
		{"max-commands-per-second too low", "", "serve --max-commands-per-second 0", []string{"--max-commands-per-second", "0", "at least 1"}},
		{"command-burst too low", "TIDINGS_COMMAND_BURST=0", "serve", []string{"--command-burst", "0", "at least 1"}},
		{"trusted-proxy that is no address", "", "serve --trusted-proxy proxy.example.com", []string{"--trusted-proxy", `"proxy.example.com"`}},
		{"one trusted proxy of several", "TIDINGS_TRUSTED_PROXY=10.0.0.0/8,10.0.0.0/99", "serve", []string{"--trusted-proxy", `"10.0.0.0/99"`}},
		{"max-channels too low", "", "serve --max-channels=-1", []string{"--max-channels", "-1", "at least 1"}},
		{"max-frame too low", "", "serve --max-frame 10", []string{"--max-frame", "10", "at least 128"}},
		{"compress-min-bytes negative", "", "serve --compress-min-bytes=-1", []string{"--compress-min-bytes", "-1", "at least 0"}},
		{"queue-bytes too low", "TIDINGS_QUEUE_BYTES=1", "serve", []string{"--queue-bytes", "1", "at least 4096"}},
		{"recent-bytes too low", "", "serve --recent-bytes 1", []string{"--recent-bytes", "1", "at least 4096"}},
		{"log-readers too low", "", "serve --log-readers 0", []string{"--log-readers", "0", "at least 1"}},
		{"ping-interval too short", "", "serve --ping-interval 10ms", []string{"--ping-interval", "10ms", "at least 1s"}},
		{"pong-timeout too short", "", "serve --pong-timeout 10ms", []string{"--pong-timeout", "10ms", "at least 1s"}},
		{"stall-timeout too short", "", "serve --stall-timeout 1ms", []string{"--stall-timeout", "1ms", "at least 1s"}},
		{"shutdown-timeout too short", "", "serve --shutdown-timeout 0s", []string{"--shutdown-timeout", "0s", "at least 100ms"}},
		{"shutdown-timeout negative", "", "serve --shutdown-timeout=-1s", []string{"--shutdown-timeout", "-1s"}},
		{"presence-grace negative", "", "serve --presence-grace=-1s", []string{"--presence-grace", "at least 0s"}},
		{"presence-heartbeat too short", "", "serve --presence-heartbeat 1ms", []string{"--presence-heartbeat", "at least 100ms"}},
		{"presence-dead-after too short", "TIDINGS_PRESENCE_HEARTBEAT=3s", "serve", []string{"--presence-dead-after", "6s is too short", "at least 9s"}},
		{"poll-interval too short", "", "serve --poll-interval 1us", []string{"--poll-interval", "at least 1ms"}},
		{"database-timeout too short", "", "serve --database-timeout 1ms", []string{"--database-timeout", "1ms", "at least 100ms"}},
		{"access-token-ttl too short", "", "serve --access-token-ttl 1s", []string{"--access-token-ttl", "1s", "at least 10s"}},
		{"session-ttl shorter than a token's", "", "serve --session-ttl 1m", []string{"--session-ttl", "1m0s", "at least 15m"}},
		{"sign-in-failures too low", "", "serve --sign-in-failures 0", []string{"--sign-in-failures", "0", "at least 1"}},
		{"sign-up-pause too short", "", "serve --sign-up-pause 0s", []string{"--sign-up-pause", "0s"}},
		{"origin without a scheme", "", "serve --allow-origin example.com", []string{"--allow-origin", `"example.com"`}},
		{"origin with a path", "", "serve --allow-origin https://example.com/path", []string{"--allow-origin", "https://example.com/path"}},
		{"one origin of several", "TIDINGS_ALLOW_ORIGIN=https://example.com,nonsense", "serve", []string{"--allow-origin", `"nonsense"`}},
		{"server of tail", "", "tail messages --server nonsense", []string{"--server", `"nonsense"`}},
		{"server of tail in the environment", "TIDINGS_SERVER=ftp://x", "tail messages", []string{"--server", `"ftp://x"`}},
		{"tail of nothing", "", "tail", []string{"channel"}},
		{"server of bench", "", "bench --server nonsense", []string{"--server", `"nonsense"`}},
		{"subscribers too low", "", "bench --subscribers 0", []string{"--subscribers", "0", "at least 1"}},
		{"subscribers too high", "", "bench --subscribers 2000000", []string{"--subscribers", "2000000", "at most 1000000"}},
		{"channels too low", "", "bench --channels 0", []string{"--channels", "0", "at least 1"}},
		{"writers too low", "", "bench --writers=-1", []string{"--writers", "-1", "at least 1"}},
		{"payload too low", "", "bench --payload=-1", []string{"--payload", "-1", "at least 0"}},
		{"payload too high", "", "bench --payload 100000000", []string{"--payload", "100000000", "at most"}},
		{"rate negative", "", "bench --rate=-1", []string{"--rate", "-1", "neither 0"}},
		{"rate that is no number", "", "bench --rate NaN", []string{"--rate", "NaN", "neither 0"}},
		{"connect-rate too high", "", "bench --connect-rate 1e9", []string{"--connect-rate", "1e+09"}},
		{"duration too short", "", "bench --duration 1ms", []string{"--duration", "1ms", "at least 100ms"}},
		{"warmup negative", "", "bench --warmup=-1s", []string{"--warmup", "-1s", "at least 0s"}},
		{"drain too short", "", "bench --drain 0s", []string{"--drain", "0s", "at least 100ms"}},
		{"progress negative", "", "bench --progress=-1s", []string{"--progress", "-1s", "at least 0s"}},
		{"transport that is none", "", "bench --transport smoke", []string{"--transport", `"smoke"`, `"sse"`}},
		{"something behind bench", "", "bench nonsense", []string{"nonsense"}},
		{"watch of nothing", "", "watch", []string{"table"}},
		{"set that is none", "", "migrate up --only half", []string{"--only", `"half"`}},

		{"URL that is none", "", "serve --database-url nonsense", []string{"--database-url"}},
		{"URL with a wrong port", "", "serve --database-url postgres://ada:secret@example.com:port/db", []string{"--database-url", "port"}},
		{"URL in the environment", "DATABASE_URL=postgres://ada:secret@example.com:port/db", "serve", []string{"--database-url", "port"}},
		{"URL of another command", "", "migrate status --database-url postgres://ada:secret@example.com:port/db", []string{"--database-url", "port"}},
		{"URL with a wrong escape", "", "serve --database-url postgres://ada:secret%zz@example.com/db", []string{"--database-url"}},
		{"URL with a wrong parameter", "", "serve --database-url postgres://ada:secret@example.com/db?sslmode=nonsense", []string{"--database-url", "sslmode"}},
		{"URL with a slip in its scheme", "", "serve --database-url postgress://ada:secret@example.com/db", []string{"--database-url"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := environ()
			if c.env != "" {
				env = append(env, c.env)
			}
			if line := fail(t, env, strings.Split(c.args, " "), c.words...); len(line) > 300 {
				t.Errorf("the sentence is long: %s", line)
			}
		})
	}
}

// Whatever is wrong with a URL, the password is not printed.
func TestPasswordIsNotPrinted(t *testing.T) {
	t.Parallel()
	for _, u := range []string{
		"postgres://ada:secret@example.com:port/db",
		"postgres://ada:se:secret@example.com:port/db",
		"postgres://ada:pass@secret@example.com:port/db",
		"postgres://ada:secret/pass@example.com:port/db",
		"postgress://ada:secret:pass@example.com/db",
		"ada:secret@example.com/db",
		"postgres://example.com:port/db?password=secret",
		"host=example.com password=secret port=x",
		"host=example.com password='secret pass' port=x",
		"host=example.com password = secret port=x",
		"host=example.com PASSWORD=secret port=x",
		"postgres://ada:secret@[::1/db",
	} {
		t.Run(u, func(t *testing.T) {
			t.Parallel()
			fail(t, environ(), []string{"serve", "--listen", "127.0.0.1:0", "--database-url", u}, "--database-url")
			fail(t, environ("DATABASE_URL="+u), []string{"watched"}, "--database-url")
		})
	}
}

// Flags win over the environment, and the environment over the defaults.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	fail(t, environ("TIDINGS_MAX_FRAME=10"), []string{"serve", "--max-frame", "20"}, "20 is too low")
	fail(t, environ("TIDINGS_MAX_FRAME=10", "TIDINGS_LISTEN=nonsense"), []string{"serve", "--listen", "127.0.0.1:0"}, "10 is too low")
}

// A variable that means nothing, though it is named as settings are, is told of; durations are as legible in JSON as in text.
func TestVariablesThatMeanNothing(t *testing.T) {
	t.Parallel()
	env := environ("TIDINGS_DRAIN_DELY=1s", "TIDINGS_DRAIN_DELAY=1ms", "TIDINGS_LOG_FORMAT=json", "TIDINGS_SERVER=http://localhost")
	p := begin(t, env, "serve", "--listen", "127.0.0.1:0", "--database-url", dbtest.Database(t))
	p.await(&p.stderr, `"msg":"live"`)
	p.signal(syscall.SIGTERM)
	p.wait()
	p.await(&p.stderr, `(?s)"level":"WARN","msg":"no setting has these variables; are they misspelt\?","variables":"TIDINGS_DRAIN_DELY".*"msg":"stopping","clients":0,"delay":"1ms"`)
	if code, _, stderr := run(t, env, "version"); code != 0 || stderr != "" {
		t.Errorf("version ends with %d and says %s", code, stderr)
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	if got := succeed(t, environ(), "version"); got != "tidings v1.2.3\n" {
		t.Errorf("version: %q", got)
	}
	all := succeed(t, environ())
	for _, command := range []string{"serve", "migrate", "watch", "unwatch", "watched", "tail", "bench", "url", "version"} {
		if !strings.Contains(all, command) {
			t.Errorf("the help does not mention %s", command)
		}
	}
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"migrate", "--help"}, {"watch", "--help"}, {"tail", "--help"}, {"bench", "--help"}} {
		help := succeed(t, environ(), args...)
		if !strings.Contains(help, "Usage: tidings") {
			t.Errorf("%v: %s", args, help)
		}
		if args[0] == "serve" && (!strings.Contains(help, "Default: 127.0.0.1:8080.") || strings.Count(help, "20000") == 0) {
			t.Errorf("%v has no defaults: %s", args, help)
		}
		for line := range strings.Lines(help) {
			if len([]rune(line)) > 200 {
				t.Errorf("%v: the line is long: %s", args, line)
			}
		}
	}
}

func TestURLOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	const u = "postgres://ada@example.com/db"
	if got := succeed(t, environ(), "url", "--database-url", u); got != u+"\n" {
		t.Errorf("got %q", got)
	}
	if got := succeed(t, environ("DATABASE_URL="+u), "url"); got != u+"\n" {
		t.Errorf("got %q", got)
	}
}

// A port that somebody else has, of whatever kind he is.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	fail(t, environ(), []string{"serve", "--listen", address}, "--listen", address, "in use")
}
