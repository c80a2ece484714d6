-- Loading: the rows that a channel would have told of, as they are in the caller's snapshot. A statement that takes
-- pg_current_snapshot() beside them has the position from which to follow.

-- Each watch has a function of its own, owned by who watched the table, so that who may load need not be granted the
-- table. What goes out is what the trigger would write.
create function tidings.load_rows(watch_id integer, key text, after text[], backwards boolean, max_rows bigint, max_bytes bigint, claims jsonb, "user" text)
returns table (place text[], row_key text, data text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    w          tidings.watches;
    key_type   text;
    owner_type text;
    places     text; -- the primary key's columns, as they are ordered by
    texts      text; -- the same as text
    bounds     text; -- where the page begins
    width      bigint;
    bytes      bigint := 0;
    query      text;
    was        text := current_setting('role');
begin
    select x.* into w from tidings.watches x where x.id = load_rows.watch_id;
    select format_type(a.atttypid, null) into key_type
      from pg_attribute a where a.attrelid = w.relation and a.attname = w.key and not a.attisdropped
       and a.atttypid in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'numeric'::regtype, 'text'::regtype,
                          'character varying'::regtype, 'uuid'::regtype, 'date'::regtype);
    select format_type(a.atttypid, null) into owner_type
      from pg_attribute a where claims is not null and a.attrelid = w.relation and a.attname = tidings.owner_column(w) and not a.attisdropped
       and a.atttypid in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'text'::regtype, 'uuid'::regtype);
    begin
        if key is not null and key_type is not null then
            execute format('select $1::%s', key_type) using key;
        end if;
        if "user" is not null and owner_type is not null then
            execute format('select $1::%s', owner_type) using "user";
        end if;
    exception when data_exception then
        return; -- no value of the column
    end;
    with keys as (
        select n, format('"tidings row".%I', a.attname) as "column",
               format('($2[%s])::%s', n, format_type(a.atttypid, a.atttypmod)) as bound,
               -- by their full names: an extension's type has operators of its own, and text's would order it otherwise
               'operator(' || quote_ident(min(s.nspname) filter (where o.amopstrategy = 3)) || '.' || min(p.oprname) filter (where o.amopstrategy = 3) || ')' as same,
               'operator(' || quote_ident(min(s.nspname) filter (where o.amopstrategy <> 3)) || '.' || min(p.oprname) filter (where o.amopstrategy <> 3) || ')' as beyond
          from pg_index i, generate_series(1, i.indnkeyatts) as n
          join pg_attribute a on true
          join pg_opclass c on true
          join pg_amop o on true
          join pg_operator p on p.oid = o.amopopr
          join pg_namespace s on s.oid = p.oprnamespace
         where i.indrelid = w.relation and i.indisprimary and a.attrelid = i.indrelid and a.attnum = i.indkey[n - 1]
           and c.oid = i.indclass[n - 1] and o.amopfamily = c.opcfamily and o.amoplefttype = c.opcintype and o.amoprighttype = c.opcintype
           and o.amopstrategy in (3, case when backwards then 1 else 5 end)
         group by n, a.attname, a.atttypid, a.atttypmod)
    select count(*),
           string_agg("column" || case when backwards then ' desc' else '' end, ', ' order by n),
           string_agg("column" || '::text', ', ' order by n),
           case when count(distinct beyond) = 1
               then format('(%s) %s (%s)', string_agg("column", ', ' order by n), min(beyond), string_agg(bound, ', ' order by n))
               else string_agg(format('(%s %s %s or %1$s %4$s %3$s and ', "column", beyond, bound, same), '' order by n)
                    || 'false' || repeat(')', count(*)::integer) end
      into width, places, texts, bounds
      from keys;
    if after is not null and (width = 0 or cardinality(after) <> width or array_position(after, null) is not null) then
        raise exception '% is not a place in %', after, w.relation using errcode = 'invalid_parameter_value';
    end if;
    query := format($query$
        select %1$s, of_row.key, nullif((%2$s)::text, 'null')
          from %3$s as "tidings row"%4$s
         where %5$s and %6$s%8$s
         order by %7$s limit $3$query$,
        coalesce('array[' || texts || ']', 'null::text[]'),
        tidings.capture_data(w),
        w.relation,
        tidings.capture_columns(w, true),
        case
            when key is null then 'true'
            when key_type is not null
                then format('"tidings row".%I = $1::%s and of_row.key = $1', w.key, key_type) -- by an index, if there is one
            else 'of_row.key = $1' end,
        case when after is null then 'true' else bounds end,
        coalesce(places, '"tidings row".tableoid, "tidings row".ctid'),
        case when claims is null or tidings.owner_column(w) is null then ''
            when owner_type is null then ' and of_row.owner = $4'
            else format(' and of_row.owner = $4 and "tidings row".%I = $4::%s', tidings.owner_column(w), owner_type) end);
    if claims is not null and tidings.guard_kind(w) = 'rows' then
        perform set_config('search_path', (select s.reset_val from pg_settings s where s.name = 'search_path'), true), -- of the policies
                tidings.assume(tidings.reader_role(), tidings.rights(w, claims), case when w.claims is null or 'sub' = any (w.claims) then "user" end);
    end if;
    for place, row_key, data in execute query using key, after, max_rows, "user"
    loop
        return next;
        bytes := bytes + coalesce(octet_length(data), 0) + 256;
        exit when bytes > max_bytes;
    end loop;
    perform pg_catalog.set_config('role', was, true) where pg_catalog.current_setting('role') is distinct from was;
