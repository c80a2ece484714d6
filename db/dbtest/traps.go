package dbtest

// Traps makes objects of a role's own in schema trap, and among its temporary ones, which stand on its search path before
// PostgreSQL's: all functions and operators that PostgreSQL has, which raise an error when they are called; all types, of
// which no value, not even null, is allowed; and tables that are named like what the trigger functions use.
const Traps = `
set search_path = pg_catalog, pg_temp; set check_function_bodies = off;
create function trap.sprung() returns boolean language plpgsql as $$ begin raise exception 'trap: a type'; end $$;
do $$
declare
    x record;
begin
    for x in
        select p.proname, array_to_string(array(
                   select case when p.provariadic <> 0 and n = p.pronargs then 'variadic ' else '' end || format_type(a, null)
                     from unnest(p.proargtypes) with ordinality as u(a, n) order by n), ', ') as args,
               case when r.typtype = 'p' then 'boolean' else format_type(r.oid, null) end as result
          from pg_proc p join pg_type r on r.oid = p.prorettype
         where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and p.provariadic <> '"any"'::regtype
           and not exists (select from unnest(p.proargtypes) as a join pg_type t on t.oid = a
                            where t.typtype = 'p' and t.typname !~ '^any.')
    loop
        execute format('create function trap.%I(%s) returns %s language plpgsql as %L', x.proname, x.args, x.result,
            format('begin raise exception %L; end', 'trap: ' || x.proname));
    end loop;
    for x in
        select o.oid, o.oprname, case when o.oprleft <> 0 then format_type(o.oprleft, null) end as left_type, format_type(o.oprright, null) as right_type,
               case when r.typtype = 'p' then 'boolean' else format_type(r.oid, null) end as result
          from pg_operator o join pg_type r on r.oid = o.oprresult
         where o.oprnamespace = 'pg_catalog'::regnamespace
           and not exists (select from pg_type t where t.oid in (o.oprleft, o.oprright) and t.typtype = 'p' and t.typname !~ '^any.')
    loop
        execute format('create function trap.%I(%s) returns %s language plpgsql as %L', 'operator_' || x.oid, concat_ws(', ', x.left_type, x.right_type), x.result,
            format('begin raise exception %L; end', 'trap: ' || x.oprname));
        execute format('create operator trap.%s (function = trap.%I%s, rightarg = %s)', x.oprname, 'operator_' || x.oid, ', leftarg = ' || x.left_type, x.right_type);
    end loop;
    for x in
        select n.name as schema, t.typname from pg_type t, (values ('trap'), ('pg_temp')) as n(name)
         where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype in ('b', 'r') and t.typelem = 0 and t.typname !~ '^_|^pg_|unknown'
    loop
        execute format('create domain %s.%I as pg_catalog.%I check (trap.sprung())', x.schema, x.typname, x.typname);
    end loop;
    for x in
        select n.name as schema, t.name as "table"
          from (values ('trap'), ('pg_temp')) as n(name),
               unnest('{tidings,log,log_0,log_1,watches,settings,eras,sleepers,new_rows,old_rows,few,ones,before,last,of_row,tidings row,tidings columns,tidings absent,tidings picked}'::text[]) as t(name)
    loop
        execute format('create table %s.%I (id integer, k pg_catalog.text, v pg_catalog.text)', x.schema, x."table");
    end loop;
end $$;
-- "any" is no argument's type in PL/pgSQL.
create function trap.concat(pg_catalog.text, pg_catalog.text, pg_catalog.text) returns pg_catalog.text language plpgsql as $$ begin raise exception 'trap: concat'; end $$;
create function trap.next_count(bigint) returns bigint language plpgsql as $$ begin raise exception 'trap: count'; end $$;
create aggregate trap.count(*) (sfunc = trap.next_count, stype = bigint);
create function trap.pg_column_size(pg_catalog.text) returns integer language plpgsql as $$ begin raise exception 'trap: pg_column_size'; end $$;
create function trap.pg_column_size(pg_catalog.text[]) returns integer language plpgsql as $$ begin raise exception 'trap: pg_column_size'; end $$;
create function trap.pg_column_size(pg_catalog.jsonb) returns integer language plpgsql as $$ begin raise exception 'trap: pg_column_size'; end $$;`
