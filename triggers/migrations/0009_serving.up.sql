-- Who may serve. The role that owns all this need not be the one that servers connect as: that one can be granted to do what servers do,
-- and nothing else. It makes no tables, triggers or functions, watches nothing, and writes only to what servers write to, by functions.

create function tidings.grant_serving(role name) returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    problems text[] := '{}';
    reader   name := tidings.reader_role();
    t        regclass;
    f        regprocedure;
begin
    if not exists (select from pg_roles r where r.rolname = role) then
        raise exception 'there is no role %', quote_ident(role) using errcode = 'undefined_object';
    end if;
    execute format('grant usage on schema tidings to %I', role);
    execute format('grant select on tidings.settings, tidings.log, tidings.eras, tidings.log_partitions, tidings.positions, tidings.ancestors, tidings.watches,'
                   'tidings.watched, tidings.streams, tidings.revocations, tidings.instances, tidings.running, tidings.presence, tidings.online, tidings.last_seen to %I', role);
    for t in select c.oid from pg_class c where c.relnamespace = 'tidings'::regnamespace and c.relname in ('migrations_live', 'migrations_channel') loop
        execute format('grant select on %s to %I', t, role);
    end loop;
    execute format('grant execute on function tidings.rotate(boolean), tidings.settle(), tidings.beat(interval), tidings.attend(text, boolean),'
                   'tidings.leave(text), tidings.report(text, jsonb), tidings.broadcast(text, text, json, boolean), tidings.disconnect(text, text, text),'
                   'tidings.revoke(text, text), tidings.recheck(), tidings.follow_partitions(oid[]), tidings.assume(name, jsonb, text),'
                   'tidings.policies_condition(oid, name), tidings.judge(text, jsonb, text, text[]), tidings.may_subscribe(text, text, jsonb, text),'
                   'tidings.load_rows(integer, text, text[], boolean, bigint, bigint, jsonb, text),'
                   'tidings.load_guarded(integer, text, text[], boolean, bigint, bigint, jsonb, text),'
                   'tidings.load(text, text, text[], boolean, bigint, bigint, jsonb, text),'
                   'tidings.present(text, text[], integer[], boolean, interval, interval, interval), tidings.absent(text, interval) to %I', role);

    -- What is loaded by functions of others: who watched a table as another role, and who made a stream.
    for f in select to_regprocedure(format('tidings.load_%s(text, text[], boolean, bigint, bigint, jsonb, text)', w.id)) from tidings.watches w
             union all select s.load from tidings.streams s where s.load is not null loop
        begin
            if f is not null and not has_function_privilege(role, f, 'execute') then
                execute format('grant execute on function %s to %I', f, role);
            end if;
        exception when insufficient_privilege then
            problems := problems || format('its owner is to grant execute on function %s to %I', f, role);
        end;
    end loop;

    if reader is not null then
        begin
            if current_setting('server_version_num')::integer >= 160000 then
                execute format('grant %I to %I with inherit false, set true', reader, role);
            elsif not pg_has_role(role, reader, 'member') then
                execute format('grant %I to %I', reader, role);
            end if;
        exception when insufficient_privilege or invalid_grant_operation then
            problems := problems || format('for tables with row security, somebody who may is to say: grant %I to %I', reader, role);
        end;
    end if;
    if to_regprocedure('tidings.grant_channel(name)') is not null then
        execute 'select tidings.grant_channel($1)' using role;
    end if;
    return nullif(array_to_string(problems, '; '), '');
end $$;
comment on function tidings.grant_serving(name) is
    'lets a role do what servers do, and nothing else: select tidings.grant_serving(''web''); returns what is still missing, null: nothing. To be called as the owner of this schema';
revoke all on function tidings.grant_serving(name) from public;

create function tidings.revoke_serving(role name) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from pg_roles r where r.rolname = role) then
        raise exception 'there is no role %', quote_ident(role) using errcode = 'undefined_object';
    end if;
    execute format('revoke all on all tables in schema tidings from %I', role);
    execute format('revoke all on all functions in schema tidings from %I', role);
    execute format('revoke all on schema tidings from %I', role);
    if to_regprocedure('tidings.revoke_channel(name)') is not null then
        execute 'select tidings.revoke_channel($1)' using role;
    end if;
    if tidings.reader_role() is not null then
        execute format('revoke %I from %I', tidings.reader_role(), role);
    end if;
exception when insufficient_privilege or invalid_grant_operation then
    raise exception 'not all could be taken from role %: %', quote_ident(role), sqlerrm using errcode = sqlstate;
end $$;
comment on function tidings.revoke_serving(name) is 'takes back what tidings.grant_serving() has given';
revoke all on function tidings.revoke_serving(name) from public;

-- All others anybody may call, also where the owner's default privileges say otherwise (alter default privileges ... revoke execute on functions from public).
grant execute on function
    tidings.current_partition, tidings.horizon, tidings.place, tidings.timeline, tidings.origin, tidings.position_text, tidings.position_snapshot,
    tidings."position", tidings.cursor, tidings.entry_rows, tidings.serving_roles, tidings.compatible_from, tidings.reserved_type,
    tidings.guard_kind, tidings.singular, tidings.plain, tidings.pinned_settings, tidings.long_columns, tidings.owner_column,
    tidings.capture_columns, tidings.capture_data, tidings.capture_whole, tidings.capture_loop, tidings.capture_few, tidings.capture_move,
    tidings.capture_moves, tidings.capture_open, tidings.capture_guarded, tidings.capture_virtual, tidings.capture_source, tidings.capture_name,
    tidings.ops, tidings.triggers_wanted, tidings.triggers_there, tidings.may_become, tidings.reader_role, tidings.tables_asked, tidings.install,
    tidings.policy_function, tidings.reader_problem, tidings.problem, tidings.claims, tidings.user_id, tidings.rights, tidings.passing
to public;
