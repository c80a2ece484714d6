-- Messages by their id, comments by the message they belong to.
select tidings.watch('messages', event => 'message', key => 'id', typing => true);
select tidings.watch('comments', event => 'comment', key => 'message_id', typing => true);

-- Who is deleted is signed out.
create function revoke_deleted_users() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform tidings.revoke(u.id::text, null) from old_rows as u;
    return null;
end $$;
comment on function revoke_deleted_users() is 'ends the tokens and connections of users who are deleted';
create trigger revoke after delete on users referencing old table as old_rows
    for each statement execute function revoke_deleted_users();
