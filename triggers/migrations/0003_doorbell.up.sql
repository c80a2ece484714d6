-- The doorbell. A transaction that notifies commits under a lock of the whole cluster, so it is rung only for someone
-- asleep: a server that has much to read stays awake, reads every few milliseconds, and says so here.
--
-- A server falls asleep so: it says asleep; then takes a transaction id; reads on until no transaction below that one runs
-- any more; and waits. Whoever still looked and saw nobody asleep has a lower id, since a writer has its id before its
-- trigger looks here, and was awaited.

-- Nothing in it has to outlive a crash: all who are here connect again then, and say so again.
create unlogged table tidings.instances (
    name       text        primary key,
    asleep     boolean     not null,
    started_at timestamptz not null default clock_timestamp(),
    seen_at    timestamptz not null default clock_timestamp(),
    told_at    timestamptz,
    status     jsonb
) with (fillfactor = 50);
comment on table  tidings.instances is 'the servers that read the log';
comment on column tidings.instances.asleep is 'it waits for the doorbell; otherwise it reads all the time';
comment on column tidings.instances.seen_at is 'when its reader last said anything; one that has not for a minute is forgotten';
comment on column tidings.instances.told_at is 'when it last said how it is doing, which it does every two seconds; null: not yet';
comment on column tidings.instances.status is 'how it is doing: see tidings.running';

-- What writers look at is a sequence, which is no part of any transaction: all see the same of it, whatever their snapshot
-- is, and it is cheaper to look at than a table.
create sequence tidings.sleepers minvalue 0 start 0;
select setval('tidings.sleepers', 0);
comment on sequence tidings.sleepers is 'last_value: how many of tidings.instances are asleep';

create function tidings.count_sleepers() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    asleep bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('tidings.sleepers', 0)); -- whoever counts last sees what all others did
    select count(*) into asleep from tidings.instances as i where i.asleep;
    if asleep is distinct from pg_sequence_last_value('tidings.sleepers') then
        perform setval('tidings.sleepers', asleep);
    end if;
end $$;
comment on function tidings.count_sleepers() is 'sets tidings.sleepers';
revoke all on function tidings.count_sleepers() from public;

