package http_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidings/http/graph"
)

// serviceAnswer is what the tests look at in a service's figures.
type serviceAnswer struct {
	Service struct {
		Instance        string
		DatabaseProblem *string
		Instances       []struct {
			Name, Host, Address, Version        string
			SilentSeconds, Events, Delivered    float64
			Live, Listening, Beating, Stopping  bool
			Connections, MaxConnections, Behind int
			Subscribers, Users, GraphqlPlans    int
			Refused                             []struct{ Code string }
			Topics                              []struct{ Channel string }
			StartedAt, At                       time.Time
			CPUSeconds                          float64
			MemoryBytes, LagSeconds             *float64
		}
		Channels []struct {
			Channel     string
			Subscribers int
			Exact       bool
		}
		Channel struct {
			Subscribers int
			Exact       bool
		}
		Log *struct {
			Bytes, MaxBytes, Entries, RetentionSeconds float64
			OldestAt, NewestAt                         *time.Time
			Partitions                                 []struct{ Current bool }
		}
		UsersOnline *int
		MayWatch    bool
		Tables      []struct{ Name string }
		Watched     []struct{ Table, Topic, Read string }
	}
}

const wholeService = `{ service {
	instance at databaseProblem usersOnline mayWatch
	instances { name host address version startedAt at silentSeconds live listening beating stopping lagSeconds lastRead events missing delivered judged queries
		connections maxConnections users subscribers behind waiting recentBytes topics { channel subscribers } refused { code count }
		graphqlSubscriptions graphqlPlans cpuSeconds memoryBytes }
	log { bytes maxBytes entries oldestAt newestAt retentionSeconds partitions { name startedAt bytes current } }
	channels { channel subscribers exact } channel(name: "messages") { subscribers exact }
	watched { table topic event key columns read problem } tables { name columns key rowSecurity watched }
} }`

func (s *service) figures(token string) serviceAnswer {
	s.t.Helper()
	var a graphAnswer
	eventually(s.t, "the database answers in time", func() bool {
		a = s.ask(graphRequest{Query: wholeService}, authorization(token))
		return len(a.Errors) == 0 || a.Errors[0].code() != graph.CodeUnavailable
	})
	if len(a.Errors) > 0 {
		s.t.Fatalf("got %v", a.Errors)
	}
	var answer serviceAnswer
	if err := json.Unmarshal(a.Data, &answer); err != nil {
		s.t.Fatal(err)
	}
	return answer
}

// people are Ada, a member, and those with roles.
func (d *database) people() {
	d.t.Helper()
	d.exec(`insert into users (username, display_name, role) values ('root', 'Root', 'admin'), ('mod', 'Mod', 'moderator')`)
}

