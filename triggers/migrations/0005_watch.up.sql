-- Watching tables. For each watched table there are generated trigger functions: their SQL is static, so that its plans
-- are cached, and they run as their owner, so that a role with nothing but INSERT on the table can write.

create table tidings.watches (
    id         integer     primary key generated always as identity,
    relation   regclass    not null unique,
    topic      text        not null unique,
    event      text        not null,
    key        text,
    columns    text[],
    read       text        not null,
    claims     text[],
    typing     boolean     not null default false,
    guard      text,
    lent       boolean     not null default false,
    lent_usage name,
    watched_at timestamptz not null default clock_timestamp()
);
comment on table  tidings.watches is 'the watched tables; change it through tidings.watch() and tidings.unwatch()';
comment on column tidings.watches.topic is 'the table''s public name, which clients subscribe to';
comment on column tidings.watches.event is 'what the events'' types begin with: message for message_added';
comment on column tidings.watches.key is 'the column whose values are channels of their own, such as messages:5';
comment on column tidings.watches.columns is 'the columns that go out; null: all';
comment on column tidings.watches.claims is
    'which claims of a token row security may look at, sub for the user; those who have the same are asked for once; null: all that do not change with each token';
comment on column tidings.watches.guard is 'what tidings.guard_kind() was when the triggers were made: that it changes is told to servers';
comment on column tidings.watches.lent is 'whether tidings_reader was granted SELECT for the watch, and is to lose it with it';
comment on column tidings.watches.lent_usage is 'the schema of which it was granted USAGE for the watch, and for others that came later; null: of none';
comment on column tidings.watches.typing is 'whether clients may say that they are writing something';
comment on column tidings.watches.read is 'who may subscribe: public, signed_in, owner:<column> or policy:<schema>.<function>, which takes (claims jsonb, topic text, key text)';