create function tidings.attend(instance text, asleep boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into tidings.instances as i (name, asleep) values (attend.instance, attend.asleep)
        on conflict (name) do update set asleep = excluded.asleep, seen_at = clock_timestamp();
    delete from tidings.instances i
     where i.seen_at not between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute';
    perform tidings.count_sleepers();
end $$;
comment on function tidings.attend(text, boolean) is
    'says that a server is there, and whether it wants the doorbell rung; forgets those that are gone. Servers call it.';
revoke all on function tidings.attend(text, boolean) from public;

-- Besides the owner; see tidings.grant_serving().
create function tidings.serving_roles() returns setof name
language sql stable set search_path = pg_catalog, pg_temp as $$
    select r.rolname from pg_proc p, aclexplode(p.proacl) as a join pg_roles r on r.oid = a.grantee
     where p.oid = 'tidings.attend(text, boolean)'::regprocedure and a.grantee <> p.proowner
       and exists (select from pg_namespace n, aclexplode(n.nspacl) as u where n.oid = p.pronamespace and u.grantee = a.grantee and u.privilege_type = 'USAGE')
$$;
comment on function tidings.serving_roles() is
    'the roles that were granted to serve: those that may call tidings.attend(), and use this schema; the owner''s default privileges may let others have the one without the other';

create function tidings.leave(instance text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from tidings.instances i where i.name = leave.instance;
    perform tidings.count_sleepers();
end $$;
comment on function tidings.leave(text) is 'says that a server is no longer there. Servers call it.';
revoke all on function tidings.leave(text) from public;

create function tidings.report(instance text, status jsonb)
returns table (name text, host text, address text, stopping boolean, silent_for interval)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    -- A row of one whose reader has said nothing yet counts for nobody who is asleep.
    insert into tidings.instances as i (name, asleep, told_at, status) values (report.instance, false, clock_timestamp(), report.status)
        on conflict (name) do update set told_at = excluded.told_at, status = excluded.status;
    select i.name, i.status ->> 'host', i.status ->> 'address', coalesce((i.status ->> 'stopping')::boolean, false),
           greatest(clock_timestamp() - i.told_at, '0')
      from tidings.instances i where i.name <> report.instance and i.told_at is not null
$$;
comment on function tidings.report(text, jsonb) is
    'says how a server is doing, and returns what is known of the others: whether they are about to stop, and for how long they have not said anything. '
    'Servers call it.';
revoke all on function tidings.report(text, jsonb) from public;

-- A server goes on when this schema becomes newer than what it knows, unless that is less than this. A migration with which older servers
-- would tell what is wrong says so in a file of its own, before it: create or replace function ... select <that file's number>. The next file
-- begins with tidings.await_instances(<that number>). All versions have in common: this function, and that a server's status in
-- tidings.instances has what it knows as "schema".
create function tidings.compatible_from() returns integer
language sql immutable set search_path = pg_catalog, pg_temp as $$ select 1 $$;
comment on function tidings.compatible_from() is
    'servers that know an older version of this schema than this one stop; those that know this one, or a newer one, go on';

create function tidings.await_instances(schema_version integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    begun timestamptz := clock_timestamp();
begin
    perform pg_sleep(2); -- who looked just before it was said is here by then
    while exists (select from tidings.instances i
                   where coalesce((i.status ->> 'schema')::integer, 0) < schema_version
                     and greatest(i.seen_at, i.told_at) > clock_timestamp() - interval '1 minute') loop
        if clock_timestamp() > begun + interval '5 minutes' then
            raise exception 'servers of an older version still run: stop them' using errcode = 'lock_not_available';
        end if;
        perform pg_sleep(0.1);
    end loop;
end $$;
comment on function tidings.await_instances(integer) is
    'waits until no server runs that knows less than this version of the schema, or it has been silent for a minute. Migrations call it.';
revoke all on function tidings.await_instances(integer) from public;

-- One that says nothing for a few seconds is shown as silent, and then not at all: it was killed, or cannot reach the database.
create view tidings.running as
    select i.name,
           i.status ->> 'host'                                 as host,
           i.status ->> 'address'                              as address,
           i.status ->> 'version'                              as version,
           (i.status ->> 'started_at')::timestamptz            as started_at,
           greatest(clock_timestamp() - i.told_at, '0')        as silent_for,
           (i.status ->> 'live')::boolean                      as live,
           (i.status ->> 'listening')::boolean                 as listening,
           (i.status ->> 'beating')::boolean                   as beating,
           make_interval(secs => nullif((i.status ->> 'lag_seconds')::float8, 0)) as lag,
           (i.status ->> 'events')::bigint                     as events,
           (i.status ->> 'delivered')::bigint                  as delivered,
           (i.status ->> 'connections')::integer               as connections,
           (i.status ->> 'users')::integer                     as users,
           (i.status ->> 'behind')::integer                    as behind,
           make_interval(secs => (i.status ->> 'cpu_seconds')::float8) as cpu,
           pg_size_pretty((i.status ->> 'memory_bytes')::bigint) as memory,
           not i.asleep and i.status ->> 'relay' is distinct from 'following' as awake,
           i.status ->> 'relay'                                as redis
      from tidings.instances i
     where i.told_at between clock_timestamp() - interval '10 seconds' and clock_timestamp() + interval '1 minute'
     order by host, address, i.name;
comment on view tidings.running is
    'the servers that run: how far behind they are (lag: of the last heartbeat), what they have read and delivered since their start, how many '
    'connections they have, and of how many users; behind: subscribers that are being fed what they have missed; silent_for: more than a few seconds: '
    'it was killed, or cannot reach the database; redis: leading, it reads the log for all; following; or alone, as Redis cannot be used';

create function tidings.ring(topic text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if pg_sequence_last_value('tidings.sleepers') > 0
        and (lower(current_setting('tidings.doorbell', true)) = any ('{off,false,no,f,n,0}')) is not true then
        perform pg_notify('tidings', '{"topic":' || to_json(topic) || ',"xid":"' || pg_current_xact_id() || '"}');
    end if;
end $$;
comment on function tidings.ring(text) is 'rings the doorbell if anybody is asleep, as the trigger functions do';
revoke all on function tidings.ring(text) from public;