// How the service is doing is told to administrators, whatever else is open.
func TestGraphService(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.people()
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{OpenWrites: true, AdminWatch: true}, report: 50 * time.Millisecond})
	member, admin, moderator := tokenOf(t, "1", time.Hour, nil), tokenOf(t, "2", time.Hour, nil), tokenOf(t, "3", time.Hour, nil)
	for _, document := range []string{
		wholeService, `{ service { instance } }`,
		`mutation { watchTable(input: {table: "users"}) { watched { table } } }`, `mutation { unwatchTable(input: {table: "messages"}) { table } }`,
	} {
		s.graphFails("", document, graph.CodeUnauthenticated, "only administrators")
		s.graphFails(member, document, graph.CodeForbidden, "only administrators")
		s.graphFails(moderator, document, graph.CodeForbidden, "only administrators")
		s.graphFails(tokenOf(t, "99", time.Hour, nil), document, graph.CodeForbidden, "only administrators")
	}

	s.dial("messages", "messages:1")
	s.dial("messages")
	d.message("told")
	var got serviceAnswer
	eventually(t, "the figures are those of what has happened", func() bool {
		got = s.figures(admin)
		one := got.Service.Instances
		return len(one) == 1 && one[0].Events >= 1 && one[0].Delivered >= 2 && one[0].Live && one[0].Beating && one[0].LagSeconds != nil &&
			got.Service.Log != nil && got.Service.Log.Entries >= 1 && len(got.Service.Channels) == 2
	})
	service := got.Service
	one := service.Instances[0]
	if one.Name != service.Instance || one.Name == "" || one.Address != s.addr || one.Version != "test" || one.SilentSeconds != 0 || one.Stopping ||
		one.Connections != 2 || one.MaxConnections != 20_000 || one.Behind != 0 || one.Subscribers != 2 || len(one.Topics) != 1 || len(one.Refused) != 2 || one.At.Before(one.StartedAt) {
		t.Errorf("the instance is %+v", one)
	}
	if fmt.Sprint(service.Channels) != "[{messages 2 true} {messages:1 1 true}]" || fmt.Sprint(service.Channel) != "{2 true}" {
		t.Errorf("the channels are %v, and of messages %v", service.Channels, service.Channel)
	}
	if l := service.Log; l.Bytes <= 0 || l.MaxBytes != 16<<30 || l.RetentionSeconds != 86_400 || l.OldestAt == nil || l.NewestAt.Before(*l.OldestAt) ||
		len(l.Partitions) != 8 || !l.Partitions[0].Current || l.Partitions[1].Current {
		t.Errorf("the log is %+v", l)
	}
	if service.UsersOnline == nil || *service.UsersOnline != 0 || service.DatabaseProblem != nil || !service.MayWatch || len(service.Watched) != 3 {
		t.Errorf("got %+v", service)
	}
	var names []string
	for _, table := range service.Tables {
		names = append(names, table.Name)
	}
	if strings.Join(names, " ") != "comments messages notifications users" {
		t.Errorf("tables that can be watched: %v", names)
	}

	// Another one comes, and goes.
	other := start(t, d.url, options{secret: secret, report: 50 * time.Millisecond})
	other.dial("messages")
	eventually(t, "both are told of, with what both have", func() bool {
		got = s.figures(admin)
		return len(got.Service.Instances) == 2 && got.Service.Channel.Subscribers == 3 && got.Service.Channel.Exact && got.Service.Channels[0].Subscribers == 3
	})
	if n := query[int](d, `select sum(connections) from tidings.running`); n != 3 {
		t.Errorf("tidings.running has %d connections", n)
	}
	eventually(t, "the other tells the same", func() bool { return len(other.figures(admin).Service.Instances) == 2 })
	other.end()
	eventually(t, "one has gone", func() bool { return len(s.figures(admin).Service.Instances) == 1 })

	// Who is no administrator any more is told nothing from then on.
	d.exec(`update users set role = 'member' where username = 'root'`)
	s.graphFails(admin, wholeService, graph.CodeForbidden, "only administrators")
}