end $$;
comment on function tidings.load_rows(integer, text, text[], boolean, bigint, bigint, jsonb, text) is 'what the load functions of the watches do';
revoke all on function tidings.load_rows(integer, text, text[], boolean, bigint, bigint, jsonb, text) from public;

create function tidings.follow_watch() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    server name;
begin
    if tg_op = 'DELETE' then
        execute format('drop function if exists tidings.%I(text, text[], boolean, bigint, bigint, jsonb, text)', 'load_' || old.id);
        return null;
    end if;
    -- The same settings as in a trigger function: what is loaded reads as what is told.
    execute format($create$
        create or replace function tidings.%1$I(key text, after text[], backwards boolean, max_rows bigint, max_bytes bigint, claims jsonb, "user" text)
        returns table (place text[], row_key text, data text)
        language sql stable security definer
        set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' set intervalstyle = 'postgres'
        set bytea_output = 'hex' set extra_float_digits = 1 set xmlbinary = 'base64' set quote_all_identifiers = off
        set lc_monetary = 'C' set array_nulls = on set row_security = off set jit = off
        as 'select * from tidings.load_rows(%2$s, key, after, backwards, max_rows, max_bytes, claims, "user")'$create$, 'load_' || new.id, new.id);
    execute format('revoke all on function tidings.%I(text, text[], boolean, bigint, bigint, jsonb, text) from public', 'load_' || new.id);
    for server in select r.rolname from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'tidings'
                  union all select tidings.serving_roles() loop
        execute format('grant execute on function tidings.%I(text, text[], boolean, bigint, bigint, jsonb, text) to %I', 'load_' || new.id, server);
    end loop;
    execute format('comment on function tidings.%I(text, text[], boolean, bigint, bigint, jsonb, text) is %L', 'load_' || new.id,
        'the rows of ' || new.relation::text || ' as channels tell of them; generated by tidings.watch()');
    return null;
end $$;
comment on function tidings.follow_watch() is 'makes and drops the load functions of the watches';
revoke all on function tidings.follow_watch() from public;
create trigger follow after insert or update or delete on tidings.watches
    for each row execute function tidings.follow_watch();

-- Row security holds for a role, and whoever watched the table may not become another in a function: here it is whoever loads.
create function tidings.load_guarded(watch_id integer, key text, after text[], backwards boolean, max_rows bigint, max_bytes bigint, claims jsonb, "user" text)
returns table (place text[], row_key text, data text)
language plpgsql stable
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' set intervalstyle = 'postgres'
set bytea_output = 'hex' set extra_float_digits = 1 set xmlbinary = 'base64' set quote_all_identifiers = off
set lc_monetary = 'C' set array_nulls = on set jit = off as $$
declare
    problem text := (select tidings.reader_problem(w) from tidings.watches w where w.id = watch_id);
begin
    if problem is not null then
        raise exception 'its row security cannot be asked: %', problem using errcode = 'insufficient_privilege';
    end if;
    return query select * from tidings.load_rows(watch_id, key, after, backwards, max_rows, max_bytes, claims, "user");
end $$;
comment on function tidings.load_guarded(integer, text, text[], boolean, bigint, bigint, jsonb, text) is 'loads of a table with row security';
revoke all on function tidings.load_guarded(integer, text, text[], boolean, bigint, bigint, jsonb, text) from public;

create function tidings.load(
    topic     text,
    key       text    default null,
    after     text[]  default null,
    backwards boolean default false,
    max_rows  bigint  default 1000,
    max_bytes bigint  default 1048576,
    claims    jsonb   default null,
    "user"    text    default null
) returns table (place text[], row_key text, data text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    w      tidings.watches;
    source text;
begin
    select x.* into w from tidings.watches x join pg_class c on c.oid = x.relation where x.topic = load.topic;
    if found and claims is not null and tidings.guard_kind(w) = 'rows' then
        return query select * from tidings.load_guarded(w.id, key, after, backwards, max_rows, max_bytes, claims, "user");
        return;
    elsif found then
        source := format('tidings.%I', 'load_' || w.id);
        return query execute format('select * from %s($1, $2, $3, $4, $5, $6, $7)', source)
            using key, after, backwards, max_rows, max_bytes, claims, "user";
        return;
    else
        select s.load::oid::regproc::text into source from tidings.streams s where s.topic = load.topic;
    end if;
    if not found then
        raise exception 'no table is watched as %', load.topic using errcode = 'undefined_table';
    end if;
    if source is not null then
        return query execute format('select * from %s($1, $2, $3, $4, $5)', source) using key, after, backwards, max_rows, max_bytes;
    end if;
end $$;
comment on function tidings.load(text, text, text[], boolean, bigint, bigint, jsonb, text) is
    'the rows that a channel would have told of, in the order of the primary key; after is the place of a row; one row more than max_bytes hold; with claims, those that the user may read';
revoke all on function tidings.load(text, text, text[], boolean, bigint, bigint, jsonb, text) from public;

update tidings.watches set topic = topic; -- makes the functions of what is watched already
