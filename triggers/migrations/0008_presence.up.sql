-- Who is here. Servers say which users have how many connections to them; what follows from that for all servers together is
-- decided here, by the database's clock alone, and told in the same transaction.
--
-- A user is online while a server has a connection of hers, and for a grace after the last was closed. All that is written is
-- absolute ("so many connections"), so that it may be said again. Changes are made one at a time, under a lock: so each is told
-- once, whoever acts at the same time, and none can wait for another that waits for it. While a server waits its changes gather,
-- and then are one: the more there are, the fewer statements they take.

-- None of it is unlogged: what was announced must be known after a crash.
create table tidings.presence_instances (
    name         text        primary key,
    seen_at      timestamptz not null,
    steady_since timestamptz not null
) with (fillfactor = 50);
comment on table  tidings.presence_instances is 'the servers that say who is connected to them';
comment on column tidings.presence_instances.seen_at is 'when it last said anything';
comment on column tidings.presence_instances.steady_since is
    'since when it has said so without a gap: who was away itself, or saw the clock jump, must not take others for dead';

create table tidings.presence_connections (
    "user"      text    collate "C" not null,
    instance    text    not null,
    connections integer not null check (connections > 0),
    primary key ("user", instance)
);
comment on table tidings.presence_connections is 'how many connections a user has to a server';
create index presence_connections_by_instance on tidings.presence_connections (instance);

create table tidings.presence (
    "user"    text        collate "C" primary key,
    online    boolean     not null,
    since     timestamptz,
    last_seen timestamptz,
    leaves_at timestamptz,
    constraint presence_state check (case when online then since is not null and (last_seen is null) = (leaves_at is null)
                                          else since is null and last_seen is not null and leaves_at is null end)
);
comment on table  tidings.presence is 'what was told of users; a row of each that ever was here, for when that was';
comment on column tidings.presence.since is 'since when the user is online; null: is not';
comment on column tidings.presence.last_seen is 'when the last connection was closed; null: one is open';
comment on column tidings.presence.leaves_at is 'when a user who is online without a connection goes offline, unless she is back before';
create index presence_online on tidings.presence ("user") where online;
create index presence_leaving on tidings.presence (leaves_at) where leaves_at is not null;