-- A table with row security is told of row by row, to whom its policies would show the row.
create function tidings.guard_kind(w tidings.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when c.relrowsecurity then 'rows' when w.read like 'owner:%' then 'owner' end from pg_class c where c.oid = w.relation
$$;
comment on function tidings.guard_kind(tidings.watches) is
    'how is told who may have a row: owner, by whose it is; rows, by the policies of the table; null, whoever may subscribe';

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

-- Whether the columns of a table are all of types that PostgreSQL brings along, or enums, of which only the time zone can change
-- the text. An enum that has a cast is not plain: to_json may call its function, which is somebody's and may look names up.
create function tidings.plain(w tidings.watches) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    with columns as (
        select a.attname, coalesce(nullif(e.typbasetype, 0), e.oid)::regtype::text as type, coalesce(b.typtype, e.typtype) as kind,
               exists (select from pg_cast c where c.castsource in (e.oid, e.typbasetype) and c.castfunc <> 0) as cast_by_function
          from pg_attribute a
          join pg_type t on t.oid = a.atttypid
          join pg_type e on e.oid = case when t.typelem <> 0 and t.typlen = -1 then t.typelem else t.oid end
          left join pg_type b on b.oid = e.typbasetype
         where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped)
    select coalesce(bool_and(kind = 'e' and not cast_by_function or type in ('boolean', 'smallint', 'integer', 'bigint', 'numeric', 'text',
               'character varying', 'character', '"char"', 'name', 'uuid', 'json', 'jsonb', 'inet', 'cidr', 'macaddr',
               'oid', 'bit', 'bit varying', 'tsvector')
           -- JSON has dates in ISO 8601 always, but a key is the plain text of its column
           or attname is distinct from w.key and type in ('date', 'time without time zone', 'time with time zone',
               'timestamp without time zone', 'timestamp with time zone')), true)
           and tidings.guard_kind(w) is null
           -- what virtual columns are computed by stands in the body, without schemas
           and not exists (select from pg_attribute a where a.attrelid = w.relation and a.attgenerated = 'v' and not a.attisdropped)
      from columns
$$;
comment on function tidings.plain(tidings.watches) is 'whether a watch''s trigger functions need but one setting of their own';

-- A setting that is pinned costs a writer time with every statement, so where the columns are plain only the time zone is. To
-- pin the search path costs the most, and there it need not be: every name in the body has its schema (names of operators
-- too, and nothing stands there that looks one up by itself, such as IN), and no function is called but PostgreSQL's own.
create function tidings.pinned_settings(w tidings.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select 'set timezone = ''UTC''' || case when tidings.plain(w) then '' else
           ' set search_path = pg_catalog, pg_temp set datestyle = ''ISO, YMD'' set intervalstyle = ''postgres'''
           ' set bytea_output = ''hex'' set extra_float_digits = 1 set xmlbinary = ''base64'' set quote_all_identifiers = off set lc_monetary = ''C''' end
$$;
comment on function tidings.pinned_settings(tidings.watches) is 'the SET clauses that a watch''s trigger functions need';

-- The columns that go out and may be long, and how long the value is of each.
create function tidings.long_columns(w tidings.watches) returns table (name text, place smallint, length text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select a.attname::text, a.attnum,
           -- of these the length without compression is cheap to tell; the cast costs nothing and is there for a column
           -- that has another type by now
           format(case when b.oid in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) then 'pg_catalog.octet_length(%I::pg_catalog.text)'
                       when b.oid = 'bytea'::regtype then 'pg_catalog.octet_length(%I)' else 'pg_catalog.pg_column_size(%I)' end, a.attname)
      from pg_attribute a
      join pg_type t on t.oid = a.atttypid
      join pg_type b on b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
     where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
       and (w.columns is null or a.attname = any (w.columns) or tidings.guard_kind(w) = 'rows')
       and b.typlen = -1 and b.oid not in ('numeric'::regtype, 'inet'::regtype, 'cidr'::regtype)
       and not (t.oid in ('varchar'::regtype, 'bpchar'::regtype) and a.atttypmod between 0 and (select max_value_bytes / 4 from tidings.settings))
$$;
comment on function tidings.long_columns(tidings.watches) is 'a part of a watch''s trigger functions';

create function tidings.owner_column(w tidings.watches) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$ select case when w.read like 'owner:%' then substr(w.read, 7) end $$;
comment on function tidings.owner_column(tidings.watches) is 'the column whose value is the user who may read the row; null: there is none';

-- What a watch takes of a row: its key, the length of its longest value and, where columns are given, those. A column is looked
-- for in the row first and in "tidings absent" after it: one that was dropped or renamed since is null, and never an error in the
-- writer's statement. The row's alias is a name that no column will have: a column of the alias' name would hide the row.
create function tidings.capture_columns(w tidings.watches, with_data boolean) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    with long as (select * from tidings.long_columns(w) where with_data),
    c as (
        select x.name, min(a.attnum) as attnum, bool_or(x.name = any (w.columns)) as picked
          from (select unnest(w.key || case when with_data then w.columns end) union all select name from long
                union all select tidings.owner_column(w)) as x(name)
          left join pg_attribute a on a.attrelid = w.relation and a.attname = x.name and a.attnum > 0 and not a.attisdropped
         where x.name is not null group by x.name)
    select coalesce(', (select ' || (select string_agg(format('null::pg_catalog.text as %I', name), ', ' order by name) from c) || ') as "tidings absent"', '')
        || ', lateral (select ' || case when w.key is null then 'null' else format('%I', w.key) end || '::pg_catalog.text as key'
        || coalesce((select ', greatest(' || string_agg(length, ', ' order by place) || ') as longest' from long having count(*) > 0), '')
        || case when tidings.owner_column(w) is null then '' else format(', %I::pg_catalog.text as owner', tidings.owner_column(w)) end
        || ' from (select "tidings row".*) as "tidings columns") as of_row'
        || case when w.columns is null or not with_data then '' else
           ', lateral (select ' || (select string_agg(format('%I', name), ', ' order by attnum, name) from c where picked)
           || ' from (select "tidings row".*) as "tidings columns") as "tidings picked"' end
$$;
comment on function tidings.capture_columns(tidings.watches, boolean) is 'a part of a watch''s trigger functions';

-- A row's JSON, if it is not too long.
create function tidings.capture_data(w tidings.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when exists (select from tidings.long_columns(w))
               then format('case when of_row.longest operator(pg_catalog.>) %s then ''null'' else %s end', s.max_value_bytes, j.json)
               else j.json end
      from (select format('pg_catalog.to_json(%s)', case when w.columns is null then '"tidings row".*' else '"tidings picked".*' end)) as j(json), tidings.settings s
$$;
comment on function tidings.capture_data(tidings.watches) is 'a part of a watch''s trigger functions';

create function tidings.capture_whole(w tidings.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when exists (select from tidings.long_columns(w))
               then format('case when of_row.longest > %s then ''null'' else to_json("tidings row".*) end', s.max_value_bytes)
               else 'to_json("tidings row".*)' end from tidings.settings s
$$;
comment on function tidings.capture_whole(tidings.watches) is 'a row''s JSON with all of its columns, if it is not too long: what row security is asked about';

-- One loop over a transition table. plpgsql's loop keeps the rows in the order in which the statement wrote them, holds
-- one chunk in memory, and is faster than aggregating in SQL.
create function tidings.capture_loop(w tidings.watches, source text, type text, skip integer, moves boolean) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($loop$
        count := 0; bytes := 0;
        for k, j in
            select of_row.key, %1$s from %2$s as "tidings row"%3$s offset %4$s
        loop
            if bytes operator(pg_catalog.>) %5$s then
                insert into tidings.%6$I (topic, type, data, rows)
                values (%7$L, %8$L, pg_catalog.to_json(count), pg_catalog.array_cat(pg_catalog.array_cat(js, ks), os));
                ks := null; os := null; js := null; count := 0; bytes := 0;
            end if;
            ks := pg_catalog.array_append(ks, k);
            js := pg_catalog.array_append(js, case when j operator(pg_catalog.<>) 'null' then j end);
            count := count operator(pg_catalog.+) 1;
            bytes := bytes operator(pg_catalog.+) pg_catalog.octet_length(j) operator(pg_catalog.+) coalesce(pg_catalog.octet_length(k), 0) operator(pg_catalog.+) 32;%9$s
        end loop;
        if count operator(pg_catalog.>) 0 then
            insert into tidings.%6$I (topic, type, data, rows)
            values (%7$L, %8$L, pg_catalog.to_json(count), pg_catalog.array_cat(pg_catalog.array_cat(js, ks), os));
            n := 1;
        end if;$loop$,
        tidings.capture_data(w),
        source,
        tidings.capture_columns(w, true),
        skip,
        s.chunk_bytes,
        tidings.current_partition(),
        w.topic,
        type,
        case when moves then $moves$
            if before is not null then
                fetch before into was;
                if was operator(pg_catalog.<>) k or was is not null and k is null then
                    if os is null then os := pg_catalog.array_fill(null::pg_catalog.text, array[count]); end if;
                    os[count] := was;
                    bytes := bytes operator(pg_catalog.+) coalesce(pg_catalog.octet_length(was), 0);
                elsif os is not null then
                    os[count] := null;
                end if;
            end if;$moves$ else '' end)
      from tidings.settings s
$$;
comment on function tidings.capture_loop(tidings.watches, text, text, integer, boolean) is 'a part of a watch''s trigger functions';

-- Most statements write a row or a few: one statement writes them to the log, an entry each, and the loop goes on from there.
create function tidings.capture_few(w tidings.watches, source text, type text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($few$
    insert into tidings.%1$I (topic, type, key, data)
    select %2$L, %3$L, k, j from (select of_row.key, %4$s from %5$s as "tidings row"%6$s limit 8) as few(k, j);
    get diagnostics n = row_count;$few$,
        tidings.current_partition(), w.topic, type, tidings.capture_data(w), source, tidings.capture_columns(w, true))
$$;
comment on function tidings.capture_few(tidings.watches, text, text) is 'a part of a watch''s trigger functions';

-- Of one row it is plain which it was before.
create function tidings.capture_move(w tidings.watches, type text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($move$
    insert into tidings.%1$I (topic, type, key, old_key, data)
    select %2$L, %3$L, of_row.key, case when before.was operator(pg_catalog.<>) of_row.key or before.was is not null and of_row.key is null then before.was end, %4$s
      from (select of_row.key from old_rows as "tidings row"%5$s) as before(was), new_rows as "tidings row"%6$s
     where not exists (select from new_rows offset 1)%7$s;
    get diagnostics n = row_count;$move$,
        tidings.current_partition(), w.topic, type, tidings.capture_data(w),
        tidings.capture_columns(w, false), tidings.capture_columns(w, true),
        -- A trigger may lose a row on its way between partitions. Then who was where cannot be told.
        case when c.relkind = 'p' then ' and not exists (select from old_rows offset 1)' else '' end)
      from pg_class c
     where c.oid = w.relation
$$;
comment on function tidings.capture_move(tidings.watches, text) is 'a part of a watch''s trigger functions';

-- Of several, the old stand beside the new ones, one for one: a cursor walks along them while the loop walks along the new.
create function tidings.capture_moves(w tidings.watches, type text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($moves$
        %1$sopen before no scroll for select of_row.key from old_rows as "tidings row"%2$s;%3$s%4$s
        if before is not null then close before; end if;$moves$,
        case when c.relkind = 'p' then 'if (select pg_catalog.count(*) from old_rows) operator(pg_catalog.=) (select pg_catalog.count(*) from new_rows) then ' else '' end,
        tidings.capture_columns(w, false),
        case when c.relkind = 'p' then ' end if;' else '' end,
        tidings.capture_loop(w, 'new_rows', type, 0, true))
      from pg_class c
     where c.oid = w.relation
$$;
comment on function tidings.capture_moves(tidings.watches, text) is 'a part of a watch''s trigger functions';

-- The body of the function for an op. What it has for all is few statements and conditions, since to set one up costs a writer as
-- much as a part of the row does: what only some need stands behind the last condition.
create function tidings.capture_open(w tidings.watches, op text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($source$
#variable_conflict use_column
-- %1$s
declare
    n bigint; count integer; bytes bigint; before pg_catalog.refcursor; was pg_catalog.text; k pg_catalog.text; j pg_catalog.text;
    ks pg_catalog.text[]; os pg_catalog.text[]; js pg_catalog.text[];
begin%2$s
    if n operator(pg_catalog.=) %3$s or pg_catalog.pg_sequence_last_value('tidings.sleepers') operator(pg_catalog.>) 0 then
        if n operator(pg_catalog.=) %3$s then%4$s
        end if;
        if n operator(pg_catalog.>) 0 and pg_catalog.pg_sequence_last_value('tidings.sleepers') operator(pg_catalog.>) 0
            and (pg_catalog.lower(pg_catalog.current_setting('tidings.doorbell', true))
                 operator(pg_catalog.=) any ('{off,false,no,f,n,0}'::pg_catalog.text[])) is not true then
            perform pg_catalog.pg_notify('tidings', pg_catalog.concat(%5$L::pg_catalog.text, pg_catalog.pg_current_xact_id()::pg_catalog.text, '"}'));
        end if;
    end if;
    return null;
end$source$,
        tidings.pinned_settings(w), -- stand here so that the source alone tells whether a function is as it should be
        case when moves then tidings.capture_move(w, type)
             when op <> 'truncate' then tidings.capture_few(w, source, type)
             -- Of a partitioned table's TRUNCATE each partition tells: one entry is enough.
             else format($truncate$
    insert into tidings.%1$I (topic, type)
    select %2$L, %3$L
     where not exists (select from (select l.type from tidings.log as l
                                     where l.xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id() and l.topic operator(pg_catalog.=) %2$L
                                     order by l.id desc limit 1) as last where last.type operator(pg_catalog.=) %3$L);
    get diagnostics n = row_count;$truncate$, tidings.current_partition(), w.topic, type) end,
        case when moves then '0' else '8' end,
        case when moves then tidings.capture_moves(w, type)
             when op <> 'truncate' then tidings.capture_loop(w, source, type, 8, false) else '' end,
        '{"topic":' || to_json(w.topic)::text || ',"xid":"')
      from (select case op when 'insert' then w.event || '_added' when 'update' then w.event || '_updated' when 'delete' then w.event || '_deleted'
                           else w.topic || '_truncated' end,
                   case op when 'delete' then 'old_rows' else 'new_rows' end,
                   op = 'update' and w.key is not null) as o(type, source, moves)
$$;
comment on function tidings.capture_open(tidings.watches, text) is 'the same, of a watch whose rows all who may subscribe may have';

-- Where not everybody may have every row, an entry is a chunk always, and has what tells who may: in order for each row, whose it is, or the
-- row with all its columns, where that is not what is told; the same of the row before an update; and the row before as it is told.
create function tidings.capture_guarded(w tidings.watches, op text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format($source$
#variable_conflict use_column
-- %1$s
declare
    n bigint := 0; count integer := 0; bytes bigint := 0; before refcursor; k text; j text; was text; now text; then_ text; left_ text;
    ks text[]; os text[]; js text[]; gs text[];
begin%2$s
    for k, j, now in
        select of_row.key, %3$s, %4$s from %5$s as "tidings row"%6$s
    loop
        if bytes > %7$s then
            insert into tidings.%8$I (topic, type, data, rows, acl) values (%9$L, %10$L, to_json(count), array_cat(array_cat(js, ks), os), gs);
            ks := null; os := null; js := null; gs := null; count := 0; bytes := 0;
        end if;
        n := n + 1;
        count := count + 1;
        then_ := null; left_ := null;%11$s
        ks := array_append(ks, k);
        js := array_append(js, case when j <> 'null' then j end);
        gs := array_append(array_append(array_append(gs, nullif(now, 'null')), nullif(then_, 'null')), nullif(left_, 'null'));
        bytes := bytes + octet_length(j) + coalesce(octet_length(k), 0) + coalesce(octet_length(now), 0) + coalesce(octet_length(then_), 0)
               + coalesce(octet_length(left_), 0) + 96;
    end loop;%12$s
    if n > 0 then
        insert into tidings.%8$I (topic, type, data, rows, acl) values (%9$L, %10$L, to_json(count), array_cat(array_cat(js, ks), os), gs);
        if pg_sequence_last_value('tidings.sleepers') > 0
            and (lower(current_setting('tidings.doorbell', true)) = any ('{off,false,no,f,n,0}'::text[])) is not true then
            perform pg_notify('tidings', concat(%13$L::text, pg_current_xact_id()::text, '"}'));
        end if;
    end if;
    return null;
end$source$,
        tidings.pinned_settings(w),
        case when op = 'update' then format($open$
    %1$sopen before no scroll for select of_row.key, %2$s, %3$s from old_rows as "tidings row"%4$s;%5$s$open$,
            case when c.relkind = 'p' then 'if (select count(*) from old_rows) = (select count(*) from new_rows) then ' else '' end,
            g.was, g.left, g.columns,
            case when c.relkind = 'p' then ' end if;' else '' end) else '' end,
        tidings.capture_data(w),
        g.now,
        case op when 'delete' then 'old_rows' else 'new_rows' end,
        g.columns,
        s.chunk_bytes,
        tidings.current_partition(),
        w.topic,
        w.event || case op when 'insert' then '_added' when 'update' then '_updated' else '_deleted' end,
        case when op = 'update' then $pair$
        if before is not null then
            fetch before into was, then_, left_;$pair$ || case when g.kind = 'owner' then $owner$
            if then_ = now or then_ is null and now is null then
                left_ := null;
            end if;$owner$ else '' end || case when w.key is null then '' else $moved$
            if was <> k or was is not null and k is null then
                if os is null then
                    os := array_fill(null::text, array[count]);
                end if;
                os[count] := was;
            elsif os is not null then
                os[count] := null;
            end if;$moved$ end || $pair$
        end if;$pair$ else '' end,
        case when op = 'update' then $close$
    if before is not null then
        close before;
    end if;$close$ else '' end,
        '{"topic":' || to_json(w.topic)::text || ',"xid":"')
      from pg_class c, tidings.settings s,
           lateral (select tidings.guard_kind(w) as kind, tidings.capture_columns(w, true) as columns,
                           case when tidings.guard_kind(w) = 'owner' then 'of_row.owner'
                                when w.columns is null then 'null::text' else tidings.capture_whole(w) end as now,
                           case when tidings.guard_kind(w) = 'owner' then 'of_row.owner' else tidings.capture_whole(w) end as was,
                           case when tidings.guard_kind(w) = 'owner' or w.columns is not null then tidings.capture_data(w) else 'null::text' end as left) as g
     where c.oid = w.relation
$$;
comment on function tidings.capture_guarded(tidings.watches, text) is
    'the body of the trigger function for insert, update or delete of a watch whose rows not everybody may have';

-- PostgreSQL 18 does not compute virtual columns in transition tables, and fails who asks for one. So they are computed here, from the other
-- columns, of which one that was dropped or renamed since is null.
create function tidings.capture_virtual(w tidings.watches, source text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('(select "tidings computed".* from (select %s) as "tidings absent", lateral (select %s from %s) as "tidings computed") as "tidings row"',
               string_agg(format('null::%s as %I', format_type(a.atttypid, a.atttypmod), a.attname), ', ' order by a.attnum),
               string_agg(case when a.attgenerated = 'v' then format('(%s)::%s as %I', pg_get_expr(d.adbin, d.adrelid), format_type(a.atttypid, a.atttypmod), a.attname)
                               else quote_ident(a.attname) end, ', ' order by a.attnum),
               source)
      from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
    having bool_or(a.attgenerated = 'v')
$$;
comment on function tidings.capture_virtual(tidings.watches, text) is 'a transition table with its virtual columns, for a watch''s trigger functions; null: it has none';

create function tidings.capture_source(w tidings.watches, op text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(replace(replace(s.source, 'new_rows as "tidings row"', tidings.capture_virtual(w, 'new_rows')),
                            'old_rows as "tidings row"', tidings.capture_virtual(w, 'old_rows')), s.source)
      from (select case when op <> 'truncate' and tidings.guard_kind(w) is not null then tidings.capture_guarded(w, op) else tidings.capture_open(w, op) end) as s(source)
$$;
comment on function tidings.capture_source(tidings.watches, text) is 'the body of a watch''s trigger function for insert, update, delete or truncate';

create function tidings.capture_name(w tidings.watches, op text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$ select 'capture_' || w.id || '_' || op $$;
comment on function tidings.capture_name(tidings.watches, text) is 'the name of a watch''s trigger function for insert, update, delete or truncate';

create function tidings.ops() returns setof text
language sql immutable set search_path = pg_catalog, pg_temp as $$ values ('insert'), ('update'), ('delete'), ('truncate') $$;
comment on function tidings.ops() is 'what trigger functions are for';

-- A statement fires the statement triggers of the table that it names and of no other: partitions need their own. A watched
-- table that has become a partition of another watched one is told of by that. Above a partition that is a foreign table,
-- PostgreSQL fails all writes of which triggers want to see the rows: better not to hear of them.
create function tidings.triggers_wanted(w tidings.watches) returns table (relation oid, name text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select t.relation, 'tidings_' || o.op
      from (select w.relation::oid
            union
            select p.relid from pg_partition_tree(w.relation) as p join pg_class c on c.oid = p.relid and c.relkind in ('r', 'p')) as t(relation),
           tidings.ops() as o(op)
     where not exists (select from pg_partition_ancestors(w.relation) as a join tidings.watches x on x.relation = a.relid and a.relid <> w.relation)
       and (o.op = 'truncate'
            or not exists (select from pg_partition_tree(t.relation) as p join pg_class c on c.oid = p.relid and c.relkind = 'f'))
$$;
comment on function tidings.triggers_wanted(tidings.watches) is 'the triggers that a watch should have, and on which tables';

create function tidings.triggers_there(w tidings.watches) returns table (relation oid, name text, enabled "char")
language sql stable set search_path = pg_catalog, pg_temp as $$
    select g.tgrelid, g.tgname::text, g.tgenabled
      from pg_trigger g where g.tgfoid = any (array(select to_regproc('tidings.' || tidings.capture_name(w, o.op)) from tidings.ops() as o(op)))
$$;
comment on function tidings.triggers_there(tidings.watches) is 'the triggers that a watch has';

create function tidings.install_functions(w tidings.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    owner   name := (select r.rolname from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'tidings');
    capture text;
    op      text;
begin
    perform pg_advisory_xact_lock(hashtextextended('tidings.install', w.id)); -- one after another
    for op in select tidings.ops() loop
        capture := tidings.capture_name(w, op);
        execute format('create or replace function tidings.%I() returns trigger language plpgsql security definer %s as %L',
            capture, tidings.pinned_settings(w), tidings.capture_source(w, op));
        execute format('revoke all on function tidings.%I() from public', capture);
        execute format('comment on function tidings.%I() is %L', capture,
            'writes what changes in ' || w.relation::text || ' to the log; generated by tidings.watch()');
        -- Whoever watches the table, tidings.rotate() is to write the function anew.
        if exists (select from pg_proc p join pg_roles r on r.oid = p.proowner
                    where p.oid = to_regproc('tidings.' || capture) and r.rolname <> owner) then
            execute format('alter function tidings.%I() owner to %I', capture, owner);
        end if;
    end loop;
end $$;
comment on function tidings.install_functions(tidings.watches) is 'makes or renews a watch''s trigger functions';
revoke all on function tidings.install_functions(tidings.watches) from public;

-- Who is a member of a role may become it; from PostgreSQL 16 on, only if that was granted as well: who makes a role is a member that may not.
create function tidings.may_become(role oid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return pg_has_role(role, case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end);
end $$;
comment on function tidings.may_become(oid) is 'whether who is connected may SET ROLE to it';

-- Tables with row security are read as a role that it holds for. It owns nothing and cannot log in.
do $$
begin
    if not exists (select from pg_roles where rolname = 'tidings_reader') then
        create role tidings_reader nologin;
    end if;
exception
    when insufficient_privilege then
        null; -- tidings.settings.reader_role is to name another
    when duplicate_object or unique_violation then
        null; -- made at this moment, for another database
end $$;
do $$
begin
    if not (select tidings.may_become(oid) from pg_roles where rolname = 'tidings_reader') then
        execute format('grant tidings_reader to %I', current_user);
    end if;
exception when insufficient_privilege then
    null;
end $$;

create function tidings.reader_role() returns name
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(s.reader_role, (select r.rolname from pg_roles r where r.rolname = 'tidings_reader')) from tidings.settings s
$$;
comment on function tidings.reader_role() is 'the role as which tables with row security are read for clients; null: there is none';

-- Lets the role read what a watch tells of, and use what policies use of this schema.
create function tidings.let_read(w tidings.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    reader name := tidings.reader_role();
begin
    if reader = 'tidings_reader' and tidings.guard_kind(w) = 'rows' then
        if not has_table_privilege(reader, w.relation, 'select') then
            execute format('grant select on %s to %I', w.relation, reader); -- which only warns, where it may not
            update tidings.watches x set lent = true where x.id = w.id and has_table_privilege(reader, w.relation, 'select');
        end if;
        if not has_schema_privilege(reader, (select relnamespace from pg_class where oid = w.relation), 'usage') then
            execute format('grant usage on schema %s to %I', (select relnamespace::regnamespace from pg_class where oid = w.relation), reader);
            update tidings.watches x set lent_usage = (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = w.relation)
             where x.id = w.id;
        end if;
        if not has_schema_privilege(reader, 'tidings', 'usage') then
            execute format('grant usage on schema tidings to %I', reader);
        end if;
    end if;
exception when insufficient_privilege then
    null; -- tidings.watched says what is missing
end $$;
comment on function tidings.let_read(tidings.watches) is 'grants tidings_reader what it needs to read a table with row security';
revoke all on function tidings.let_read(tidings.watches) from public;

-- The watched tables, and those that their policies look at, and the policies of those.
create function tidings.tables_asked() returns setof oid
language sql stable set search_path = pg_catalog, pg_temp as $$
    with recursive asked(relation) as (
        select w.relation::oid from tidings.watches w
        union
        select d.refobjid from asked a
          join pg_policy p on p.polrelid = a.relation
          join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass)
    select a.relation from asked a
$$;
comment on function tidings.tables_asked() is 'the tables of which policies decide who may read a watched one, as far as policies name them and not their functions';

create function tidings.let_read_no_more(w tidings.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    usage_of oid := (select n.oid from pg_namespace n where n.nspname = w.lent_usage);
begin
    if not exists (select from pg_roles r where r.rolname = 'tidings_reader') then
        return;
    end if;
    if w.lent and exists (select from pg_class c where c.oid = w.relation)
        and not exists (select from tidings.tables_asked() as t(relation) where t.relation = w.relation) then
        execute format('revoke select on %s from tidings_reader', w.relation);
    end if;
    if usage_of is not null then
        update tidings.watches x set lent_usage = w.lent_usage
         where x.id = (select y.id from tidings.watches y join pg_class c on c.oid = y.relation where y.guard = 'rows' and c.relnamespace = usage_of
                        order by y.id limit 1);
        if not found then
            execute format('revoke usage on schema %I from tidings_reader', w.lent_usage);
        end if;
    end if;
exception when insufficient_privilege then
    null;
end $$;
comment on function tidings.let_read_no_more(tidings.watches) is
    'takes from tidings_reader what it was granted for a watch that is no more, unless another needs it';
revoke all on function tidings.let_read_no_more(tidings.watches) from public;

create function tidings.install(w tidings.watches) returns void
language plpgsql set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    t record;
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('tidings.rotate', 0)); -- the partition stays the same meanwhile
    perform tidings.install_functions(w);
    perform tidings.let_read(w);
    for t in select relation::regclass, name from tidings.triggers_wanted(w)
             except select relation::regclass, name from tidings.triggers_there(w) order by name, relation loop
        execute format('create or replace trigger %I after %s on %s %s for each statement execute function tidings.%I()',
            t.name, substr(t.name, 9), t.relation,
            case t.name when 'tidings_insert' then 'referencing new table as new_rows'
                        when 'tidings_update' then 'referencing old table as old_rows new table as new_rows'
                        when 'tidings_delete' then 'referencing old table as old_rows' else '' end,
            tidings.capture_name(w, substr(t.name, 9)));
    end loop;
    for t in select relation::regclass, name from tidings.triggers_there(w)
             except select relation::regclass, name from tidings.triggers_wanted(w) loop
        execute format('drop trigger %I on %s', t.name, t.relation); -- a partition was detached, say
    end loop;
    if (select x.guard is distinct from tidings.guard_kind(w) from tidings.watches x where x.id = w.id) then
        update tidings.watches x set guard = tidings.guard_kind(w) where x.id = w.id;
    end if;
end $$;
comment on function tidings.install(tidings.watches) is 'makes or renews a watch''s trigger functions and triggers';

create trigger tell after insert or update or delete or truncate on tidings.watches
    for each statement execute function tidings.tell_topics_changed();

create function tidings.forget_dropped() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w  tidings.watches;
    op text;
begin
    for w in delete from tidings.watches x where not exists (select from pg_class p where p.oid = x.relation) returning x.* loop
        for op in select tidings.ops() loop
            execute format('drop function if exists tidings.%I()', tidings.capture_name(w, op));
        end loop;
        perform tidings.let_read_no_more(w);
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
    read    text   default 'signed_in',
    claims  text[] default null,
    typing  boolean default false
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
    w.claims   := watch.claims;
    w.typing   := coalesce(watch.typing, false);
    w.key      := watch.key;
    if w.key is null then
        select a.attname::text into w.key
          from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
         where i.indrelid = c.oid and i.indisprimary and i.indnkeyatts = 1;
    end if;

    if w.topic = '' or w.topic ~ '[:[:cntrl:]]' or octet_length(w.topic) > 63 then
        raise exception 'topic % cannot be used: a topic has 1 to 63 bytes, no colon and no control characters',
            quote_literal(w.topic) using errcode = 'invalid_parameter_value';
    elsif w.topic = 'tidings' then
        raise exception 'topic tidings cannot be used: servers are told by it what is for them alone; give another with topic => ...'
            using errcode = 'invalid_parameter_value';
    elsif w.event !~ '^[[:alnum:]_.-]+$' and watch.event is null then
        w.event := regexp_replace(w.event, '[^[:alnum:]_.-]+', '_', 'g');
    elsif w.event !~ '^[[:alnum:]_.-]+$' or octet_length(w.event) > 63 then
        raise exception 'event % cannot be used: it has 1 to 63 letters, digits, "_", "." or "-"',
            quote_literal(w.event) using errcode = 'invalid_parameter_value';
    end if;
    select x.relation into other from tidings.watches x where x.topic = w.topic and x.relation <> w.relation;
    if found then
        raise exception 'topic % is taken by table %: give another with topic => ...', quote_literal(w.topic), other
            using errcode = 'duplicate_object';
    end if;
    if exists (select from tidings.streams s where s.topic = w.topic) then
        raise exception 'topic % is taken by what tidings tells itself: give another with topic => ...', quote_literal(w.topic)
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

    insert into tidings.watches as x (relation, topic, event, key, columns, read, claims, typing)
    values (w.relation, w.topic, w.event, w.key, w.columns, w.read, w.claims, w.typing)
    on conflict (relation) do update
       set topic = excluded.topic, event = excluded.event, key = excluded.key, columns = excluded.columns, read = excluded.read,
           claims = excluded.claims, typing = excluded.typing
    returning x.* into w;
    perform tidings.install(w);
    return w.topic;
end $$;
comment on function tidings.watch(regclass, text, text, text, text[], text, text[], boolean) is
    'makes a table live, or changes how it is: select tidings.watch(''orders'', key => ''customer_id'', read => ''public''); returns its topic';
revoke all on function tidings.watch(regclass, text, text, text, text[], text, text[], boolean) from public;

create function tidings.unwatch("table" regclass) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    w  tidings.watches;
    t  record;
    op text;
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('tidings.rotate', 0)); -- it would write the functions anew
    delete from tidings.watches x where x.relation = unwatch."table" returning x.* into w;
    if not found then
        return false;
    end if;
    for t in select name, relation::regclass as target from tidings.triggers_there(w) loop
        execute format('drop trigger %I on %s', t.name, t.target);
    end loop;
    for op in select tidings.ops() loop
        execute format('drop function tidings.%I()', tidings.capture_name(w, op));
    end loop;
    perform tidings.let_read_no_more(w);
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
        select x.* into w from tidings.watches x where x.id = w.id for share; -- it may be another by now, or none
        continue when not found;
        perform tidings.install(w);
        n := n + 1;
    end loop;
    return n;
end $$;
comment on function tidings.refresh() is
    'renews all watches'' triggers: after a change of tidings.settings, or of a watched table where nobody calls tidings.follow_partitions()';
revoke all on function tidings.refresh() from public;

-- Why a table with row security cannot be read for clients.
create function tidings.reader_problem(w tidings.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case
        when r.rolname is null then 'there is no role to ask its row security as: set tidings.settings.reader_role'
        when r.rolsuper or r.rolbypassrls or c.relowner = r.oid and not c.relforcerowsecurity
            then format('its row security does not hold for role %I: set tidings.settings.reader_role to another', r.rolname)
        when not tidings.may_become(r.oid)
            then format('the service may not become role %I: grant %1$I to %I', r.rolname, current_user)
        when not has_schema_privilege(r.oid, c.relnamespace, 'usage')
            then format('role %I may not use schema %s: grant usage on schema %2$s to %1$I', r.rolname, c.relnamespace::regnamespace)
        when not has_table_privilege(r.oid, w.relation, 'select') and exists (
            select from pg_attribute a where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
               and (w.columns is null or a.attname = any (w.columns)) and not has_column_privilege(r.oid, w.relation, a.attnum, 'select'))
            then format('role %I may not read it: grant select on %s to %1$I', r.rolname, w.relation)
        end
      from pg_class c left join pg_roles r on r.rolname = tidings.reader_role()
     where c.oid = w.relation and c.relrowsecurity
$$;
comment on function tidings.reader_problem(tidings.watches) is 'why nobody can be told of a table with row security, in words; null: all is well';

create function tidings.problem(w tidings.watches) returns text
language sql stable set search_path = pg_catalog, pg_temp set jit = off as $$
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
        tidings.reader_problem(w),
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

-- Writers wait behind it while it waits for a table, so it waits for moments only: it is called again.
create function tidings.follow_partitions(tables oid[] default null, out renewed integer, out problem text)
language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off set lock_timeout = '200ms' as $$
declare
    w tidings.watches;
begin
    renewed := 0;
    for w in
        select x.* from tidings.watches x join pg_class c on c.oid = x.relation
         where (tables is null or x.relation = any (tables))
           and (exists (select from tidings.ops() as o(op)
                         where not exists (select from pg_proc p where p.oid = to_regproc('tidings.' || tidings.capture_name(x, o.op))
                                              and p.prosrc = tidings.capture_source(x, o.op)))
                or exists (select relation, name from tidings.triggers_wanted(x) except select relation, name from tidings.triggers_there(x))
                or exists (select relation, name from tidings.triggers_there(x) except select relation, name from tidings.triggers_wanted(x)))
         order by x.id
    loop
        select x.* into w from tidings.watches x where x.id = w.id for share; -- it may be another by now, or none
        continue when not found;
        begin
            perform tidings.install(w);
            renewed := renewed + 1;
        exception when others then -- the others are not to suffer from it
            problem := concat_ws('; ', problem, format('%s: %s', w.relation, sqlerrm));
        end;
    end loop;
end $$;
comment on function tidings.follow_partitions(oid[]) is
    'renews the watches of tables whose partitions or columns have changed, of all tables or of some; says how many it has renewed, and which it could not and why; servers call it';
revoke all on function tidings.follow_partitions(oid[]) from public;

-- Where we may (a superuser installs), that happens at once.
create function tidings.partitions_changed() returns event_trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    changed oid[];
    failed text;
begin
    if tg_tag <> 'DROP FOREIGN TABLE' then -- which does not say of what it was a partition
        changed := array(select coalesce(pg_partition_root(c.objid), c.objid) from pg_event_trigger_ddl_commands() as c
                          where c.classid = 'pg_class'::regclass);
        -- Most tables that are made or changed are not watched, and should not be slowed down.
        changed := array(
            select x.relation from tidings.watches x
             where x.relation = any (changed)
                or not exists (select from pg_trigger g where g.tgrelid = x.relation and g.tgname = 'tidings_truncate'
                                  and g.tgfoid = to_regproc('tidings.' || tidings.capture_name(x, 'truncate')))); -- it was detached
        if changed = '{}' then
            return;
        end if;
    end if;
    select f.problem into failed from tidings.follow_partitions(changed) as f;
    if failed is not null then
        raise warning 'tidings could not follow a change of tables: %; call tidings.refresh()', failed;
    end if;
exception when others then
    raise warning 'tidings could not follow a change of tables: %; call tidings.refresh()', sqlerrm;
end $$;
comment on function tidings.partitions_changed() is 'calls tidings.follow_partitions()';
revoke all on function tidings.partitions_changed() from public;
do $$
begin
    create event trigger tidings_partitions on ddl_command_end when tag in ('CREATE TABLE', 'ALTER TABLE', 'CREATE FOREIGN TABLE', 'DROP FOREIGN TABLE')
        execute function tidings.partitions_changed();
exception when insufficient_privilege then
    null;
end $$;