// An administrator makes tables live where that is allowed, and none that nobody is to be told of. What is wrong is said with the field.
func TestGraphWatchTable(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.people()
	d.exec(`create schema shop; create table shop.orders (id int primary key, customer text, total numeric);
		create table "odd ""name" (id int primary key); create view v as select * from accounts;
		create table parent (id int) partition by range (id); create table part partition of parent for values from (0) to (10);
		create function shop.may(claims jsonb, topic text, key text) returns boolean language sql as 'select true'`)
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{AdminWatch: true}})
	closed := start(t, d.url, options{secret: secret})
	admin := tokenOf(t, "2", time.Hour, nil)
	const allowed = `mutation { watchTable(input: {table: "shop.orders", read: "public"}) { watched { topic } } }`
	closed.graphFails(admin, allowed, graph.CodeForbidden, "--admin-watch")
	closed.graphFails(admin, `mutation { unwatchTable(input: {table: "messages"}) { table } }`, graph.CodeForbidden, "--admin-watch")
	if got := closed.figures(admin); got.Service.MayWatch || len(got.Service.Tables) > 0 {
		t.Errorf("where it is not allowed, tables are offered: %+v", got.Service)
	}

	watch := func(input map[string]any) graphAnswer {
		t.Helper()
		return s.ask(graphRequest{
			Query:     `mutation ($input: WatchTableInput!) { watchTable(input: $input) { watched { table topic event key columns read problem } clientMutationId } }`,
			Variables: map[string]any{"input": input},
		}, authorization(admin))
	}
	for _, wrong := range []struct {
		field, message string
		input          map[string]any
	}{
		{"table", "there is none", map[string]any{"table": ""}},
		{"table", "there is none", map[string]any{"table": "nothing"}},
		{"table", "there is none", map[string]any{"table": "messages; drop table messages"}},
		{"table", "there is none", map[string]any{"table": "messages'::regclass) --"}},
		{"table", "there is none", map[string]any{"table": `"`}},
		{"table", "there is none", map[string]any{"table": "a.b.c.d"}},
		{"table", "there is none", map[string]any{"table": "elsewhere.public.messages"}},
		{"table", "there is none", map[string]any{"table": "16384"}},
		{"table", "nobody is told of", map[string]any{"table": "accounts"}},
		{"table", "nobody is told of", map[string]any{"table": "public.accounts"}},
		{"table", "nobody is told of", map[string]any{"table": `"public"."accounts"`}},
		{"table", "nobody is told of", map[string]any{"table": "PUBLIC . Sessions"}},
		{"table", "nobody is told of", map[string]any{"table": "refresh_tokens", "columns": []string{"hash"}}},
		{"table", "nobody is told of", map[string]any{"table": "mutations"}},
		{"table", "nobody is told of", map[string]any{"table": "tidings.log"}},
		{"table", "nobody is told of", map[string]any{"table": "tidings.log_0"}},
		{"table", "nobody is told of", map[string]any{"table": "tidings.settings"}},
		{"table", "nobody is told of", map[string]any{"table": "pg_authid"}},
		{"table", "nobody is told of", map[string]any{"table": "pg_catalog.pg_authid"}},
		{"table", "nobody is told of", map[string]any{"table": "information_schema.tables"}},
		{"table", "is not a table", map[string]any{"table": "v"}},
		{"table", "is a partition", map[string]any{"table": "part"}},
		{"key", "no such column", map[string]any{"table": "shop.orders", "key": "nothing"}},
		{"key", "no such column", map[string]any{"table": "shop.orders", "key": "id, customer"}},
		{"key", "no such column", map[string]any{"table": "shop.orders", "key": "ctid"}},
		{"columns", "no such column", map[string]any{"table": "shop.orders", "columns": []string{"id", "(select password_hash from accounts limit 1)"}}},
		{"columns", "at least one", map[string]any{"table": "shop.orders", "columns": []string{}}},
		{"read", "no such column", map[string]any{"table": "shop.orders", "read": "owner:nothing"}},
		{"read", "is not known", map[string]any{"table": "shop.orders", "read": "everybody"}},
		{"read", "there is no function", map[string]any{"table": "shop.orders", "read": "policy:pg_sleep(10)"}},
		{"read", "there is no function", map[string]any{"table": "shop.orders", "read": "policy:shop.nothing"}},
		{"topic", "is taken by table public.messages", map[string]any{"table": "shop.orders", "topic": "messages"}},
		{"topic", "is taken by what tidings tells", map[string]any{"table": "shop.orders", "topic": "presence"}},
		{"topic", "cannot be used", map[string]any{"table": "shop.orders", "topic": "a:b"}},
		{"topic", "cannot be used", map[string]any{"table": "shop.orders", "topic": "tidings"}},
		{"event", "cannot be used", map[string]any{"table": "shop.orders", "event": "a b"}},
		{"", "NUL", map[string]any{"table": "a\x00b"}},
		{"", "NUL", map[string]any{"table": "shop.orders", "topic": "a\x00b"}},
	} {
		a := watch(wrong.input)
		if len(a.Errors) != 1 || a.Errors[0].code() != graph.CodeBadInput || a.Errors[0].Extensions["field"] != any(nil) && a.Errors[0].Extensions["field"] != wrong.field ||
			wrong.field != "" && a.Errors[0].Extensions["field"] == nil || !strings.Contains(a.Errors[0].Message, wrong.message) || strings.Contains(a.Errors[0].Message, "SQLSTATE") {
			t.Errorf("%v: got %v, want %q of %s", wrong.input, a.Errors, wrong.message, wrong.field)
		}
	}
	if n := query[int](d, `select count(*) from tidings.watches`); n != 3 {
		t.Fatalf("%d tables are watched", n)
	}

	a := watch(map[string]any{"table": "shop.orders", "topic": "o'rders", "event": "order", "key": "customer", "columns": []string{"id", "customer"}, "read": "policy:shop.may", "clientMutationId": "x"})
	if !sameJSON(t, string(a.Data), `{"watchTable":{"watched":{"table":"shop.orders","topic":"o'rders","event":"order","key":"customer","columns":["id","customer"],"read":"policy:shop.may","problem":null},"clientMutationId":"x"}}`) {
		t.Errorf("got %s %v", a.Data, a.Errors)
	}
	a = watch(map[string]any{"table": `odd "name`, "topic": "odd"})
	if !sameJSON(t, string(a.Data), `{"watchTable":{"watched":{"table":"\"odd \"\"name\"","topic":"odd","event":"odd","key":"id","columns":null,"read":"signed_in","problem":null},"clientMutationId":null}}`) {
		t.Errorf("got %s %v", a.Data, a.Errors)
	}
	s.graphAs(admin, allowed, `{"watchTable":{"watched":{"topic":"orders"}}}`)
	c := s.dial("orders")
	d.exec(`insert into shop.orders values (1, 'ada', 10)`)
	c.expect("order_added")
	s.graphAs(admin, `mutation { unwatchTable(input: {table: "shop.orders"}) { table } }`, `{"unwatchTable":{"table":"shop.orders"}}`)
	c.expectError("unknown_channel")
	for table, message := range map[string]string{"shop.orders": "not watched", "nothing": "there is none", "tidings.log": "nobody is told of"} {
		e := s.graphFails(admin, fmt.Sprintf(`mutation { unwatchTable(input: {table: %q}) { table } }`, table), graph.CodeBadInput, message)
		if e.Extensions["field"] != "table" {
			t.Errorf("%s: got %v", table, e)
		}
	}

	// A table that a transaction holds is not waited for; one of somebody else's cannot be had by a service that is no superuser.
	s.graphFails(admin, `{ service { channels(first: 0) { channel } } }`, graph.CodeBadInput, "first")
	s.graphFails(admin, `{ service { channel(name: ":") { subscribers } } }`, graph.CodeBadInput, "name")
}

