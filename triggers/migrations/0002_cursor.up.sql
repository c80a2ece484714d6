-- Cursors: a position in the log as opaque text. Their grammar is that of the Go package realtime:
--   origin '-' position                                 everything visible in that snapshot has been seen
--   origin '-' position '-' position '-' id ['.' row]   so has what came between the two, up to that row
--   position = xmin [':' xmax-xmin [':' xip-xmin {',' xip-xmin}]]

create function tidings.place() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    cluster text := '';
begin
    begin
        cluster := (select system_identifier::text from pg_control_system());
    exception when insufficient_privilege then
        null; -- some providers keep it to themselves; what is restored elsewhere mostly has another oid all the same
    end;
    return cluster || '/' || (select oid from pg_database where datname = current_database());
end $$;
comment on function tidings.place() is 'names the cluster and the database in it; standbys are the same cluster';

create function tidings.timeline() returns integer
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
exception when others then
    return 0; -- some providers have none
end $$;
comment on function tidings.timeline() is 'PostgreSQL''s timeline: another one begins when a standby is promoted, or a backup restored to a moment';

create function tidings.origin() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select left(md5(tidings.place() || '/' || tidings.timeline() || '/' || installation), 8) from tidings.settings
$$;
comment on function tidings.origin() is 'names this database, on this timeline, in its cursors, so that another''s are recognised';

create function tidings.position_text(snapshot pg_snapshot) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    with s as (select pg_snapshot_xmin(snapshot)::text::bigint as xmin, pg_snapshot_xmax(snapshot)::text::bigint as xmax),
         x as (select string_agg((xip::text::bigint - s.xmin)::text, ',' order by xip) as offsets
                 from s, pg_snapshot_xip(snapshot) as xip)
    select s.xmin::text
        || case when s.xmax > s.xmin then ':' || (s.xmax - s.xmin) else '' end
        || case when x.offsets is not null then ':' || x.offsets else '' end
      from s, x
$$;
comment on function tidings.position_text(pg_snapshot) is 'a snapshot as it stands in a cursor';

create function tidings.position_snapshot(position_text text) returns pg_snapshot
language sql immutable set search_path = pg_catalog, pg_temp as $$
    with p as (select string_to_array(position_text, ':') as part),
         b as (select part[1]::bigint as xmin, coalesce(part[2], '0')::bigint as width, part[3] as offsets from p)
    select (b.xmin || ':' || (b.xmin + b.width) || ':' || coalesce(
               (select string_agg((b.xmin + o::bigint)::text, ',' order by o::bigint)
                  from unnest(string_to_array(b.offsets, ',')) as o), ''))::pg_snapshot
      from b
$$;
comment on function tidings.position_snapshot(text) is 'the reverse of tidings.position_text';

create function tidings.position() returns pg_snapshot
language sql stable security definer set search_path = pg_catalog, pg_temp set jit = off as $$
    -- What comes after the last entry's transaction has not been seen, even where it has ended: an id of which nothing was
    -- written down is handed out again after a crash. Neither has this transaction: its own snapshot does not list it as
    -- running, and what it writes from here on would count as seen.
    with now as (select pg_current_snapshot() as s, coalesce(pg_current_xact_id_if_assigned(), '0') as own),
         last as (select greatest((select xid from tidings.log where xid <> coalesce(pg_current_xact_id_if_assigned(), '0') order by xid desc limit 1),
                                  tidings.horizon(), '2')::text::bigint + 1 as xmax),
         running as (select x::text::bigint as xid from now, last, lateral (select own union select pg_snapshot_xip(s)) as r(x)
                      where x > '0' and x::text::bigint < last.xmax)
    select (coalesce((select min(xid) from running), last.xmax) || ':' || last.xmax || ':'
            || coalesce((select string_agg(xid::text, ',' order by xid) from running), ''))::pg_snapshot
      from last
$$;
comment on function tidings.position() is 'the position of what is committed now, as a snapshot of the log''s transactions';

create function tidings.cursor() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select tidings.origin() || '-' || tidings.position_text(tidings.position())
$$;
comment on function tidings.cursor() is
    'the cursor of what is committed now: tidings.since() of it returns what is committed later, this transaction''s writes too';

