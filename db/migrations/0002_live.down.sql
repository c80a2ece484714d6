drop trigger revoke on users;
drop function revoke_deleted_users();
select tidings.unwatch('comments');
select tidings.unwatch('messages');
