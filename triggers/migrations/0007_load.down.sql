drop function tidings.load(text, text, text[], boolean, bigint, bigint, jsonb, text);
drop function tidings.load_guarded(integer, text, text[], boolean, bigint, bigint, jsonb, text);
drop trigger follow on tidings.watches;
do $$
declare
    id integer;
begin
    for id in select w.id from tidings.watches w loop
        execute format('drop function if exists tidings.%I(text, text[], boolean, bigint, bigint, jsonb, text)', 'load_' || id);
    end loop;
end $$;
drop function tidings.follow_watch();
drop function tidings.load_rows(integer, text, text[], boolean, bigint, bigint, jsonb, text);
