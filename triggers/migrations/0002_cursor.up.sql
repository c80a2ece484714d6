-- Cursors: a position in the log as opaque text. Their grammar is that of the Go package realtime:
--   origin '-' position                                 everything visible in that snapshot has been seen
--   origin '-' position '-' position '-' id ['.' row]   so has what came between the two, up to that row
--   position = xmin [':' xmax-xmin [':' xip-xmin {',' xip-xmin}]]

create function tidings.origin() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    cluster text := '';
begin
    begin
        cluster := (select system_identifier::text from pg_control_system());
    exception when insufficient_privilege then
        null; -- some providers keep it to themselves; installation and database still tell most copies apart
    end;
    return (select left(md5(concat_ws('/', cluster, s.installation, d.oid)), 8)
              from tidings.settings s, pg_database d where d.datname = current_database());
end $$;
comment on function tidings.origin() is 'names this database in its cursors, so that another''s are recognised';

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

create function tidings.cursor() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    -- A transaction's own snapshot does not list it as running, and what it writes from here on would count as seen.
    with now as (select pg_current_snapshot() as s, pg_current_xact_id_if_assigned() as own)
    select tidings.origin() || '-' || tidings.position_text(case when own is null or not pg_visible_in_snapshot(own, s) then s else
               (least(own, pg_snapshot_xmin(s)) || ':' || pg_snapshot_xmax(s) || ':'
                || (select string_agg(x::text, ',' order by x) from (select own union all select pg_snapshot_xip(s)) as r(x)))::pg_snapshot end)
      from now
$$;
comment on function tidings.cursor() is
    'the cursor of what is committed now: tidings.since() of it returns what is committed later, this transaction''s writes too';

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
    if part[1] <> tidings.origin() then
        raise exception 'cursor % is from another database', after_cursor using errcode = 'invalid_parameter_value';
    end if;
    seen  := tidings.position_snapshot(part[2]);
    upto  := coalesce(tidings.position_snapshot(part[3]), seen);
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
        select l.id || case when r.n > 1 then '-' || (r.n - 1) else '' end, l.at, l.topic, l.type, l.keys[r.n], l.rows[r.n]::json
          from (select * from tidings.log where log.xid >= pg_snapshot_xmax(seen)
                union all
                select * from tidings.log where log.xid = any (array(select pg_snapshot_xip(seen)))) as l,
               generate_series(1, greatest(cardinality(l.rows), 1)) as r(n)
         where not pg_visible_in_snapshot(l.xid, upto) or (l.id, r.n - 1) > (entry, nth)
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

-- A dump restored elsewhere brings along entries whose transaction ids mean nothing there.
create table tidings.home (
    only_row boolean primary key default true check (only_row),
    origin   text not null
);
comment on table tidings.home is 'the database to which the log''s transaction ids belong';
insert into tidings.home (origin) values (tidings.origin());

create function tidings.settle() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- With an older snapshot it could take what another instance has settled for unsettled, and empty the log once more.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'tidings.settle() cannot be called under %: call it under READ COMMITTED', upper(current_setting('transaction_isolation'))
            using errcode = 'invalid_transaction_state';
    end if;
    if exists (select from tidings.home where origin = tidings.origin()) then
        return false;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('tidings.settle', 0));
    if exists (select from tidings.home where origin = tidings.origin()) then
        return false; -- another instance has done it meanwhile
    end if;
    truncate tidings.log;
    truncate tidings.eras;
    perform setval('tidings.log_id', ((last_value >> 40) + 1) << 40) from tidings.log_id;
    insert into tidings.eras (era) select last_value >> 40 from tidings.log_id;
    update tidings.home set origin = tidings.origin();
    return true;
end $$;
comment on function tidings.settle() is
    'empties the log if this database is a restored copy; returns whether it was. Servers call it when they start.';
revoke all on function tidings.settle() from public;
