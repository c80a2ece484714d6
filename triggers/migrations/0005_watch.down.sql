do $$
declare
    relation regclass;
begin
    for relation in select w.relation from tidings.watches w loop
        perform tidings.unwatch(relation);
    end loop;
    perform tidings.forget_dropped();
end $$;
drop event trigger if exists tidings_partitions;
drop function tidings.partitions_changed();
drop function tidings.follow_partitions(oid[]);
drop view tidings.watched;
drop function tidings.problem(tidings.watches);
drop function tidings.refresh();
drop function tidings.unwatch(regclass);
drop function tidings.watch(regclass, text, text, text, text[], text);
drop function tidings.policy_function(text);
drop function tidings.forget_dropped();
drop function tidings.install(tidings.watches);
drop function tidings.install_functions(tidings.watches);
drop function tidings.triggers_there(tidings.watches);
drop function tidings.triggers_wanted(tidings.watches);
drop function tidings.ops();
drop function tidings.capture_name(tidings.watches, text);
drop function tidings.capture_source(tidings.watches, text);
drop function tidings.capture_moves(tidings.watches, text);
drop function tidings.capture_move(tidings.watches, text);
drop function tidings.capture_few(tidings.watches, text, text);
drop function tidings.capture_loop(tidings.watches, text, text, integer, boolean);
drop function tidings.capture_data(tidings.watches);
drop function tidings.capture_columns(tidings.watches, boolean);
drop function tidings.long_columns(tidings.watches);
drop function tidings.pinned_settings(tidings.watches);
drop function tidings.plain(tidings.watches);
drop function tidings.singular(text);
drop table tidings.watches;
