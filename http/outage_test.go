package http_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tidings/db/dbtest"
)

// Whatever happens to the database or the connections to it, clients' connections go on, nothing is lost and nothing
// comes twice; /readyz says how it is.
func TestOutages(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	d := install(t, cluster.URL())
	s := start(t, d.url, options{})
	clients := []*client{s.dial("messages"), s.dial("messages", "comments")}
	eventually(t, "the service is ready", s.ready)

	// Writers that come back after every failure and write what is not there.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers errgroup.Group
	var mu sync.Mutex
	next := int64(1_000_000)
	for range 3 {
		writers.Go(func() error {
			for ctx.Err() == nil {
				mu.Lock()
				id := next
				next++
				mu.Unlock()
				for {
					attempt, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					_, err := d.pool.Exec(attempt, `insert into messages (id, author_id, title, content) values ($1, 1, 'x', '') on conflict do nothing`, id)
					cancel()
					if err == nil {
						break
					}
					if t.Context().Err() != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	seen := []map[int64]bool{{}, {}}
	// progress reads until a row arrives that is written now.
	progress := func() {
		t.Helper()
		mu.Lock()
		goal := next + 3
		mu.Unlock()
		for i, c := range clients {
			for {
				f := c.expect("message_added")
				id := f.row(t).ID
				if seen[i][id] {
					t.Fatalf("client %d is told twice of message %d", i, id)
				}
				seen[i][id] = true
				if id >= goal {
					break
				}
			}
		}
	}
	progress()

	for _, outage := range []struct {
		name    string
		do      func()
		unready bool // for long enough to be seen
	}{
		{"the listener's connection ends", func() { d.terminate("application_name = 'tidings listener'") }, false},
		{"the reader's connection ends", func() { d.terminate("application_name = 'tidings reader'") }, false},
		{"all connections end", func() { d.terminate("true") }, false},
		{"the database is restarted", func() {
			cluster.Stop()
			s.awaitStatus(http.StatusServiceUnavailable)
			cluster.Start()
		}, true},
		{"the database crashes", func() {
			cluster.Kill()
			s.awaitStatus(http.StatusServiceUnavailable)
			cluster.Start()
		}, true},
		{"the database crashes and is back at once", func() {
			cluster.Kill()
			cluster.Start()
		}, true},
	} {
		begun := time.Now()
		outage.do()
		progress()
		s.awaitStatus(http.StatusOK)
		t.Logf("%s: all is well after %s", outage.name, time.Since(begun).Round(time.Millisecond))
	}
	stop()
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		for int64(len(seen[i])) < next-1_000_000 {
			id := c.expect("message_added").row(t).ID
			if seen[i][id] {
				t.Fatalf("client %d is told twice of message %d", i, id)
			}
			seen[i][id] = true
		}
	}
}

func (s *service) ready() bool {
	status, _ := s.readyz()
	return status == http.StatusOK
}

// awaitStatus waits until /readyz has the status, within seconds.
func (s *service) awaitStatus(status int) {
	s.t.Helper()
	begun := time.Now()
	eventually(s.t, fmt.Sprintf("/readyz is %d", status), func() bool {
		got, _ := s.readyz()
		return got == status
	})
	if took := time.Since(begun); took > 20*time.Second {
		s.t.Errorf("/readyz was %d only after %s", status, took)
	}
}

// terminate ends connections of the service.
func (d *database) terminate(which string) {
	d.t.Helper()
	d.exec(`select pg_terminate_backend(pid) from pg_stat_activity
		where pid <> pg_backend_pid() and backend_type = 'client backend' and datname = current_database() and ` + which)
}

// What is asked for while the database is down is answered when it is back, and not before.
func TestSubscribeDuringOutage(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	d := install(t, cluster.URL())
	s := start(t, d.url, options{})
	before := query[string](d, `select tidings.cursor()`)
	d.message("before")
	c := s.dial("comments")
	eventually(t, "the event is published", func() bool {
		_, body := s.readyz()
		return body.Events.Read == 2 // and the activity
	})
	cluster.Stop()
	s.awaitStatus(http.StatusServiceUnavailable)
	eventually(t, "the reader has noticed", func() bool { return !s.hub.Live() })
	if status := s.get("/healthz").status; status != http.StatusOK {
		t.Errorf("/healthz is %d", status)
	}
	if a := s.get("/"); a.status != http.StatusOK { // it says itself how things are
		t.Errorf("the page is %d, %v", a.status, a.header)
	}

	// By command, by query, with a cursor, and a channel of which only the database would know.
	c.subscribe("messages", "")
	byQuery := s.dialQuery("channel=messages&channel=comments")
	since := s.dialQuery(url.Values{"channel": {"messages"}, "since": {before}}.Encode())
	c.subscribe("nothing", "")
	c.expectError("unavailable")
	for _, c := range []*client{c, byQuery, since} {
		c.send(`{"type":"ping"}`)
		c.expect("pong") // and not subscribed
	}
	if s.hub.Live() {
		t.Fatal("the hub is live while the database is down")
	}

	cluster.Start()
	d.pool.Reset()
	if f := c.expect("subscribed"); f.Channel != "messages" {
		t.Errorf("got %s", f.text)
	}
	byQuery.expect("subscribed")
	byQuery.expect("subscribed")
	since.expectRow("message_added", "before")
	since.expect("subscribed")
	d.message("after")
	for _, c := range []*client{c, byQuery, since} {
		c.expectRow("message_added", "after")
	}
	c.subscribe("nothing", "")
	c.expectError("unknown_channel")
	s.awaitStatus(http.StatusOK)
}
