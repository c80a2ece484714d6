-- What who serves needs of the channel's tables: tidings.grant_serving() calls it.
do $migration$
begin
    execute format($create$
create function tidings.grant_channel(role name) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('grant usage on schema %1$I to %%I', role);
    execute format('grant select, insert, update on %1$I.users, %1$I.accounts to %%I', role);
    execute format('grant select, insert, update, delete on %1$I.messages, %1$I.comments, %1$I.mutations, %1$I.sessions, %1$I.refresh_tokens to %%I', role);
    execute format('grant select, update on %1$I.notifications to %%I', role);
end $$
$create$, current_schema);
    execute format($create$
create function tidings.revoke_channel(role name) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('revoke all on %1$I.users, %1$I.messages, %1$I.comments, %1$I.mutations, %1$I.accounts, %1$I.sessions, %1$I.refresh_tokens,'
                   '%1$I.notifications from %%I', role);
end $$
$create$, current_schema);
end $migration$;
comment on function tidings.grant_channel(name) is 'the part of tidings.grant_serving() that is of the channel''s tables';
comment on function tidings.revoke_channel(name) is 'the part of tidings.revoke_serving() that is of the channel''s tables';
revoke all on function tidings.grant_channel(name), tidings.revoke_channel(name) from public;
