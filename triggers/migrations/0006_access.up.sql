-- Who may read what. It is decided here, so that psql and the servers agree.

create function tidings.claims() returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb, '{}')
$$;
comment on function tidings.claims() is
    'in a policy: what the token says of the user for whom is read; {} where there is none. (It stands in the setting in which PostgREST has it.)';

create function tidings.user_id() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select nullif(current_setting('tidings.user', true), '')
$$;
comment on function tidings.user_id() is 'in a policy: the user for whom is read; null: nobody who has signed in. In a trigger: who writes through a server';

-- The claims that row security may look at: those who have the same are asked for once, and see the same.
create function tidings.rights(w tidings.watches, claims jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select coalesce(jsonb_object_agg(c.key, c.value), '{}') from jsonb_each(claims) as c
     where case when w.claims is not null then c.key = any (w.claims)
                else c.key <> all ('{exp,iat,nbf,jti,sid,session_id,auth_time,nonce,at_hash}'::text[]) end
$$;
comment on function tidings.rights(tidings.watches, jsonb) is 'the claims that the row security of a watched table may look at';

-- Has what follows in the transaction be read for a user, as a role; without one, as whoever is connected. It has no settings of its own, so
-- that those it makes stay.
create function tidings.assume(role name, claims jsonb, "user" text) returns void
language plpgsql as $$
begin
    perform pg_catalog.set_config('request.jwt.claims', claims::pg_catalog.text, true),
            pg_catalog.set_config('tidings.user', coalesce("user", ''), true);
    if role is not null then
        perform pg_catalog.set_config('row_security', 'on', true), pg_catalog.set_config('role', role, true);
    end if;
end $$;
comment on function tidings.assume(name, jsonb, text) is 'sets what tidings.claims() and tidings.user_id() return, and the role, for the transaction';
revoke all on function tidings.assume(name, jsonb, text) from public;

-- What the policies of a table say of a row that is given under the table's name, for the role: as PostgreSQL joins them. With this search path
-- all names in the text have their schemas: as the role, "$user" is another schema than as whoever made the text. What the functions that are
-- named there look up by themselves, they look up by the search path of the session.
create function tidings.policies_condition(table_oid oid, reader name) returns text
language sql stable set search_path = pg_catalog as $$
    select '(' || coalesce(pg_catalog.string_agg('(' || p.condition || ')', ' or ' order by p.polname) filter (where p.polpermissive), 'false') || ')'
        || coalesce(' and ' || pg_catalog.string_agg('(' || p.condition || ')', ' and ' order by p.polname) filter (where not p.polpermissive), '')
      from (select p.polname, p.polpermissive, pg_catalog.pg_get_expr(p.polqual, p.polrelid) as condition
              from pg_catalog.pg_policy p
             where p.polrelid = table_oid and p.polcmd in ('r', '*') and p.polqual is not null
               and exists (select from pg_catalog.unnest(p.polroles) as r(oid) where r.oid = 0 or pg_catalog.pg_has_role(reader, r.oid, 'usage'))) as p
$$;
comment on function tidings.policies_condition(oid, name) is 'the policies by which a role reads a table, as one condition';
revoke all on function tidings.policies_condition(oid, name) from public;

create function tidings.passing(sqlstate text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$ select left(sqlstate, 2) = any ('{08,25,40,53,55,57,58}'::text[]) $$;
comment on function tidings.passing(text) is 'whether an error may be gone the next time, by its class';

-- Which of the rows a user may read: they are JSON with all columns, as they were or are; what is no object was written when the table had an
-- owner's column in place of row security, and is nobody's. The policies are asked about them and not about the
-- table, in which some stand no longer, or not any more as they were.
create function tidings.judge(topic text, claims jsonb, "user" text, rows text[], out allowed boolean[], out problem text)
language plpgsql as $$
#variable_conflict use_column
declare
    w        tidings.watches;
    reader   name := tidings.reader_role();
    was      text := pg_catalog.current_setting('role');
    relation record;
    policies text;
    owner    text := '';
begin
    allowed := pg_catalog.array_fill(false, array[pg_catalog.cardinality(rows)]);
    select x.* into w from tidings.watches x where x.topic = judge.topic;
    select c.oid, c.relname, n.nspname into relation
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = w.relation;
    problem := coalesce(tidings.reader_problem(w), case when relation.oid is null then 'it is not watched any more' end);
    if problem is not null then
        return;
    end if;
    begin
        policies := tidings.policies_condition(relation.oid, reader);
        if tidings.owner_column(w) is not null then
            owner := pg_catalog.format(' and %I.%I::pg_catalog.text = $2', relation.relname, tidings.owner_column(w));
        end if;
        perform tidings.assume(reader, tidings.rights(w, judge.claims), case when w.claims is null or 'sub' = any (w.claims) then judge."user" end);
        -- No column of a table has such names: policies name theirs without more ado.
        execute pg_catalog.format($query$
            select pg_catalog.array_agg(coalesce("tidings given"."tidings row" like '{%%' and (%1$s)%2$s, false) order by "tidings given"."tidings n")
              from pg_catalog.unnest($1) with ordinality as "tidings given"("tidings row", "tidings n"),
                   lateral pg_catalog.json_populate_record(null::%3$I.%4$I, case when "tidings given"."tidings row" like '{%%' then "tidings given"."tidings row"::pg_catalog.json end) as %4$I$query$,
            policies,
            owner, relation.nspname, relation.relname) using rows, judge."user" into allowed;
        perform pg_catalog.set_config('role', was, true);
    exception when others then
        if tidings.passing(sqlstate) then
            raise;
        end if;
        problem := sqlerrm;
        allowed := pg_catalog.array_fill(false, array[pg_catalog.cardinality(rows)]);
    end;
    -- One row that cannot be asked about is nobody's, and the others are whose they are.
    if problem is not null and pg_catalog.cardinality(rows) > 1 then
        allowed := array(select coalesce((tidings.judge(judge.topic, judge.claims, judge."user", array[r.row])).allowed[1], false)
                           from pg_catalog.unnest(rows) with ordinality as r(row, n) order by r.n);
    end if;
end $$;
comment on function tidings.judge(text, jsonb, text, text[]) is
    'which rows of a table with row security a user may read, and why it cannot be said, if that is so: then none. Servers call it.';
revoke all on function tidings.judge(text, jsonb, text, text[]) from public;

-- Whether somebody may subscribe to a channel; claims are those of the token, {} and a user of null where there is none.
create function tidings.may_subscribe(topic text, key text, claims jsonb, "user" text, out allowed boolean, out problem text)
language plpgsql as $$
#variable_conflict use_column
declare
    read    text;
    own_key boolean := false;
    fn      regprocedure;
begin
    select x.read, x.key = tidings.owner_column(x) into read, own_key from tidings.watches x where x.topic = may_subscribe.topic;
    if not found then
        select s.read into read from tidings.streams s where s.topic = may_subscribe.topic;
    end if;
    allowed := case
        when read = 'public' then true
        when read = 'signed_in' then "user" is not null
        when read like 'owner:%' then "user" is not null and (key is null or own_key is not true or key = "user")
        else false end;
    if read like 'policy:%' then
        fn := tidings.policy_function(read);
        if fn is null then
            problem := 'there is no function ' || pg_catalog.substr(read, 8) || '(jsonb, text, text)';
            return;
        end if;
        begin
            perform tidings.assume(null, claims, "user");
            execute pg_catalog.format('select coalesce(%s($1, $2, $3), false)', fn::oid::pg_catalog.regproc) using claims, topic, key into allowed;
        exception when others then
            if tidings.passing(sqlstate) then
                raise;
            end if;
            problem := sqlerrm;
            allowed := false;
        end;
    end if;
end $$;
comment on function tidings.may_subscribe(text, text, jsonb, text) is
    'whether somebody may subscribe to a channel, and why it cannot be said, if that is so: then not. Servers call it.';
revoke all on function tidings.may_subscribe(text, text, jsonb, text) from public;
