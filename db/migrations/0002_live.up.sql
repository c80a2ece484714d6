-- Messages by their id, comments by the message they belong to.
select tidings.watch('messages', event => 'message', key => 'id', typing => true);
select tidings.watch('comments', event => 'comment', key => 'message_id', typing => true);

-- Who is deleted is signed out.
do $migration$
begin
    execute format($create$
create function revoke_deleted_users() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_relid <> %L::regclass then
        raise exception 'revoke_deleted_users() is for table users, not for %%', tg_relid::regclass using errcode = 'wrong_object_type';
    end if;
    perform tidings.revoke(u.id::text, null) from old_rows as u;
    return null;
end $$
$create$, format('%I.users', current_schema));
end $migration$;
comment on function revoke_deleted_users() is 'ends the tokens and connections of users who are deleted';
revoke all on function revoke_deleted_users() from public; -- or it could be put on anybody's table
create trigger revoke after delete on users referencing old table as old_rows
    for each statement execute function revoke_deleted_users();