create function tidings.load_presence(key text, after text[], backwards boolean, max_rows bigint, max_bytes bigint)
returns table (place text[], row_key text, data text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set jit = off as $$
declare
    bytes bigint := 0;
begin
    if after is not null and (cardinality(after) <> 1 or after[1] is null) then
        raise exception '% is not a place in presence', after using errcode = 'invalid_parameter_value';
    end if;
    for place, row_key, data in execute format($query$
        select array[p."user"], p."user",
               case when p.online then (select to_json(r) from (select p."user", true as online, p.since) as r)
                    else (select to_json(r) from (select p."user", false as online, p.last_seen) as r) end
          from tidings.presence p where %s and %s order by p."user" %s limit $3$query$,
        case when key is null then 'p.online' else 'p."user" = $1' end,
        case when after is null then 'true' when backwards then 'p."user" < $2[1]' else 'p."user" > $2[1]' end,
        case when backwards then 'desc' else 'asc' end)
        using key, after, max_rows
    loop
        return next;
        bytes := bytes + octet_length(data) + 256;
        exit when bytes > max_bytes;
    end loop;
end $$;
comment on function tidings.load_presence(text, text[], boolean, bigint, bigint) is
    'who is online, as the channel presence tells of them; with a key, that user, also when offline';
revoke all on function tidings.load_presence(text, text[], boolean, bigint, bigint) from public;

-- Rows are found by their keys one by one, whatever the planner thinks of tables that are empty now and full a moment later.
create function tidings.presence_settle(users text[], moment timestamptz, left_at timestamptz, leaves_at timestamptz) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set jit = off set enable_seqscan = off as $$
declare
    arriving text[]; -- who was offline, or never here
    back     tid[];  -- the rows of those who were about to leave
    leaving  tid[];  -- and of those who are now
    data     json[];
begin
    select array_agg(n."user" order by n."user") filter (where c.here and p.online is not true),
           array_agg(p.ctid) filter (where c.here and p.leaves_at is not null),
           array_agg(p.ctid) filter (where not c.here and p.online and p.leaves_at is null)
      into arriving, back, leaving
      from unnest(presence_settle.users) as n("user")
      left join lateral (select p.ctid, p.online, p.leaves_at from tidings.presence p where p."user" = n."user" limit 1) as p on true
     cross join lateral (select exists (select from tidings.presence_connections c where c."user" = n."user" offset 0) as here) as c;
    update tidings.presence p set last_seen = null, leaves_at = null where p.ctid = any (back);
    update tidings.presence p set last_seen = presence_settle.left_at, leaves_at = presence_settle.leaves_at where p.ctid = any (leaving);
    with come as (
        insert into tidings.presence as p ("user", online, since) select n."user", true, moment from unnest(arriving) as n("user")
            on conflict on constraint presence_pkey do update set online = true, since = excluded.since, last_seen = null
            returning p."user", p.since)
    select array_agg(c."user" order by c."user"),
           array_agg((select to_json(r) from (select c."user", true as online, c.since) as r) order by c."user")
      into arriving, data from come as c;
    if arriving is not null then
        perform tidings.emit('presence', array_fill('user_online'::text, array[cardinality(arriving)]), arriving, data);
    end if;
end $$;
comment on function tidings.presence_settle(text[], timestamptz, timestamptz, timestamptz) is
    'finds out what has become of users whose connections have changed, and tells who has come; the lock is held';
revoke all on function tidings.presence_settle(text[], timestamptz, timestamptz, timestamptz) from public;

create function tidings.presence_sweep(moment timestamptz, every interval, dead_after interval, grace interval) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set jit = off set enable_seqscan = off as $$
declare
    dead  tidings.presence_instances;
    users text[];
    data  json[];
begin
    -- One whose row is locked is just saying something.
    for dead in select i.* from tidings.presence_instances i
                 where i.seen_at not between moment - dead_after and moment + dead_after for update skip locked loop
        delete from tidings.presence_instances i where i.name = dead.name;
        with gone as (delete from tidings.presence_connections c where c.instance = dead.name returning c."user")
        select array_agg(g."user") into users from gone g;
        -- Should it live after all, it has the time to say so before anything is told.
        perform tidings.presence_settle(users, moment, least(dead.seen_at, moment), greatest(least(dead.seen_at, moment) + grace, moment + every));
    end loop;
    with gone as (
        update tidings.presence p set online = false, since = null, leaves_at = null
         where p.leaves_at <= moment or p.leaves_at > moment + greatest(grace, every) + interval '1 minute' -- the clock was set back
        returning p."user", p.last_seen)
    select array_agg(g."user" order by g."user"),
           array_agg((select to_json(r) from (select g."user", false as online, g.last_seen) as r) order by g."user")
      into users, data from gone as g;
    if users is not null then
        perform tidings.emit('presence', array_fill('user_offline'::text, array[cardinality(users)]), users, data);
    end if;
end $$;
comment on function tidings.presence_sweep(timestamptz, interval, interval, interval) is
    'forgets servers that have said nothing for long, and tells who has gone; the lock is held';
revoke all on function tidings.presence_sweep(timestamptz, interval, interval, interval) from public;

create function tidings.present(instance text, users text[], connections integer[], complete boolean,
                                every interval, dead_after interval, grace interval)
returns table (known boolean, due interval)
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
    key     constant bigint := hashtextextended('tidings.presence', 0);
    moment  timestamptz;
    steady  timestamptz;
    others  text[];
    changes boolean := complete or cardinality(users) > 0;
    swept   boolean := false;
begin
    -- With an older snapshot it would not see what others have told.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'tidings.present() cannot be called under %: call it under READ COMMITTED', upper(current_setting('transaction_isolation'))
            using errcode = 'invalid_transaction_state';
    end if;
    if changes then
        perform pg_advisory_xact_lock(key);
    end if;
    moment := clock_timestamp();
    update tidings.presence_instances i
       set seen_at = moment,
           steady_since = case when moment - i.seen_at between interval '0' and present.dead_after / 2 then i.steady_since else moment end
     where i.name = present.instance
    returning i.steady_since into steady;
    known := found;
    if not known and not complete then
        return next;
        return; -- it was taken for dead, and must say everything
    elsif not known then
        insert into tidings.presence_instances (name, seen_at, steady_since) values (present.instance, moment, moment);
        known := true;
        steady := moment;
    end if;

    if complete then
        others := array(select c."user" from tidings.presence_connections c where c.instance = present.instance except select unnest(present.users));
        users := present.users || others;
        connections := present.connections || array_fill(0, array[cardinality(others)]);
        -- Of servers whose row somebody has deleted.
        with lost as (
            delete from tidings.presence_connections c
             where not exists (select from tidings.presence_instances i where i.name = c.instance) returning c."user")
        select array_agg(l."user") into others from lost as l;
    end if;
    if changes then
        delete from tidings.presence_connections c where c.ctid = any (array(
            select c.ctid from unnest(present.users, present.connections) as n("user", connections)
             cross join lateral (select c.ctid from tidings.presence_connections c
                                  where c."user" = n."user" and c.instance = present.instance limit 1) as c
             where n.connections = 0));
        insert into tidings.presence_connections as c ("user", instance, connections)
            select n."user", present.instance, n.connections from unnest(present.users, present.connections) as n("user", connections)
             where n.connections > 0
            on conflict on constraint presence_connections_pkey do update set connections = excluded.connections
                where c.connections <> excluded.connections;
        perform tidings.presence_settle(array(select unnest(present.users) union select unnest(others)), moment, moment, moment + present.grace);
    end if;

    if steady <= moment - present.dead_after and (
        exists (select from tidings.presence p where p.leaves_at <= moment
                                                            or p.leaves_at > moment + greatest(present.grace, every) + interval '1 minute') or
        exists (select from tidings.presence_instances i
                 where i.seen_at not between moment - present.dead_after and moment + present.dead_after)) then
        -- Who has only come by leaves it to others, if they are at it.
        if changes or pg_try_advisory_xact_lock(key) then
            perform tidings.presence_sweep(moment, every, present.dead_after, present.grace);
            swept := true;
        end if;
    end if;
    if not changes and not swept then
        perform set_config('synchronous_commit', 'off', true); -- that it was here need not outlive a crash
    end if;

    select greatest(n.at, steady + present.dead_after) - clock_timestamp() into due
      from (select least((select p.leaves_at from tidings.presence p where p.leaves_at is not null order by p.leaves_at limit 1),
                         (select min(i.seen_at) + present.dead_after from tidings.presence_instances i where i.name <> present.instance))) as n(at)
     where n.at is not null;
    return next;
end $$;
comment on function tidings.present(text, text[], integer[], boolean, interval, interval, interval) is
    'says that a server is there, and how many connections it has of the users whose number has changed, or of all it has (complete); sets users offline '
    'and forgets dead servers, when it is time. Returns false where it was forgotten itself, and must be complete; and in what time '
    'there will be something to do. Servers call it.';
revoke all on function tidings.present(text, text[], integer[], boolean, interval, interval, interval) from public;

create function tidings.absent(instance text, grace interval) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
    moment timestamptz;
    users  text[];
begin
    perform pg_advisory_xact_lock(hashtextextended('tidings.presence', 0));
    moment := clock_timestamp();
    delete from tidings.presence_instances i where i.name = absent.instance;
    with gone as (delete from tidings.presence_connections c where c.instance = absent.instance returning c."user")
    select array_agg(g."user") into users from gone g;
    perform tidings.presence_settle(users, moment, moment, moment + absent.grace);
end $$;
comment on function tidings.absent(text, interval) is 'says that a server is no longer there, and so nobody is connected to it. Servers call it.';
revoke all on function tidings.absent(text, interval) from public;

-- What a server that is dead said is not told to people, even where no server is left to take it back.
create view tidings.online as
    select p."user", p.since, coalesce(sum(c.connections), 0) as connections, count(c.instance) as instances
      from tidings.presence p
      left join (tidings.presence_connections c
                 join tidings.presence_instances i on i.name = c.instance and i.seen_at > clock_timestamp() - interval '1 minute')
        on c."user" = p."user"
     where p.online
     group by p."user"
    having count(c.instance) > 0 or p.leaves_at > clock_timestamp() - interval '1 minute';
comment on view tidings.online is 'who is online, since when, and with how many connections to how many servers; none: she has just left, and may come back';

create view tidings.last_seen as
    select p."user", p.last_seen from tidings.presence p where not p.online;
comment on view tidings.last_seen is 'when those who are not online were here last';

insert into tidings.streams (topic, keyed, read, load)
values ('presence', true, 'signed_in', 'tidings.load_presence(text, text[], boolean, bigint, bigint)');
