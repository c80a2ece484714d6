-- What is told without a table: streams, such as who is online; what a person in psql tells clients; and what is told to servers.

create table tidings.streams (
    topic text    primary key,
    keyed boolean not null default true,
    read  text    not null default 'signed_in',
    load  regprocedure,
    constraint streams_topic check (topic <> 'tidings'), -- which is the servers' own
    constraint streams_read check (read in ('public', 'signed_in') or read like 'policy:_%')
);
comment on table  tidings.streams is 'topics that no table feeds; who may subscribe can be changed by UPDATE';
comment on column tidings.streams.keyed is 'whether keys are channels of their own, such as presence:5';
comment on column tidings.streams.read is 'who may subscribe: public, signed_in, or policy:<schema>.<function>, as of a watch';
comment on column tidings.streams.load is 'the function that returns what stands at a moment, as tidings.load does; null: there is no such thing';
create function tidings.tell_topics_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if (tg_relid = any (array[to_regclass('tidings.streams'), to_regclass('tidings.watches')]::oid[])) is not true then
        raise exception 'tidings.tell_topics_changed() is not for %', tg_relid::regclass using errcode = 'wrong_object_type';
    end if;
    perform pg_notify('tidings', '{"watches":"changed"}');
    -- In the log as well: so nothing that is written afterwards is told by the rules from before.
    execute format('insert into tidings.%I (topic, type, data) values (''tidings'', ''topics'', ''null'')', tidings.current_partition());
    return null;
end $$;
comment on function tidings.tell_topics_changed() is 'has servers read again what can be subscribed to';
revoke all on function tidings.tell_topics_changed() from public; -- or it could be put on anybody's table
create trigger tell after insert or update or delete or truncate on tidings.streams
    for each statement execute function tidings.tell_topics_changed();

-- The entries are in the order of the arrays. Triggers call it with every row, so it has a statement for each partition, which is
-- planned once, and names with schemas instead of a search path that is pinned: CASE slot WHEN 0 would look up an operator.
do $do$
begin
    execute format($create$
create function tidings.emit(topic text, types text[], keys text[], data json[], acl text[] default null) returns void
language plpgsql security definer as $$
#variable_conflict use_variable
declare
    slot pg_catalog.int8;
begin
    if pg_catalog.cardinality(types) operator(pg_catalog.>) 0 then
        slot := (select e.era operator(pg_catalog.&) 7::pg_catalog.int8 from tidings.eras as e order by e.era desc limit 1);
        case%s
        end case;
        if pg_catalog.pg_sequence_last_value('tidings.sleepers') operator(pg_catalog.>) 0 then
            perform tidings.ring(topic);
        end if;
    end if;
end $$
$create$, (select string_agg(format($insert$
        when slot operator(pg_catalog.=) %1$s then
            insert into tidings.log_%1$s (topic, type, key, data, acl)
            select topic, e.type, e.key, e.data, acl
              from rows from (pg_catalog.unnest(types), pg_catalog.unnest(keys), pg_catalog.unnest(data)) with ordinality as e(type, key, data, n)
             order by e.n;$insert$, slot), '' order by slot) from generate_series(0, 7) as slot));
end $do$;
comment on function tidings.emit(text, text[], text[], json[], text[]) is 'writes entries of a topic to the log, as triggers do for a table''s';
revoke all on function tidings.emit(text, text[], text[], json[], text[]) from public;

create function tidings.emit_one(topic text, type text, key text, data json) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select tidings.emit(topic, array[type], array[key], array[data])
$$;
comment on function tidings.emit_one(text, text, text, json) is 'writes one entry of a topic to the log';
revoke all on function tidings.emit_one(text, text, text, json) from public;

