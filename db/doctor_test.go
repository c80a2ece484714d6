package db_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tidings/db"
	"tidings/db/dbtest"
	"tidings/triggers"
)

// patient is a database with a doctor.
type patient struct {
	t      *testing.T
	doctor *db.Doctor
	conn   *pgx.Conn // of whoever makes faults, and mends them
}

func newPatient(t *testing.T, address string) *patient {
	t.Helper()
	return &patient{t, newDoctor(t, install(t, address)), plainConn(t, address)}
}

func newDoctor(t *testing.T, d *db.DB) *db.Doctor {
	return &db.Doctor{DB: d, Live: db.MigrationSet{Name: "live", Files: triggers.Migrations}, Channel: db.ChannelMigrations, Timeout: time.Minute}
}

// plainConn is a connection that is nobody's.
func plainConn(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

func (p *patient) run(sql string) {
	p.t.Helper()
	if _, err := p.conn.PgConn().Exec(context.WithoutCancel(p.t.Context()), sql).ReadAll(); err != nil {
		p.t.Fatalf("%s: %v", sql, err)
	}
}

func (p *patient) ask(sql string) (value string) {
	p.t.Helper()
	if err := p.conn.QueryRow(p.t.Context(), sql).Scan(&value); err != nil {
		p.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func (p *patient) examine() []db.Finding {
	p.t.Helper()
	findings, err := p.doctor.Examine(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range findings {
		if f.Found == "" || !strings.HasSuffix(f.Found, ".") || (f.Mend == "") != (f.Level == db.SeverityOK) || f.Mend == "" && f.SQL != nil {
			p.t.Errorf("a finding without a sentence, or a mend: %+v", f)
		}
		if strings.Contains(f.Found, "could not be looked at") {
			p.t.Errorf("%+v", f)
		}
	}
	return findings
}

// fault is something that is wrong.
type fault struct {
	check string
	level db.Severity
	found string // a part of it
	sql   string // makes it
	undo  string // what a person does where no SQL was given, or none that mends all
	until string // is on when what mends it has come through
}

// ill makes faults, has each of them found, with what mends it, does that as it is said, and has nothing of it found any more.
func (p *patient) ill(faults ...fault) {
	p.t.Helper()
	for _, f := range faults {
		if f.sql != "" {
			p.run(f.sql)
		}
	}
	findings := p.examine()
	var mends []string
	for _, fault := range faults {
		i := slices.IndexFunc(findings, func(f db.Finding) bool {
			return f.Check == fault.check && f.Level == fault.level && strings.Contains(f.Found, fault.found)
		})
		if i < 0 {
			p.t.Errorf("%s, %s, %q is not found: %+v", fault.check, fault.level, fault.found, only(findings, fault.check))
			continue
		}
		mends = append(mends, findings[i].SQL...)
		if fault.undo != "" {
			mends = append(mends, fault.undo)
		}
		if findings[i].SQL == nil && fault.undo == "" {
			p.t.Errorf("nothing mends %+v", findings[i])
		}
	}
	for _, mend := range mends {
		p.run(mend)
	}
	for _, fault := range faults {
		if fault.until != "" {
			p.await(fault.until, "on")
		}
	}
	findings = p.examine()
	for _, fault := range faults {
		for _, f := range only(findings, fault.check) {
			if f.Level != db.SeverityOK && strings.Contains(f.Found, fault.found) {
				p.t.Errorf("%s is still found after %q: %+v", fault.check, mends, f)
			}
		}
	}
}

// as is the database at the address, for another role.
func as(t *testing.T, address, role string) *db.DB {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("user", role)
	u.RawQuery = query.Encode()
	d, err := db.Open(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func only(findings []db.Finding, check string) []db.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f db.Finding) bool { return f.Check != check })
}

// hold begins a transaction that stays open.
func (p *patient) hold(address, sql string) *pgx.Conn {
	p.t.Helper()
	conn := plainConn(p.t, address)
	if _, err := conn.PgConn().Exec(p.t.Context(), "begin; "+sql).ReadAll(); err != nil {
		p.t.Fatal(err)
	}
	return conn
}

func TestDoctorOfTables(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	p := newPatient(t, address)
	p.run(`create table orders (id int primary key, customer int, total int, note text); select tidings.watch('orders', key => 'customer', columns => '{id,total,note}', read => 'public')`)
	p.run(`create table bills (id int primary key); select tidings.watch('bills')`)
	p.run(`create table crates (id int primary key); select tidings.watch('crates')`)
	p.run(`create table owned (id int primary key, owner text); select tidings.watch('owned', read => 'owner:owner')`)
	p.run(`create table days (id int, day int) partition by list (day); create table days_1 partition of days for values in (1); select tidings.watch('days')`)
	p.run(`create table notes (id int primary key); create table secrets (id int); select tidings.watch('notes')`)
	p.run(`create table mute (id int primary key); select tidings.watch('mute')`)
	p.run(`create function may() returns boolean language sql as 'select true';
		create function may_read(claims jsonb, topic text, key text) returns boolean language sql as 'select true';
		create function may_fail(claims jsonb, topic text, key text) returns boolean language plpgsql as 'begin return true; end';
		create table asked (id int primary key); select tidings.watch('asked', read => 'policy:public.may_read');
		create table failing (id int primary key); select tidings.watch('failing', read => 'policy:public.may_fail')`)
	role := "doctor_" + strings.ToLower(p.ask(`select md5(current_database())`))
	p.run(`create role ` + role)
	t.Cleanup(func() { p.run(`drop owned by ` + role + ` cascade; drop role ` + role) })
	p.ill(
		fault{check: "event-triggers", level: db.SeverityNote, found: "tidings_partitions is disabled", sql: `alter event trigger tidings_partitions disable`},
		fault{check: "triggers", level: db.SeverityProblem, found: "Triggers are missing on bills", sql: `drop trigger tidings_insert on bills`},
		fault{check: "triggers", level: db.SeverityProblem, found: "crates are disabled", sql: `alter table crates disable trigger user`},
		fault{check: "triggers", level: db.SeverityProblem, found: "asked fire for replication only", sql: `alter table asked enable replica trigger tidings_delete`},
		fault{check: "columns", level: db.SeverityWarning, found: "the key column customer", sql: `alter table orders drop column customer, drop column total`},
		fault{check: "columns", level: db.SeverityProblem, found: "the owner's column owner", sql: `alter table owned rename owner to who`, undo: `select tidings.watch('owned', read => 'owner:who')`},
		fault{check: "partitions", level: db.SeverityWarning, found: "old_orders inherits", sql: `create table old_orders (primary key (id)) inherits (orders)`},
		fault{check: "partitions", level: db.SeverityProblem, found: "elsewhere of days is a foreign table",
			sql: `create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere; create foreign table elsewhere partition of days for values in (2) server nowhere`},
		fault{check: "partitions", level: db.SeverityProblem, found: "bits has become a partition",
			sql: `create table bits (id int primary key); select tidings.watch('bits'); create table pieces (id int primary key) partition by list (id); alter table pieces attach partition bits default`},
		fault{check: "policies", level: db.SeverityProblem, found: "subscribe to asked is gone", sql: `drop function may_read`},
		fault{check: "policies", level: db.SeverityProblem, found: "subscribe to failing fails", sql: `create or replace function may_fail(claims jsonb, topic text, key text) returns boolean language plpgsql as 'begin return 1 / 0; end'`,
			undo: `create or replace function may_fail(claims jsonb, topic text, key text) returns boolean language plpgsql as 'begin return true; end'`},
		fault{check: "watched", level: db.SeverityProblem, found: "Table public.again was watched, dropped and made anew",
			sql: `create table again (id int primary key, v text); select tidings.watch('again', event => 'more', columns => '{id}', read => 'public'); drop table again; create table again (id int primary key, v text)`},
		fault{check: "unlogged", level: db.SeverityWarning, found: "Table bills is unlogged", sql: `alter table bills set unlogged`},
		fault{check: "unlogged", level: db.SeverityProblem, found: "tidings.log_5 is unlogged", sql: `alter table tidings.log_5 set unlogged`},
	)
	function := func(topic, op string) string {
		return p.ask(`select 'tidings.' || tidings.capture_name(w, '` + op + `') || '()' from tidings.watches w where topic = '` + topic + `'`)
	}
	p.ill(
		fault{check: "row-security", level: db.SeverityWarning, found: "mute has row security and no policy", sql: `alter table mute enable row level security`},
		fault{check: "row-security", level: db.SeverityProblem, found: "policies of notes cannot be asked", sql: `alter table notes enable row level security; create policy p on notes using (exists (select from secrets))`,
			undo: `grant select on secrets to tidings_reader`},
	)
	p.ill(
		fault{check: "trigger-functions", level: db.SeverityProblem, found: "functions of bills are not the owner's", sql: `alter function ` + function("bills", "insert") + ` owner to ` + role},
		fault{check: "trigger-functions", level: db.SeverityProblem, found: "functions of crates do not run as their owner", sql: `alter function ` + function("crates", "insert") + ` security invoker`},
		fault{check: "trigger-functions", level: db.SeverityWarning, found: "functions of days are not as tidings would make them",
			sql: `create or replace function ` + function("days", "insert") + ` returns trigger language plpgsql security definer set timezone = 'UTC' as 'begin return null; end'`},
		fault{check: "row-security", level: db.SeverityProblem, found: "tidings_reader may not read it", sql: `revoke select on notes from tidings_reader`},
		fault{check: "schema-owner", level: db.SeverityWarning, found: "while bills is " + role, sql: `alter table bills owner to ` + role, undo: `alter table bills owner to current_user`},
	)
	p.run(`select tidings.unwatch(relation) from tidings.watches`)
	if f := only(p.examine(), "watched"); len(f) != 1 || f[0].Level != db.SeverityNote {
		t.Errorf("nothing is watched: %+v", f)
	}
}

func TestDoctorOfTheLog(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	p := newPatient(t, address)
	p.run(`create table orders (id int primary key, note text); select tidings.watch('orders')`)
	p.run(`insert into orders select n, repeat('x', 1000) from generate_series(1, 3000) as n`)
	p.doctor.Limits = db.DoctorLimits{DeadRows: 100, Revocations: 2}
	p.ill(
		fault{check: "log-size", level: db.SeverityWarning, found: "should have 1024 kB at most", sql: `alter table tidings.log_0 alter data set storage external, alter rows set storage external; update orders set note = note || 'x'; update tidings.settings set max_bytes = 1048576`},
	)
	p.run(`update tidings.settings set max_bytes = default;
		insert into tidings.ancestors (origin, seen) select n::text, '1:1:' from generate_series(1, 300) as n; delete from tidings.ancestors`)
	p.await(`select (n_dead_tup = 300)::text from pg_stat_user_tables where relid = 'tidings.ancestors'::regclass`, "true")
	p.ill(
		fault{check: "log-ids", level: db.SeverityProblem, found: "numbers from 1 on", sql: `insert into orders values (10000); select setval('tidings.log_id', 1)`},
		fault{check: "log-indexes", level: db.SeverityProblem, found: "tidings.log_3 has no index on xid", sql: `drop index tidings.log_3_by_xid`},
		fault{check: "origin", level: db.SeverityWarning, found: "is a copy of another", sql: `update tidings.home set origin = 'elsewhere'`},
		fault{check: "dead-rows", level: db.SeverityWarning, found: "tidings.ancestors has 300 dead rows"},
		fault{check: "autovacuum", level: db.SeverityWarning, found: "switched off for tidings.positions", sql: `alter table tidings.positions set (autovacuum_enabled = off)`},
		fault{check: "revocations", level: db.SeverityNote, found: "3 revocations", sql: `insert into tidings.revocations select n::text, 's', now() - interval '40 days' from generate_series(1, 3) as n`},
	)
	// What is forgotten before its time, as so much is written.
	p.ill(fault{check: "log-horizon", level: db.SeverityNote, found: "Events reach back for", sql: `
		update orders set note = note || 'y'; update tidings.settings set max_bytes = 2097152;
		insert into tidings.eras (era, started_at, forgotten_at, last_xid, ended)
			select min(era) - 1, now() - interval '2 hours', now() - interval '1 hour', '3', pg_current_snapshot() from tidings.eras;
		update tidings.eras set started_at = now() - interval '1 hour' where forgotten_at is null`})

	// Rotation is due, and nobody does it; and then, somebody has read what is to be emptied, and sits there.
	p.ill(fault{check: "log-rotation", level: db.SeverityWarning, found: "nobody does that: no service runs", sql: `update tidings.eras set started_at = now() - interval '2 days' where forgotten_at is null`})
	p.doctor.Old = time.Nanosecond
	p.run(`select tidings.rotate(true) from generate_series(1, 1)`)
	for p.ask(`select max(era)::text from tidings.eras`) < "6" {
		p.run(`select tidings.rotate(true)`)
	}
	oldest := p.ask(`select 'tidings.log_' || ((max(era) - 6) & 7) from tidings.eras`)
	holder := p.hold(address, `select count(*) from `+oldest)
	pid := fmt.Sprint(holder.PgConn().PID())
	p.ill(
		fault{check: "log-rotation", level: db.SeverityWarning, found: "a transaction of process " + pid, sql: `update tidings.eras set started_at = now() - interval '2 days' where forgotten_at is null`},
	)
	holder = p.hold(address, `select 1`)
	p.ill(fault{check: "old-transactions", level: db.SeverityWarning, found: fmt.Sprintf("Process %d", holder.PgConn().PID())})
}

// Whatever is locked, the rest is looked at.
func TestDoctorOfLocks(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	p := newPatient(t, address)
	p.run(`create table orders (id int primary key); select tidings.watch('orders')`)
	p.hold(address, `lock table orders, tidings.log_0 in access exclusive mode`)
	findings, err := p.doctor.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f := only(findings, "log-rotation"); len(f) != 1 || f[0].Level != db.SeverityWarning || !strings.Contains(f[0].Found, "somebody has locked") {
		t.Errorf("got %+v", f)
	}
	for _, check := range []string{"triggers", "revocations"} {
		if f := only(findings, check); len(f) != 1 || f[0].Level != db.SeverityOK {
			t.Errorf("got %+v", f)
		}
	}
}

func TestDoctorOfSettings(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	p := newPatient(t, address)
	p.run(`create table orders (id int primary key); select tidings.watch('orders')`)
	name := p.ask(`select quote_ident(current_database())`)
	role := "doctor_" + strings.ToLower(p.ask(`select md5(current_database())`))
	p.run(`create role ` + role + ` login`)
	t.Cleanup(func() { p.run(`drop owned by ` + role + `; drop role ` + role) })
	own := func(setting string) string { return `alter role current_user in database ` + name + ` set ` + setting }
	for _, odd := range []string{`client_encoding = 'LATIN1'`, `standard_conforming_strings = off`, `datestyle = 'German'`, `intervalstyle = 'iso_8601'`, `bytea_output = 'escape'`, `search_path = ''`} {
		p.run(`alter database ` + name + ` set ` + odd)
	}
	p.ill(
		fault{check: "settings", level: db.SeverityWarning, found: "statement_timeout ends what takes longer than 3000 ms", sql: own(`statement_timeout = '3s'`)},
		fault{check: "settings", level: db.SeverityWarning, found: "idle_in_transaction_session_timeout ends transactions that pause for 900 ms", sql: own(`idle_in_transaction_session_timeout = 900`)},
		fault{check: "settings", level: db.SeverityNote, found: "idle_session_timeout ends connections that are idle for 60000 ms", sql: own(`idle_session_timeout = '1min'`)},
		fault{check: "settings", level: db.SeverityNote, found: "synchronous_commit is off", sql: `alter database ` + name + ` set synchronous_commit = off`},
		fault{check: "settings", level: db.SeverityNote, found: "SERIALIZABLE by default", sql: `alter database ` + name + ` set default_transaction_isolation = serializable`},
		fault{check: "primary", level: db.SeverityProblem, found: "default_transaction_read_only is on", sql: own(`default_transaction_read_only = on`)},
		fault{check: "doorbell", level: db.SeverityNote, found: "switched off for everybody in database", sql: `alter database ` + name + ` set tidings.doorbell = off`},
		fault{check: "doorbell", level: db.SeverityNote, found: "switched off for role " + role + ":", sql: `alter role ` + role + ` set tidings.doorbell = 'false'`},
		fault{check: "replica-role", level: db.SeverityProblem, found: "for role " + role + " in database", sql: `alter role ` + role + ` in database ` + name + ` set session_replication_role = replica`},
		fault{check: "connections", level: db.SeverityWarning, found: "The database may have 5 connections", sql: `alter database ` + name + ` connection limit 5`},
	)
	// The server of the tests is one that may lose all.
	if f := only(p.examine(), "settings"); len(f) != 1 || f[0].Level != db.SeverityWarning || !strings.Contains(f[0].Found, "fsync is off") || f[0].SQL[0] != "alter system set fsync = on" {
		t.Errorf("got %+v", f)
	}

	// The rights of a role that writes, at most, which are not to be more; and then of one that serves.
	p.doctor = newDoctor(t, as(t, address, role))
	if f := only(p.examine(), "migrating-rights"); len(f) != 1 || f[0].Level != db.SeverityNote || !strings.Contains(f[0].Found, role+" may not upgrade") || f[0].SQL != nil {
		t.Errorf("got %+v", f)
	}
	p.ill(
		fault{check: "serving-rights", level: db.SeverityProblem, found: "may not call what a service calls", sql: `alter role ` + role + ` connection limit 6`},
		fault{check: "connections", level: db.SeverityWarning, found: "The role may have 6 connections"},
	)
	p.ill(fault{check: "migrating-rights", level: db.SeverityNote, found: "may serve, but not upgrade"})
}

func TestDoctorOfTheSchema(t *testing.T) {
	t.Parallel()
	address := dbtest.Database(t)
	d, err := db.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	p := &patient{t, newDoctor(t, d), plainConn(t, address)}
	role := "doctor_" + strings.ToLower(p.ask(`select md5(current_database())`))
	p.run(`create role ` + role + ` login`)
	t.Cleanup(func() { p.run(`drop owned by ` + role + `; drop role ` + role) })
	(&patient{t, newDoctor(t, as(t, address, role)), p.conn}).ill(fault{check: "migrating-rights", level: db.SeverityProblem, found: "may not make schema tidings"})
	expect := func(level db.Severity, found string) {
		t.Helper()
		all := p.examine()
		if f := only(all, "schema"); len(f) != 1 || f[0].Level != level || !strings.Contains(f[0].Found, found) {
			t.Errorf("got %+v, want %s, %q", f, level, found)
		}
		if there := len(only(all, "triggers")) > 0; there != (level == db.SeverityOK) {
			t.Errorf("%s: the triggers were looked at: %t", found, there)
		}
	}
	expect(db.SeverityProblem, "is not installed")
	if err := d.MigrateUp(t.Context(), p.doctor.Live); err != nil {
		t.Fatal(err)
	}
	expect(db.SeverityOK, "is installed")
	p.ill(fault{check: "schema", level: db.SeverityProblem, found: "cut off in the middle of migration", sql: `update tidings.migrations_live set version = version + 1, dirty = true`})
	p.run(`update tidings.migrations_live set version = version + 1`)
	expect(db.SeverityNote, "can serve it")
	p.run(`create or replace function tidings.compatible_from() returns integer language sql immutable as 'select 99'`)
	expect(db.SeverityProblem, "too old to serve")
	p.run(`update tidings.migrations_live set version = version - 2`)
	expect(db.SeverityProblem, "and this program needs")
}

func TestDoctorOfInstances(t *testing.T) {
	t.Parallel()
	p := newPatient(t, dbtest.Database(t))
	instance := func(name, silent, status string) string {
		return fmt.Sprintf(`insert into tidings.instances (name, asleep, told_at, status) values ('%s', true, clock_timestamp() - interval '%s',
			jsonb_build_object('host', '%[1]s', 'address', ':1', 'at', clock_timestamp() - interval '%[2]s', 'live', true, 'listening', true, 'beating', true, 'lag_seconds', 0, 'version', 'v1', 'schema', 8) || '%[3]s')`, name, silent, status)
	}
	p.ill(
		fault{check: "instances", level: db.SeverityNote, found: "No service runs", undo: instance("well", "-40 seconds", "{}")},
		fault{check: "instances", level: db.SeverityWarning, found: "The service on gone :1 has been silent", sql: instance("gone", "20 seconds", "{}")},
	)
	p.ill(
		fault{check: "instance-health", level: db.SeverityProblem, found: "on deaf :1 does not read the log, does not hear the doorbell, and polls, does not hear the heartbeat, is 7.5 seconds behind", sql: instance("deaf", "-40 seconds",
			`{"live": false, "listening": false, "beating": false, "lag_seconds": 7.5}`), undo: `select tidings.leave('deaf')`},
		fault{check: "instance-versions", level: db.SeverityNote, found: "v1, v2", sql: instance("newer", "-40 seconds", `{"version": "v2"}`), undo: `select tidings.leave('newer')`},
		fault{check: "instance-versions", level: db.SeverityProblem, found: "on old :1 knows version 0", sql: instance("old", "-40 seconds", `{"schema": 0}`), undo: `select tidings.leave('old')`},
		fault{check: "instance-clocks", level: db.SeverityWarning, found: "on fast :1 is 3", sql: instance("fast", "-40 seconds", fmt.Sprintf(`{"at": "%s"}`, time.Now().Add(time.Hour+40*time.Second).Format(time.RFC3339Nano))), undo: `select tidings.leave('fast')`},
	)
	for off, level := range map[time.Duration]db.Severity{time.Minute: db.SeverityWarning, 4 * time.Second: db.SeverityNote, 0: db.SeverityOK} {
		p.doctor.Now = func() time.Time { return time.Now().Add(off) }
		if f := only(p.examine(), "clock"); len(f) != 1 || f[0].Level != level || off > 0 && !strings.Contains(f[0].Found, "behind this machine's") {
			t.Errorf("a clock that is off by %s: %+v", off, f)
		}
	}
}

// What is of the whole server is tried on one of its own.
func TestDoctorOfTheServer(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, map[string]string{"max_prepared_transactions": "5", "wal_level": "logical", "fsync": "on"})
	p := newPatient(t, cluster.URL())
	p.run(`create table orders (id int primary key); select tidings.watch('orders')`)
	p.doctor.Old = time.Nanosecond
	p.doctor.Limits.QueueUsage = 1e-12
	listener := plainConn(t, cluster.URL())
	for _, sql := range []string{`listen tidings_test`, `begin`, `select 1`} {
		if _, err := listener.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	p.ill(
		fault{check: "notify-queue", level: db.SeverityWarning, found: "The queue of notifications is", sql: `select pg_notify('tidings_test', n || repeat('x', 7000)) from generate_series(1, 20) as n`},
	)
	if err := listener.Ping(t.Context()); err == nil {
		t.Error("whoever kept the queue from being emptied was not told of")
	}
	p.ill(
		fault{check: "replication-slots", level: db.SeverityNote, found: "Nobody uses replication slot unused", sql: `select pg_create_logical_replication_slot('unused', 'pgoutput')`},
		fault{check: "prepared-transactions", level: db.SeverityWarning, found: "Transaction 'two' was prepared", sql: `begin; set local tidings.doorbell = off; insert into orders values (1); prepare transaction 'two'`},
		fault{check: "subscriptions", level: db.SeverityWarning, found: "Table orders is written by the logical replication of subscription copy", sql: `create subscription copy connection 'dbname=nothing' publication nothing with (connect = false);
			insert into pg_subscription_rel select oid, 'orders'::regclass, 'r', null from pg_subscription`, undo: `alter subscription copy set (slot_name = none); drop subscription copy`},
	)
	p.doctor.Limits.SlotBytes = 1
	p.ill(fault{check: "replication-slots", level: db.SeverityWarning, found: "Nobody uses replication slot unused", sql: `select pg_create_physical_replication_slot('unused', true); insert into orders values (2)`})

	// By more transactions than may be.
	p.run(`alter system set autovacuum = off`)
	p.run(`select pg_reload_conf()`)
	p.await(`select setting from pg_settings where name = 'autovacuum'`, "off")
	p.doctor.Limits.Age = 1000
	p.ill(
		fault{check: "autovacuum", level: db.SeverityWarning, found: "autovacuum is off in the whole server", until: `select setting from pg_settings where name = 'autovacuum'`},
		fault{check: "xid-age", level: db.SeverityWarning, found: "The oldest row that is not frozen is", sql: `do $$ begin for n in 1..2000 loop perform pg_current_xact_id(); commit; end loop; end $$`},
	)

	// It becomes a standby, of nobody.
	p.doctor.Old = 0
	dir := p.ask(`show data_directory`)
	cluster.Stop()
	if err := os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cluster.Start()
	findings, err := p.doctor.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f := only(findings, "primary"); len(f) != 1 || f[0].Level != db.SeverityProblem || !strings.Contains(f[0].Found, "This is a standby") {
		t.Errorf("got %+v", f)
	}
	if f := only(findings, "triggers"); len(f) != 1 || f[0].Level != db.SeverityOK {
		t.Errorf("on a standby, got %+v", f)
	}
}

// await waits until a session that is new is told something.
func (p *patient) await(query, want string) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		if got := p.ask(query); got == want {
			return
		} else if time.Now().After(deadline) {
			p.t.Fatalf("%s: got %s, want %s", query, got, want)
		}
	}
}

// A standby is told of as what it is, and no copy that is to be settled, which only the primary could be.
func TestDoctorOfAStandby(t *testing.T) {
	t.Parallel()
	cluster := dbtest.StartCluster(t, nil)
	d := install(t, cluster.URL())
	cluster.Stop()
	cluster.StartStandby()
	findings, err := newDoctor(t, d).Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.Check == "primary" != (f.Level == db.SeverityProblem) || f.Check == "origin" && f.Level != db.SeverityOK {
			t.Errorf("got %+v", f)
		}
		if strings.Contains(f.Found, "could not be looked at") && f.Mend != "Look at the primary." {
			t.Errorf("got %+v", f)
		}
	}
}
