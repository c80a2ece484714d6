-- Watching tables. For each watched table there is one generated trigger function: its SQL is static, so that its plans
-- are cached, and it runs as its owner, so that a role with nothing but INSERT on the table can write.

create table tidings.watches (
    id         integer     primary key generated always as identity,
    relation   regclass    not null unique,
    topic      text        not null unique,
    event      text        not null,
    key        text,
    columns    text[],
    read       text        not null,
    watched_at timestamptz not null default clock_timestamp()
);
comment on table  tidings.watches is 'the watched tables; change it through tidings.watch() and tidings.unwatch()';
comment on column tidings.watches.topic is 'the table''s public name, which clients subscribe to';
comment on column tidings.watches.event is 'what the events'' types begin with: message for message_added';
comment on column tidings.watches.key is 'the column whose values are channels of their own, such as messages:5';
comment on column tidings.watches.columns is 'the columns that go out; null: all';
comment on column tidings.watches.read is 'who may subscribe: public, signed_in, owner:<column> or policy:<schema>.<function>, which takes (claims jsonb, topic text, key text)';

create function tidings.singular(name text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case
        when name ~* 'people$'                              then left(name, -5) || 'erson'
        when name ~* 'children$'                            then left(name, -3)
        when name ~* '(ss|us|is|news|series|species)$'      then name
        -- movies, ties, caches, excuses: these have lost nothing but their s
        when name ~* '((mov|cook|zomb|calor|self)i|(^|_).i|cach|nich|excus|fus|abus)es$' then left(name, -1)
        when name ~* '[^aeiou]ies$'                         then left(name, -3) || 'y'
        when name ~* '(analy|the|cri|diagno)ses$'           then left(name, -2) || 'is'
        when name ~* 'quizzes$'                             then left(name, -3)
        when name ~* '(ss|sh|ch|x|zz|[^aeiou]us|(ali|bi|canv|atl|g)as|lens|(her|ech|vet|potat|tomat|torped)o)es$' then left(name, -2)
        when name ~* '.s$'                                  then left(name, -1)
        else name end
$$;
comment on function tidings.singular(text) is 'an English plural''s singular, by rule of thumb: the default of watch''s event';

-- What changes the text of a value and can be set by a session is pinned in the trigger function; each pin costs a
-- writer time, so only what the table's types need.
create function tidings.pinned_settings(w tidings.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with columns as (
        select a.attname, coalesce(nullif(e.typbasetype, 0), e.oid)::regtype::text as type, coalesce(b.typtype, e.typtype) as kind
          from pg_attribute a
          join pg_type t on t.oid = a.atttypid
          join pg_type e on e.oid = case when t.typelem <> 0 and t.typlen = -1 then t.typelem else t.oid end
          left join pg_type b on b.oid = e.typbasetype
         where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped),
    plain as (
        select coalesce(bool_and(kind = 'e' or type in ('boolean', 'smallint', 'integer', 'bigint', 'numeric', 'text',
                   'character varying', 'character', '"char"', 'name', 'uuid', 'json', 'jsonb', 'inet', 'cidr', 'macaddr',
                   'oid', 'bit', 'bit varying', 'tsvector')
               -- JSON has dates in ISO 8601 always, but a key is the plain text of its column
               or attname is distinct from w.key and type in ('date', 'time without time zone', 'time with time zone',
                   'timestamp without time zone', 'timestamp with time zone')), true) as every
          from columns)
    select 'set search_path = pg_catalog, pg_temp set timezone = ''UTC'''
        || case when every then '' else
           ' set datestyle = ''ISO, YMD'' set intervalstyle = ''postgres'' set bytea_output = ''hex'''
           ' set extra_float_digits = 1 set xmlbinary = ''base64'' set quote_all_identifiers = off set lc_monetary = ''C''' end
      from plain
$$;
comment on function tidings.pinned_settings(tidings.watches) is 'the SET clauses that a watch''s trigger function needs';

-- What a watch takes of a row: its key and, where columns are given, those. A column is looked for in the row first and in
-- "tidings absent" after it: one that was dropped or renamed since is null, and never an error in the writer's statement.
create function tidings.capture_columns(w tidings.watches, picks boolean) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with c as (
        select distinct x.name, a.attnum, x.name = any (w.columns) as picked
          from unnest(w.columns || w.key) as x(name)
          left join pg_attribute a on a.attrelid = w.relation and a.attname = x.name and a.attnum > 0 and not a.attisdropped
         where x.name is not null)
    select coalesce(', (select ' || (select string_agg(format('null::text as %I', name), ', ') from c) || ') as "tidings absent"', '')
        || case when w.key is null then '' else format(
           ', lateral (select %1$I::text as key from (select "tidings row".*) as "tidings columns") as key_of', w.key) end
        || case when w.columns is null or not picks then '' else
           ', lateral (select ' || (select string_agg(format('%I', name), ', ' order by attnum, name) from c where picked)
           || ' from (select "tidings row".*) as "tidings columns") as "tidings picked"' end
$$;
comment on function tidings.capture_columns(tidings.watches, boolean) is 'a part of a watch''s trigger function';

-- The key and the JSON of each row of a transition table. The row's alias is a name that no column will have: a column of
-- the alias' name would hide the row.
create function tidings.capture_rows(w tidings.watches, source text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($rows$%1$s as k, case when pg_column_size(%3$s) <= %2$s then to_json(%3$s)::text end as j
              from %4$s as "tidings row"%5$s$rows$,
        case when w.key is null then 'null::text' else 'key_of.key' end,
        4 * s.max_row_bytes::bigint,
        case when w.columns is null then '"tidings row".*' else '"tidings picked".*' end,
        source,
        tidings.capture_columns(w, true))
      from tidings.settings s
$$;
comment on function tidings.capture_rows(tidings.watches, text) is 'a part of a watch''s trigger function';

-- One loop over a transition table. plpgsql's loop keeps the rows in the order in which the statement wrote them, holds
-- one chunk in memory, and is faster than aggregating in SQL.
create function tidings.capture_loop(w tidings.watches, source text, type text, skip integer, moves boolean) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($loop$
        for k, j in
            select %1$s offset %2$s
        loop
            if bytes > %3$s then
                insert into tidings.log (topic, type, keys, old_keys, rows) values (%4$L, %5$L, %6$s, os, js);
                ks := null; os := null; js := null; bytes := 0;
            end if;
            if octet_length(j) > %7$s then j := null; end if;
            ks := array_append(ks, k);
            js := array_append(js, j);
            bytes := bytes + coalesce(octet_length(j), 0) + coalesce(octet_length(k), 0) + 16;%8$s
        end loop;
        if js is not null then
            insert into tidings.log (topic, type, keys, old_keys, rows) values (%4$L, %5$L, %6$s, os, js);
            n := n + 1;
        end if;$loop$,
        tidings.capture_rows(w, source),
        skip,
        s.chunk_bytes,
        w.topic,
        type,
        case when w.key is null then 'null' else 'ks' end,
        s.max_row_bytes,
        case when moves then $moves$
            if before is not null then
                fetch before into was;
                if was <> k or was is not null and k is null then
                    if os is null then os := array_fill(null::text, array[cardinality(ks)]); end if;
                    os[cardinality(ks)] := was;
                end if;
            end if;$moves$ else '' end)
      from tidings.settings s
$$;
comment on function tidings.capture_loop(tidings.watches, text, text, integer, boolean) is 'a part of a watch''s trigger function';

-- Most statements write a row or a few: one statement writes them to the log, an entry each, and the loop goes on from there.
create function tidings.capture_few(w tidings.watches, source text, type text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($few$
        insert into tidings.log (topic, type, keys, rows)
        select %1$L, %2$L, %3$s, array[case when octet_length(j) <= %4$s then j end]
          from (select %5$s limit 8) as few;
        get diagnostics n = row_count;
        if n = 8 then%6$s
        end if;$few$,
        w.topic, type, case when w.key is null then 'null' else 'array[k]' end, s.max_row_bytes, tidings.capture_rows(w, source),
        tidings.capture_loop(w, source, type, 8, false))
      from tidings.settings s
$$;
comment on function tidings.capture_few(tidings.watches, text, text) is 'a part of a watch''s trigger function';

-- Of one row it is plain which it was before. Of several, the old stand beside the new ones, one for one: a cursor walks
-- along them while the loop walks along the new.
create function tidings.capture_moves(w tidings.watches, type text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($walk$
        insert into tidings.log (topic, type, keys, old_keys, rows)
        select %1$L, %2$L, array[k], case when was <> k or was is not null and k is null then array[was] end,
               array[case when octet_length(j) <= %3$s then j end]
          from (select %4$s limit 2) as one, (select key_of.key from old_rows as "tidings row"%5$s limit 2) as before(was)
         where (select count(*) from (select from new_rows limit 2) as ones) = 1%6$s;
        get diagnostics n = row_count;
        if n = 0 then
            %7$sopen before no scroll for select key_of.key from old_rows as "tidings row"%5$s;%8$s%9$s
            if before is not null then close before; end if;
        end if;$walk$,
        w.topic, type, s.max_row_bytes, tidings.capture_rows(w, 'new_rows'), tidings.capture_columns(w, false),
        -- A trigger may lose a row on its way between partitions. Then who was where cannot be told.
        case when c.relkind = 'p' then ' and (select count(*) from (select from old_rows limit 2) as ones) = 1' else '' end,
        case when c.relkind = 'p' then 'if (select count(*) from old_rows) = (select count(*) from new_rows) then ' else '' end,
        case when c.relkind = 'p' then ' end if;' else '' end,
        tidings.capture_loop(w, 'new_rows', type, 0, true))
      from pg_class c, tidings.settings s
     where c.oid = w.relation
$$;
comment on function tidings.capture_moves(tidings.watches, text) is 'a part of a watch''s trigger function';

create function tidings.capture_source(w tidings.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($source$
#variable_conflict use_column
-- %7$s
declare
    n bigint := 0; k text; j text; ks text[]; os text[]; js text[]; before refcursor; was text; bytes bigint := 0;
begin
    if tg_op = 'INSERT' then%1$s
    elsif tg_op = 'UPDATE' then%2$s
    elsif tg_op = 'DELETE' then%3$s
    -- Of a partitioned table's TRUNCATE each partition tells: one entry is enough.
    elsif %4$L is distinct from (select l.type from tidings.log as l
                                  where l.xid = pg_current_xact_id() and l.topic = %5$L order by l.id desc limit 1) then
        insert into tidings.log (topic, type) values (%5$L, %4$L);
        n := 1;
    end if;
    if n > 0 and pg_sequence_last_value('tidings.sleepers') > 0
        and lower(current_setting('tidings.doorbell', true)) in ('off', 'false', 'no', 'f', 'n', '0') is not true then
        perform pg_notify('tidings', %6$L || pg_current_xact_id()::text || '"}');
    end if;
    return null;
end$source$,
        tidings.capture_few(w, 'new_rows', w.event || '_added'),
        case when w.key is null then tidings.capture_few(w, 'new_rows', w.event || '_updated')
             else tidings.capture_moves(w, w.event || '_updated') end,
        tidings.capture_few(w, 'old_rows', w.event || '_deleted'),
        w.topic || '_truncated',
        w.topic,
        '{"topic":' || to_json(w.topic)::text || ',"xid":"',
        tidings.pinned_settings(w)) -- stand here so that the source alone tells whether a function is as it should be
$$;
comment on function tidings.capture_source(tidings.watches) is 'the body of a watch''s trigger function';

-- A statement fires the statement triggers of the table that it names and of no other: partitions need their own. A watched
-- table that has become a partition of another watched one is told of by that. Above a partition that is a foreign table,
-- PostgreSQL fails all writes of which triggers want to see the rows: better not to hear of them.
create function tidings.triggers_wanted(w tidings.watches) returns table (relation oid, name text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select t.relation, 'tidings_' || o.op
      from (select w.relation::oid
            union
            select p.relid from pg_partition_tree(w.relation) as p join pg_class c on c.oid = p.relid and c.relkind in ('r', 'p')) as t(relation),
           unnest(array['insert', 'update', 'delete', 'truncate']) as o(op)
     where not exists (select from pg_partition_ancestors(w.relation) as a join tidings.watches x on x.relation = a.relid and a.relid <> w.relation)
       and (o.op = 'truncate'
            or not exists (select from pg_partition_tree(t.relation) as p join pg_class c on c.oid = p.relid and c.relkind = 'f'))
$$;
comment on function tidings.triggers_wanted(tidings.watches) is 'the triggers that a watch should have, and on which tables';

create function tidings.triggers_there(w tidings.watches) returns table (relation oid, name text, enabled "char")
language sql stable set search_path = pg_catalog, pg_temp as $$
    select g.tgrelid, g.tgname::text, g.tgenabled from pg_trigger g where g.tgfoid = to_regproc('tidings.capture_' || w.id)
$$;
comment on function tidings.triggers_there(tidings.watches) is 'the triggers that a watch has';

create function tidings.install(w tidings.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    capture text := 'capture_' || w.id;
    t       record;
begin
    perform pg_advisory_xact_lock(hashtextextended('tidings.install', w.id)); -- one after another
    execute format('create or replace function tidings.%I() returns trigger language plpgsql security definer %s as %L',
        capture, tidings.pinned_settings(w), tidings.capture_source(w));
    execute format('revoke all on function tidings.%I() from public', capture);
    execute format('comment on function tidings.%I() is %L', capture,
        'writes what changes in ' || w.relation::text || ' to the log; generated by tidings.watch()');
    for t in select relation::regclass, name from tidings.triggers_wanted(w)
             except select relation::regclass, name from tidings.triggers_there(w) order by name, relation loop
        execute format('create or replace trigger %I after %s on %s %s for each statement execute function tidings.%I()',
            t.name, substr(t.name, 9), t.relation,
            case t.name when 'tidings_insert' then 'referencing new table as new_rows'
                        when 'tidings_update' then 'referencing old table as old_rows new table as new_rows'
                        when 'tidings_delete' then 'referencing old table as old_rows' else '' end, capture);
    end loop;
    for t in select relation::regclass, name from tidings.triggers_there(w)
             except select relation::regclass, name from tidings.triggers_wanted(w) loop
        execute format('drop trigger %I on %s', t.name, t.relation); -- a partition was detached, say
    end loop;
end $$;
comment on function tidings.install(tidings.watches) is 'makes or renews a watch''s trigger function and triggers';

create function tidings.tell_watches_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_notify('tidings', '{"watches":"changed"}');
    return null;
end $$;
comment on function tidings.tell_watches_changed() is 'has servers read tidings.watches again';
create trigger tell after insert or update or delete or truncate on tidings.watches
    for each statement execute function tidings.tell_watches_changed();

create function tidings.forget_dropped() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    gone integer;
begin
    for gone in delete from tidings.watches x where not exists (select from pg_class p where p.oid = x.relation) returning x.id loop
        execute format('drop function if exists tidings.%I()', 'capture_' || gone);
    end loop;
end $$;
comment on function tidings.forget_dropped() is 'ends the watches of tables that are no more';
revoke all on function tidings.forget_dropped() from public;

create function tidings.policy_function(read text) returns regprocedure
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    name text[];
begin
    name := parse_ident(substr(read, 8));
    return (select p.oid from pg_proc p
             where cardinality(name) = 2 and p.oid = to_regprocedure(format('%I.%I(jsonb, text, text)', name[1], name[2]))
               and p.prokind = 'f' and p.prorettype = 'boolean'::regtype and not p.proretset);
exception when invalid_parameter_value then
    return null; -- not a name
end $$;
comment on function tidings.policy_function(text) is 'the function that a watch''s read => ''policy:schema.function'' names, if there is one that will do';

create function tidings.watch(
    "table" regclass,
    topic   text   default null,
    event   text   default null,
    key     text   default null,
    columns text[] default null,
    read    text   default 'signed_in'
) returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    c       record;
    missing text;
    other   regclass;
    w       tidings.watches;
begin
    select r.oid, r.relname, r.relkind, r.relpersistence, r.relispartition, n.nspname into c
      from pg_class r join pg_namespace n on n.oid = r.relnamespace where r.oid = watch."table";
    if not found then
        raise exception 'there is no table %', watch."table" using errcode = 'undefined_table';
    elsif c.nspname in ('tidings', 'pg_catalog', 'information_schema') then
        raise exception 'tables of schema % cannot be watched', c.nspname using errcode = 'wrong_object_type';
    elsif c.relkind not in ('r', 'p') then
        raise exception '% is not a table: only tables and partitioned tables can be watched', watch."table"
            using errcode = 'wrong_object_type';
    elsif c.relpersistence = 't' then
        raise exception '% is a temporary table, which nobody else could follow', watch."table" using errcode = 'wrong_object_type';
    elsif c.relispartition then
        raise exception '% is a partition: what is written through its table would not be heard; watch that', watch."table"
            using errcode = 'wrong_object_type';
    elsif exists (select from pg_partition_tree(c.oid) as t join pg_class p on p.oid = t.relid and p.relkind = 'f') then
        raise exception '% has a partition that is a foreign table, of which PostgreSQL tells triggers nothing', watch."table"
            using errcode = 'wrong_object_type';
    elsif exists (select from pg_partition_tree(c.oid) as t join tidings.watches x on x.relation = t.relid and t.relid <> c.oid) then
        raise exception '% has a partition that is watched by itself: unwatch that first', watch."table" using errcode = 'duplicate_object';
    end if;

    -- A watch of a table that has been dropped gives way.
    perform tidings.forget_dropped();

    w.relation := watch."table";
    w.topic    := coalesce(watch.topic, c.relname::text);
    w.event    := coalesce(watch.event, tidings.singular(coalesce(watch.topic, c.relname::text)));
    w.columns  := watch.columns;
    w.read     := coalesce(watch.read, 'signed_in');
    w.key      := watch.key;
    if w.key is null then
        select a.attname::text into w.key
          from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
         where i.indrelid = c.oid and i.indisprimary and i.indnkeyatts = 1;
    end if;

    if w.topic = '' or w.topic ~ '[:[:cntrl:]]' or octet_length(w.topic) > 63 then
        raise exception 'topic % cannot be used: a topic has 1 to 63 bytes, no colon and no control characters',
            quote_literal(w.topic) using errcode = 'invalid_parameter_value';
    elsif w.event !~ '^[[:alnum:]_.-]+$' and watch.event is null then
        w.event := regexp_replace(w.event, '[^[:alnum:]_.-]+', '_', 'g');
    elsif w.event !~ '^[[:alnum:]_.-]+$' or octet_length(w.event) > 63 then
        raise exception 'event % cannot be used: it has 1 to 63 letters, digits, "_", "." or "-"',
            quote_literal(w.event) using errcode = 'invalid_parameter_value';
    end if;
    select x.relation into other from tidings.watches x where x.topic = w.topic and x.relation <> w.relation;
    if found then
        raise exception 'topic % is taken by table %: give another with topic => …', quote_literal(w.topic), other
            using errcode = 'duplicate_object';
    end if;
    if w.columns = '{}' then
        raise exception 'columns is empty: name at least one column, or leave it out for all' using errcode = 'invalid_parameter_value';
    end if;
    select x.name into missing
      from (select w.key as name where w.key is not null
            union all select unnest(w.columns)
            union all select substr(w.read, 7) where w.read like 'owner:%') as x
     where not exists (select from pg_attribute a
                        where a.attrelid = c.oid and a.attname = x.name and a.attnum > 0 and not a.attisdropped)
     limit 1;
    if found then
        raise exception 'table % has no column %', watch."table", coalesce(quote_ident(missing), 'null')
            using errcode = 'undefined_column',
                  hint = 'Its columns: ' || (select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
                                              where attrelid = c.oid and attnum > 0 and not attisdropped);
    end if;
    if w.read not in ('public', 'signed_in') and w.read not like 'owner:_%' and w.read not like 'policy:_%' then
        raise exception 'read % is not known: it is public, signed_in, owner:<column> or policy:<function>',
            quote_literal(w.read) using errcode = 'invalid_parameter_value';
    elsif w.read like 'policy:%' and tidings.policy_function(w.read) is null then
        raise exception 'there is no function % that could be a policy: it is given with its schema, takes (claims jsonb, topic text, key text) and returns boolean',
            substr(w.read, 8) using errcode = 'invalid_parameter_value', hint = 'For example: read => ''policy:public.may_read''';
    end if;

    insert into tidings.watches as x (relation, topic, event, key, columns, read)
    values (w.relation, w.topic, w.event, w.key, w.columns, w.read)
    on conflict (relation) do update
       set topic = excluded.topic, event = excluded.event, key = excluded.key, columns = excluded.columns, read = excluded.read
    returning x.* into w;
    perform tidings.install(w);
    return w.topic;
end $$;
comment on function tidings.watch(regclass, text, text, text, text[], text) is
    'makes a table live, or changes how it is: select tidings.watch(''orders'', key => ''customer_id'', read => ''public''); returns its topic';
revoke all on function tidings.watch(regclass, text, text, text, text[], text) from public;

create function tidings.unwatch("table" regclass) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w tidings.watches;
    t record;
begin
    delete from tidings.watches x where x.relation = unwatch."table" returning x.* into w;
    if not found then
        return false;
    end if;
    for t in select g.tgname, g.tgrelid::regclass as target from pg_trigger g
              where g.tgfoid = to_regproc('tidings.capture_' || w.id) loop
        execute format('drop trigger %I on %s', t.tgname, t.target);
    end loop;
    execute format('drop function tidings.%I()', 'capture_' || w.id);
    return true;
end $$;
comment on function tidings.unwatch(regclass) is 'ends a table''s events; returns whether it was watched';
revoke all on function tidings.unwatch(regclass) from public;

create function tidings.refresh() returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w tidings.watches;
    n integer := 0;
begin
    for w in select x.* from tidings.watches x join pg_class c on c.oid = x.relation order by x.id loop
        perform tidings.install(w);
        n := n + 1;
    end loop;
    return n;
end $$;
comment on function tidings.refresh() is
    'renews all watches'' triggers: after a change of tidings.settings, or of a watched table where nobody calls tidings.follow_partitions()';
revoke all on function tidings.refresh() from public;

create function tidings.problem(w tidings.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with there as (select t.relation::regclass::text as "table", t.name, t.enabled from tidings.triggers_there(w) as t),
         above as (select a.relid::regclass::text as "table", x.id is not null as watched
                     from pg_partition_ancestors(w.relation) as a left join tidings.watches x on x.relation = a.relid
                    where a.relid <> w.relation order by x.id is null limit 1),
         gone as (select c.name from unnest(w.columns) as c(name)
                   where not exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = c.name and a.attnum > 0
                                        and not a.attisdropped))
    select nullif(concat_ws('; ',
        (select 'it has become a partition of ' || "table" || case when watched
                then ', which is watched too, and its events are told there: unwatch this one'
                else ': what is written through that is not heard: watch that instead' end from above),
        (select 'partition ' || string_agg(c.oid::regclass::text, ', ') || ' is a foreign table: what is written to it, or through '
                || w.relation::text || ', ' || case when exists (select from tidings.triggers_there(w) as t where t.relation = w.relation and t.name = 'tidings_insert')
                then 'fails: select tidings.refresh()' else 'is not heard' end
           from pg_partition_tree(w.relation) as p join pg_class c on c.oid = p.relid and c.relkind = 'f' having count(*) > 0),
        (select 'triggers are missing on ' || string_agg(m."table", ', ') || ': select tidings.refresh()'
           from (select distinct r.relation::regclass::text as "table"
                   from (select relation, name from tidings.triggers_wanted(w) except select relation, name from tidings.triggers_there(w)) as r) as m
         having count(*) > 0),
        (select string_agg(format('trigger %s on %s %s: alter table %2$s enable trigger %1$s', name, "table",
                case enabled when 'D' then 'is disabled' else 'fires for replication only' end), '; ' order by "table", name)
           from there where enabled in ('D', 'R')),
        case when w.key is not null and not exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = w.key and not a.attisdropped)
             then 'the key column is gone, so events have no key: watch the table again' end,
        (select 'listed columns are gone: ' || string_agg(quote_ident(name), ', ') || ': watch the table again' from gone having count(*) > 0),
        case when w.read like 'owner:%' and not exists (select from pg_attribute a
                    where a.attrelid = w.relation and a.attname = substr(w.read, 7) and a.attnum > 0 and not a.attisdropped)
             then 'the owner column is gone: watch the table again' end,
        case when w.read like 'policy:%' and tidings.policy_function(w.read) is null
             then 'the policy function is gone, or is another now: watch the table again' end), '')
$$;
comment on function tidings.problem(tidings.watches) is 'what is wrong with a watch, in words; null: nothing';

create view tidings.watched as
    select w.relation::text as "table", w.topic, w.event, w.key, w.columns, w.read, tidings.problem(w) as problem
      from tidings.watches w
      join pg_class c on c.oid = w.relation
     order by w.topic;
comment on view tidings.watched is 'the watched tables, and what is wrong with a watch, if anything: whether all of the table is heard, for one';

create function tidings.follow_partitions(tables oid[] default null) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w tidings.watches;
    n integer := 0;
begin
    for w in
        select x.* from tidings.watches x join pg_class c on c.oid = x.relation
         where (tables is null or x.relation = any (tables))
           and (not exists (select from pg_proc p where p.oid = to_regproc('tidings.capture_' || x.id) and p.prosrc = tidings.capture_source(x))
                or exists (select relation, name from tidings.triggers_wanted(x) except select relation, name from tidings.triggers_there(x))
                or exists (select relation, name from tidings.triggers_there(x) except select relation, name from tidings.triggers_wanted(x)))
         order by x.id
    loop
        perform tidings.install(w);
        n := n + 1;
    end loop;
    return n;
end $$;
comment on function tidings.follow_partitions(oid[]) is
    'renews the watches of tables whose partitions or columns have changed, of all tables or of some; servers call it';
revoke all on function tidings.follow_partitions(oid[]) from public;

-- Where we may (a superuser installs), that happens at once.
create function tidings.partitions_changed() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    changed oid[];
begin
    if tg_tag <> 'DROP FOREIGN TABLE' then -- which does not say of what it was a partition
        changed := array(select coalesce(pg_partition_root(c.objid), c.objid) from pg_event_trigger_ddl_commands() as c
                          where c.classid = 'pg_class'::regclass);
        -- Most tables that are made or changed are not watched, and should not be slowed down.
        changed := array(
            select x.relation from tidings.watches x
             where x.relation = any (changed)
                or not exists (select from pg_trigger g where g.tgrelid = x.relation and g.tgname = 'tidings_truncate'
                                  and g.tgfoid = to_regproc('tidings.capture_' || x.id))); -- it was detached
        if changed = '{}' then
            return;
        end if;
    end if;
    perform tidings.follow_partitions(changed);
exception when others then
    raise warning 'tidings could not follow a change of tables: %; call tidings.refresh()', sqlerrm;
end $$;
comment on function tidings.partitions_changed() is 'calls tidings.follow_partitions()';
do $$
begin
    create event trigger tidings_partitions on ddl_command_end when tag in ('CREATE TABLE', 'ALTER TABLE', 'CREATE FOREIGN TABLE', 'DROP FOREIGN TABLE')
        execute function tidings.partitions_changed();
exception when insufficient_privilege then
    null;
end $$;
