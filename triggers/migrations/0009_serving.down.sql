drop function tidings.revoke_serving(name);
drop function tidings.grant_serving(name);