// What is told where the database cannot be asked, or answers with an error: that it is so, and what the instance knows by itself.
func TestGraphServiceOutage(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.people()
	s := start(t, d.url, options{secret: secret, graph: &graph.Options{AdminWatch: true}})
	admin := tokenOf(t, "2", time.Hour, nil)
	const document = `{ service { databaseProblem usersOnline log { bytes } instances { name } } }`
	trouble := func(problem string) {
		t.Helper()
		eventually(t, "it is told that "+problem, func() bool { // what the database knew a moment ago is good enough
			a := s.ask(graphRequest{Query: document}, authorization(admin))
			var got serviceAnswer
			if err := json.Unmarshal(a.Data, &got); err != nil || len(a.Errors) > 0 {
				t.Fatalf("got %s, %v", a.Data, a.Errors)
			}
			p := got.Service.DatabaseProblem
			return p != nil && *p == problem && got.Service.Log == nil && got.Service.UsersOnline == nil && len(got.Service.Instances) == 1
		})
	}
	s.figures(admin)
	d.exec(`alter view tidings.running rename to walking`)
	trouble(`it answers with an error: relation "tidings.running" does not exist`)
	d.exec(`alter view tidings.walking rename to running`)
	eventually(t, "all is well again", func() bool { return s.figures(admin).Service.DatabaseProblem == nil })

	// It cannot be told who is an administrator still: whoever was so before is told nothing that the database has.
	locked, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locked.Rollback(t.Context()) }()
	if _, err := locked.Exec(t.Context(), `lock table users in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	trouble("it takes longer than 1.5s")
	for _, field := range []string{"watched { topic }", "tables { name }"} {
		s.graphFails(admin, `{ service { `+field+` } }`, graph.CodeUnavailable, "does not answer")
	}
	s.graphFails(tokenOf(t, "1", time.Hour, nil), document, graph.CodeUnavailable, "does not answer")
	s.graphFails(tokenOf(t, "3", time.Hour, nil), document, graph.CodeUnavailable, "does not answer")
}