create function tidings.entry_rows(key text, old_key text, data json, rows text[])
returns table (n integer, row_key text, row_old_key text, row_data json)
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select 1, key, old_key, data where rows is null
    union all
    select i, rows[length + i], rows[2 * length + i], coalesce(rows[i], 'null')::json
      from (select case when rows is not null then data::text::integer end) as l(length), generate_series(1, length) as i
$$;
comment on function tidings.entry_rows(text, text, json, text[]) is 'the rows of an entry of the log, from the columns of those names';

create function tidings.since(after_cursor text)
returns table (id text, at timestamptz, topic text, type text, key text, data json)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    part  text[] := string_to_array(after_cursor, '-');
    seen  pg_snapshot; -- all of this has been seen
    upto  pg_snapshot; -- and of this what comes no later than entry.row
    entry bigint;
    nth   integer;
begin
    if after_cursor is null or after_cursor !~ '^[0-9a-z]+-[0-9:,]+(-[0-9:,]+-[0-9]+([.][0-9]+)?)?$' then
        raise exception 'not a cursor: %', coalesce(after_cursor, 'null') using errcode = 'invalid_parameter_value';
    end if;
    seen  := tidings.position_snapshot(part[2]);
    upto  := coalesce(tidings.position_snapshot(part[3]), seen);
    if part[1] <> tidings.origin() and not exists (
        select from tidings.ancestors a
         where a.origin = part[1] and pg_snapshot_xmax(upto) <= pg_snapshot_xmax(a.seen)
           and not exists (select from pg_snapshot_xip(a.seen) as xip where pg_visible_in_snapshot(xip, upto))) then
        raise exception 'cursor % is from another database, or of what a failover lost', after_cursor
            using errcode = 'invalid_parameter_value';
    end if;
    entry := coalesce(split_part(part[4], '.', 1)::bigint, 0);
    nth   := coalesce(nullif(split_part(part[4], '.', 2), '')::integer, 0);
    if pg_snapshot_xmax(upto) < pg_snapshot_xmax(seen) then
        raise exception 'not a cursor: %', after_cursor using errcode = 'invalid_parameter_value';
    end if;
    if pg_snapshot_xmax(upto) > pg_snapshot_xmax(pg_current_snapshot()) then
        raise exception 'cursor % is from the future', after_cursor using errcode = 'invalid_parameter_value';
    end if;
    -- Of what is forgotten, all must have been seen. Who was still open when it was forgotten had no part in it.
    if exists (select from (select e.last_xid, e.ended from tidings.eras e where e.ended is not null order by e.era desc limit 1) as f
                where pg_snapshot_xmax(seen) <= f.last_xid
                   or exists (select from pg_snapshot_xip(seen) as xip where xip <= f.last_xid and pg_visible_in_snapshot(xip, f.ended))) then
        raise exception 'cursor % is older than what is kept', after_cursor using errcode = 'invalid_parameter_value';
    end if;
    return query
        select l.id || case when r.n > 1 then '-' || (r.n - 1) else '' end, l.at, l.topic, l.type, r.row_key, nullif(r.row_data::text, 'null')::json
          from (select * from tidings.log where log.xid >= pg_snapshot_xmax(seen)
                union all
                select * from tidings.log where log.xid = any (array(select pg_snapshot_xip(seen)))) as l,
               tidings.entry_rows(l.key, l.old_key, l.data, l.rows) as r
         where (not pg_visible_in_snapshot(l.xid, upto) or (l.id, r.n - 1) > (entry, nth)) and l.topic <> 'tidings'
         order by not pg_visible_in_snapshot(l.xid, upto), l.id, r.n;
    -- TRUNCATE takes entries away from older snapshots, too. Now that all partitions are locked, one that was emptied since this
    -- transaction's snapshot, or this statement's, is known by its file: pg_class shows the one of then, the function that of now.
    if exists (select from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'tidings.log'::regclass and c.relfilenode <> pg_relation_filenode(c.oid)) then
        raise exception 'a part of the log was emptied since this transaction began: ask again in a new one' using errcode = 'serialization_failure';
    end if;
end $$;
comment on function tidings.since(text) is 'the events after a cursor, in order; an error where they can''t all be given';
revoke all on function tidings.since(text) from public;

