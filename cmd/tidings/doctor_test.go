package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/redis/redistest"
)

// doctor runs tidings doctor, and returns what it has found, by level.
func doctor(t *testing.T, env []string, want int, args ...string) map[db.Severity][]db.Finding {
	t.Helper()
	code, stdout, stderr := run(t, env, append([]string{"doctor", "--format", "json"}, args...)...)
	if code != want {
		t.Errorf("doctor %v: exit code %d, want %d: %s", args, code, want, stderr)
	}
	var all []db.Finding
	if err := json.Unmarshal([]byte(stdout), &all); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	found := make(map[db.Severity][]db.Finding)
	for _, f := range all {
		found[f.Level] = append(found[f.Level], f)
	}
	return found
}

// Of a database that is well, which a role serves that may do nothing else, and of which a client hears, nothing is said but that.
func TestDoctor(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, map[string]string{"fsync": "on", "full_page_writes": "on"})
	sql(t, cluster.URL(), `create role app login password 'x'`)
	sql(t, cluster.URL(), `create database app owner app`)
	u, err := url.Parse(cluster.TCPURL())
	if err != nil {
		t.Fatal(err)
	}
	// What is checked of TCP is not so by itself.
	u.User, u.Path = url.UserPassword("app", "x"), "/app"
	sql(t, u.String(), `alter role app set tcp_keepalives_idle = 60`)
	env := environ("DATABASE_URL=" + u.String())

	if found := doctor(t, env, 1); len(found[db.SeverityProblem]) != 1 || !strings.Contains(found[db.SeverityProblem][0].Found, "not installed") {
		t.Errorf("nothing is installed: %+v", found)
	}
	p, at := serve(t, env)
	sql(t, u.String(), `create table orders (id int primary key, customer int); create table days (id int, day int) partition by list (day); create table days_1 partition of days default;
		create function may_read(claims jsonb, topic text, key text) returns boolean language sql as 'select true';
		select tidings.watch('orders', key => 'customer', columns => '{id}'); select tidings.watch('days', read => 'policy:public.may_read')`)
	redis := redistest.Start(t)
	eventually(t, "the service has told how it is", func() bool { return ask[int](t, u.String(), `select count(*) from tidings.running where beating`) == 1 })
	found := doctor(t, env, 0, "--strict", "--server", "http://"+at, "--redis-url", redis.URL())
	if len(found) != 1 || len(found[db.SeverityOK]) != len(db.DoctorChecks())+2 {
		t.Errorf("all is well: got %+v", found)
	}

	// Something is wrong, which a person reads.
	sql(t, u.String(), `alter table orders disable trigger user`)
	code, text, stderr := run(t, env, "doctor")
	want := "alter table orders enable trigger tidings_insert;\n"
	if code != 1 || !strings.Contains(text, want) || !strings.HasSuffix(text, fmt.Sprintf("\n1 problem, %d checks are well\n", len(db.DoctorChecks())-1)) || strings.Contains(text, "\x1b") || !strings.Contains(stderr, "something is wrong") {
		t.Errorf("got %d, %s%s", code, text, stderr)
	}
	if _, text, _ := run(t, env, "doctor", "--color", "always"); !strings.Contains(text, "\x1b[31mproblem\x1b[0m") {
		t.Errorf("got %q", text)
	}
	sql(t, u.String(), `alter table orders enable trigger user`)

	// A warning is no problem, unless one is strict.
	sql(t, u.String(), `alter role app set statement_timeout = '2s'`)
	doctor(t, env, 0)
	if found := doctor(t, env, 1, "--strict"); len(found[db.SeverityWarning]) != 1 {
		t.Errorf("got %+v", found)
	}
	sql(t, u.String(), `alter role app reset statement_timeout`)

	if _, err := redis.Do("config", "set", "maxmemory", "100mb"); err != nil {
		t.Fatal(err)
	}
	if _, err := redis.Do("config", "set", "maxmemory-policy", "allkeys-lru"); err != nil {
		t.Fatal(err)
	}
	stranger := httptest.NewServer(http.NotFoundHandler())
	defer stranger.Close()
	found = doctor(t, env, 1, "--server", stranger.URL, "--redis-url", redis.URL())
	if f := found[db.SeverityProblem]; len(f) != 1 || !strings.Contains(f[0].Found, "/readyz with 404 is not tidings") {
		t.Errorf("another service: %+v", f)
	}
	if f := found[db.SeverityWarning]; len(f) != 1 || !strings.Contains(f[0].Found, "throws away") {
		t.Errorf("a Redis that throws away: %+v", f)
	}
	redis.Kill()
	p.signal(syscall.SIGTERM)
	p.wait()
	found = doctor(t, env, 1, "--server", "http://"+at, "--redis-url", redis.URL())
	if f := found[db.SeverityProblem]; len(f) != 2 || !strings.Contains(f[0].Found, "cannot be reached") || !strings.Contains(f[1].Found, "cannot be used") {
		t.Errorf("nobody is there: %+v", f)
	}
	if f := found[db.SeverityNote]; len(f) != 1 || f[0].Check != "instances" {
		t.Errorf("nobody is there: %+v", f)
	}
	cluster.Stop()
	if code, stdout, stderr := run(t, env, "doctor"); code != 2 || stdout != "" || !strings.Contains(stderr, "cannot be reached") || strings.Contains(stderr, "x@") {
		t.Errorf("without a database: %d, %q, %q", code, stdout, stderr)
	}
}