-- What a client takes for something else.
create function tidings.reserved_type(type text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select type = any ('{row,subscribed,unsubscribed,loaded,reset,cursor,error,pong,ping,goodbye,authenticated,token_expiring,typing,user_online,user_offline}')
        or type ~ '_(added|updated|deleted|truncated)$'
$$;
comment on function tidings.reserved_type(text) is 'whether a type means something already';

create function tidings.signal(channel text, type text, data json) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    payload text := json_build_object('channel', channel, 'type', type, 'data', data)::text;
begin
    if octet_length(payload) >= 8000 then
        raise exception 'what is kept nowhere has less than 8,000 bytes, not %', octet_length(payload)
            using errcode = 'program_limit_exceeded', hint = 'What is kept may be of any size.';
    end if;
    perform pg_notify(s.signals, payload) from tidings.settings s;
end $$;
comment on function tidings.signal(text, text, json) is 'tells who is there, in a notification, what is kept nowhere';
revoke all on function tidings.signal(text, text, json) from public;

create function tidings.broadcast(channel text, type text, data json default '{}', kept boolean default true) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    of_topic text := split_part(channel, ':', 1);
    of_key   text := nullif(substr(channel, length(of_topic) + 2), '');
    known    boolean;
    -- A JSON null would be a row that is too large to be told.
    content  json := case when data is null or data::text = 'null' then '{}' else data end;
begin
    if channel is null or channel = '' or of_key is null and strpos(channel, ':') > 0 then
        raise exception '% is not a channel: it is a topic, or a topic, a colon and a key', coalesce(quote_literal(channel), 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    select w.key is not null or of_key is null into known from tidings.watches w where w.topic = of_topic;
    if not found then
        select s.keyed or of_key is null into known from tidings.streams s where s.topic = of_topic;
    end if;
    if known is not true then
        raise exception 'there is no channel %', quote_literal(channel) using errcode = 'invalid_parameter_value',
            hint = 'The topics: ' || (select string_agg(t.topic, ', ' order by t.topic)
                                        from (select w.topic from tidings.watches w union all select s.topic from tidings.streams s) as t);
    end if;
    if type is null or type !~ '^[[:alnum:]_.-]{1,63}$' then
        raise exception 'type % cannot be used: it has 1 to 63 letters, digits, "_", "." or "-"', coalesce(quote_literal(type), 'null')
            using errcode = 'invalid_parameter_value';
    elsif tidings.reserved_type(type) then
        raise exception 'type % cannot be used: it has a meaning already', quote_literal(type) using errcode = 'invalid_parameter_value';
    end if;
    if kept then
        perform tidings.emit(of_topic, array[type], array[of_key], array[content], '{}');
    else
        perform tidings.signal(channel, type, content);
    end if;
end $$;
comment on function tidings.broadcast(text, text, json, boolean) is
    'tells all who subscribe to just this channel: select tidings.broadcast(''messages'', ''announcement'', ''{"text": "..."}''); with kept => false, only who is there now';
revoke all on function tidings.broadcast(text, text, json, boolean) from public;

-- What servers are told stands in the log as well, under a topic that nobody can subscribe to: so all hear of it, in order, and
-- after an outage.
create table tidings.revocations (
    "user"     text        not null,
    session    text        not null default '',
    not_before timestamptz not null default clock_timestamp(),
    primary key ("user", session)
);
comment on table  tidings.revocations is 'whose tokens are not taken any more';
comment on column tidings.revocations.session is 'the session whose tokens are meant (their claim sid); empty: all of the user''s';
comment on column tidings.revocations.not_before is 'of a user: only tokens that were issued before are meant';
create index revocations_by_time on tidings.revocations (not_before);

create function tidings.disconnect("user" text, session text default null, reason text default null) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if disconnect."user" is null or disconnect."user" = '' then
        raise exception 'disconnect needs the name of a user' using errcode = 'invalid_parameter_value';
    end if;
    perform tidings.emit_one('tidings', 'disconnect', disconnect."user", json_build_object('session', session, 'reason', reason));
end $$;
comment on function tidings.disconnect(text, text, text) is
    'closes a user''s connections on all servers, or those of one session; a token that is good still opens another: tidings.revoke()';
revoke all on function tidings.disconnect(text, text, text) from public;

create function tidings.revoke("user" text, session text default null) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if revoke."user" is null or revoke."user" = '' then
        raise exception 'revoke needs the name of a user' using errcode = 'invalid_parameter_value';
    end if;
    insert into tidings.revocations as r ("user", session) values (revoke."user", coalesce(revoke.session, ''))
        on conflict on constraint revocations_pkey do update set not_before = excluded.not_before;
    -- No session's token lives for so long.
    delete from tidings.revocations where ctid = any (array(
        select r.ctid from tidings.revocations r where r.not_before < clock_timestamp() - interval '31 days' and r.session <> ''
         order by r.not_before limit 10 for update skip locked));
    perform tidings.emit_one('tidings', 'disconnect', revoke."user", json_build_object('session', revoke.session, 'reason', 'revoked'));
end $$;
comment on function tidings.revoke(text, text) is
    'ends the validity of the tokens that a user has now, or of one session''s, and closes the connections on all servers';
revoke all on function tidings.revoke(text, text) from public;

create function tidings.recheck() returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select tidings.emit_one('tidings', 'recheck', null, 'null')
$$;
comment on function tidings.recheck() is
    'has servers ask again, now, who may subscribe to what: after a change of what policies look at. They do so from time to time anyway.';
revoke all on function tidings.recheck() from public;

-- A policy that watched tables are read by is changed, where we may see that (a superuser installs).
create function tidings.policy_changed() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    of_tables oid[];
begin
    if tg_event = 'sql_drop' then
        of_tables := array(select to_regclass(format('%I.%I', d.address_names[1], d.address_names[2])) from pg_event_trigger_dropped_objects() as d
                            where d.object_type = 'policy');
    else
        of_tables := array(select p.polrelid from pg_event_trigger_ddl_commands() as c join pg_policy p on p.oid = c.objid
                            where c.classid = 'pg_policy'::regclass);
    end if;
    if exists (select from tidings.tables_asked() as t(relation) where t.relation = any (of_tables))
        or tg_tag like '%FUNCTION' and exists (
        select from pg_event_trigger_ddl_commands() as c
          join (select read from tidings.watches union all select read from tidings.streams) as r on c.objid = tidings.policy_function(r.read)
         where r.read like 'policy:%' and c.classid = 'pg_proc'::regclass) then
        perform tidings.recheck();
    end if;
exception when others then
    raise warning 'tidings could not follow a change of a policy: %; call tidings.recheck()', sqlerrm;
end $$;
comment on function tidings.policy_changed() is 'calls tidings.recheck()';
revoke all on function tidings.policy_changed() from public;
do $$
begin
    create event trigger tidings_policies on ddl_command_end when tag in ('CREATE FUNCTION', 'ALTER FUNCTION', 'CREATE POLICY', 'ALTER POLICY')
        execute function tidings.policy_changed();
    create event trigger tidings_dropped_policies on sql_drop when tag in ('DROP POLICY') execute function tidings.policy_changed();
exception when insufficient_privilege then
    null;
end $$;
