package redis_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/db/dbtest"
	"tidings/redis"
	"tidings/redis/redistest"
)

// goesOn has one write, and all be told.
func goesOn(t *testing.T, all []*instance, write func()) {
	t.Helper()
	n := len(all[0].told())
	write()
	for _, i := range all {
		await(t, "the events", func() bool { return len(i.told()) == n+5 })
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--cluster-enabled", "yes")
	if _, err := server.Do("CLUSTER", "ADDSLOTSRANGE", "0", "16383"); err != nil {
		t.Fatal(err)
	}
	await(t, "the cluster", func() bool {
		info, _ := server.Do("CLUSTER", "INFO")
		return strings.Contains(info, "cluster_state:ok")
	})
	database := newDatabase(t, dbtest.Database(t))
	all := []*instance{start(t, database, server.URL(), nil), start(t, database, server.URL(), nil)}
	leader(t, all...)
	goesOn(t, all, func() { write(t, database, 1, 5) })
}

// A master is killed, and its replica takes its place: what it has not been told is not missed.
func TestSentinel(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	replica := redistest.Start(t, "--replicaof", fmt.Sprintf("127.0.0.1 %d", master.Port))
	sentinel := redistest.StartSentinel(t, "tidings", master)
	await(t, "Sentinel to know the replica", func() bool {
		slaves, _ := sentinel.Do("SENTINEL", "REPLICAS", "tidings")
		info, _ := replica.Do("INFO", "replication")
		return strings.Contains(slaves, fmt.Sprint(replica.Port)) && strings.Contains(info, "master_link_status:up")
	})
	database := newDatabase(t, dbtest.Database(t))
	url := sentinel.URL() + "?master_set=tidings"
	all := []*instance{start(t, database, url, nil), start(t, database, url, nil)}
	leader(t, all...)
	goesOn(t, all, func() { write(t, database, 1, 5) })
	master.Kill()
	goesOn(t, all, func() { write(t, database, 1, 5) })
	await(t, "the replica to be made the master", func() bool {
		role, _ := replica.Do("ROLE")
		return strings.HasPrefix(role, "master")
	})
	leader(t, all...)
	goesOn(t, all, func() { write(t, database, 1, 5) })
	if !slices.Equal(all[0].told(), all[1].told()) {
		t.Errorf("the one was told of %v, and the other of %v", all[0].told(), all[1].told())
	}
	if keys, _ := replica.Do("EXISTS", streamOf(replica)); keys != "1" {
		t.Error("nobody writes to the new master")
	}
}

// The user needs no more than what is documented.
func TestRedisUser(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rules := append([]string{"ACL", "SETUSER", "tidings", "on", ">secret"}, strings.Fields(redis.UserRules)...)
	if _, err := server.Do(rules...); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Do("ACL", "SETUSER", "default", "off"); err != nil {
		t.Fatal(err)
	}
	database := newDatabase(t, dbtest.Database(t))
	url := strings.Replace(server.URL(), "redis://", "redis://tidings:secret@", 1)
	all := []*instance{start(t, database, url, nil), start(t, database, url, nil)}
	leader(t, all...)
	goesOn(t, all, func() { write(t, database, 1, 5) })
	leader(t, all...)
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://localhost", "redis://:secret@localhost:6379/1", "rediss://user:secret@redis.example.com:6380", "unix:///run/redis.sock",
		"redis://one:7000?addr=two:7000&addr=three:7000", "redis://one:26379?addr=two:26379&master_set=main",
	} {
		if err := redis.CheckURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"localhost:6379", "http://localhost", "redis://:secret@host:port", "redis://host/secret", "redis://host/1/secret"} {
		err := redis.CheckURL(url)
		if err == nil {
			t.Errorf("%s is taken", url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error has the password in it: %v", url, err)
		}
	}
}

// What is logged when Redis cannot be used says where it was asked, and what to mend.
func TestErrorsAreInWords(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	try := func(url string, timeout time.Duration, want string) {
		t.Helper()
		relay := &redis.Relay{URL: url, Timeout: timeout}
		defer relay.Close()
		err := relay.Ping(t.Context(), "origin")
		if !errors.Is(err, redis.ErrLost) || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	at := server.Address()
	server.Pause()
	try(server.URL(), 500*time.Millisecond, at+": no answer within 500ms")
	server.Resume()
	if _, err := server.Do("CONFIG", "SET", "requirepass", "secret"); err != nil {
		t.Fatal(err)
	}
	try("redis://"+at, patience, at+": it wants a password, and --redis-url has none")
	try("redis://:other@"+at, patience, at+": it refuses the user or the password of --redis-url")
	server.Kill()
	try("redis://:secret@"+at, patience, at+": connect: connection refused")
}
