package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"tidings/db"
	"tidings/triggers"
)

// table is one of the tables that rows are written to. All have the shape of the application's messages, without its
// foreign key, and so without a look at the users for each row.
type table string

const (
	bare      table = "bench_bare"      // no trigger
	watched   table = "bench_watched"   // watched by tidings
	outbox    table = "bench_outbox"    // a row trigger that writes each row into a plain table
	notifying table = "bench_notifying" // a row trigger that sends each row by pg_notify
)

// topic is what clients subscribe to; rooms is another, with many keys.
const (
	topic = "bench"
	rooms = "rooms"
)

const createTables = `
create table public.bench_bare      (like public.messages including all);
create table public.bench_watched   (like public.messages including all);
create table public.bench_outbox    (like public.messages including all);
create table public.bench_notifying (like public.messages including all);
create table public.bench_rooms     (id bigserial primary key, room integer not null, content text not null);

create table public.bench_outbox_log (id bigserial primary key, topic text not null, data jsonb not null, at timestamptz not null default now());
create function public.bench_write() returns trigger language plpgsql as $$
begin
    insert into public.bench_outbox_log (topic, data) values ('bench', to_jsonb(new));
    return null;
end $$;
create trigger write after insert on public.bench_outbox for each row execute function public.bench_write();

create function public.bench_notify() returns trigger language plpgsql as $$
begin
    perform pg_notify('bench', row_to_json(new)::text);
    return null;
end $$;
create trigger notify after insert on public.bench_notifying for each row execute function public.bench_notify();`

// What is written: a row of about 220 bytes as JSON.
const (
	title   = `A message`
	content = `What is written here is as long as a short message is, two lines perhaps, and always the same.`
)

// insertOne is the job to write one row after another.
func (t table) insertOne() job {
	return job{name: string(t) + "_insert", sql: `insert into public.` + string(t) + ` (author_id, title, content) values (1, '` + title + `', '` + content + `')`}
}

// updateOne is the job to update one of so many rows after another.
func (t table) updateOne(rows int) job {
	return job{name: string(t) + "_update", sql: `update public.` + string(t) + ` set updated_at = now() where id = :id`, ids: rows}
}

func (t table) insertMany() string {
	return `insert into public.` + string(t) + ` (author_id, title, content)
		select 1, '` + title + ` ' || i, '` + content + `' from generate_series(1, $1::integer) as i`
}

func (t table) insertWithID() string {
	return `insert into public.` + string(t) + ` (id, author_id, title, content) values ($1, 1, '` + title + `', '` + content + `')`
}

// postgres is the server that is measured.
type postgres struct {
	embedded   *db.Embedded // nil: another's
	db         *db.DB
	url        string
	postmaster int // the server's first process, 0 where the system doesn't tell
}

func startPostgres(ctx context.Context, dir string, fsync bool) (*postgres, error) {
	p := &postgres{embedded: &db.Embedded{DataDir: dir}}
	if !fsync {
		p.embedded.Settings = map[string]string{"fsync": "off"}
	}
	if err := p.embedded.Start(ctx); err != nil {
		return nil, err
	}
	p.url = p.embedded.URL()
	if err := p.prepare(ctx); err != nil {
		p.stop()
		return nil, fmt.Errorf("prepare the database: %w", err)
	}
	return p, nil
}

// fresh makes a new database on the same server, whose log is empty, and returns what ends it again.
func (p *postgres) fresh(ctx context.Context, name string) (other *postgres, drop func(), err error) {
	if _, err := p.db.Pool.Exec(ctx, `create database `+name); err != nil {
		return nil, nil, fmt.Errorf("create a database: %w", err)
	}
	u, err := url.Parse(p.url)
	if err != nil {
		return nil, nil, err
	}
	u.Path = "/" + name
	other = &postgres{url: u.String()}
	drop = func() {
		other.stop()
		_, _ = p.db.Pool.Exec(context.WithoutCancel(ctx), `drop database `+name+` with (force)`) // the server is temporary too
	}
	if err := other.prepare(ctx); err != nil {
		drop()
		return nil, nil, fmt.Errorf("prepare the database: %w", err)
	}
	return other, drop, nil
}

func (p *postgres) prepare(ctx context.Context) error {
	u, err := url.Parse(p.url)
	if err != nil {
		return err
	}
	query := u.Query()
	query.Set("pool_max_conns", "48")
	query.Set("application_name", "benchmarks")
	u.RawQuery = query.Encode()
	if p.db, err = db.Open(ctx, u.String()); err != nil {
		return err
	}
	for _, set := range []db.MigrationSet{{Name: "live", Files: triggers.Migrations}, db.ChannelMigrations} {
		if err := p.db.MigrateUp(ctx, set); err != nil {
			return err
		}
	}
	if err := (&db.Channel{DB: p.db}).OpenToAll(ctx); err != nil {
		return err
	}
	if _, err := p.db.Pool.Exec(ctx, createTables); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	var backend int
	if err := p.db.Pool.QueryRow(ctx, `select pg_backend_pid()`).Scan(&backend); err != nil {
		return err
	}
	if p.postmaster, err = parentOf(backend); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("find the server's process: %w", err)
	}
	for _, w := range []db.Watch{
		{Table: string(watched), Topic: topic, Event: topic, Key: "id", Read: "public"},
		{Table: "bench_rooms", Topic: rooms, Event: rooms, Key: "room", Read: "public"},
	} {
		if _, err := p.db.SetWatch(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func (p *postgres) stop() {
	if p.db != nil {
		p.db.Close()
	}
	if p.embedded != nil {
		p.embedded.Stop()
	}
}

func (p *postgres) version(ctx context.Context) (version string, err error) {
	err = p.db.Pool.QueryRow(ctx, `show server_version`).Scan(&version)
	return version, err
}

// clear empties the tables, and begins the time to the next checkpoint: none should fall into one measurement and not
// into another.
func (p *postgres) clear(ctx context.Context) error {
	const truncate = `truncate public.bench_bare, public.bench_watched, public.bench_outbox, public.bench_outbox_log, public.bench_notifying,
		public.bench_rooms restart identity`
	if _, err := p.db.Pool.Exec(ctx, truncate); err != nil {
		return fmt.Errorf("empty the tables: %w", err)
	}
	if _, err := p.db.Pool.Exec(ctx, `checkpoint`); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// fill writes so many rows at once.
func (p *postgres) fill(ctx context.Context, t table, rows int) error {
	if rows == 0 {
		return nil
	}
	if _, err := p.db.Pool.Exec(ctx, t.insertMany(), rows); err != nil {
		return fmt.Errorf("fill %s: %w", t, err)
	}
	return nil
}

// rows counts a table's rows, whose ids must be 1 to that number.
func (p *postgres) rows(ctx context.Context, t table) (int64, error) {
	var rows, highest int64
	err := p.db.Pool.QueryRow(ctx, `select count(*), coalesce(max(id), 0) from public.`+string(t)).Scan(&rows, &highest)
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", t, err)
	}
	if rows != highest {
		return 0, fmt.Errorf("%s has %d rows, and %d is the highest id: a writer must have failed", t, rows, highest)
	}
	return rows, nil
}
