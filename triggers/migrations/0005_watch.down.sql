do $$
declare
    all_of_them tidings.watches[] := array(select w from tidings.watches w);
    w           tidings.watches;
begin
    foreach w in array all_of_them loop
        perform tidings.unwatch(w.relation);
    end loop;
    foreach w in array all_of_them loop
        perform tidings.let_read_no_more(w); -- what one was left for another that is gone now, too
    end loop;
    perform tidings.forget_dropped();
end $$;
drop event trigger if exists tidings_partitions;
drop function tidings.partitions_changed();
drop function tidings.follow_partitions(oid[]);
drop view tidings.watched;
drop function tidings.problem(tidings.watches);
drop function tidings.reader_problem(tidings.watches);
drop function tidings.refresh();
drop function tidings.unwatch(regclass);
drop function tidings.watch(regclass, text, text, text, text[], text, text[], boolean);
drop function tidings.policy_function(text);
drop function tidings.forget_dropped();
drop function tidings.install(tidings.watches);
drop function tidings.let_read_no_more(tidings.watches);
drop function tidings.tables_asked();
drop function tidings.let_read(tidings.watches);
drop function tidings.reader_role();
drop function tidings.may_become(oid);
drop function tidings.install_functions(tidings.watches);
drop function tidings.triggers_there(tidings.watches);
drop function tidings.triggers_wanted(tidings.watches);
drop function tidings.ops();
drop function tidings.capture_name(tidings.watches, text);
drop function tidings.capture_source(tidings.watches, text);
drop function tidings.capture_virtual(tidings.watches, text);
drop function tidings.capture_guarded(tidings.watches, text);
drop function tidings.capture_open(tidings.watches, text);
drop function tidings.capture_whole(tidings.watches);
drop function tidings.capture_moves(tidings.watches, text);
drop function tidings.capture_move(tidings.watches, text);
drop function tidings.capture_few(tidings.watches, text, text);
drop function tidings.capture_loop(tidings.watches, text, text, integer, boolean);
drop function tidings.capture_data(tidings.watches);
drop function tidings.capture_columns(tidings.watches, boolean);
drop function tidings.owner_column(tidings.watches);
drop function tidings.long_columns(tidings.watches);
drop function tidings.pinned_settings(tidings.watches);
drop function tidings.plain(tidings.watches);
drop function tidings.guard_kind(tidings.watches);
drop function tidings.singular(text);
drop table tidings.watches;
-- The role is the whole cluster's, and may be in use by another database; here, nothing is left to it.
do $$
begin
    if exists (select from pg_roles where rolname = 'tidings_reader') then
        revoke usage on schema tidings from tidings_reader;
    end if;
exception when insufficient_privilege then
    null;
end $$;