-- A dump restored elsewhere brings along entries whose transaction ids mean nothing there. A standby that is promoted,
-- or a backup restored to a moment, lacks what came after, and hands out the same transaction ids again: positions of
-- the old timeline hold as far as one is known to have been written on both.
create table tidings.home (
    only_row boolean     primary key default true check (only_row),
    origin   text        not null,
    place    text        not null,
    timeline integer     not null,
    seen     pg_snapshot not null,
    beat_at  timestamptz
);
comment on table  tidings.home is 'where the log''s transaction ids belong';
comment on column tidings.home.seen is 'a recent position: whoever has this row has all that the position sees';
comment on column tidings.home.beat_at is 'when a server last wrote it';
insert into tidings.home (origin, place, timeline, seen)
values (tidings.origin(), tidings.place(), tidings.timeline(), pg_current_snapshot());

create table tidings.positions (
    at   timestamptz primary key,
    seen pg_snapshot not null
);
comment on table tidings.positions is 'positions of the last minutes: a server that starts reads from one, for clients that come back';

create table tidings.ancestors (
    origin text        primary key,
    seen   pg_snapshot not null,
    at     timestamptz not null default clock_timestamp()
);
comment on table tidings.ancestors is 'earlier timelines: their cursors are good up to this position';

create function tidings.settle() returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    was tidings.home;
    era bigint;
begin
    -- With an older snapshot it could take what another instance has settled for unsettled, and empty the log once more.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'tidings.settle() cannot be called under %: call it under READ COMMITTED', upper(current_setting('transaction_isolation'))
            using errcode = 'invalid_transaction_state';
    end if;
    if exists (select from tidings.home where origin = tidings.origin()) then
        return 'home';
    end if;
    perform pg_advisory_xact_lock(hashtextextended('tidings.settle', 0));
    select h.* into was from tidings.home h;
    if was.origin = tidings.origin() then
        return 'home'; -- another instance has done it meanwhile
    end if;
    -- Two standbys of one primary may both be promoted: a new name tells them apart.
    update tidings.settings set installation = md5(gen_random_uuid()::text);
    if was.place = tidings.place() and was.timeline < tidings.timeline() then
        insert into tidings.ancestors (origin, seen) values (was.origin, was.seen);
        update tidings.home set origin = tidings.origin(), timeline = tidings.timeline();
        return 'promoted';
    end if;
    truncate tidings.log;
    select max(e.era) + 7 into era from tidings.eras e; -- the trigger functions go on writing to the same partition
    truncate tidings.eras;
    truncate tidings.ancestors;
    truncate tidings.positions;
    -- What was written here before is forgotten as well.
    insert into tidings.eras (era, forgotten_at, last_xid, ended)
    select era, clock_timestamp(), (pg_snapshot_xmax(now)::text::bigint - 1)::text::xid8, now from pg_current_snapshot() as now;
    insert into tidings.eras (era) values (era + 1);
    update tidings.home set origin = tidings.origin(), place = tidings.place(), timeline = tidings.timeline(),
                            seen = pg_current_snapshot();
    return 'copied';
end $$;
comment on function tidings.settle() is
    'makes the log this database''s own if it is a restored copy or was promoted; returns which, or home. Servers call it.';
revoke all on function tidings.settle() from public;

create function tidings.beat(every interval) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    entry bigint;
begin
    -- The first statement, so that the position is older than this transaction's own id.
    update tidings.home set seen = pg_current_snapshot(), beat_at = clock_timestamp()
     where origin = tidings.origin()
       and (beat_at > clock_timestamp() - every and beat_at <= clock_timestamp()) is not true;
    if not found then
        return null;
    end if;
    insert into tidings.positions (at, seen) select beat_at, seen from tidings.home on conflict do nothing;
    delete from tidings.positions where at not between clock_timestamp() - interval '5 minutes' and clock_timestamp();
    execute format('insert into tidings.%I (topic, type) values (''tidings'', ''beat'') returning id', tidings.current_partition()) into entry;
    perform tidings.ring('tidings');
    return entry;
end $$;
comment on function tidings.beat(interval) is
    'writes an entry that goes the way of all others, unless one was written lately; returns its id. Servers call it.';
revoke all on function tidings.beat(interval) from public;
